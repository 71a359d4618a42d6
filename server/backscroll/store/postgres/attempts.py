"""Tool calls that hold what a query says."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from .. import CallMatches, CallSearch, Search
from ..attempts import matches_of
from ..holding import OWN_CHARS, Call
from ..message_rows import call_of
from ..wishes import Among, ArgumentsOf, CallsOf, CallValues, Wish
from .answering import Answers, Asked, Done, Rows
from .calls import Filters, calls_asked, filters
from .database import Ask, Database, user_key
from .frequencies import Frequencies
from .rows import named
from .scoping import Scope, scope_of
from .searching import Searching


class Attempting(Searching):
    async def find_calls(self, user_id: str, search: CallSearch) -> CallMatches:
        session, scope = await scope_of(self._database, user_key(user_id), Search((), session=search.session))
        assert scope is not None, "only a number of sessions can leave none"
        one = None if search.session is None else named(user_id, search.session)
        told = filters(user_id, one, search.tool_name, search.status)
        answers = _CallAnswers(self._database, scope, search.as_of, self._frequencies, told)
        as_of = await answers.as_of()
        found = await answers.run(matches_of(search, None if session is None else session.value(), as_of))
        answers.remember()
        return found


class _CallAnswers(Answers):
    """What is asked of calls too. What the answers come to is worked out beside the event loop: some 20 ms."""

    def __init__(
        self, database: Database, scope: Scope, as_of: int | None, frequencies: Frequencies, told: Filters
    ) -> None:
        super().__init__(database, scope, as_of, frequencies)
        self._filters = told

    async def going_on(self, step: Callable[[], Sequence[Wish] | Done]) -> Sequence[Wish] | Done:
        return await asyncio.to_thread(step)

    def asked(self, wish: Wish) -> Asked:
        match wish:
            case CallsOf():
                return self._calls_of(wish)
            case Among():
                return self._among(wish)
            case CallValues():
                ask = calls_asked(wish.keys, self._filters, wish.max_chars)
                return Asked([ask] if wish.keys else [], _values_by_key)
            case ArgumentsOf():
                values = (self.scope.user_key, wish.call_key)
                statement = "SELECT arguments FROM tool_calls WHERE user_key = %s AND call_key = %s"
                return Asked([Ask(statement, values)], lambda rows: rows[0][0][0])
        return super().asked(wish)

    def _among(self, wish: Among) -> Asked:
        """Their keys come from calls that the user's filters let in."""
        statement = (
            "SELECT m.message_key FROM search_entries AS m WHERE m.user_key = %(user)s "
            "AND m.message_key = ANY(%(keys)s::bigint[]) AND m.terms @@ %(query)s::tsquery "
            "AND m.message_key <= %(as_of)s"
        )
        values = self._values(self._query(wish.terms, scoped=False), keys=list(wish.keys))
        return Asked(
            [Ask(statement, values)] if wish.keys else [], lambda rows: {row[0] for row in rows[0]} if rows else set()
        )

    def _calls_of(self, wish: CallsOf) -> Asked:
        told = self._filters
        line, of_line = ("line AS l CROSS JOIN ", " AND c.session_key = l.session_key") if told.session else ("", "")
        result = "f.message_key" if told.visible else "c.result_key"
        calls = (
            "calls AS MATERIALIZED (SELECT call_key FROM tool_calls WHERE user_key = %(user)s "
            "AND message_key = ANY(%(keys)s::bigint[]) UNION SELECT call_key FROM tool_calls "
            "WHERE user_key = %(user)s AND result_key = ANY(%(keys)s::bigint[]))"
        )
        statement = (
            f"{told.with_ctes(calls)}SELECT c.call_key, c.called_at, c.message_key, {result}, c.tool_name, "
            f"substr(c.arguments, 1, %(own_chars)s), coalesce(length(c.arguments), 0), {told.status} "
            f"FROM {line}{told.tables} WHERE {' AND '.join(told.where)}{of_line} "
            "AND c.call_key = ANY(ARRAY(SELECT call_key FROM calls))"
        )
        values = {**told.values, "keys": list(wish.message_keys), "own_chars": OWN_CHARS}
        return Asked(
            [Ask(statement, values)] if wish.message_keys else [],
            lambda rows: [Call(*row) for row in rows[0]] if rows else [],
        )


def _values_by_key(rows: Rows) -> dict[int, Any]:
    return {row[0]: call_of(row) for row in rows[0]} if rows else {}
