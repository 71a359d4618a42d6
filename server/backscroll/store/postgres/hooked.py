"""What hooks told, as recording makes messages of it and takes it back."""

from collections.abc import Collection, Sequence

from ..recording.ground import Provisional
from .database import Ask, Writing
from .foreseeing import provisional_of
from .ground import OnServer


class Hooking(OnServer):
    async def provisional(self, source: str, session_ids: Collection[str], run_key: int) -> list[Provisional]:
        if run_key in self._known.provisional:
            return self._known.provisional[run_key]
        (rows,) = await self._together(
            provisional_of(self.user_key, source, session_ids, "%(run_key)s", run_key=run_key)
        )
        return [Provisional(*row) for row in rows]

    def adopt(self, fact_key: int) -> None:
        self._tell("UPDATE facts SET message_key = NULL WHERE user_key = %s AND fact_key = %s", self.user_key, fact_key)

    def wait_again(self, fact_key: int, text: str) -> None:
        self._tell(
            "UPDATE facts SET told = 0, text = %s, message_key = NULL WHERE user_key = %s AND fact_key = %s",
            text, self.user_key, fact_key,
        )  # fmt: skip

    async def claim(self, fact_ids: Sequence[str], run_id: str) -> dict[str, tuple[int, str]]:
        rows = await self._ask(
            "UPDATE facts SET told = 1, text = NULL, arguments = NULL, run_id = %(run_id)s "
            "WHERE user_key = %(user)s AND fact_id = ANY(%(facts)s::text[]) AND told = 0 "
            "RETURNING fact_id, fact_key, kind",
            facts=list(fact_ids),
            run_id=run_id,
        )
        return {fact_id: (fact_key, kind) for fact_id, fact_key, kind in rows}

    def tell_by(self, message_of: Sequence[tuple[int, int]]) -> None:
        self._tell_each(
            "UPDATE facts SET message_key = %s WHERE user_key = %s AND fact_key = %s",
            [(message_key, self.user_key, fact_key) for message_key, fact_key in message_of],
        )

    def reach(self, run_key: int, seq: int) -> None:
        self._tell(
            "UPDATE runs SET first_seq = least(first_seq, %s), last_seq = greatest(last_seq, %s) "
            "WHERE user_key = %s AND run_key = %s",
            seq, seq, self.user_key, run_key,
        )  # fmt: skip

    def end(self, run_key: int, status: str, ended_at: int | None) -> None:
        self._tell(
            "UPDATE runs SET status = %s, ended_at = coalesce(%s, ended_at) WHERE user_key = %s AND run_key = %s",
            status, ended_at, self.user_key, run_key,
        )  # fmt: skip


async def take_back(writing: Writing, run_ids: Sequence[str]) -> None:
    """Delete runs that hooks alone told; their facts wait again, with the words that the messages hold.

    Not where a fork shares them: what it was forked from stays as it is, though it will be told twice then.
    """
    user = {"user": writing.user_key}
    found = await writing.all(
        "SELECT r.run_key, r.run_id, r.session_key FROM runs AS r WHERE r.user_key = %(user)s "
        "AND r.run_id = ANY(%(run_ids)s::text[]) AND NOT EXISTS (SELECT 1 FROM digests AS d "
        "WHERE d.user_key = r.user_key AND d.run_key = r.run_key) AND NOT EXISTS (SELECT 1 FROM sessions AS f "
        "WHERE f.user_key = r.user_key AND f.parent_key = r.session_key)",
        {**user, "run_ids": list(run_ids)},
    )
    for run_key, run_id, session_key in found:
        of_run = {**user, "run": run_key, "session": session_key}
        await writing.together(
            Ask(
                "UPDATE facts AS f SET told = 0, message_key = NULL, run_id = NULL, text = m.text, "
                "arguments = (SELECT c.arguments FROM tool_calls AS c WHERE c.user_key = f.user_key "
                "AND c.result_key = f.message_key) FROM messages AS m WHERE f.user_key = %(user)s "
                "AND m.user_key = f.user_key AND m.message_key = f.message_key AND m.session_key = %(session)s "
                "AND m.run_key = %(run)s",
                of_run,
            ),
            Ask(
                "UPDATE facts SET told = 0, run_id = NULL WHERE user_key = %(user)s AND run_id = %(run_id)s "
                "AND kind = 'end'",
                {**user, "run_id": run_id},
            ),
            Ask(
                "WITH calls AS (DELETE FROM tool_calls WHERE user_key = %(user)s AND session_key = %(session)s "
                "AND run_key = %(run)s RETURNING 1), said AS (DELETE FROM messages WHERE user_key = %(user)s "
                "AND session_key = %(session)s AND run_key = %(run)s RETURNING 1) "
                "UPDATE sessions SET messages = messages - (SELECT count(*) FROM said), "
                "tool_calls = tool_calls - (SELECT count(*) FROM calls), runs = runs - 1 "
                "WHERE user_key = %(user)s AND session_key = %(session)s",
                of_run,
            ),
            Ask("DELETE FROM runs WHERE user_key = %(user)s AND run_key = %(run)s", of_run),
        )
