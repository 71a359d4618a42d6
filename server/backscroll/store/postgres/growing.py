"""Messages that are stored already and grow."""

from ..recording.ground import StoredMessage, Untold
from . import index
from .ground import OnServer

_MEDIA_SHOWN = (
    "(SELECT count(*) FROM message_media AS mm WHERE mm.user_key = m.user_key AND mm.message_key = m.message_key)"
)


class Growing(OnServer):
    async def digest_at(self, run_key: int, position: int) -> tuple[int, bool]:
        ((seq, stored),) = await self._ask(
            "SELECT seq, stored FROM digests WHERE user_key = %(user)s AND run_key = %(run)s AND position = %(at)s",
            run=run_key,
            at=position,
        )
        return seq, bool(stored)

    def move_digest(self, run_key: int, position: int, digest: bytes, seq: int, stored: int) -> None:
        self._tell(
            "UPDATE digests SET digest = %s, seq = %s, stored = %s "
            "WHERE user_key = %s AND run_key = %s AND position = %s",
            digest, seq, stored, self.user_key, run_key, position,
        )  # fmt: skip

    async def message(self, session_key: int, seq: int) -> StoredMessage | None:
        rows = await self._ask(
            f"SELECT m.message_key, m.role, m.text, m.created_at, {_MEDIA_SHOWN}, c.tool_name, c.arguments "
            "FROM messages AS m LEFT JOIN tool_calls AS c ON c.user_key = m.user_key "
            "AND c.message_key = m.message_key WHERE m.user_key = %(user)s AND m.session_key = %(session)s "
            "AND m.seq = %(seq)s ORDER BY c.ordinal",
            session=session_key,
            seq=seq,
        )
        if not rows:
            return None
        key, role, text, at, media, *_ = rows[0]
        return StoredMessage(key, role, text, at, [(row[5], row[6]) for row in rows if row[5] is not None], media)

    async def retold(self, session_key: int, run_key: int, position: int) -> Untold | None:
        rows = await self._ask(
            f"SELECT m.message_key, m.reasoning, m.payload, {_MEDIA_SHOWN} "
            "FROM digests AS d JOIN messages AS m ON m.user_key = d.user_key AND m.session_key = %(session)s "
            "AND m.seq = d.seq "
            "WHERE d.user_key = %(user)s AND d.run_key = %(run)s AND d.position = %(at)s AND d.stored = 1",
            session=session_key,
            run=run_key,
            at=position,
        )
        return Untold(*rows[0]) if rows else None

    async def dropped_calls(self, run_key: int) -> set[tuple[int, str, str]]:
        rows = await self._ask(
            "SELECT c.ordinal, c.tool_call_id, c.tool_name FROM tool_calls AS c "
            "JOIN runs AS r ON r.user_key = c.user_key AND r.session_key = c.session_key AND r.run_key = c.run_key "
            "WHERE r.user_key = %(user)s AND r.run_key = %(run)s AND c.message_key IS NULL AND c.from_history = 0",
            run=run_key,
        )
        return {(ordinal, call_id, name) for ordinal, call_id, name in rows}

    def unindex(self, message_key: int) -> None:
        """An entry goes with its message, and is written over where that changes."""

    async def reindex(self, message_key: int) -> None:
        await self._make_entries()
        await index.renew(self.writing, [message_key])

    def change_message(self, message_key: int, text: str, reasoning: str | None, payload: str | None) -> None:
        self._tell(
            "UPDATE messages SET text = %s, reasoning = %s, payload = %s WHERE user_key = %s AND message_key = %s",
            text, reasoning, payload, self.user_key, message_key,
        )  # fmt: skip

    def retell_message(self, message_key: int, reasoning: str | None, payload: str | None) -> None:
        self._tell(
            "UPDATE messages SET reasoning = %s, payload = %s WHERE user_key = %s AND message_key = %s",
            reasoning, payload, self.user_key, message_key,
        )  # fmt: skip

    def remove_message(self, message_key: int) -> None:
        self._tell("DELETE FROM messages WHERE user_key = %s AND message_key = %s", self.user_key, message_key)
