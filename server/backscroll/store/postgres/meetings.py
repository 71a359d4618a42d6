"""Runs that came more than one way: what they said, and who told them."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import PreparedRun
from ..meeting import OPENING_BYTES, Said, Way
from ..recording.ground import ALL, CANDIDATES, RunRow
from ..recording.sessions import stored_source
from ..rows import SessionRow, dump, load
from .database import Ask, Writing
from .ground import OnServer


async def note_restored(writing: Writing, session_key: int) -> None:
    """What an archive does not carry: by what its runs are found, and in which ways they came."""
    values = {"user": writing.user_key, "session": session_key, "bytes": OPENING_BYTES}
    await writing.together(
        Ask(
            "UPDATE runs AS r SET opening = (SELECT substr(d.digest, 1, %(bytes)s) FROM digests AS d "
            "WHERE d.user_key = r.user_key AND d.run_key = r.run_key AND d.is_system = 0 AND d.digest <> ''::bytea "
            "ORDER BY d.position LIMIT 1) WHERE r.user_key = %(user)s AND r.session_key = %(session)s",
            values,
        ),
        Ask(
            "INSERT INTO session_ways (user_key, session_key, source, imported) "
            "SELECT DISTINCT user_key, session_key, source, imported FROM runs "
            "WHERE user_key = %(user)s AND session_key = %(session)s ON CONFLICT DO NOTHING",
            values,
        ),
    )


class Meeting(OnServer):
    async def said(self, run_key: int) -> list[Said]:
        rows = await self._ask(
            "SELECT d.digest, d.is_system, d.stored = 0 OR coalesce(m.role = 'tool', false) OR "
            "EXISTS (SELECT 1 FROM tool_calls AS c WHERE c.user_key = m.user_key AND c.message_key = m.message_key) "
            "FROM digests AS d JOIN runs AS r ON r.user_key = d.user_key AND r.run_key = d.run_key "
            "LEFT JOIN messages AS m ON d.stored = 1 AND m.user_key = r.user_key AND m.session_key = r.session_key "
            "AND m.seq = d.seq WHERE d.user_key = %(user)s AND d.run_key = %(run)s ORDER BY d.position",
            run=run_key,
        )
        return [
            Said(digest, "system" if is_system else "tool" if is_tool else "spoken")
            for digest, is_system, is_tool in rows
        ]

    async def status(self, run_key: int) -> str:
        rows = await self._ask("SELECT status FROM runs WHERE user_key = %(user)s AND run_key = %(run)s", run=run_key)
        return str(rows[0][0])

    async def answer_text(self, run_key: int, position: int) -> str | None:
        rows = await self._ask(
            "SELECT m.text FROM digests AS d JOIN runs AS r ON r.user_key = d.user_key AND r.run_key = d.run_key "
            "JOIN messages AS m ON m.user_key = r.user_key AND m.session_key = r.session_key AND m.seq = d.seq "
            "WHERE d.user_key = %(user)s AND d.run_key = %(run)s AND d.position = %(at)s AND d.stored = 1 "
            "AND m.role = 'assistant'",
            run=run_key,
            at=position,
        )
        return str(rows[0][0]) if rows else None

    async def newest_told(self, session_key: int, way: Way) -> int:
        ((newest,),) = await self._ask(
            "SELECT max(run_key) FROM tellings WHERE user_key = %(user)s AND session_key = %(session)s "
            "AND source = %(source)s AND imported = %(imported)s",
            session=session_key,
            source=way.source,
            imported=int(way.imported),
        )
        return newest or 0

    async def candidates(
        self, session: SessionRow, way: Way, others: Sequence[Way], opening: bytes, newest: int, *, later: bool
    ) -> list[int]:
        beyond, order = (">", "ASC") if later else ("<", "DESC")
        told = await self._together(
            *(
                Ask(
                    "SELECT run_key FROM (SELECT run_key FROM runs WHERE user_key = %(user)s "
                    "AND session_key = %(session)s AND imported = %(imported)s AND source = %(source)s "
                    f"AND opening = %(opening)s AND run_key {beyond} %(newest)s ORDER BY run_key {order} "
                    f"LIMIT {CANDIDATES}) AS r WHERE NOT EXISTS (SELECT 1 FROM tellings AS t "
                    "WHERE t.user_key = %(user)s AND t.run_key = r.run_key AND t.source = %(way)s "
                    f"AND t.imported = %(way_imported)s) ORDER BY run_key {order}",
                    {
                        "user": self.user_key,
                        "session": session.session_key,
                        "imported": int(other.imported),
                        "source": stored_source(session.source, other.source),
                        "opening": opening,
                        "newest": newest,
                        "way": way.source,
                        "way_imported": int(way.imported),
                    },
                )
                for other in others
            )
        )
        return [run_key for rows in told for (run_key,) in rows]

    async def told_upto(self, run_key: int, way: Way) -> int:
        ((told,),) = await self._ask(
            "SELECT max(upto) FROM tellings WHERE user_key = %(user)s AND run_key = %(run)s "
            "AND source = %(source)s AND imported = %(imported)s",
            run=run_key,
            source=way.source,
            imported=int(way.imported),
        )
        return int(told)

    async def newest_untold(self, session: SessionRow, way: Way) -> int | None:
        rows = await self._ask(
            "SELECT r.run_key, r.source, r.imported, EXISTS (SELECT 1 FROM tellings AS t "
            "WHERE t.user_key = r.user_key AND t.run_key = r.run_key AND t.source = %(source)s "
            "AND t.imported = %(imported)s) FROM runs AS r WHERE r.user_key = %(user)s "
            "AND r.session_key = %(session)s ORDER BY r.run_index DESC LIMIT 1",
            session=session.session_key,
            source=way.source,
            imported=int(way.imported),
        )
        if not rows:
            return None
        run_key, source, imported, is_told = rows[0]
        may_meet = Way(source or session.source, bool(imported)).may_meet(way)
        return int(run_key) if may_meet and not is_told else None

    def add_telling(self, session: SessionRow, row: RunRow, run: PreparedRun, run_id: str, upto: int) -> None:
        self._tell(
            "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
            "SELECT user_key, run_id, run_key, session_key, coalesce(nullif(source, ''), %s), imported, metrics, %s "
            "FROM runs WHERE user_key = %s AND run_key = %s ON CONFLICT DO NOTHING",
            session.source, ALL, self.user_key, row.run_key,
        )  # fmt: skip
        self._tell(
            "INSERT INTO tellings (user_key, run_id, run_key, session_key, source, imported, metrics, upto) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            self.user_key, run_id, row.run_key, session.session_key, run.source, int(run.imported), dump(run.metrics),
            upto,
        )  # fmt: skip

    def retell_metrics(self, run_id: str, metrics: Mapping[str, Any]) -> None:
        self._tell(
            "UPDATE tellings SET metrics = %s WHERE user_key = %s AND run_id = %s", dump(metrics), self.user_key, run_id
        )

    async def metrics_told(self, run_key: int) -> list[tuple[bool, dict[str, Any]]]:
        rows = await self._ask(
            "SELECT imported, metrics FROM tellings WHERE user_key = %(user)s AND run_key = %(run)s", run=run_key
        )
        return [(bool(imported), load(metrics) or {}) for imported, metrics in rows]
