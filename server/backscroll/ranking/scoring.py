"""The second stage: candidates in the order of how well they answer."""

from collections.abc import Mapping, Sequence

from ..store import Candidate
from .features import LEXICAL, SEMANTIC, Reading, dense, speaker_words
from .question import Question
from .weights import LEXICAL_WEIGHTS, SEMANTIC_WEIGHTS


def readings(
    question: Question,
    candidates: Sequence[Candidate],
    weights: Sequence[float],
    similar: Mapping[int, float] | None = None,
) -> list[Reading]:
    """Candidates held against the question. `weights` are those of its terms.

    `similar` has the cosine of each message that has a vector, by key, where there are vectors: then the
    weights that were learned with it count.
    """
    near = similar or {}
    # What has no vector, or not yet, is neither favoured nor held back for that.
    usual_cosine = sum(near.values()) / max(len(near), 1)
    usual_chars = sum(one.turn.chars for one in candidates) / max(len(candidates), 1) or 1.0
    asked = frozenset(question.words)
    speakers = asked & frozenset().union(*map(speaker_words, candidates))
    return [
        Reading(
            question,
            one,
            weights,
            speakers,
            usual_chars,
            similar is not None,
            near.get(one.turn.key, usual_cosine),
            usual_cosine if one.before is None else near.get(one.before.key, usual_cosine),
        )
        for one in candidates
    ]


def ranked(told: Sequence[Reading]) -> list[Candidate]:
    """Best first; of equals the denser, then the newest."""
    return [one.candidate for one in sorted(told, key=_order)]


def _order(one: Reading) -> tuple[float, ...]:
    turn = one.candidate.turn
    return (-round(score(one), 6), -round(dense(one), 1), -turn.created_at.timestamp(), -turn.key)


def score(one: Reading) -> float:
    features, weights = (SEMANTIC, SEMANTIC_WEIGHTS) if one.with_vectors else (LEXICAL, LEXICAL_WEIGHTS)
    return sum(weight * features[name](one) for name, weight in weights.items())
