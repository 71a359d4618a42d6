"""What is known of the past when a run comes: the run itself, its session's newest digests, calls that wait."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..recording.ground import PendingCall, RunRow
from ..rows import SessionRow, load, pack_id, unpack_id
from .ground import OnFile
from .rows import lineage


class Knowing(OnFile):
    async def run(self, run_id: str) -> RunRow | None:
        packed = pack_id(run_id)
        found = self.db.execute(
            "SELECT run_key FROM runs WHERE user_key = ? AND run_id = ? UNION ALL "
            "SELECT run_key FROM tellings WHERE user_key = ? AND run_id = ? LIMIT 1",
            (self.user_key, packed, self.user_key, packed),
        ).fetchone()
        return None if found is None else await self.run_by_key(found[0])

    async def run_by_key(self, run_key: int) -> RunRow:
        return _run_row(self.db.execute(f"{_RUN} WHERE r.run_key = ?", (run_key,)).fetchone())

    async def digests(self, run_key: int) -> list[bytes]:
        rows = self.db.execute("SELECT digest FROM digests WHERE run_key = ? ORDER BY position", (run_key,))
        return [digest for (digest,) in rows]

    async def tail(
        self, session: SessionRow, before: int | None, wanted: int, *, nested: bool, only_words: bool = False
    ) -> list[bytes]:
        newest: list[bytes] = []
        narrowed = ("" if nested else "AND r.parent_run_id IS NULL") + (_ONLY_WORDS if only_words else "")
        for depth, stretch in enumerate(lineage(self.db, session)):
            if len(newest) >= wanted:
                break
            limit = before if depth == 0 and before is not None else 1 << 62
            rows = self.db.execute(
                "SELECT d.digest FROM runs AS r JOIN digests AS d ON d.run_key = r.run_key "
                f"WHERE r.session_key = ? AND r.run_index < ? AND d.seq <= ? AND d.is_system = 0 {narrowed} "
                "ORDER BY r.run_index DESC, d.position DESC LIMIT ?",
                (stretch.session_key, limit, stretch.high, wanted - len(newest)),
            )
            newest.extend(digest for (digest,) in rows)
        return newest[::-1]

    async def pending(self, session_key: int, wanted: Mapping[str, int]) -> dict[str, list[PendingCall]]:
        waiting = {}
        for call_id, count in wanted.items():
            found = self.db.execute(
                "SELECT tool_name, message_key, call_key FROM tool_calls WHERE session_key = ? AND tool_call_id = ? "
                "AND status = 'pending' AND from_history = 0 ORDER BY call_key LIMIT ?",
                (session_key, call_id, count),
            ).fetchall()
            if found:
                waiting[call_id] = [PendingCall(*row) for row in found]
        return waiting


_ONLY_WORDS = (
    " AND EXISTS (SELECT 1 FROM messages AS m WHERE d.stored = 1 AND m.session_key = r.session_key "
    "AND m.seq = d.seq AND m.role <> 'tool' "
    "AND NOT EXISTS (SELECT 1 FROM tool_calls AS c WHERE c.message_key = m.message_key))"
)

_RUN = (
    "SELECT r.run_key, r.session_key, r.run_id, r.run_index, r.status, r.agent, r.metrics, "
    "(SELECT count(*) FROM digests AS d WHERE d.run_key = r.run_key), r.history_count, r.history_digest, r.first_seq, "
    "r.last_seq, EXISTS (SELECT 1 FROM tellings AS t WHERE t.run_key = r.run_key), r.model, r.metadata, r.ended_at "
    "FROM runs AS r"
)


def _run_row(row: Sequence[Any]) -> RunRow:
    key, session_key, run_id, run_index, status, agent, metrics, received, count, digest, first_seq, *more = row
    last_seq, met, model, metadata, ended_at = more
    return RunRow(
        key, session_key, unpack_id(run_id), run_index, status, agent, load(metrics) or {}, received, count, digest,
        first_seq, last_seq, bool(met), model, load(metadata), ended_at,
    )  # fmt: skip
