"""What every part of the store on Postgres stands on."""

from hashlib import blake2b

from .database import Database


class Part:
    """Some of the methods of a Store, over one database. PostgresStore is made of all of them."""

    def __init__(self, database: Database, digest_key: bytes) -> None:
        self._database = database
        self._digest_key = digest_key

    def tombstone_digest(self, source: str, session_id: str) -> bytes:
        """The keyed digest under which a deleted session is remembered."""
        return blake2b(f"{source}\0{session_id}".encode(), key=self._digest_key, digest_size=16).digest()
