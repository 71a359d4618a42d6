"""The sessions of one user on their way: which are copied, which are left as they are, which are in the way."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace as changed

from ..errors import Conflict
from ..importers.backscroll_jsonl import digest_of_archived
from ..store.archive import ArchivedMessage, ArchivedSession
from ..store.copying import CopiedRow, Traits
from .digests import Sum, digest_of, said
from .ends import Ends
from .report import CopyReport, Told, Trouble

CHANGED = "it was changed in the target since it was copied, or was there before; --replace takes the source's"
NUMBER = "its number is another session's in the target"
UNEQUAL = "what the target gives back is not what was copied; --replace copies it again"


class SessionsOfUser:
    """Copies the sessions of a user, then compares them."""

    def __init__(
        self, ends: Ends, user_id: str, report: CopyReport, *, key: bytes | None, replace: bool, told: Told
    ) -> None:
        """`key` is the target's for digests, None where the source has the same."""
        self.user_id = user_id
        self._ends, self._report, self._told = ends, report, told
        self._key, self._replace = key, replace
        self._there: dict[str, ArchivedSession] = {}
        self._copied: dict[str, bytes] = {}
        self._numbers: dict[int, str] = {}
        self._sent: set[str] = set()
        self._to_compare: list[ArchivedSession] = []

    async def copy(self) -> None:
        mine = await self._ends.source.leaving.heads(self.user_id)
        await self._look()
        if await self._remove_gone({head.session_id for head in mine}):
            await self._look()
        total, done = sum(head.messages for head in mine), 0
        for head in mine:
            self._told("Copying", done, total)
            if await self._decide(head):
                self._to_compare.append(head)
            done += head.messages
        self._told("Copying", total, total)

    async def compare(self) -> None:
        total, done = sum(head.messages for head in self._to_compare), 0
        for head in self._to_compare:
            self._told("Comparing", done, total)
            await self._compare(head.session_id)
            done += head.messages
        self._told("Comparing", total, total)

    async def _look(self) -> None:
        arriving = self._ends.target.arriving
        heads = await arriving.heads(self.user_id)
        self._there = {head.session_id: head for head in heads}
        self._numbers = {head.number: head.session_id for head in heads}
        self._copied = await arriving.copied(self.user_id)

    # Sessions that were deleted in the source

    async def _remove_gone(self, mine: set[str]) -> bool:
        """Delete what a copy brought and the source has no more. Whether anything was deleted.

        Forks that stay go too, and come again: the source has them whole now.
        """
        gone = {name for name in self._copied if name in self._there and name not in mine}
        removed = False
        for name in sorted(gone):
            family = [name, *_forks(name, self._there.values())]
            if len(await self._untouched(family)) < len(family):
                self._trouble(name, "it was deleted in the source, but it or a fork of it was changed in the target")
                continue
            await self._ends.target.arriving.remove(self.user_id, name, gone=gone)
            self._report.removed += 1
            removed = True
            await self._look()
        return removed

    async def _untouched(self, names: Iterable[str]) -> list[str]:
        """Those that are in the target as a copy brought them. One that is gone by now counts as such."""
        return [
            name
            for name in names
            if name not in self._there or await self._target_digest(name) == self._copied.get(name)
        ]

    # One session

    async def _decide(self, head: ArchivedSession) -> bool:
        """Copy it if that is to be done and may be. Whether it is to be compared at the end."""
        name = head.session_id
        here = self._there.get(name)
        if here is None:
            if name in self._copied or await self._is_deleted_there(head):
                self._report.deleted += 1
                return False
            if self._numbers.get(head.number, name) != name:
                self._trouble(name, NUMBER)
                return False
        elif said(here) == said(head):
            self._report.unchanged += 1
            return True
        elif not self._replace:
            stands = await self._target_digest(name)
            if stands != self._copied.get(name) and stands != await self._source_digest(name):
                self._trouble(name, CHANGED)
                return False
        return await self._send(name)

    async def _is_deleted_there(self, head: ArchivedSession) -> bool:
        """Whether who uses the target deleted it. Where the source remembers that too, it was recorded anew since."""
        found = []
        for store in (self._ends.target, self._ends.source):
            named = (head.source, store.tombstone_digest(head.source, head.session_id))
            found.append(bool(await store.choices.tombstones(self.user_id, [named])))
        in_target, in_source = found
        return in_target and not in_source

    async def _send(self, name: str) -> bool:
        """Copy a session as it is now. False where it is gone by now, or cannot go where it is to go."""
        total = Sum()
        async with aclosing(self._ends.source.leaving.rows(self.user_id, name)) as pages:
            first = await anext(pages, None)
            if first is None or not isinstance(first[0], ArchivedSession):
                return False
            head = first[0]
            try:
                await self._ends.target.arriving.take(self.user_id, head, self._passing(first, pages, total), total)
            except Conflict as error:
                self._trouble(name, str(error))
                return False
        self._copied[name] = total.digest()
        self._sent.add(name)
        self._there[name] = head
        self._numbers[head.number] = name
        self._report.copied += 1
        self._report.messages += head.messages
        return True

    async def _passing(
        self, first: list[CopiedRow], pages: AsyncIterator[list[CopiedRow]], total: Sum
    ) -> AsyncIterator[Sequence[CopiedRow]]:
        total.take(first)
        yield self._keyed(first)
        async for page in pages:
            total.take(page)
            yield self._keyed(page)

    def _keyed(self, page: Sequence[CopiedRow]) -> Sequence[CopiedRow]:
        """Rows with digests of the target's key: where that is another, they are made from what was stored."""
        if (key := self._key) is None:
            return page
        rows: list[CopiedRow] = []
        for row in page:
            if isinstance(row, ArchivedMessage):
                rows.append(changed(row, digest=digest_of_archived(row, key)))
            elif isinstance(row, Traits):
                rows.append(Traits(row.renamed, row.summary_error))
            else:
                rows.append(row)
        return rows

    # The proof

    async def _compare(self, name: str) -> None:
        stands = await self._target_digest(name)
        if name not in self._sent:
            source = await self._source_digest(name)
            if stands == source:
                await self._note(name, source)
            elif self._replace or stands == self._copied.get(name):
                # It went on in the source with no sign of that in its own row; or it is to be replaced.
                if not await self._send(name):
                    return
                stands = await self._target_digest(name)
        if stands != self._copied.get(name):
            self._trouble(name, UNEQUAL)
            return
        self._report.compared += 1

    async def _note(self, name: str, digest: bytes) -> None:
        """It is in the target as the source has it, whoever brought it."""
        if self._copied.get(name) != digest:
            await self._ends.target.arriving.note(self.user_id, name, digest)
            self._copied[name] = digest

    async def _target_digest(self, name: str) -> bytes:
        return await digest_of(self._ends.target.arriving.rows(self.user_id, name))

    async def _source_digest(self, name: str) -> bytes:
        return await digest_of(self._ends.source.leaving.rows(self.user_id, name))

    def _trouble(self, name: str, why: str) -> None:
        self._report.trouble.append(Trouble(self.user_id, name, why))


def _forks(name: str, heads: Iterable[ArchivedSession]) -> list[str]:
    """All that hang on a session, however far."""
    children: dict[str, list[str]] = {}
    for head in heads:
        if head.forked_from is not None:
            children.setdefault(head.forked_from, []).append(head.session_id)
    found: list[str] = []
    waiting = [name]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
