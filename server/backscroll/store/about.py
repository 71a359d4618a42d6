"""What a database says of itself."""

from typing import NamedTuple


class About(NamedTuple):
    """`engine` is the program that keeps it, `schema_version` that of Backscroll's tables.

    `user_bytes` is what one user's own words, results and media take in it, None where that was not asked for or
    is not told apart.
    """

    engine: str
    schema_version: int
    size_bytes: int
    user_bytes: int | None = None
