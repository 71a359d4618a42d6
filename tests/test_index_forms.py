"""The extra forms of the index: parts of camelCase words, found without looking at every word."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from backscroll.store.indexing import extra_forms

WORD = re.compile(r"[^\W\d_]+\d*(?:[^\W\d_]+\d*)*")
PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def plainly(text: str) -> list[str]:
    """Every word looked at in turn."""
    mixed = (
        word
        for word in WORD.findall(text)
        if word.isascii() and not (word.islower() or word.isupper() or word.istitle())
    )
    return [part for word in mixed for part in PART.findall(word)]


@given(st.text(st.sampled_from("aBcD1 2_é-²½٣Ω.") | st.characters(max_codepoint=0xFF), max_size=16))
@example("parseHTTPResponse")
@example("3dPrinter x2Y A1b Ab1Cd")
@example("ABc_dEf")
def test_the_quick_way_finds_the_parts_that_the_plain_way_finds(text: str) -> None:
    assert list(extra_forms(text)) == plainly(text)


def test_camel_case_is_taken_apart() -> None:
    assert list(extra_forms("call parseHTTPResponse now")) == ["parse", "HTTP", "Response"]
