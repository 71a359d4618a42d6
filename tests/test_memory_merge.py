"""State and metadata merge as RFC 7396 says, and metrics count each run once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backscroll import Memory
from backscroll.merge import merge_patch, sum_metrics
from builders import a_turn

# The examples of RFC 7396, appendix A.
EXAMPLES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "merged"), EXAMPLES)
def test_the_examples_of_the_rfc(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged


@pytest.mark.parametrize(
    ("target", "patch", "merged"), [e for e in EXAMPLES if isinstance(e[0], dict) and isinstance(e[1], dict)]
)
async def test_sessions_merge_like_that(memory: Memory, target: Any, patch: Any, merged: Any) -> None:
    await memory.record_run(a_turn(), session_id="s", run_id="r")
    # A null of the target's own cannot be put there by a patch.
    await memory.update_session("s", state=target, metadata=target)
    receipt = await memory.update_session("s", state=patch, metadata=patch)
    expected = {name: value for name, value in merged.items() if value is not None}
    assert (receipt.state, receipt.metadata) == (expected, expected)
    await memory.record_run(a_turn(), session_id="s", state={"more": {"x": None}})
    assert (await memory.get_session("s")).state == {**expected, "more": {}}


async def test_what_is_not_given_stays(memory: Memory) -> None:
    await memory.record_run(a_turn(), session_id="s", title="first", state={"a": 1})
    await memory.update_session("s", metadata={"b": 2})
    await memory.update_session("s", archived=True)
    await memory.record_run(a_turn(), session_id="s")
    session = await memory.get_session("s")
    assert (session.title, session.state, session.metadata, session.archived) == ("first", {"a": 1}, {"b": 2}, True)
    await memory.update_session("s", title="second")
    assert (await memory.get_session("s")).title == "second"


METRICS = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cost", "model"]),
    st.integers(0, 1 << 40) | st.sampled_from([0.25, 0.5, "text", None, True, {"nested": 1}]),
)


@given(st.lists(st.lists(METRICS, min_size=1, max_size=3), max_size=3))
def test_a_sum_counts_what_each_run_told_last(runs: list[list[dict[str, Any]]]) -> None:
    total: dict[str, Any] = {}
    for saved in runs:
        before: dict[str, Any] = {}
        for metrics in saved:
            total = sum_metrics(total, before, metrics)
            before = metrics
    for name in ("input_tokens", "output_tokens", "cost", "model"):
        told = [saved[-1].get(name) for saved in runs]
        numbers = [value for value in told if isinstance(value, int | float) and not isinstance(value, bool)]
        assert total.get(name, 0) == sum(numbers)
