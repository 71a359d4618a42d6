"""Runs that came more than one way: what they said, and who told them."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from .. import PreparedRun
from ..meeting import OPENING_BYTES, Said, Way
from ..recording.ground import ALL, CANDIDATES, RunRow
from ..recording.sessions import stored_source
from ..rows import SessionRow, dump, load, pack_id
from .ground import OnFile


def note_restored(db: sqlite3.Connection, session_key: int) -> None:
    """What an archive does not carry: by what its runs are found, and in which ways they came."""
    db.execute(
        "UPDATE runs SET opening = (SELECT substr(d.digest, 1, ?) FROM digests AS d WHERE d.run_key = runs.run_key "
        "AND d.is_system = 0 AND d.digest <> x'' ORDER BY d.position LIMIT 1) WHERE session_key = ?",
        (OPENING_BYTES, session_key),
    )
    db.execute(
        "INSERT OR IGNORE INTO session_ways (session_key, source, imported) "
        "SELECT DISTINCT session_key, source, imported FROM runs WHERE session_key = ?",
        (session_key,),
    )


class Meeting(OnFile):
    async def said(self, run_key: int) -> list[Said]:
        return [
            Said(digest, "system" if is_system else "tool" if is_tool else "spoken")
            for digest, is_system, is_tool in self.db.execute(
                "SELECT d.digest, d.is_system, d.stored = 0 OR m.role = 'tool' OR "
                "EXISTS (SELECT 1 FROM tool_calls AS c WHERE c.message_key = m.message_key) "
                "FROM digests AS d JOIN runs AS r ON r.run_key = d.run_key "
                "LEFT JOIN messages AS m ON d.stored = 1 AND m.session_key = r.session_key AND m.seq = d.seq "
                "WHERE d.run_key = ? ORDER BY d.position",
                (run_key,),
            )
        ]

    async def status(self, run_key: int) -> str:
        (status,) = self.db.execute("SELECT status FROM runs WHERE run_key = ?", (run_key,)).fetchone()
        return str(status)

    async def answer_text(self, run_key: int, position: int) -> str | None:
        row = self.db.execute(
            "SELECT m.text FROM digests AS d JOIN runs AS r ON r.run_key = d.run_key "
            "JOIN messages AS m ON m.session_key = r.session_key AND m.seq = d.seq "
            "WHERE d.run_key = ? AND d.position = ? AND d.stored = 1 AND m.role = 'assistant'",
            (run_key, position),
        ).fetchone()
        return None if row is None else str(row[0])

    async def newest_told(self, session_key: int, way: Way) -> int:
        (newest,) = self.db.execute(
            "SELECT max(run_key) FROM tellings WHERE session_key = ? AND source = ? AND imported = ?",
            (session_key, way.source, int(way.imported)),
        ).fetchone()
        return newest or 0

    async def candidates(
        self, session: SessionRow, way: Way, others: Sequence[Way], opening: bytes, newest: int, *, later: bool
    ) -> list[int]:
        beyond, order = (">", "ASC") if later else ("<", "DESC")
        return [
            run_key
            for other in others
            for (run_key,) in self.db.execute(
                "SELECT run_key FROM (SELECT run_key FROM runs WHERE session_key = ? AND imported = ? "
                f"AND source = ? AND opening = ? AND run_key {beyond} ? ORDER BY run_key {order} "
                f"LIMIT {CANDIDATES}) AS r "
                "WHERE NOT EXISTS (SELECT 1 FROM tellings AS t WHERE t.run_key = r.run_key AND t.source = ? "
                f"AND t.imported = ?) ORDER BY run_key {order}",
                (
                    session.session_key, int(other.imported), stored_source(session.source, other.source), opening,
                    newest, way.source, int(way.imported),
                ),
            )
        ]  # fmt: skip

    async def told_upto(self, run_key: int, way: Way) -> int:
        (told,) = self.db.execute(
            "SELECT max(upto) FROM tellings WHERE run_key = ? AND source = ? AND imported = ?",
            (run_key, way.source, int(way.imported)),
        ).fetchone()
        return int(told)

    async def newest_untold(self, session: SessionRow, way: Way) -> int | None:
        row = self.db.execute(
            "SELECT run_key, source, imported FROM runs WHERE session_key = ? ORDER BY run_index DESC LIMIT 1",
            (session.session_key,),
        ).fetchone()
        if row is None or not Way(row[1] or session.source, bool(row[2])).may_meet(way):
            return None
        told = self.db.execute(
            "SELECT 1 FROM tellings WHERE run_key = ? AND source = ? AND imported = ?",
            (row[0], way.source, int(way.imported)),
        ).fetchone()
        return None if told else int(row[0])

    def add_telling(self, session: SessionRow, row: RunRow, run: PreparedRun, run_id: str, upto: int) -> None:
        self.db.execute(
            "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
            "SELECT user_key, run_id, run_key, session_key, iif(source = '', ?, source), imported, metrics, ? "
            "FROM runs WHERE run_key = ? ON CONFLICT DO NOTHING",
            (session.source, ALL, row.run_key),
        )
        self.db.execute(
            "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.user_key, pack_id(run_id), row.run_key, session.session_key, run.source, int(run.imported),
                dump(run.metrics), upto,
            ),
        )  # fmt: skip

    def retell_metrics(self, run_id: str, metrics: Mapping[str, Any]) -> None:
        self.db.execute(
            "UPDATE tellings SET metrics = ? WHERE user_key = ? AND run_id = ?",
            (dump(metrics), self.user_key, pack_id(run_id)),
        )

    async def metrics_told(self, run_key: int) -> list[tuple[bool, dict[str, Any]]]:
        told = self.db.execute("SELECT imported, metrics FROM tellings WHERE run_key = ?", (run_key,))
        return [(bool(imported), load(metrics) or {}) for imported, metrics in told]
