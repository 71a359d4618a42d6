"""The weights of the second stage, learned from questions whose right messages are known.

A question's candidates are like a vote: each has a share of e to its score, and the weights are those under which the
right ones have the largest shares over all questions (listwise softmax; Cao et al., 2007), held small by a penalty.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from backscroll import Memory
from backscroll.ranking import read
from backscroll.ranking.features import LEXICAL, SEMANTIC
from backscroll.recall.finding import read_candidates
from backscroll.store import Search

PENALTY = 0.003

Floats = NDArray[np.float64]


class Example(NamedTuple):
    """`features` has a row for each candidate, `right` says which of them answer."""

    names: tuple[str, ...]
    features: Floats
    right: NDArray[np.bool_]


async def examples_of(memory: Memory, asked: Sequence[tuple[str, set[str]]]) -> list[Example]:
    """Of questions and the handles of their right messages; without those where no candidate is right."""
    found = []
    for question, right in asked:
        told = read(question, datetime.now(UTC))
        _, readings, _ = await read_candidates(memory.store, memory.semantic, memory.user_id, told, Search(told.terms))
        if not readings:
            continue
        # A question that has no vector is one where all are equally similar.
        features = LEXICAL if memory.semantic is None else SEMANTIC
        flags = np.array([one.candidate.turn.ref in right for one in readings], dtype=np.bool_)
        if flags.any():
            rows = np.array([[feature(one) for feature in features.values()] for one in readings])
            found.append(Example(tuple(features), rows, flags))
    return found


def learned(examples: Sequence[Example]) -> dict[str, float]:
    """At least one example; all with the same features."""
    names = examples[0].names
    spread = np.concatenate([one.features for one in examples]).std(axis=0)
    spread[spread == 0] = 1.0
    scaled = [(one.features / spread, one.right) for one in examples]

    def loss(weights: Floats) -> tuple[float, Floats]:
        total, slope = 0.0, np.zeros_like(weights)
        for features, right in scaled:
            scores = features @ weights
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            won = shares[right].sum() + 1e-12
            wanted = np.where(right, shares / won, 0.0)
            total -= np.log(won)
            slope += features.T @ (shares - wanted)
        count = len(scaled)
        return float(total / count + PENALTY * weights @ weights), slope / count + 2 * PENALTY * weights

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return {name: round(float(weight), 3) for name, weight in zip(names, found.x / spread, strict=True)}
