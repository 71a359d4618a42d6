"""What a search wishes to know, out of the index: all wishes of a bundle in one round trip, none of them twice.

Their owner is asked for plainly, so that of tables in parts one is read; the index on users is not read along with
the lexemes, all entries of a user for each term, because the planner is told that it leaves nothing out (migration
0012). The lexemes are the user's already, but for one in a quarter million.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..candidates import TURN_CHARS
from ..gathering import POSTINGS
from ..indexing import indexed_text, speaker_of
from ..matching import COMMON_FROM, LOOKED_AT, RARE, READ, plain, says
from ..rows import NEWEST
from ..wishes import Count, Frequency, Newest, Places, Said, Steps, Turns, Wish
from .database import Ask, Database, Row
from .frequencies import Frequencies
from .scoping import Scope
from .terms import filters_of, query_of, word_of
from .words import words_of

T = TypeVar("T")

Rows = list[list[Row]]

_PLANNING = Ask(
    # Whatever is guessed of how frequent a term is: never a table of many users from end to end, nor a compiler.
    "SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true), "
    "set_config('max_parallel_workers_per_gather', '0', true)"
)

_HOLDING = (
    "FROM search_entries AS m WHERE m.user_key = %(user)s AND m.terms @@ %(query)s::tsquery "
    "AND m.message_key <= %(as_of)s"
)


class Known(NamedTuple):
    """The newest messages within the scope that hold terms; `whole` if these are all."""

    keys: list[int]
    whole: bool


class Asked(NamedTuple):
    """Statements, and what makes the answer of their rows."""

    asks: list[Ask]
    then: Callable[[Rows], Any]


class Answers:
    """For one search. `as_of`: what came later decides nothing; None until it is known, for the newest message."""

    def __init__(self, database: Database, scope: Scope, as_of: int | None, frequencies: Frequencies) -> None:
        self.scope = scope
        self._database = database
        self._as_of = as_of
        self._frequencies = frequencies
        self._documents: int | None = None
        self._postings: dict[str, Known] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._counted: dict[str, int] = {}

    async def run(self, steps: Steps[T]) -> T:
        """What they come to."""
        answers: list[Any] | None = None
        while True:
            went = await self.going_on(partial(_gone_on, steps, answers))
            if isinstance(went, Done):
                result: T = went.result
                return result
            answers = await self.to(went)

    async def going_on(self, step: "Callable[[], Sequence[Wish] | Done]") -> "Sequence[Wish] | Done":
        """Let the search go on to its next wishes."""
        return step()

    async def documents(self) -> int:
        """How many messages the user ever had: a round trip where nothing was asked before."""
        if self._documents is None:
            await self._fetch([])
        assert self._documents is not None
        return self._documents

    async def as_of(self) -> int:
        if self._as_of is None:
            self._as_of = await self.documents()
        return self._as_of

    def remember(self) -> None:
        """What took long to count, for later searches."""
        counted = {terms: count for terms, count in self._counted.items() if count > POSTINGS}
        self._frequencies.note(self.scope.user_key, self._documents or 0, counted)

    async def to(self, wishes: Sequence[Wish]) -> list[Any]:
        asked = [self.asked(wish) for wish in wishes]
        told = await self._fetch([ask for one in asked for ask in one.asks]) if any(one.asks for one in asked) else []
        answers: list[Any] = []
        start = 0
        for one in asked:
            end = start + len(one.asks)
            answers.append(one.then(told[start:end]))
            start = end
        return await self._confirmed(wishes, answers)

    def asked(self, wish: Wish) -> Asked:
        match wish:
            case Frequency():
                return self._frequency(wish)
            case Count():
                return self._count(wish)
            case Newest():
                return self._newest(wish)
            case Said():
                return self._maybe_said(wish)
            case Places():
                return self._placed(wish)
            case Turns():
                return self._turns(wish)
        raise TypeError(wish)

    async def _fetch(self, asks: list[Ask]) -> Rows:
        first = [_PLANNING]
        if self._documents is None:
            first.append(Ask("SELECT last_message_key FROM users WHERE user_key = %s", (self.scope.user_key,)))
        told = await self._database.fetch(*first, *asks)
        if self._documents is None:
            self._documents = told[1][0][0] if told[1] else 0
        return told[len(first) :]

    def _values(self, query: str, **more: Any) -> dict[str, Any]:
        as_of = NEWEST if self._as_of is None else self._as_of
        return {"user": self.scope.user_key, "query": query, "as_of": as_of, **self.scope.values, **more}

    def _query(self, terms: str, *, scoped: bool = True, also: Sequence[str] = ()) -> str:
        return query_of(self.scope.user_key, terms, (*self.scope.tokens, *also) if scoped else ())

    def _inside(self) -> str:
        return "".join(f" AND {clause}" for clause in self.scope.clauses)

    # How many, and which

    def _frequency(self, wish: Frequency) -> Asked:
        """And, in the same breath, which: most terms are rare, and their messages are wanted next."""
        terms = wish.terms
        known = self._counted.get(terms, self._frequencies.of(self.scope.user_key, terms))
        # What is frequent with the user is read where rarer terms are, unless tokens make it rare.
        narrowed = bool(self.scope.tokens or (self.scope.clauses and (known or 0) <= POSTINGS))
        asks = []
        if known is None:
            query = self._query(terms, scoped=False)
            # Up to any key: what a term weighs does not hang on where a page began.
            values = {**self._values(query, most=COMMON_FROM, few=POSTINGS + 1), "as_of": NEWEST}
            asks.append(Ask(_COUNTED.format(holding=_HOLDING), values))
        if narrowed:
            asks.append(self._newest_asked(Newest(terms, POSTINGS + 1)))

        def then(rows: Rows) -> int:
            count = known
            if count is None:
                count, *columns = rows[0][0]
                self._counted[terms] = count
                if columns[0] is not None and not narrowed and not self.scope.clauses:
                    self._keep(terms, zip(*columns, strict=True), whole=True)
            if narrowed:
                self._keep(terms, rows[-1], whole=len(rows[-1]) <= POSTINGS)
            return int(count)

        return Asked(asks, then)

    def _keep(self, terms: str, rows: Any, *, whole: bool) -> None:
        kept = sorted(rows, reverse=True)
        self._places.update((key, (session_key, seq)) for key, session_key, seq in kept)
        self._postings[terms] = Known([row[0] for row in kept], whole)

    def _known(self, terms: str, most: int) -> list[int] | None:
        known = self._postings.get(terms)
        if known is None or not (known.whole or len(known.keys) >= most):
            return None
        upto = NEWEST if self._as_of is None else self._as_of
        keys = [key for key in known.keys if key <= upto]
        return keys[:most] if known.whole or len(keys) >= most else None

    def _count(self, wish: Count) -> Asked:
        scoped = wish.within == "scope"
        if scoped and not self.scope.clauses and (keys := self._known(wish.terms, wish.most)) is not None:
            return Asked([], lambda _: len(keys))
        query = self._query(wish.terms, scoped=scoped)
        if scoped and not self.scope.clauses and wish.most > RARE:
            values = self._values(query, most=wish.most, few=min(wish.most - 1, POSTINGS + 1))
            return Asked(
                [Ask(_COUNTED.format(holding=_HOLDING), values)], lambda rows: self._counting(wish.terms, rows)
            )
        statement = f"SELECT count(*) FROM (SELECT 1 {_HOLDING} LIMIT %(most)s) AS f"
        return Asked([Ask(statement, self._values(query, most=wish.most))], lambda rows: rows[0][0][0])

    def _counting(self, terms: str, rows: Rows) -> int:
        """What is counted that far is wanted next, where it is not too much."""
        count, *columns = rows[0][0]
        if columns[0] is not None:
            self._keep(terms, zip(*columns, strict=True), whole=True)
        return int(count)

    def _newest(self, wish: Newest) -> Asked:
        plainly = wish.upto is None and not wish.also and (wish.inside or not self.scope.clauses)
        if plainly and (keys := self._known(wish.terms, wish.most)) is not None:
            return Asked([], lambda _: keys)

        def then(rows: Rows) -> list[int]:
            self._places.update((key, (session_key, seq)) for key, session_key, seq in rows[0])
            return [row[0] for row in rows[0]]

        return Asked([self._newest_asked(wish)], then)

    def _newest_asked(self, wish: Newest) -> Ask:
        inside = self._inside() if wish.inside else ""
        # A query of its own, or the newest would be gone through for those that match.
        statement = (
            f"SELECT * FROM (SELECT m.message_key, m.session_key, m.seq {_HOLDING}{inside} OFFSET 0) AS f "
            "ORDER BY message_key DESC LIMIT %(most)s"
        )
        values = self._values(self._query(wish.terms, also=wish.also), most=wish.most)
        return Ask(statement, values if wish.upto is None else {**values, "as_of": wish.upto})

    # Near spellings

    def _maybe_said(self, wish: Said) -> Asked:
        """The newest messages that hold each word without its ending."""
        within = filters_of(self.scope.user_key, self.scope.tokens)
        spelled: dict[str, list[str]] = {}
        for word, places in zip(wish.words, words_of([(word, "") for word in wish.words]), strict=True):
            for stem in places:
                spelled.setdefault(stem, []).append(word)
        queries = [word_of(self.scope.user_key, stem, within) for stem in spelled]
        statement = (
            "SELECT w.nth, f.message_key FROM unnest(%(queries)s::text[]) WITH ORDINALITY AS w (query, nth) "
            "CROSS JOIN LATERAL (SELECT message_key FROM (SELECT m.message_key "
            f"{_HOLDING.replace('%(query)s', 'w.query')} OFFSET 0) AS g ORDER BY message_key DESC LIMIT %(most)s) AS f"
        )
        of_each = list(spelled.values())

        def then(rows: Rows) -> list[tuple[str, int]]:
            return [(word, key) for nth, key in rows[0] for word in of_each[nth - 1]]

        return Asked([Ask(statement, self._values("", queries=queries, most=LOOKED_AT))], then)

    async def _confirmed(self, wishes: Sequence[Wish], answers: list[Any]) -> list[Any]:
        """Of words that may have been said, those that are in the texts to the letter."""
        keys = sorted(
            {key for wish, told in zip(wishes, answers, strict=True) if isinstance(wish, Said) for _, key in told}
        )
        texts = await self._texts(keys) if keys else {}
        confirmed: list[Any] = []
        for wish, told in zip(wishes, answers, strict=True):
            if isinstance(wish, Said):
                said = {word for word, key in told if says(texts.get(key, ""), word)}
                confirmed.append(tuple(word for word in wish.words if word in said))
            else:
                confirmed.append(told)
        return confirmed

    async def _texts(self, keys: list[int]) -> dict[int, str]:
        """The beginnings of messages and of their calls, in plain small letters."""
        values = (READ, self.scope.user_key, keys)
        messages, calls = await self._fetch(
            [
                Ask(
                    "SELECT message_key, substr(text, 1, %s) FROM messages "
                    "WHERE user_key = %s AND message_key = ANY(%s)",
                    values,
                ),
                Ask(
                    "SELECT message_key, tool_name, substr(arguments, 1, %s) FROM tool_calls "
                    "WHERE user_key = %s AND message_key = ANY(%s)",
                    values,
                ),
            ]
        )
        of: dict[int, list[tuple[str, str | None]]] = {}
        for key, name, arguments in calls:
            of.setdefault(key, []).append((name, arguments))
        return {key: plain(indexed_text(text, of.get(key, ()))) for key, text in messages}

    # Rows

    def _placed(self, wish: Places) -> Asked:
        missing = [key for key in wish.keys if key not in self._places]

        def then(rows: Rows) -> dict[int, tuple[int, int]]:
            for key, session_key, seq in rows[0] if rows else ():
                self._places[key] = (session_key, seq)
            return {key: self._places[key] for key in wish.keys if key in self._places}

        if not missing:
            return Asked([], then)
        within = " AND m.terms @@ %(query)s::tsquery" if wish.unsure else ""
        statement = (
            "SELECT m.message_key, m.session_key, m.seq FROM search_entries AS m WHERE m.user_key = %(user)s "
            f"AND m.message_key = ANY(%(keys)s::bigint[]){within}{self._inside()}"
        )
        query = filters_of(self.scope.user_key, self.scope.tokens) if wish.unsure else ""
        return Asked([Ask(statement, self._values(query, keys=missing))], then)

    def _turns(self, wish: Turns) -> Asked:
        sessions, seqs = [spot[0] for spot in wish.spots], [spot[1] for spot in wish.spots]
        statement = _TURNS.format(inside=" AND ".join(self.scope.clauses) or "TRUE")
        values = self._values("", sessions=sessions, seqs=seqs, chars=TURN_CHARS)
        return Asked([Ask(statement, values)], lambda rows: [_with_name(row) for row in rows[0]])


class Done(NamedTuple):
    result: Any


def _gone_on(steps: Steps[Any], answers: list[Any] | None) -> Sequence[Wish] | Done:
    # A StopIteration would not come through a coroutine.
    try:
        return next(steps) if answers is None else steps.send(answers)
    except StopIteration as done:
        return Done(done.value)


def _with_name(row: Row) -> Row:
    return (*row[:9], speaker_of(row[9]), *row[10:])


_COUNTED = (
    "SELECT count(*), CASE WHEN count(*) <= %(few)s THEN array_agg(message_key) END, "
    "CASE WHEN count(*) <= %(few)s THEN array_agg(session_key) END, "
    "CASE WHEN count(*) <= %(few)s THEN array_agg(seq) END "
    "FROM (SELECT m.message_key, m.session_key, m.seq {holding} LIMIT %(most)s) AS f"
)

_TURNS = """
    SELECT {inside}, m.session_key, m.seq, s.number, m.message_key, m.role, substr(m.text, 1, %(chars)s),
        length(m.text), m.created_at, CASE WHEN strpos(m.payload, '"name"') > 0 THEN m.payload END, r.agent,
        m.tool_name,
        CASE WHEN m.role = 'assistant' THEN
            (SELECT json_agg(json_build_array(c.tool_name, substr(c.arguments, 1, %(chars)s)) ORDER BY c.ordinal)::text
             FROM tool_calls AS c WHERE c.user_key = %(user)s AND c.message_key = m.message_key)
        END
    FROM unnest(%(sessions)s::bigint[], %(seqs)s::bigint[]) AS p (session_key, seq)
    JOIN messages AS m ON m.user_key = %(user)s AND m.session_key = p.session_key AND m.seq = p.seq
    JOIN runs AS r ON r.user_key = %(user)s AND r.run_key = m.run_key
    JOIN sessions AS s ON s.user_key = %(user)s AND s.session_key = m.session_key
    WHERE m.from_history = 0 AND m.message_key <= %(as_of)s
"""
