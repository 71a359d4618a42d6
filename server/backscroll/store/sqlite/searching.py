"""Full-text search: the index tells which messages hold which terms; rows confirm whose they are."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import FoundMessage, Search, SearchResult
from ..candidates import TURN_CHARS, result_of
from ..matching import Wanted, asked_of
from ..rows import SessionRow, unpack_id
from ..shortlist import weight
from ..wishes import Count, Frequency, Newest, Places, Said, Turns, Wish, run
from .errors import index_errors
from .matching import Frequencies, ask, counted, said
from .messages import MESSAGE_COLUMNS, message_of
from .rows import find_session, find_user
from .scoping import Scope, scope_of


def search(db: sqlite3.Connection, user_id: str, wanted: Search, frequencies: Frequencies) -> SearchResult:
    session, answers, as_of, asked, weights = _looked_up(db, user_id, wanted, frequencies)
    value = None if session is None else session.value()
    if answers is None:
        return SearchResult(value, (), 0, False, as_of, weights)
    steps = result_of(wanted, value, as_of, asked, weights, narrowed=bool(answers.scope.tokens))
    return run(steps, answers.to)


def weights(db: sqlite3.Connection, user_id: str, wanted: Search, frequencies: Frequencies) -> tuple[float, ...]:
    return _looked_up(db, user_id, wanted, frequencies).weights


class _LookedUp(NamedTuple):
    """Who answers (None: nobody), up to which message, what is asked for, and how much each term weighs."""

    session: SessionRow | None
    answers: "Answers | None"
    as_of: int
    asked: list[Wanted]
    weights: tuple[float, ...]


def _looked_up(db: sqlite3.Connection, user_id: str, wanted: Search, frequencies: Frequencies) -> _LookedUp:
    session = None if wanted.session is None else find_session(db, user_id, wanted.session)
    (documents,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    as_of = documents if wanted.as_of is None else wanted.as_of
    user_key = find_user(db, user_id)
    scope = None if user_key is None else scope_of(db, user_key, wanted, session)
    if scope is None:
        return _LookedUp(session, None, as_of, [], (0.0,) * len(wanted.terms))
    answers = Answers(db, scope, as_of, documents, frequencies)
    asked = run(asked_of(wanted.terms, narrowed=bool(scope.tokens)), answers.to)
    return _LookedUp(session, answers, as_of, asked, tuple(weight(one.frequency, documents) for one in asked))


def found(db: sqlite3.Connection, user_id: str, keys: Sequence[int], max_chars: int) -> list[FoundMessage]:
    """Messages of the user by their keys, in that order; those that are gone are left out."""
    user_key = find_user(db, user_id)
    rows = [
        db.execute(
            f"SELECT {MESSAGE_COLUMNS}, s.number, s.session_id FROM messages AS m "
            "JOIN runs AS r ON r.run_key = m.run_key JOIN sessions AS s ON s.session_key = m.session_key "
            "WHERE m.message_key = :key AND s.user_key = :user",
            {"key": key, "user": user_key, "chars": max_chars},
        ).fetchone()
        for key in keys
    ]
    return [
        FoundMessage(row[0], unpack_id(row[-1]), message_of(db, row[:-2], row[-2], max_chars))
        for row in rows
        if row is not None
    ]


class Answers:
    """What a search wishes to know, out of one file. `as_of`: what came later decides nothing."""

    def __init__(
        self, db: sqlite3.Connection, scope: Scope, as_of: int, documents: int, frequencies: Frequencies
    ) -> None:
        self._db = db
        self.scope = scope
        self._as_of = as_of
        self._documents = documents
        self._frequencies = frequencies

    def to(self, wish: Wish) -> Any:
        match wish:
            case Frequency():
                return self._frequencies.of(self._db, wish.terms, self._documents)
            case Count():
                return counted(self._db, wish, self.scope.tokens, self._as_of)
            case Newest():
                return self._newest(wish)
            case Said():
                return said(self._db, wish.words, self.scope.tokens, self._as_of)
            case Places():
                return self._places(wish)
            case Turns():
                return self._turns(wish)
        raise TypeError(wish)

    def _newest(self, wish: Newest) -> list[int]:
        """What only rows tell narrows here too, before the cut."""
        inside = " AND ".join(["", *self.scope.clauses]) if wish.inside else ""
        with index_errors:
            rows = self._db.execute(
                "SELECT i.rowid FROM search_index AS i "
                + ("CROSS JOIN messages AS m ON m.message_key = i.rowid " if inside else "")
                + f"WHERE i.search_index MATCH :match AND i.rowid <= :as_of {inside} ORDER BY i.rowid DESC LIMIT :most",
                {
                    "match": ask((*self.scope.tokens, *wish.also), wish.terms),
                    "as_of": self._as_of if wish.upto is None else wish.upto,
                    "most": wish.most,
                    **self.scope.values,
                },
            )
            return [key for (key,) in rows]

    def _places(self, wish: Places) -> dict[int, tuple[int, int]]:
        keys: Sequence[int] = wish.keys
        if wish.unsure:
            within = "SELECT 1 FROM search_index WHERE search_index MATCH ? AND rowid = ?"
            tokens = f"scope : ({' AND '.join(self.scope.tokens)})"
            with index_errors:
                keys = [key for key in keys if self._db.execute(within, (tokens, key)).fetchone()]
        where = " AND ".join(["s.user_key = :user", "m.from_history = 0", *self.scope.clauses])
        statement = (
            "SELECT m.message_key, m.session_key, m.seq FROM json_each(:keys) AS k "
            "CROSS JOIN messages AS m ON m.message_key = k.value "
            f"CROSS JOIN sessions AS s ON s.session_key = m.session_key WHERE {where}"
        )
        values = {"keys": json.dumps(keys), "user": self.scope.user_key, **self.scope.values}
        return {key: (session_key, seq) for key, session_key, seq in self._db.execute(statement, values)}

    def _turns(self, wish: Turns) -> list[Any]:
        values = {
            "places": json.dumps(wish.spots),
            "chars": TURN_CHARS,
            "as_of": self._as_of,
            "user": self.scope.user_key,
            **self.scope.values,
        }
        statement = _TURNS.format(inside=" AND ".join(self.scope.clauses) or "TRUE")
        return self._db.execute(statement, values).fetchall()


_TURNS = """
    SELECT {inside}, m.session_key, m.seq, s.number, m.message_key, m.role, substr(m.text, 1, :chars), length(m.text),
        m.created_at, CASE WHEN m.payload IS NOT NULL THEN json_extract(m.payload, '$.name') END, r.agent, m.tool_name,
        CASE WHEN m.role = 'assistant' THEN
            (SELECT json_group_array(json_array(c.tool_name, substr(c.arguments, 1, :chars)))
             FROM (SELECT tool_name, arguments FROM tool_calls WHERE message_key = m.message_key ORDER BY ordinal) AS c)
        END
    FROM json_each(:places) AS p
    CROSS JOIN messages AS m ON m.session_key = p.value ->> 0 AND m.seq = p.value ->> 1
    CROSS JOIN runs AS r ON r.run_key = m.run_key
    CROSS JOIN sessions AS s ON s.session_key = m.session_key
    WHERE m.from_history = 0 AND m.message_key <= :as_of AND s.user_key = :user
"""
