"""Tool calls with their results, newest first."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ...errors import MessageNotFound
from ...models import ToolCall
from .. import CallsFound, CallWindow
from ..message_rows import call_columns, call_of
from ..rows import NEWEST, ascii_lower
from .database import Ask, Row, user_key
from .part import Part
from .rows import Named, lineage_of, named, session_asked, session_told

_columns = partial(call_columns, chars="%(chars)s")
_NEWEST_FIRST = "ORDER BY c.called_at DESC, c.call_key DESC"
# What belongs to a call is looked up call by call: joined freely, it would now and then be read for all of them.
_TABLES = (
    "{calls} AS c "
    "CROSS JOIN LATERAL (SELECT s.number FROM sessions AS s "
    "WHERE s.user_key = %(user)s AND s.session_key = c.session_key LIMIT 1) AS s "
    "CROSS JOIN LATERAL (SELECT r.run_id, r.agent, r.first_seq FROM runs AS r "
    "WHERE r.user_key = %(user)s AND r.run_key = c.run_key LIMIT 1) AS r "
    "LEFT JOIN LATERAL (SELECT m.seq FROM messages AS m "
    "WHERE m.user_key = %(user)s AND m.message_key = c.message_key LIMIT 1) AS m ON TRUE "
    "LEFT JOIN LATERAL (SELECT f.message_key, f.seq, f.text FROM messages AS f "
    "WHERE f.user_key = %(user)s AND f.message_key = c.result_key{visible} LIMIT 1) AS f ON TRUE"
).format


class Filters(NamedTuple):
    """Which calls, in SQL: of calls `c` of a user, their runs `r`, messages `m` and results `f`.

    Where a session is named, `ctes` hold its `line`, and the calls are of the stretch `l`: then `visible` hides
    results that came after the cut of a fork, where `status` is pending.
    """

    ctes: tuple[str, ...]
    where: tuple[str, ...]
    own: tuple[str, ...]
    """`where` for a stretch that nothing cuts: of the calls alone."""
    values: dict[str, Any]
    session: Named | None = None
    visible: str = ""
    status: str = "c.status"

    @property
    def tables(self) -> str:
        return _TABLES(calls="tool_calls", visible=self.visible)

    @property
    def columns(self) -> str:
        return _columns(status=self.status)

    def with_ctes(self, *more: str) -> str:
        ctes = (*self.ctes, *more)
        return f"WITH RECURSIVE {', '.join(ctes)} " if ctes else ""

    def newest(self, columns: str, more: Sequence[str], limit: str, *, joined: bool = False) -> str:
        """These columns, the call's time and key among them, of the newest calls that match, `more` conditions
        included. `joined`: these are of more than the calls."""
        order = f"{_NEWEST_FIRST} LIMIT %({limit})s"
        one = f"SELECT {columns} FROM {self.tables} WHERE {' AND '.join([*self.where, *more])} {order}"
        if self.session is not None:
            return f"SELECT c.* FROM line AS l CROSS JOIN LATERAL ({one}) AS c {order}"
        if joined:
            return one
        # What hangs on a call is looked up when it is clear which calls there are.
        calls = f"(SELECT c.* FROM tool_calls AS c WHERE {' AND '.join([*self.own, *more])} {order})"
        return f"SELECT {columns} FROM {_TABLES(calls=calls, visible='')} {_NEWEST_FIRST}"

    def counted(self, more: Sequence[str], *, joined: bool) -> str:
        """How many match, `more` conditions included. Joins make counting four times as long: unless these ask for
        them (`joined`), only shared stretches do."""
        whole = f"(SELECT count(*) FROM {self.tables} WHERE {' AND '.join([*self.where, *more])})"
        own = f"(SELECT count(*) FROM tool_calls AS c WHERE {' AND '.join([*self.own, *more])})"
        if self.session is None:
            return whole if joined else own
        one = whole if joined else f"CASE WHEN l.high = {NEWEST} THEN {own} ELSE {whole} END"
        return f"(SELECT coalesce(sum({one}), 0)::bigint FROM line AS l)"


def filters(user_id: str, session: Named | None, tool_name: str | None, status: str | None) -> Filters:
    """A user's own calls, copies in history aside, as a fork sees them where the session is one."""
    values: dict[str, Any] = {"user": user_key(user_id), "tool": ascii_lower(tool_name or ""), "status": status}
    own = ["c.user_key = %(user)s", "c.from_history = 0"]
    if tool_name is not None:
        own.append('lower(c.tool_name COLLATE "C") = %(tool)s')
    if session is not None:
        own.append("c.session_key = l.session_key")
    where = [*own]
    visible, shown_status = "", "c.status"
    if session is not None:
        values |= session.values
        # A call that left no message behind stands where its run does.
        where.append(f"(l.high = {NEWEST} OR coalesce(m.seq, f.seq, r.first_seq) <= l.high)")
        # A result that came after the cut of a fork is not the fork's: there the call is pending.
        visible = " AND f.seq <= l.high"
        shown_status = "CASE WHEN c.result_key IS NOT NULL AND f.message_key IS NULL THEN 'pending' ELSE c.status END"
    if status is not None:
        where.append(f"{shown_status} = %(status)s")
        own.append("c.status = %(status)s")
    ctes = () if session is None else (lineage_of(session.where),)
    return Filters(ctes, tuple(where), tuple(own), values, session, visible, shown_status)


class Calls(Part):
    async def tool_calls(self, user_id: str, window: CallWindow) -> CallsFound:
        one = None if window.session is None else named(user_id, window.session)
        told = filters(user_id, one, window.tool_name, window.status)
        values = {
            **told.values, "as_of": window.as_of, "chars": window.max_chars, "limit": window.limit,
            "recent": window.recent,
        }  # fmt: skip
        more = [] if window.as_of is None else ["c.call_key <= %(as_of)s"]
        ctes: tuple[str, ...] = ()
        if window.signs:
            recent = told.newest("c.call_key, c.called_at", more, "recent")
            ctes = (f"recent AS MATERIALIZED ({recent})",)
            more = ["c.call_key = ANY(ARRAY(SELECT call_key FROM recent))"]
        for i, sign in enumerate(window.signs):
            held = " OR ".join(f"strpos({text}, %(sign{i})s) > 0" for text in ("c.arguments", "f.text", "c.tool_name"))
            more.append(f"({held})")
            values[f"sign{i}"] = sign
        signs = bool(window.signs)
        total = told.counted(more, joined=signs)
        if not signs and window.tool_name is None and window.status is None:
            total = _known(one, total)
        if window.after is not None:
            more.append("(c.called_at, c.call_key) < (%(after_at)s, %(after_key)s)")
            values["after_at"], values["after_key"] = window.after
        asked = [
            Ask(
                f"{told.with_ctes(*ctes)}SELECT {total}, "
                f"coalesce(%(as_of)s::bigint, (SELECT last_call_key FROM users WHERE user_key = %(user)s), 0)",
                values,
            ),
            Ask(f"{told.with_ctes(*ctes)}{told.newest(told.columns, more, 'limit', joined=signs)}", values),
        ]
        (counted, rows), found = await self._asked(asked, one)
        session = None if one is None else session_told(found, window.session or "")
        return CallsFound(
            None if session is None else session.value(),
            tuple(map(call_of, rows)),
            tuple((row[1], row[0]) for row in rows),
            counted[0][0],
            counted[0][1],
        )

    async def _asked(self, asked: Sequence[Ask], session: Named | None) -> tuple[list[list[Row]], list[Row]]:
        """The answers, and the row of the session where one is named."""
        if session is None:
            return await self._database.fetch(*asked), []
        *told, found = await self._database.fetch(*asked, session_asked(session))
        return told, found

    async def call_text(
        self, user_id: str, call_key: int, *, field: str, offset: int, max_chars: int
    ) -> tuple[ToolCall, str, int]:
        column = {"arguments": "c.arguments", "result": "f.text"}[field]
        (rows,) = await self._database.fetch(
            Ask(
                f"SELECT {_columns(status='c.status')}, substr({column}, %(offset)s + 1, %(most)s), length({column}) "
                f"FROM {_TABLES(calls='tool_calls', visible='')} WHERE c.user_key = %(user)s AND c.call_key = %(call)s",
                {"user": user_key(user_id), "call": call_key, "offset": offset, "most": max_chars, "chars": 0},
            )
        )
        if not rows:
            raise MessageNotFound("of this cursor")
        return call_of(rows[0][:-2]), rows[0][-2] or "", rows[0][-1] or 0


def _known(session: Named | None, counted: str) -> str:
    """What sessions know of the number of their calls, unless others came since `as_of` or were shared by a fork."""
    none_since = "coalesce(%(as_of)s >= (SELECT u.last_call_key FROM users AS u WHERE u.user_key = %(user)s), TRUE)"
    if session is None:
        known = "(SELECT coalesce(sum(tool_calls), 0)::bigint FROM sessions WHERE user_key = %(user)s)"
        return f"CASE WHEN {none_since} THEN {known} ELSE {counted} END"
    return (
        f"(SELECT CASE WHEN s.parent_key IS NULL AND {none_since} THEN s.tool_calls ELSE {counted} END "
        f"FROM sessions AS s WHERE {session.where})"
    )


def calls_asked(call_keys: Sequence[int], told: Filters, max_chars: int) -> Ask:
    """Calls of the user as a fork may see them, by their keys; texts are cut to `max_chars`. See `call_of`."""
    line = "" if told.session is None else "line AS l CROSS JOIN "
    of_line = "" if told.session is None else " AND c.session_key = l.session_key"
    return Ask(
        f"{told.with_ctes()}SELECT {told.columns} FROM {line}{told.tables} "
        f"WHERE c.user_key = %(user)s AND c.call_key = ANY(%(keys)s::bigint[]){of_line}",
        {**told.values, "keys": list(call_keys), "chars": max_chars},
    )
