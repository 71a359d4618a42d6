"""Counts o200k_base tokens offline, from ranks that ship in `data/`.

The ranks take a tenth of a second or two and some 50 MB to load, so nothing loads by itself: until `load` is
done every answer comes from `upper_bound`, and errs towards "too long". A budget kept by the bound is kept by
the count.

A count of text longer than `PIECE_CHARACTERS` is the sum over pieces. Where a piece ends at white space the
sum is exact. Only text that has none for a whole piece (base64, Chinese without line breaks) may come out a
token or two off for each piece, either way, and the same text always comes out the same.
"""

import binascii
import math
import re
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktoken import Encoding

RANKS = Path(__file__).with_name("data") / "o200k_base.tiktoken"

# How o200k_base splits text before it merges bytes; from tiktoken_ext/openai_public.py of tiktoken.
SPLIT = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

# Two limits of tiktoken ask for small pieces: a million spaces overflow its regex, which panics with a
# BaseException; and before 0.13 one long "word" costs the square of its length. At most 16 kB of UTF-8.
PIECE_CHARACTERS = 4_096

# The last place in a window where SPLIT always ends a match, whatever follows, and where the match that ends
# there does not look ahead. Python's \s holds every character of the regex's \s, so \S is safe on both sides.
_SEAM = re.compile(r".*(?:\S(?= )|\n(?=[^\s/]))", re.DOTALL)

# For the estimate: ASCII that is neither digit nor sign, and scripts with a character or two to a token.
_WORDY = bytes(range(33)) + ascii_letters.encode() + b"\x7f"
_WIDE = re.compile("[\u2e80-\U0010ffff]+")

_SURROGATE = re.compile("[\ud800-\udfff]")


class TokenCounter:
    """Counts tokens, by the bound until it is loaded. Any thread may call any method at any time.

    Counting costs about 40 ms a megabyte of prose and holds no lock; long text belongs off the event loop.
    """

    def __init__(self) -> None:
        self._encoding: Encoding | None = None
        self._loading = threading.Lock()

    @property
    def ready(self) -> bool:
        return self._encoding is not None

    def load(self) -> None:
        """Load the ranks, once; return when they are there. Raises what an incomplete installation raises."""
        with self._loading:
            if self._encoding is None:
                self._encoding = _load()

    def load_in_background(self) -> None:
        """Begin to load and return at once.

        The last part, about 0.1 s, is one call that holds the interpreter's lock, so the other threads stand
        still for as long: begin when nobody waits for an answer.
        """
        if not self.ready:
            threading.Thread(target=self.load, name="backscroll-tokens", daemon=True).start()

    def count(self, text: str) -> int:
        """Tokens in text when ready, else `upper_bound`. Special tokens are text like any other."""
        encoding = self._encoding
        if encoding is None:
            return upper_bound(text)
        return sum(len(_encode(encoding, piece)) for piece in _pieces(text))

    def fits(self, text: str, max_tokens: int) -> bool:
        """Whether `count(text) <= max_tokens`, at a cost bounded by max_tokens and not by the text."""
        # No text has fewer bytes than characters: the first test spares encoding a long one.
        if len(text) <= max_tokens and upper_bound(text) <= max_tokens:
            return True
        encoding = self._encoding
        if encoding is None:
            return False
        for piece in _pieces(text):
            max_tokens -= len(_encode(encoding, piece))
            if max_tokens < 0:
                return False
        return True

    def prefix(self, text: str, max_tokens: int) -> str:
        """The longest beginning of text that counts at most max_tokens and ends where a token of text does.

        It never ends within "\\r\\n" or a surrogate pair, nor between a letter and its marks (up to eight). A
        larger budget never gives less, as long as `ready` stays the same. Not empty from 64 tokens on, unless
        text is. The cost is bounded by max_tokens and not by the text.
        """
        max_tokens = max(max_tokens, 0)
        encoding = self._encoding
        if encoding is None:
            head = _SURROGATE.sub("\ufffd", text[:max_tokens]).encode()
            return text[: _whole(text, _characters(head[:max_tokens]))]
        start, left = 0, max_tokens
        for piece in _pieces(text):
            tokens = _encode(encoding, piece)
            if len(tokens) > left:
                break
            start, left = start + len(piece), left - len(tokens)
        else:
            return text
        # A token may end within a character, and what it holds before that may take two (Georgian "იუბ").
        for kept in range(left, 0, -1):
            end = max(start, _whole(text, start + _characters(encoding.decode_bytes(tokens[:kept]))))
            if len(_encode(encoding, text[start:end])) <= left:
                return text[:end]
        return text[:start]


counter = TokenCounter()
"""The process's own: the ranks are worth loading once."""


def upper_bound(text: str) -> int:
    """A number of tokens that text cannot exceed: its bytes in UTF-8, a lone surrogate taking three.

    Proof: the tokens of a piece, joined, are the bytes of the piece, and no token is empty. A surrogate is
    counted as U+FFFD, three bytes as well.
    """
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def estimate(text: str) -> int:
    """About how many tokens, for a label; nothing is loaded. 0 for empty text; more text never gives less.

    Fitted to o200k_base on prose in nine languages, code, logs and JSON: most come out within a third, but
    lines of ids and digests as little as half.
    """
    narrow = text.encode("ascii", "ignore")
    signs = len(narrow.translate(None, _WORDY))
    wide = 0 if text.isascii() else sum(map(len, _WIDE.findall(text)))
    return math.ceil((len(text) - signs - wide) / 4.5 + signs / 2 + wide * 0.75)


def _load() -> "Encoding":
    import tiktoken  # noqa: PLC0415  counting by the bound must not pay for it

    from_base64 = binascii.a2b_base64
    # Each line is a token in base64 and its rank, and the ranks are 0, 1, 2, ... A comprehension, since one
    # call into C, though no slower, would keep other threads waiting throughout.
    ranks = {from_base64(token): rank for rank, token in enumerate(RANKS.read_bytes().split()[::2])}
    encoding = tiktoken.Encoding("o200k_base", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})
    # It has copied them, and keeps the dict only to be pickled: 32 MB.
    ranks.clear()
    return encoding


def _encode(encoding: "Encoding", piece: str) -> list[int]:
    try:
        piece.encode()
    except UnicodeEncodeError:
        # One for one, so that characters of the tokens are those of the piece. tiktoken would join a pair.
        piece = _SURROGATE.sub("\ufffd", piece)
    return encoding.encode_ordinary(piece)


def _pieces(text: str) -> Iterator[str]:
    """Text in order, in pieces of at most PIECE_CHARACTERS (and one, not to tear a pair)."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        stop = start + PIECE_CHARACTERS
        if seam := _SEAM.match(text, start, stop):
            stop = seam.end()
        else:
            stop += _joined(text, stop)
        yield text[start:stop]
        start = stop
    yield text[start:]


def _characters(data: bytes) -> int:
    """Characters in UTF-8, not counting one cut off at the end."""
    return len(data.decode("utf-8", "ignore"))


def _whole(text: str, end: int) -> int:
    """The last place up to end, at most eight back, where a cut tears nothing; else end."""
    for place in range(end, max(end - 9, -1), -1):
        if not _joined(text, place):
            return place
    return end


def _joined(text: str, place: int) -> bool:
    """Whether the characters before and after place belong together."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return (
        (before == "\r" and after == "\n")
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
        or unicodedata.category(after).startswith("M")
    )
