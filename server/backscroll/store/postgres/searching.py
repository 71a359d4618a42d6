"""Search, and what its terms weigh."""

from typing import NamedTuple

from .. import Search, SearchResult
from ..candidates import result_of
from ..matching import Wanted, asked_of
from ..rows import SessionRow
from ..shortlist import weight
from .answering import Answers
from .database import Database, user_key
from .frequencies import Frequencies
from .part import Part
from .scoping import scope_of


class _LookedUp(NamedTuple):
    """Who answers (None: nobody), what is asked for, and how much each term weighs."""

    session: SessionRow | None
    answers: Answers | None
    asked: list[Wanted]
    weights: tuple[float, ...]


class Searching(Part):
    def __init__(self, database: Database, digest_key: bytes) -> None:
        super().__init__(database, digest_key)
        self._frequencies = Frequencies()

    async def search(self, user_id: str, search: Search) -> SearchResult:
        session, answers, asked, weights = await self._looked_up(user_id, search)
        value = None if session is None else session.value()
        if answers is None:
            return SearchResult(value, (), 0, False, search.as_of or 0, weights)
        as_of = await answers.as_of()
        narrowed = bool(answers.scope.tokens)
        return await answers.run(result_of(search, value, as_of, asked, weights, narrowed=narrowed))

    async def weights(self, user_id: str, search: Search) -> tuple[float, ...]:
        return (await self._looked_up(user_id, search)).weights

    async def _looked_up(self, user_id: str, wanted: Search) -> _LookedUp:
        session, scope = await scope_of(self._database, user_key(user_id), wanted)
        if scope is None:
            return _LookedUp(session, None, [], (0.0,) * len(wanted.terms))
        answers = Answers(self._database, scope, wanted.as_of, self._frequencies)
        asked = await answers.run(asked_of(wanted.terms, narrowed=bool(scope.tokens)))
        documents = await answers.documents()
        answers.remember()
        return _LookedUp(session, answers, asked, tuple(weight(one.frequency, documents) for one in asked))
