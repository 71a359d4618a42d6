"""What is known of the past when a run comes: the run itself, its session's newest digests, calls that wait."""

from collections.abc import Mapping

from ..recording.ground import PendingCall, RunRow
from ..rows import NEWEST, SessionRow
from .foreseeing import TailKey, digests_of_key, pending_calls, run_of, run_of_id, run_of_key, tail_of
from .ground import OnServer


class Knowing(OnServer):
    async def run(self, run_id: str) -> RunRow | None:
        if run_id in self._known.runs:
            return self._known.runs[run_id]
        (rows,) = await self._together(run_of_id(self.user_key, run_id))
        return run_of(rows)

    async def run_by_key(self, run_key: int) -> RunRow:
        (rows,) = await self._together(run_of_key(self.user_key, run_key))
        run = run_of(rows)
        assert run is not None
        return run

    async def digests(self, run_key: int) -> list[bytes]:
        if run_key in self._known.digests:
            return self._known.digests[run_key]
        (rows,) = await self._together(digests_of_key(self.user_key, run_key))
        return [digest for (digest,) in rows]

    async def tail(
        self, session: SessionRow, before: int | None, wanted: int, *, nested: bool, only_words: bool = False
    ) -> list[bytes]:
        foreseen = TailKey(session.session_key, before, wanted, nested)
        if not only_words and foreseen in self._known.tails:
            return self._known.tails[foreseen]
        newest: list[bytes] = []
        statement = tail_of("%(session)s", "%(before)s", nested=nested, only_words=only_words)
        key: int | None = session.session_key
        high, limit = NEWEST, NEWEST if before is None else before
        parent, shared = session.parent_key, session.fork_seq
        while key is not None and len(newest) < wanted:
            newest += [
                digest
                for (digest,) in await self._ask(
                    statement, session=key, before=limit, high=high, wanted=wanted - len(newest)
                )
            ]
            # Of what it shares with its parents, all runs count.
            key, high, limit = parent, min(high, shared or 0), NEWEST
            if key is not None and len(newest) < wanted:
                ((parent, shared),) = await self._ask(
                    "SELECT parent_key, fork_seq FROM sessions WHERE user_key = %(user)s AND session_key = %(key)s",
                    key=key,
                )
        return newest[::-1]

    async def pending(self, session_key: int, wanted: Mapping[str, int]) -> dict[str, list[PendingCall]]:
        waiting = self._known.pending.get(session_key)
        if waiting is None:
            waiting = {}
            (rows,) = await self._together(
                pending_calls("%(session)s", dict(wanted), {"user": self.user_key, "session": session_key})
            )
            for _, call_id, *call in rows:
                waiting.setdefault(call_id, []).append(PendingCall(*call))
        return {call_id: waiting[call_id][:count] for call_id, count in wanted.items() if waiting.get(call_id)}
