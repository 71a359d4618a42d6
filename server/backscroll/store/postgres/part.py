"""What every part of the store on Postgres stands on."""

from .database import Database


class Part:
    """Some of the methods of a Store, over one database. PostgresStore is made of all of them."""

    def __init__(self, database: Database, digest_key: bytes) -> None:
        self._database = database
        self._digest_key = digest_key
