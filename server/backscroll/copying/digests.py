"""One digest over all that a store gives back of a session: the same in both stores where nothing was lost."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from hashlib import blake2b, sha256

from ..store.archive import ArchivedMedia, ArchivedRow, line_of
from ..store.copying import CopiedRow, Traits
from ..text import clean_text, compact_json

_NUL = "\\u0000"


class Sum:
    """The digest of rows as they go by. Digests of messages are left out: they are keyed to one database."""

    def __init__(self) -> None:
        self._sum = blake2b(digest_size=32)
        self._has_traits = False

    def take(self, rows: Sequence[CopiedRow]) -> None:
        for row in rows:
            if not isinstance(row, Traits):
                self._sum.update(said(row).encode("utf-8", "replace"))
            elif not self._has_traits:
                # Traits come in as many portions as it takes, all of which tell these.
                self._has_traits = True
                self._sum.update(compact_json([row.renamed, clean_text(row.summary_error or "")]).encode())

    def digest(self) -> bytes:
        return self._sum.digest()


def said(row: ArchivedRow) -> str:
    """A row as one line. Media are told by what they hold, NUL by the sign that stands for it on Postgres."""
    if isinstance(row, ArchivedMedia):
        held = None if row.data is None else sha256(row.data).hexdigest()
        return compact_json(["media", row.media_id, row.mime_type, held, row.url]) + "\n"
    return line_of(row).replace(_NUL, clean_text("\0"))


async def digest_of(pages: AsyncGenerator[list[CopiedRow], None]) -> bytes:
    """Of all pages; of none where the session is not there."""
    total = Sum()
    async with aclosing(pages) as found:
        async for page in found:
            total.take(page)
    return total.digest()
