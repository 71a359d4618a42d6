"""What recording usually asks about a run, as statements that need no answer of each other's.

Sessions and runs are named by their ids within each. What is not among the answers is asked for when it is wanted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from .. import PreparedRun
from ..meeting import Way
from ..recording.deciding import tail_length
from ..recording.ground import Past, PendingCall, Provisional, RunRow
from ..recording.placing import aside
from ..rows import NEWEST, SessionRow, load
from .database import Ask, Row
from .rows import SESSION_COLUMNS

_MAX_DIGITS = 15


class TailKey(NamedTuple):
    """Which end of a session is meant. `before` is the index of a run."""

    session_key: int
    before: int | None
    wanted: int
    nested: bool


@dataclass(slots=True)
class Answers:
    """What was foreseen, by what is asked for. None stands for what is not there."""

    sessions: dict[str, Past | None] = field(default_factory=dict)
    runs: dict[str, RunRow | None] = field(default_factory=dict)
    digests: dict[int, list[bytes]] = field(default_factory=dict)
    tails: dict[TailKey, list[bytes]] = field(default_factory=dict)
    pending: dict[int, dict[str, list[PendingCall]]] = field(default_factory=dict)
    """By session, of all ids that results of the run name. Old as soon as a call is told of."""
    provisional: dict[int, list[Provisional]] = field(default_factory=dict)
    """By run."""
    buried: dict[tuple[str, bytes], int | None] | None = None
    """`said_before` of what was deleted among the run's tombstones."""


class Foresight:
    """The statements for one run. `answered` takes their answers; further ones may follow them."""

    def __init__(self, user_key: UUID, run: PreparedRun) -> None:
        self.run = run
        self._user = user_key
        # An import may be kept beside another source's session, under other ids.
        self._refs = _spelled(run, run.session_id)
        self._run_ids = _spelled(run, run.run_id)
        self._wanted: dict[str, int] = {}
        for message in run.messages:
            if message.role == "tool":
                call_id = message.tool_call_id or ""
                self._wanted[call_id] = self._wanted.get(call_id, 0) + 1
        self._needs_tail = not run.imported and bool(self._refs or self._run_ids)
        # What a host calls the session, if that is told.
        self._host_ids = {ref.removeprefix(f"{run.source}:") for ref in self._refs} | {*self._refs}
        self._needs_provisional = bool(self._run_ids and self._refs and number_in(self._refs[0]) is None)
        self._needs_pending = bool(self._wanted and (self._refs or self._run_ids))
        self.asks = [*self._asks()]

    def _asks(self) -> list[Ask]:
        asks = [session_named(self._user, ref) for ref in self._refs]
        for run_id in self._run_ids:
            asks += [run_of_id(self._user, run_id), digests_of_id(self._user, run_id)]
        if self._needs_tail:
            asks.append(self._tail())
        if self._needs_provisional:
            asks += [
                provisional_of(self._user, self.run.source, self._host_ids, _KEY_OF_ID, run_id=run_id)
                for run_id in self._run_ids
            ]
        if self._needs_pending:
            asks.append(self._pending())
        if self.run.tombstones:
            asks.append(tombstones_among(self._user, self.run.tombstones))
        return asks

    def answered(self, told: Sequence[Sequence[Row]]) -> Answers:
        answers, rows = Answers(), iter(told)
        for ref in self._refs:
            answers.sessions[ref] = past_of(next(rows))
        for run_id in self._run_ids:
            run = answers.runs[run_id] = run_of(next(rows))
            digests = [digest for (digest,) in next(rows)]
            if run is not None:
                answers.digests[run.run_key] = digests
        found = [past for past in answers.sessions.values() if past is not None]
        known = [run for run in answers.runs.values() if run is not None]
        if self._needs_tail:
            tail = [digest for (digest,) in next(rows)][::-1]
            wanted, nested = tail_length(self.run), self.run.parent_run_id is not None
            # A fork's tail may go on with what it shares.
            for past in found:
                if past.row.parent_key is None or len(tail) >= wanted:
                    before = next((run.run_index for run in known if run.session_key == past.row.session_key), None)
                    answers.tails[TailKey(past.row.session_key, before, wanted, nested)] = tail
        if self._needs_provisional:
            for run_id in self._run_ids:
                provisional = [Provisional(*row) for row in next(rows)]
                if (run := answers.runs[run_id]) is not None:
                    answers.provisional[run.run_key] = provisional
        if self._needs_pending:
            answers.pending = {past.row.session_key: {} for past in found}
            for session_key, call_id, *call in next(rows):
                answers.pending.setdefault(session_key, {}).setdefault(call_id, []).append(PendingCall(*call))
        if self.run.tombstones:
            answers.buried = {(source, digest): said_before for source, digest, said_before in next(rows)}
        return answers

    def _tail(self) -> Ask:
        nested = self.run.parent_run_id is not None
        values = {**self._named(), "wanted": tail_length(self.run), "high": NEWEST}
        return Ask(tail_of(f"({self._sessions()})", _BEFORE if self._run_ids else str(NEWEST), nested=nested), values)

    def _pending(self) -> Ask:
        return pending_calls(f"ANY(ARRAY({self._sessions()}))", self._wanted, self._named())

    def _sessions(self) -> str:
        """The keys of the sessions that are named: one, or two where an import may be kept beside another's."""
        if not self._refs:
            return "SELECT n.session_key FROM runs AS n WHERE n.user_key = %(user)s AND n.run_id = %(run_id)s"
        named = "session_id = ANY(%(refs)s::text[])" if number_in(self._refs[0]) is None else "number = %(number)s"
        return f"SELECT n.session_key FROM sessions AS n WHERE n.user_key = %(user)s AND n.{named}"

    def _named(self) -> dict[str, Any]:
        number = number_in(self._refs[0]) if self._refs else None
        return {"user": self._user, "refs": self._refs, "number": number, "run_id": self.run.run_id}


def _spelled(run: PreparedRun, named: str | None) -> list[str]:
    if named is None:
        return []
    return [named, aside(run.source, named)] if run.imported else [named]


def number_in(ref: str) -> int | None:
    """Of `#12`. -1, which no session has, of what only looks like it."""
    if not ref.startswith("#"):
        return None
    digits = ref[1:]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS else -1


# Statements, and what their rows are


def session_named(user_key: UUID, ref: str) -> Ask:
    number = number_in(ref)
    column, value = ("session_id", ref) if number is None else ("number", number)
    return Ask(f"{_PAST} AND s.{column} = %s", (user_key, value))


def session_of_key(user_key: UUID, session_key: int) -> Ask:
    return Ask(f"{_PAST} AND s.session_key = %s", (user_key, session_key))


_PAST = (
    f"SELECT {SESSION_COLUMNS}, "
    "(SELECT max(u.last_seq) FROM summaries AS u WHERE u.user_key = s.user_key AND u.session_key = s.session_key), "
    "ARRAY(SELECT w.source FROM session_ways AS w WHERE w.user_key = s.user_key AND w.session_key = s.session_key "
    "AND w.imported = 0), "
    "ARRAY(SELECT w.source FROM session_ways AS w WHERE w.user_key = s.user_key AND w.session_key = s.session_key "
    "AND w.imported = 1) FROM sessions AS s WHERE s.user_key = %s"
)


def past_of(rows: Sequence[Row]) -> Past | None:
    if not rows:
        return None
    *columns, covered, recorded, imported = rows[0]
    row = SessionRow._make(columns)
    ways = [Way(source or row.source, False) for source in recorded]
    return Past(row, covered or 0, [*ways, *(Way(source or row.source, True) for source in imported)])


def run_of_id(user_key: UUID, run_id: str) -> Ask:
    return Ask(f"{_RUN} AND r.run_key = {_KEY_OF_ID}", {"user": user_key, "run_id": run_id})


def run_of_key(user_key: UUID, run_key: int) -> Ask:
    return Ask(f"{_RUN} AND r.run_key = %(key)s", {"user": user_key, "key": run_key})


_KEY_OF_ID = (
    "coalesce((SELECT n.run_key FROM runs AS n WHERE n.user_key = %(user)s AND n.run_id = %(run_id)s), "
    "(SELECT t.run_key FROM tellings AS t WHERE t.user_key = %(user)s AND t.run_id = %(run_id)s))"
)
_BEFORE = (
    f"coalesce((SELECT n.run_index FROM runs AS n WHERE n.user_key = %(user)s AND n.run_key = {_KEY_OF_ID}), {NEWEST})"
)
_RUN = (
    "SELECT r.run_key, r.session_key, r.run_id, r.run_index, r.status, r.agent, r.metrics, "
    "(SELECT count(*) FROM digests AS d WHERE d.user_key = r.user_key AND d.run_key = r.run_key), r.history_count, "
    "r.history_digest, r.first_seq, r.last_seq, "
    "EXISTS (SELECT 1 FROM tellings AS t WHERE t.user_key = r.user_key AND t.run_key = r.run_key), r.model, "
    "r.metadata, r.ended_at FROM runs AS r WHERE r.user_key = %(user)s"
)


def run_of(rows: Sequence[Row]) -> RunRow | None:
    if not rows:
        return None
    key, session_key, run_id, run_index, status, agent, metrics, received, count, digest, first_seq, *more = rows[0]
    last_seq, met, model, metadata, ended_at = more
    return RunRow(
        key, session_key, run_id, run_index, status, agent, load(metrics) or {}, received, count, digest, first_seq,
        last_seq, met, model, load(metadata), ended_at,
    )  # fmt: skip


def digests_of_id(user_key: UUID, run_id: str) -> Ask:
    return Ask(f"{_DIGESTS} AND d.run_key = {_KEY_OF_ID} {_IN_ORDER}", {"user": user_key, "run_id": run_id})


def digests_of_key(user_key: UUID, run_key: int) -> Ask:
    return Ask(f"{_DIGESTS} AND d.run_key = %(key)s {_IN_ORDER}", {"user": user_key, "key": run_key})


_DIGESTS = "SELECT d.digest FROM digests AS d WHERE d.user_key = %(user)s"
_IN_ORDER = "ORDER BY d.position"


def tail_of(session: str, before: str, *, nested: bool, only_words: bool = False) -> str:
    """The newest digests first, at most `wanted` of them and none above seq `high`. `session` and `before` are SQL.

    Goes back through the runs that have any, each a look into an index, whatever the planner knows of the tables.
    """
    top_level = "" if nested else "AND r.parent_run_id IS NULL "
    told = (
        "FROM digests AS d WHERE d.user_key = r.user_key AND d.run_key = r.run_key AND d.seq <= %(high)s "
        f"AND d.is_system = 0 {_ONLY_WORDS if only_words else ''}"
    )
    return (
        "SELECT d.digest FROM (SELECT r.user_key, r.session_key, r.run_key, r.run_index FROM runs AS r "
        f"WHERE r.user_key = %(user)s AND r.session_key = {session} AND r.run_index < {before} {top_level}"
        f"AND (SELECT 1 {told}LIMIT 1) IS NOT NULL ORDER BY r.run_index DESC LIMIT %(wanted)s) AS r "
        f"CROSS JOIN LATERAL (SELECT d.digest, d.position {told}ORDER BY d.position DESC LIMIT %(wanted)s) AS d "
        "ORDER BY r.run_index DESC, d.position DESC LIMIT %(wanted)s"
    )


_ONLY_WORDS = (
    "AND EXISTS (SELECT 1 FROM messages AS m WHERE d.stored = 1 AND m.user_key = r.user_key "
    "AND m.session_key = r.session_key AND m.seq = d.seq AND m.role <> 'tool' AND NOT EXISTS ("
    "SELECT 1 FROM tool_calls AS c WHERE c.user_key = m.user_key AND c.message_key = m.message_key)) "
)


def pending_calls(session: str, wanted: dict[str, int], values: dict[str, Any]) -> Ask:
    """Calls of these ids that wait, the oldest first, as many of each as are wanted. `session` is SQL."""
    return Ask(
        "SELECT c.session_key, w.id, c.tool_name, c.message_key, c.call_key "
        "FROM unnest(%(call_ids)s::text[], %(counts)s::bigint[]) AS w (id, wanted) CROSS JOIN LATERAL ("
        "SELECT o.session_key, o.tool_name, o.message_key, o.call_key FROM tool_calls AS o "
        f"WHERE o.user_key = %(user)s AND o.session_key = {session} AND o.tool_call_id = w.id "
        "AND o.status = 'pending' AND o.from_history = 0 ORDER BY o.call_key LIMIT w.wanted) AS c "
        "ORDER BY c.call_key",
        {**values, "call_ids": list(wanted), "counts": list(wanted.values())},
    )


def provisional_of(user_key: UUID, source: str, session_ids: Collection[str], run: str, **values: Any) -> Ask:
    """Answers that hooks told of a run, by what its host may call the session. `run` is SQL."""
    return Ask(
        "SELECT f.fact_key, m.message_key, m.seq, m.text FROM facts AS f "
        "JOIN messages AS m ON m.user_key = f.user_key AND m.message_key = f.message_key "
        "WHERE f.user_key = %(user)s AND f.source = %(source)s AND f.session_id = ANY(%(sessions)s::text[]) "
        f"AND f.kind = 'answer' AND m.run_key = {run} ORDER BY m.seq",
        {"user": user_key, "source": source, "sessions": list(session_ids), **values},
    )


def tombstones_among(user_key: UUID, tombstones: Sequence[tuple[str, bytes]]) -> Ask:
    return Ask(
        "SELECT t.source, t.digest, t.said_before FROM unnest(%s::text[], %s::bytea[]) AS n (source, digest) "
        "JOIN tombstones AS t ON t.user_key = %s AND t.source = n.source AND t.digest = n.digest",
        ([source for source, _ in tombstones], [digest for _, digest in tombstones], user_key),
    )
