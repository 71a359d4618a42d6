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
    "own": 1.252,
    "context": 7.792,
    "session": 2.521,
    "exact": 0.323,
    "phrase": 2.571,
    "answers": 3.562,
    "asks": -0.978,
    "speaks": 0.729,
    "of_self": 0.558,
    "reacts": -0.37,
    "tells_time": 2.321,
    "tells_number": 1.845,
    "tells_place": 1.781,
    "tells_title": 1.881,
    "tells_names": 0.862,
    "in_time": 6.699,
}

SEMANTIC_WEIGHTS: dict[str, float] = {
    "own": 0.641,
    "context": 6.938,
    "session": 2.225,
    "exact": 0.112,
    "phrase": 2.264,
    "answers": 2.794,
    "asks": -1.086,
    "speaks": 0.518,
    "of_self": 0.73,
    "reacts": -0.37,
    "tells_time": 2.4,
    "tells_number": 2.022,
    "tells_place": 1.538,
    "tells_title": 2.024,
    "tells_names": 1.048,
    "in_time": 6.249,
    "similar": 3.2,
    "similar_before": 2.145,
}
"""With vectors: the same features, and two of similarity."""
