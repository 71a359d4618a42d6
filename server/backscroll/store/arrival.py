"""What of a sending is new: pure decisions on digests, shared by both stores.

An agent may send a run again, send it grown, or send its whole context with each turn. All that is
known of the past are digests: of the run itself, and the session's newest ones before the run.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

MIN_HISTORY = 2
"""A single repeated message is more often said twice than sent twice."""


UNKNOWN = b""
"""The digest of a message whose words are not known here: it came out of an archive, which holds what was
stored and not what was sent. It agrees with any message in its place of its run."""


class Arrived(NamedTuple):
    """A message as it was sent: its digest, and what the caller or its role says of it."""

    digest: bytes
    is_system: bool
    marked_history: bool


class KnownRun(NamedTuple):
    """What the store knows of a run that was recorded before."""

    digests: Sequence[bytes]
    history_count: int
    history_digest: bytes | None


class Plan(NamedTuple):
    """Indexes into the sending. `new` are to be stored, `history` came only as context.

    For a known run `verdict` tells how the sending relates to it: `same`, `grown` (its new messages
    follow), `one_differs` (all is as before but one message, which may have grown), or `different`.
    `differs` is that message's index in the sending and its position in the run.
    """

    new: tuple[int, ...]
    history: tuple[int, ...]
    verdict: Literal["fresh", "same", "grown", "one_differs", "different"]
    suspected_repeat: bool = False
    differs: tuple[int, int] = (-1, -1)


def plan(
    sent: Sequence[Arrived], tail: Sequence[bytes], system_digest: bytes | None, known: KnownRun | None = None
) -> Plan:
    """Tell new messages from history.

    `tail` are the session's newest digests before this run, system messages aside, oldest first; as many
    as there are messages in the sending are enough. `system_digest` is that of its newest system message.
    """
    recognised = _fresh(sent, tail, system_digest)
    if known is None:
        return recognised
    unmarked = tuple(i for i, message in enumerate(sent) if not message.marked_history)
    candidates = [recognised.new, unmarked]
    as_before = skipping_history(sent, unmarked, known)
    if as_before is not None:
        candidates.append(as_before)
    for new in candidates:
        digests = [sent[i].digest for i in new]
        shared = min(len(digests), len(known.digests))
        if _agree(digests[:shared], known.digests[:shared]) and (shared or not new or not known.digests):
            rest = new[len(known.digests) :]
            return Plan(rest, others(len(sent), new), "grown" if rest else "same")
    for new in candidates:
        places = enumerate(new[: len(known.digests)])
        differing = [n for n, i in places if known.digests[n] not in (sent[i].digest, UNKNOWN)]
        if len(new) >= len(known.digests) and len(differing) == 1:
            place = (new[differing[0]], differing[0])
            return Plan(new[len(known.digests) :], others(len(sent), new), "one_differs", differs=place)
    return Plan((), (), "different")


def history_digest(sent: Sequence[Arrived], history: Sequence[int]) -> bytes:
    """One digest over the messages that were history, to know them when the run is sent again."""
    chained = blake2b(digest_size=16)
    for i in history:
        chained.update(sent[i].digest)
    return chained.digest()


def _fresh(sent: Sequence[Arrived], tail: Sequence[bytes], system_digest: bytes | None) -> Plan:
    marked = any(message.marked_history for message in sent)
    if not tail and not marked:
        return Plan(tuple(range(len(sent))), (), "fresh")
    if marked:
        # Who marks history seldom marks the system prompt, though it comes with every turn.
        new = tuple(
            i
            for i, message in enumerate(sent)
            if not message.marked_history and not (message.is_system and message.digest == system_digest)
        )
        return Plan(new, others(len(sent), new), "fresh")
    spoken = [i for i, message in enumerate(sent) if not message.is_system]
    block = _longest_overlap([sent[i].digest for i in spoken], tail)
    if block < MIN_HISTORY:
        return Plan(tuple(range(len(sent))), (), "fresh")
    if block == len(spoken):
        return Plan(tuple(range(len(sent))), (), "fresh", suspected_repeat=True)
    end = spoken[block - 1]
    new = tuple(
        i for i, message in enumerate(sent) if i > end or (message.is_system and message.digest != system_digest)
    )
    return Plan(new, others(len(sent), new), "fresh")


def _longest_overlap(start: Sequence[bytes], tail: Sequence[bytes]) -> int:
    """The length of the longest prefix of `start` that is a suffix of `tail`, in linear time.

    The prefix function of Knuth, Morris and Pratt (1977), run over the tail.
    """
    if not start:
        return 0
    borders = [0] * len(start)
    length = 0
    for i in range(1, len(start)):
        while length and start[i] != start[length]:
            length = borders[length - 1]
        if start[i] == start[length]:
            length += 1
        borders[i] = length
    length = 0
    for digest in tail:
        if length == len(start):
            length = borders[length - 1]
        while length and digest != start[length]:
            length = borders[length - 1]
        if digest == start[length]:
            length += 1
    return length


def skipping_history(sent: Sequence[Arrived], unmarked: Sequence[int], known: KnownRun) -> tuple[int, ...] | None:
    """The new messages if the same history leads this sending as the last one; None if it does not.

    The session may have grown between two sendings (runs may interleave), so that its tail no longer
    shows what was history then.
    """
    if not known.history_count or known.history_digest is None:
        return None
    skipped: list[int] = []
    new: list[int] = []
    for i in unmarked:
        position = len(new)
        matches = position < len(known.digests) and known.digests[position] in (sent[i].digest, UNKNOWN)
        if not matches and len(skipped) < known.history_count:
            skipped.append(i)
        else:
            new.append(i)
    if len(skipped) != known.history_count or history_digest(sent, skipped) != known.history_digest:
        return None
    return tuple(new)


def _agree(sent: Sequence[bytes], known: Sequence[bytes]) -> bool:
    return all(before in (now, UNKNOWN) for now, before in zip(sent, known, strict=True))


def others(count: int, new: Sequence[int]) -> tuple[int, ...]:
    """The indexes of so many messages that are not new."""
    kept = set(new)
    return tuple(i for i in range(count) if i not in kept)
