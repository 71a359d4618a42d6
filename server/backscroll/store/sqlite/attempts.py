"""Where a search for tool calls looks in a file."""

import json
import sqlite3
from typing import Any

from .. import CallMatches, CallSearch, Search
from ..attempts import matches_of
from ..holding import OWN_CHARS, Call
from ..wishes import Among, ArgumentsOf, CallsOf, CallValues, Wish, run
from .calls import Filters, calls_by_key, filters
from .errors import index_errors
from .matching import Frequencies, ask
from .rows import find_session, find_user
from .scoping import scope_of
from .searching import Answers


def find_calls(db: sqlite3.Connection, user_id: str, wanted: CallSearch, frequencies: Frequencies) -> CallMatches:
    session = None if wanted.session is None else find_session(db, user_id, wanted.session)
    value = None if session is None else session.value()
    as_of = wanted.as_of
    if as_of is None:
        (as_of,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    user_key = find_user(db, user_id)
    scope = None if user_key is None else scope_of(db, user_key, Search((), session=wanted.session), session)
    if scope is None:
        return CallMatches(value, (), 0, False, as_of, ())
    told = filters(db, user_key, session, wanted.tool_name, wanted.status)
    answers = _CallAnswers(db, Answers(db, scope, as_of, as_of, frequencies), told, as_of)
    return run(matches_of(wanted, value, as_of), answers.to)


class _CallAnswers:
    """What is asked of calls; what is asked of the index, `others` answer."""

    def __init__(self, db: sqlite3.Connection, others: Answers, told: Filters, as_of: int) -> None:
        self._db = db
        self._others = others
        self._filters = told
        self._as_of = as_of

    def to(self, wish: Wish) -> Any:
        match wish:
            case CallsOf():
                return self._calls_of(wish)
            case Among():
                return self._among(wish)
            case CallValues():
                return calls_by_key(self._db, wish.keys, self._filters, wish.max_chars)
            case ArgumentsOf():
                return self._db.execute(
                    "SELECT arguments FROM tool_calls WHERE user_key = ? AND call_key = ?",
                    (self._filters.values["user"], wish.call_key),
                ).fetchone()[0]
        return self._others.to(wish)

    def _among(self, wish: Among) -> set[int]:
        """Their keys come from calls that the user's filters let in."""
        with index_errors:
            rows = self._db.execute(
                "SELECT rowid FROM search_index WHERE search_index MATCH ? "
                "AND rowid IN (SELECT value FROM json_each(?)) AND rowid <= ?",
                (ask((), wish.terms), json.dumps(wish.keys), self._as_of),
            )
            return {key for (key,) in rows}

    def _calls_of(self, wish: CallsOf) -> list[Call]:
        """Joins that no filter asks for cost nothing."""
        told = self._filters
        statement = _CALLS.format(
            result_key="f.message_key" if told.visible else "c.result_key",
            status=told.status,
            visible=told.visible,
            where=" AND ".join(told.where),
        )
        values = {**told.values, "keys": json.dumps(wish.message_keys), "own_chars": OWN_CHARS}
        return [Call(*row) for row in self._db.execute(statement, values)]


_CALLS = """
    SELECT c.call_key, c.called_at, c.message_key, {result_key}, c.tool_name, substr(c.arguments, 1, :own_chars),
        coalesce(length(c.arguments), 0), {status}
    FROM (
        SELECT t.call_key FROM json_each(:keys) AS k CROSS JOIN tool_calls AS t ON t.message_key = k.value
        UNION
        SELECT t.call_key FROM json_each(:keys) AS k CROSS JOIN tool_calls AS t ON t.result_key = k.value
    ) AS k
    CROSS JOIN tool_calls AS c ON c.call_key = k.call_key
    LEFT JOIN runs AS r ON r.run_key = c.run_key
    LEFT JOIN messages AS m ON m.message_key = c.message_key
    LEFT JOIN messages AS f ON f.message_key = c.result_key{visible}
    WHERE {where}
"""
