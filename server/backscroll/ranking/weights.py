"""What each feature counts. Learned, not chosen: `python -m benchmarks.learn_ranking` writes this file.

From 997 questions about 5 conversations of LoCoMo (Maharana et al., 2024), of which nothing but
these numbers is kept. A weight counts for one unit of its feature, so their sizes do not compare.
"""

LEARNED_ON: tuple[str, ...] = (
    "03db89826862",
    "f9196cd9e16e",
    "24df879b7c6c",
    "5684f57833ca",
    "392d55609c4a",
)
"""The first figures of the SHA-256 of each file, so that a benchmark can tell what it must not be measured on."""

LEXICAL_WEIGHTS: dict[str, float] = {
    "own": 0.295,
    "context": 8.084,
    "session": 1.524,
    "exact": 0.586,
    "phrase": 2.449,
    "answers": 2.932,
    "asks": -0.915,
    "speaks": 0.58,
    "of_self": 0.639,
    "reacts": -0.315,
    "tells_time": 2.207,
    "tells_number": 1.716,
    "tells_place": 2.387,
    "tells_title": 1.723,
    "tells_names": 1.177,
    "in_time": 6.421,
}

SEMANTIC_WEIGHTS: dict[str, float] = {
    "own": -0.37,
    "context": 6.976,
    "session": 1.307,
    "exact": 0.433,
    "phrase": 2.068,
    "answers": 2.37,
    "asks": -1.009,
    "speaks": 0.485,
    "of_self": 0.739,
    "reacts": -0.31,
    "tells_time": 2.269,
    "tells_number": 1.877,
    "tells_place": 2.169,
    "tells_title": 1.86,
    "tells_names": 1.356,
    "in_time": 6.163,
    "similar": 3.407,
    "similar_before": 1.384,
}
"""With vectors: the same features, and two of similarity."""
