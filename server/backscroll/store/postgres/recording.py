"""The write path on Postgres: what store/recording decides, in two round trips for a run that is new."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ...errors import RecordingPaused
from ...pausing import Pause
from .. import PreparedRun, Recorded
from ..recording import record
from ..rows import maybe_from_ms, to_ms
from .database import Writing, user_key
from .foreseeing import Foresight
from .growing import Growing
from .hooked import Hooking
from .knowing import Knowing
from .meetings import Meeting
from .part import Part
from .writing import Adding, newest_pause


class PostgresGround(Adding, Knowing, Growing, Meeting, Hooking):
    """A Ground on a server."""


class Recording(Part):
    async def record(self, user_id: str, runs: Sequence[PreparedRun]) -> list[Recorded]:
        if not runs:
            return []
        key = user_key(user_id)
        first = Foresight(key, runs[0])

        async def stored(writing: Writing) -> list[Recorded]:
            for since, until in writing.ahead[-1]:
                if Pause(since, until).lasts(now):
                    raise RecordingPaused(maybe_from_ms(until))
            ground = PostgresGround(writing, first)
            recorded = await record(ground, runs)
            await ground.finish()
            return recorded

        now = to_ms(datetime.now(UTC))
        return await self._database.write(user_id, stored, *first.asks, newest_pause(key))
