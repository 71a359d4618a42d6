"""A window of a session in SQL: which messages it is of, and what of them is worth sending.

What fits is found out by the server: of the messages beyond one end of a window as many as may be shown at most, of
these as many as have room by the length of their texts.
"""

from typing import Any, NamedTuple

from ...models import COUNTED_STATUSES
from .. import ChatWindow
from ..message_rows import message_columns
from ..rows import NEWEST
from .database import Ask
from .messages import RUN_OF_MESSAGE, hanging_columns
from .rows import Named, lineage_of

_COUNTED = ", ".join(f"'{status}'" for status in COUNTED_STATUSES)
_COLUMNS = message_columns(chars="%(chars)s", length="m.text_chars")
_UNIQUE = "m.from_history = 0"


def counted_runs(agent: str | None) -> str:
    """A CTE behind `line`: the last `%(runs)s` top-level runs that completed or are running, newest first.

    `counted (run_key, first_seq, place)`, places from 1 on.
    """
    spoken = "" if agent is None else "AND r.agent = %(agent)s "
    return (
        "counted AS (SELECT r.run_key, r.first_seq, row_number() OVER (ORDER BY l.depth, r.run_index DESC) AS place "
        "FROM line AS l CROSS JOIN LATERAL (SELECT r.run_key, r.run_index, coalesce(r.first_seq, 0) AS first_seq "
        "FROM runs AS r WHERE r.user_key = %(user)s AND r.session_key = l.session_key AND r.parent_run_id IS NULL "
        f"AND r.status IN ({_COUNTED}) {spoken}AND coalesce(r.first_seq, 0) <= l.high "
        "ORDER BY r.run_index DESC LIMIT %(runs)s) AS r ORDER BY l.depth, r.run_index DESC LIMIT %(runs)s)"
    )


class Shown(NamedTuple):
    """The messages `m` that a window is of: CTEs with the stretches that it reaches into, and a condition."""

    session: str
    ctes: str
    where: str
    joined: str
    values: dict[str, Any]

    def walk(self, low: str, high: str, direction: str) -> Ask:
        """Messages with low < seq <= high from one end on until the window is full.

        Of each: how many there are on that side (up to one more than may be shown), the number of its session,
        the message's columns, and what hangs on it.
        """
        order = f"ORDER BY m.seq {direction}"
        page = self._between(low, high, "m.*, l.number, l.high", f"{order} LIMIT %(most)s + 1")
        before = (
            f"coalesce(sum(least({{0}}, %(chars)s)) OVER ({order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)"
        ).format
        # A long text's characters are counted by reading it, its bytes are not, and they are four times as many at
        # most: what has no room by that is not read.
        return Ask(
            f"WITH RECURSIVE {self.ctes}, page AS ("
            f"SELECT m.* FROM shown AS l CROSS JOIN LATERAL ({page}) AS m {order} LIMIT %(most)s + 1), "
            f"rough AS (SELECT m.*, row_number() OVER ({order}) AS place, count(*) OVER () AS held, "
            f"{before('octet_length(m.text) / 4')} AS before FROM page AS m), "
            "measured AS MATERIALIZED (SELECT m.*, length(m.text) AS text_chars FROM rough AS m "
            "WHERE m.place = 1 OR m.before < %(chars)s), "
            f"exact AS (SELECT m.*, {before('m.text_chars')} AS chars FROM measured AS m) "
            f"SELECT m.held, m.number, {_COLUMNS}, {hanging_columns('m.high')} FROM exact AS m {RUN_OF_MESSAGE} "
            f"WHERE m.place = 1 OR (m.chars < %(chars)s AND m.place <= %(most)s) {order}",
            self.values,
        )

    def around(self, total: str, *, older: str = "FALSE", newer: str = "FALSE", here: str = "TRUE") -> Ask:
        """One row: the total, whether there are more on either side, and whether what is asked for is there."""
        return Ask(f"WITH RECURSIVE {self.ctes} SELECT {total}, {older}, {newer}, {here}", self.values)

    def any(self, low: str, high: str) -> str:
        """Whether there is any message with low < seq <= high."""
        return _any(self._between(low, high, "1", "LIMIT 1"))

    def is_there(self, seq: str) -> str:
        """Whether there is such a message, shown or filtered out."""
        return _any(self._replace(where="TRUE", joined="")._between(f"{seq} - 1", seq, "1", "LIMIT 1"))

    def total(self, window: ChatWindow) -> str:
        """How many messages in all. The session's row knows, save of forks and of what is filtered."""
        count = self._between("0", str(NEWEST), "count(*) AS held", "")
        counted = f"(SELECT coalesce(sum(m.held), 0)::bigint FROM shown AS l CROSS JOIN LATERAL ({count}) AS m)"
        if self.where not in ("TRUE", _UNIQUE):
            return counted
        known = "s.messages - s.history_messages" if window.unique else "s.messages"
        return (
            "(SELECT CASE WHEN s.parent_key IS NULL AND coalesce(%(as_of)s::bigint, s.last_seq) = s.last_seq "
            f"THEN {known} ELSE {counted} END FROM sessions AS s WHERE {self.session})"
        )

    def _between(self, low: str, high: str, what: str, rest: str) -> str:
        """A stretch's messages."""
        return (
            f"SELECT {what} FROM messages AS m {self.joined}WHERE m.user_key = %(user)s "
            f"AND m.session_key = l.session_key AND m.seq > greatest(l.low, {low}) AND m.seq <= least(l.high, {high}) "
            f"AND {self.where} {rest}"
        )


def _any(one: str) -> str:
    return f"EXISTS (SELECT 1 FROM shown AS l CROSS JOIN LATERAL ({one}) AS m)"


def shown_in(one: Named, window: ChatWindow) -> Shown:
    ctes = [lineage_of(one.where)]
    conditions = []
    lowest = "0"
    if window.unique:
        conditions.append(_UNIQUE)
    if not window.include_tool_messages:
        # What an assistant said beside a call stays; a message that only called goes.
        conditions.append("m.role <> 'tool' AND (m.role <> 'assistant' OR m.text <> '')")
    if window.num_history_runs is not None:
        ctes.append(counted_runs(window.agent))
        conditions.append("m.run_key = ANY(ARRAY(SELECT run_key FROM counted))")
        lowest = "coalesce((SELECT min(first_seq) FROM counted), 1) - 1"
    if window.agent is not None:
        conditions.append("r.agent = %(agent)s")
    as_of = "coalesce(%(as_of)s::bigint, newest)"
    ctes.append(
        f"shown AS (SELECT session_key, number, greatest(low, {lowest}) AS low, least(high, {as_of}) AS high "
        f"FROM line WHERE low < {as_of} AND high > {lowest})"
    )
    return Shown(
        one.where,
        ", ".join(ctes),
        " AND ".join(conditions) or "TRUE",
        "" if window.agent is None else "JOIN runs AS r ON r.user_key = m.user_key AND r.run_key = m.run_key ",
        {
            **one.values,
            "agent": window.agent,
            "as_of": window.as_of,
            "runs": window.num_history_runs,
            "most": window.max_messages,
            "chars": window.max_chars,
            "before": window.before,
            "start": window.start,
            "around": window.around,
        },
    )
