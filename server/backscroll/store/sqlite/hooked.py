"""What hooks told, as recording makes messages of it and takes it back."""

import sqlite3
from collections.abc import Collection, Sequence

from ..recording.ground import Provisional
from ..rows import dump, unpack_id
from . import index
from .ground import OnFile


class Hooking(OnFile):
    async def provisional(self, source: str, session_ids: Collection[str], run_key: int) -> list[Provisional]:
        found = self.db.execute(
            "SELECT f.fact_key, m.message_key, m.seq, m.text FROM facts AS f "
            "JOIN messages AS m ON m.message_key = f.message_key "
            "WHERE f.user_key = ? AND f.source = ? AND f.session_id IN (SELECT value FROM json_each(?)) "
            "AND f.kind = 'answer' AND m.run_key = ? ORDER BY m.seq",
            (self.user_key, source, dump(list(session_ids)), run_key),
        )
        return [Provisional(*row) for row in found]

    def adopt(self, fact_key: int) -> None:
        self.db.execute("UPDATE facts SET message_key = NULL WHERE fact_key = ?", (fact_key,))

    def wait_again(self, fact_key: int, text: str) -> None:
        self.db.execute("UPDATE facts SET told = 0, text = ?, message_key = NULL WHERE fact_key = ?", (text, fact_key))

    async def claim(self, fact_ids: Sequence[str], run_id: str) -> dict[str, tuple[int, str]]:
        found = self.db.execute(
            "UPDATE facts SET told = 1, text = NULL, arguments = NULL, run_id = ? WHERE user_key = ? "
            "AND fact_id IN (SELECT value FROM json_each(?)) AND told = 0 RETURNING fact_id, fact_key, kind",
            (run_id, self.user_key, dump(list(fact_ids))),
        ).fetchall()
        return {fact_id: (fact_key, kind) for fact_id, fact_key, kind in found}

    def tell_by(self, message_of: Sequence[tuple[int, int]]) -> None:
        self.db.executemany("UPDATE facts SET message_key = ? WHERE fact_key = ?", message_of)

    def reach(self, run_key: int, seq: int) -> None:
        self.db.execute(
            "UPDATE runs SET first_seq = min(coalesce(first_seq, ?1), ?1), last_seq = max(coalesce(last_seq, ?1), ?1) "
            "WHERE run_key = ?2",
            (seq, run_key),
        )

    def end(self, run_key: int, status: str, ended_at: int | None) -> None:
        self.db.execute(
            "UPDATE runs SET status = ?, ended_at = coalesce(?, ended_at) WHERE run_key = ?",
            (status, ended_at, run_key),
        )


def take_back(db: sqlite3.Connection, user_key: int, run_id: bytes | str) -> None:
    """Delete a run that hooks alone told; its facts wait again, with the words that its messages hold.

    Not where a fork shares them: what it was forked from stays as it is, though it will be told twice then.
    """
    found = db.execute(
        "SELECT run_key, session_key FROM runs AS r WHERE user_key = ? AND run_id = ? "
        "AND NOT EXISTS (SELECT 1 FROM digests AS d WHERE d.run_key = r.run_key) "
        "AND NOT EXISTS (SELECT 1 FROM sessions AS f WHERE f.parent_key = r.session_key)",
        (user_key, run_id),
    ).fetchone()
    if found is None:
        return
    run_key, session_key = found
    db.execute(
        "UPDATE facts SET told = 0, message_key = NULL, run_id = NULL, "
        "text = (SELECT m.text FROM messages AS m WHERE m.message_key = facts.message_key), "
        "arguments = (SELECT c.arguments FROM tool_calls AS c WHERE c.result_key = facts.message_key) "
        "WHERE message_key IN (SELECT message_key FROM messages WHERE session_key = ? AND run_key = ?)",
        (session_key, run_key),
    )
    db.execute(
        "UPDATE facts SET told = 0, run_id = NULL WHERE user_key = ? AND run_id = ? AND kind = 'end'",
        (user_key, unpack_id(run_id)),
    )
    keys = [
        key
        for (key,) in db.execute(
            "SELECT message_key FROM messages WHERE session_key = ? AND run_key = ?", (session_key, run_key)
        ).fetchall()
    ]
    index.remove(db, [index.entry_of_message(db, key) for key in keys])
    calls = db.execute("DELETE FROM tool_calls WHERE session_key = ? AND run_key = ?", (session_key, run_key)).rowcount
    for statement in ("DELETE FROM message_media WHERE message_key = ?", "DELETE FROM messages WHERE message_key = ?"):
        db.executemany(statement, [(key,) for key in keys])
    db.execute("DELETE FROM runs WHERE run_key = ?", (run_key,))
    db.execute(
        "UPDATE sessions SET messages = messages - ?, tool_calls = tool_calls - ?, runs = runs - 1 "
        "WHERE session_key = ?",
        (len(keys), calls, session_key),
    )
