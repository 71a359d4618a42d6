"""Counting, for one worker: additions to doubles in shared memory, which one worker alone writes."""

from bisect import bisect_left

from . import counts
from .shared import Shared

_WORK = {work: number for number, work in enumerate(counts.WORK)}
_OUTCOMES = {outcome: number for number, outcome in enumerate(counts.OUTCOMES)}
_STATUSES = {status: number for number, status in enumerate(counts.STATUSES)}
_REASONS = {reason: number for number, reason in enumerate(counts.REASONS)}
_STORE_ERRORS = {kind: number for number, kind in enumerate(counts.STORE_ERRORS)}
_WIDTH = len(counts.BUCKETS) + 2
_AT = {name: place.start for name, place in counts.PLACES.items()}


def work_of(method: str, tool: str | None) -> tuple[str, str]:
    """As it is counted: what is unknown is `other`."""
    if method == counts.CALL:
        return method, tool if tool in counts.TOOL_NAMES else counts.OTHER
    return (method, "") if (method, "") in _WORK else (counts.OTHER, "")


class Meter:
    """The counts of worker number `slot`. A worker that takes the place of a dead one counts on where it ended."""

    def __init__(self, shared: Shared, offset: int, slot: int) -> None:
        """`offset`, in bytes, is where the first worker's counts begin."""
        start = offset + slot * counts.SIZE
        self._cells = shared.view[start : start + counts.SIZE].cast("d")
        for gauge in range(len(counts.GAUGES)):
            self._cells[_AT["gauges"] + gauge] = 0.0
        self._cells[_AT["starts"]] += 1

    def close(self) -> None:
        self._cells.release()

    def done(self, method: str, tool: str | None, outcome: str, seconds: float) -> None:
        work = _WORK[work_of(method, tool)]
        cells = self._cells
        cells[_AT["requests"] + work * len(counts.OUTCOMES) + _OUTCOMES[outcome]] += 1
        own = _AT["seconds"] + work * _WIDTH
        cells[own + bisect_left(counts.BUCKETS, seconds)] += 1
        cells[own + _WIDTH - 1] += seconds

    def answered(self, status: int) -> None:
        self._cells[_AT["responses"] + _STATUSES.get(status, len(counts.STATUSES))] += 1

    def refused(self, reason: str) -> None:
        self._cells[_AT["refusals"] + _REASONS.get(reason, len(counts.REASONS))] += 1

    def store_failed(self, kind: str) -> None:
        self._cells[_AT["store_errors"] + _STORE_ERRORS[kind]] += 1

    def in_flight(self, change: int) -> None:
        self._cells[_AT["gauges"]] += change

    def listening(self, change: int) -> None:
        self._cells[_AT["gauges"] + 1] += change
