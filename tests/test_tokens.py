"""The token counter: exact once loaded, never too low before, and safe with whatever a session may hold."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe

from backscroll.tokens import PIECE_CHARACTERS, RANKS, TokenCounter, estimate, upper_bound

ENGLISH = "We keep each message as it was said; a summary would lose what people look for later.\r\n"

COUNTS = {
    "": 0,
    "hello world": 2,
    ENGLISH: 19,
    "I don't think so.\r\n\r\n  We'll see\t!": 10,
    "error: could not compile `serde`, expected 1.0.228": 15,
    "我们决定保留每条消息的原文。": 11,
    "ก็ต้องลองดู 한국어 العربية हिन्दी": 8,
    "👩‍👩‍👧 e\u0301 \x00\x1c\x85": 15,
    "<|endoftext|>": 7,
    "    if x == '':\n        return {}\n": 8,
}

# What joins its neighbour, what splits by its context, what is no Unicode text at all.
TRAPS = [
    " ",
    "a",
    "Hello",
    " world",
    "don't",
    "'",
    "\r",
    "\n",
    "/",
    "\t",
    "e",
    "\u0301",
    "語",
    "。",
    "😀",
    "\u200d",
]
TRAPS += ["\ud83d", "\ude00", "\x1c", "\x85", "\u2028", "\u3000", "\xa0", "123", "4", ";", "==", "ABC", "\0"]
TRAPS += ["<|endoftext|>"]

texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.lists(st.sampled_from(TRAPS), max_size=60).map("".join),
)
# Longer than a piece, with few places or none where a piece may end at white space.
long_texts = st.tuples(texts.filter(bool), texts).map(
    lambda parts: parts[0] * (2 * PIECE_CHARACTERS // len(parts[0])) + parts[1]
)
budgets = st.integers(min_value=0, max_value=100)

HOSTILE = [
    "a",
    " ",
    "=",
    "\n",
    "\r\n",
    "\0",
    "7",
    "語",
    "\u3000",
    "\u0301",
    "e\u0301",
    "😀",
    "\ue000",
    "\ud800",
]
HOSTILE += ["\ud83d\ude00", "<|endoftext|>", "Aa", "' "]


@pytest.fixture(scope="module")
def loaded() -> TokenCounter:
    fresh = TokenCounter()
    fresh.load()
    return fresh


@pytest.fixture(scope="module", params=["loaded", "not loaded"])
def either(request: pytest.FixtureRequest, loaded: TokenCounter) -> TokenCounter:
    return loaded if request.param == "loaded" else TokenCounter()


@pytest.fixture(scope="module")
def reference() -> Iterator[tiktoken.Encoding]:
    """tiktoken's own o200k_base: it names the hash of what it would download; it is handed our file."""

    def read_ours(url: str, expected_hash: str) -> dict[bytes, int]:
        assert hashlib.sha256(RANKS.read_bytes()).hexdigest() == expected_hash
        return load_tiktoken_bpe(str(RANKS))

    constructors = import_module("tiktoken_ext.openai_public")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        patch.setattr(constructors, "load_tiktoken_bpe", read_ours)
        yield tiktoken.Encoding(**constructors.o200k_base())


def run_python(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_ranks_are_the_published_file() -> None:
    published = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
    assert hashlib.sha256(RANKS.read_bytes()).hexdigest() == published


def test_each_line_of_the_ranks_has_its_own_number_as_rank() -> None:
    ranks = [int(line.split()[1]) for line in RANKS.read_bytes().splitlines()]
    assert ranks == list(range(199_998))


@pytest.mark.parametrize(("text", "count"), COUNTS.items())
def test_known_counts(loaded: TokenCounter, reference: tiktoken.Encoding, text: str, count: int) -> None:
    assert loaded.count(text) == count == len(reference.encode_ordinary(text))


@given(text=texts.map(lambda text: text.encode("utf-8", "ignore").decode()))
def test_a_count_is_tiktokens_own(loaded: TokenCounter, reference: tiktoken.Encoding, text: str) -> None:
    assert loaded.count(text) == len(reference.encode_ordinary(text))


@given(lines=st.lists(st.sampled_from(TRAPS).filter(str.isascii), min_size=1))
def test_a_count_over_pieces_is_exact_where_there_is_white_space(
    loaded: TokenCounter, reference: tiktoken.Encoding, lines: list[str]
) -> None:
    text = "".join(f"{line}{ENGLISH}" for line in lines) * (200 // len(lines) + 1)
    assert len(text) > 4 * PIECE_CHARACTERS
    assert loaded.count(text) == len(reference.encode_ordinary(text))


def test_a_piece_does_not_end_between_a_line_and_its_comment(
    loaded: TokenCounter, reference: tiktoken.Encoding
) -> None:
    text = ";\n//xyz\n" * PIECE_CHARACTERS  # ";\n//" is one token, and the last in a piece
    assert loaded.count(text) == len(reference.encode_ordinary(text))


@given(text=st.one_of(texts, long_texts))
def test_no_count_exceeds_the_upper_bound(loaded: TokenCounter, text: str) -> None:
    assert loaded.count(text) <= upper_bound(text)


def test_before_it_is_loaded_a_count_is_the_upper_bound() -> None:
    fresh = TokenCounter()
    assert fresh.count("語 a") == upper_bound("語 a") == 5
    assert not fresh.ready


@given(text=st.one_of(texts, long_texts), max_tokens=budgets)
def test_fits_says_what_the_count_says(either: TokenCounter, text: str, max_tokens: int) -> None:
    assert either.fits(text, max_tokens) == (either.count(text) <= max_tokens)


@given(text=texts)
def test_a_text_just_fits_its_count(either: TokenCounter, text: str) -> None:
    count = either.count(text)
    assert either.fits(text, count)
    assert not either.fits(text, count - 1)
    assert either.prefix(text, count) == text


@given(text=st.one_of(texts, long_texts), max_tokens=budgets)
def test_a_prefix_begins_the_text_and_keeps_its_budget(either: TokenCounter, text: str, max_tokens: int) -> None:
    prefix = either.prefix(text, max_tokens)
    assert text.startswith(prefix)
    assert either.count(prefix) <= max_tokens


@given(text=st.one_of(texts, long_texts), budget=budgets, more=budgets)
def test_a_bigger_budget_never_gives_less(either: TokenCounter, text: str, budget: int, more: int) -> None:
    assert len(either.prefix(text, budget)) <= len(either.prefix(text, budget + more))


@given(text=st.one_of(texts, long_texts).filter(bool), max_tokens=st.integers(64, 200))
def test_a_prefix_of_64_tokens_always_moves_on(either: TokenCounter, text: str, max_tokens: int) -> None:
    assert either.prefix(text, max_tokens)


@pytest.mark.parametrize("pair", ["\r\n", "\ud83d\ude00", "e\u0301"])
def test_a_prefix_keeps_together_what_belongs_together(either: TokenCounter, pair: str) -> None:
    text = f"'x' {pair}" * PIECE_CHARACTERS
    prefixes = [either.prefix(text, max_tokens) for max_tokens in [*range(60), 9_000]]
    assert len(set(prefixes)) > 10
    assert not [prefix for prefix in prefixes if prefix.endswith(pair[0])]


@pytest.mark.parametrize("unit", ["\r\n", "\ud83d\ude00", "e\u0301", "e" + 5 * "\u0301"], ids=ascii)
@pytest.mark.parametrize("lead", ["a", "aa"])
def test_a_prefix_is_sound_around_the_end_of_a_piece(loaded: TokenCounter, lead: str, unit: str) -> None:
    text = lead + unit * PIECE_CHARACTERS
    at_the_end = loaded.count(text[:PIECE_CHARACTERS])
    prefixes = [loaded.prefix(text, at_the_end + more) for more in range(-9, 10)]
    assert len(prefixes[0]) < PIECE_CHARACTERS < len(prefixes[-1])
    assert prefixes == sorted(prefixes, key=len)
    assert all(loaded.count(prefix) <= at_the_end + 9 for prefix in prefixes)
    if len(unit) == 2:
        assert not [prefix for prefix in prefixes if prefix.endswith(unit[0])]


def test_a_prefix_keeps_its_budget_where_a_token_ends_within_a_character(loaded: TokenCounter) -> None:
    text = "იუბ"  # two tokens, and so are its first two characters
    assert loaded.count(text) == loaded.count(text[:2]) == 2
    assert loaded.prefix(text, 1) == ""


def test_a_prefix_of_nothing_is_empty(either: TokenCounter) -> None:
    assert either.prefix("text", 0) == either.prefix("text", -1) == either.prefix("", 10) == ""


def test_a_long_prefix_uses_its_budget(loaded: TokenCounter) -> None:
    text = ENGLISH * 5_000
    assert 9_990 <= loaded.count(loaded.prefix(text, 10_000)) <= 10_000


def test_a_surrogate_counts_as_the_character_that_replaces_it(loaded: TokenCounter) -> None:
    assert loaded.count("\ud800 " + 9 * "\ud83d\ude00") == loaded.count("\ufffd " + 18 * "\ufffd")


@pytest.mark.parametrize("unit", HOSTILE, ids=ascii)
def test_a_quarter_of_a_million_of_one_thing(either: TokenCounter, unit: str) -> None:
    text = unit * (250_000 // len(unit))
    assert 0 < either.count(text) <= upper_bound(text)
    assert not either.fits(text, 200)
    assert 0 < either.count(either.prefix(text, 200)) <= 200


def test_a_million_spaces_do_not_panic(loaded: TokenCounter) -> None:
    assert loaded.count(" " * 1_000_000) < 10_000


@given(text=texts, more=texts)
def test_an_estimate_is_of_something_and_grows_with_the_text(text: str, more: str) -> None:
    assert (estimate(text) >= 1) == bool(text)
    assert estimate(text) <= estimate(text + more)


@pytest.mark.parametrize("text", [text for text in COUNTS if len(text) > 13 and "\0" not in text])
def test_an_estimate_is_near_the_count(loaded: TokenCounter, text: str) -> None:
    assert 0.6 < estimate(text) / loaded.count(text) < 1.5


def test_loading_in_the_background_makes_it_ready(loaded: TokenCounter) -> None:
    fresh = TokenCounter()
    fresh.load_in_background()
    fresh.load_in_background()
    fresh.load()
    assert fresh.ready
    assert fresh.count(ENGLISH) == loaded.count(ENGLISH)


def test_threads_may_load_and_count_at_once(loaded: TokenCounter) -> None:
    fresh = TokenCounter()

    def load_and_count(_: int) -> int:
        fresh.load()
        return fresh.count(ENGLISH * 500)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(load_and_count, range(16))) == {loaded.count(ENGLISH * 500)}


def test_counting_needs_no_network_and_no_cache(tmp_path: Path) -> None:
    code = """
import socket
def refuse(*args, **kwargs):
    raise OSError("no network here")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from backscroll.tokens import counter
counter.load()
print(counter.count("hello world"))
"""
    cache = tmp_path / "cache"
    cache.mkdir()
    result = run_python(code, TIKTOKEN_CACHE_DIR=str(cache), DATA_GYM_CACHE_DIR=str(cache))
    assert (result.stdout, result.stderr) == ("2\n", "")
    assert not list(cache.iterdir())


def test_importing_the_module_loads_nothing_heavy() -> None:
    code = """
import sys
from backscroll.tokens import counter, estimate
assert counter.count("hello") == 5 and estimate("hello world") == 3 and not counter.ready
print({"tiktoken", "pydantic", "mcp"} & set(sys.modules))
"""
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_the_process_may_end_while_it_loads() -> None:
    result = run_python("from backscroll.tokens import counter; counter.load_in_background()")
    assert (result.returncode, result.stderr) == (0, "")
