"""Messages that are stored already and grow."""

from ..recording.ground import StoredMessage, Untold
from . import index
from .ground import OnFile


class Growing(OnFile):
    async def digest_at(self, run_key: int, position: int) -> tuple[int, bool]:
        seq, stored = self.db.execute(
            "SELECT seq, stored FROM digests WHERE run_key = ? AND position = ?", (run_key, position)
        ).fetchone()
        return seq, bool(stored)

    def move_digest(self, run_key: int, position: int, digest: bytes, seq: int, stored: int) -> None:
        self.db.execute(
            "UPDATE digests SET digest = ?, seq = ?, stored = ? WHERE run_key = ? AND position = ?",
            (digest, seq, stored, run_key, position),
        )

    async def message(self, session_key: int, seq: int) -> StoredMessage | None:
        row = self.db.execute(
            "SELECT message_key, role, text, created_at, "
            "(SELECT count(*) FROM message_media AS mm WHERE mm.message_key = m.message_key) "
            "FROM messages AS m WHERE session_key = ? AND seq = ?",
            (session_key, seq),
        ).fetchone()
        if row is None:
            return None
        key, role, text, at, media = row
        calls = self.db.execute(
            "SELECT tool_name, arguments FROM tool_calls WHERE message_key = ? ORDER BY ordinal", (key,)
        ).fetchall()
        return StoredMessage(key, role, text, at, calls, media)

    async def retold(self, session_key: int, run_key: int, position: int) -> Untold | None:
        found = self.db.execute(
            "SELECT m.message_key, m.reasoning, m.payload, "
            "(SELECT count(*) FROM message_media AS mm WHERE mm.message_key = m.message_key) "
            "FROM digests AS d JOIN messages AS m ON m.session_key = ? AND m.seq = d.seq "
            "WHERE d.run_key = ? AND d.position = ? AND d.stored = 1",
            (session_key, run_key, position),
        ).fetchone()
        return None if found is None else Untold(*found)

    async def dropped_calls(self, run_key: int) -> set[tuple[int, str, str]]:
        return set(
            self.db.execute(
                "SELECT ordinal, tool_call_id, tool_name FROM tool_calls WHERE run_key = ? AND message_key IS NULL "
                "AND from_history = 0",
                (run_key,),
            )
        )

    def unindex(self, message_key: int) -> None:
        index.remove(self.db, [index.entry_of_message(self.db, message_key)])

    async def reindex(self, message_key: int) -> None:
        index.add_again(self.db, [index.entry_of_message(self.db, message_key)])

    def change_message(self, message_key: int, text: str, reasoning: str | None, payload: str | None) -> None:
        self.db.execute(
            "UPDATE messages SET text = ?, reasoning = ?, payload = ? WHERE message_key = ?",
            (text, reasoning, payload, message_key),
        )

    def retell_message(self, message_key: int, reasoning: str | None, payload: str | None) -> None:
        self.db.execute(
            "UPDATE messages SET reasoning = ?, payload = ? WHERE message_key = ?", (reasoning, payload, message_key)
        )

    def remove_message(self, message_key: int) -> None:
        self.db.execute("DELETE FROM message_media WHERE message_key = ?", (message_key,))
        self.db.execute("DELETE FROM messages WHERE message_key = ?", (message_key,))
