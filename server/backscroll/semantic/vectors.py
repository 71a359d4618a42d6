"""Vectors small enough to keep for every message: four bits a dimension, laid out plane by plane.

A unit vector of d dimensions becomes 16 steps of `2.56 / (8 * sqrt(d))` a dimension (beyond that it is cut
off), stored as four planes of one bit a dimension: the highest bits of all dimensions first. The first
plane is then the vector's signs, which is all that a scan needs in memory; the rest is read for the
few hundred messages that the scan lets through. docs/decisions.md has what was measured.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import bitwise_count  # of numpy 2: an older one is told when this is imported, not amid a search
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Words = NDArray[np.uint64]
Positions = NDArray[np.int64]

BITS = 4
_REACH = 2.56
"""Of the steps, in standard deviations of a component of a random unit vector."""
_MIDDLE = (1 << BITS) / 2 - 0.5
_FINER = 16_384
"""So many of the nearest by signs alone are looked at more closely."""
_BLOCK = 32_768
"""Signs compared at a time: their distances then stay in the processor's cache."""


def unit(vectors: Floats) -> Floats:
    """Rows of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = vectors / np.maximum(lengths, 1e-12)
    return scaled


def plane_bytes(dims: int) -> int:
    """A plane is whole 64-bit words."""
    return -(-dims // 64) * 8


def packed(vectors: Floats) -> list[bytes]:
    """Each row as a blob of `BITS * plane_bytes(dims)` bytes; rows of length 1 are expected."""
    rows, dims = vectors.shape
    step = _REACH / ((1 << (BITS - 1)) * math.sqrt(dims))
    codes = np.clip(np.floor(vectors / step) + (1 << (BITS - 1)), 0, (1 << BITS) - 1).astype(np.uint8)
    planes = np.zeros((rows, BITS, plane_bytes(dims)), np.uint8)
    for plane in range(BITS):
        bits = np.packbits(codes & np.uint8(1 << (BITS - 1 - plane)), axis=1)
        planes[:, plane, : bits.shape[1]] = bits
    return [row.tobytes() for row in planes]


def _codes(blobs: Sequence[bytes], dims: int) -> Floats:
    """The rows again, as near as the steps allow, but for their length."""
    planes = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), BITS, plane_bytes(dims))
    bits = np.unpackbits(planes, axis=2, count=dims)
    codes = np.zeros((len(blobs), dims), np.uint8)
    for plane in range(BITS):
        codes |= bits[:, plane] << np.uint8(BITS - 1 - plane)
    rows: Floats = codes.astype(np.float32) - np.float32(_MIDDLE)
    return rows


def cosines(blobs: Sequence[bytes], question: Floats) -> Floats:
    """The cosine of each stored vector with a question of length 1."""
    if not blobs:
        return np.zeros(0, np.float32)
    rows = _codes(blobs, question.shape[0])
    near: Floats = (rows @ question) / np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return near


class Signs:
    """The signs of many vectors, column by column, growing at the end. `handles` are what each is known by."""

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.count = 0
        self._words: Words = np.zeros((plane_bytes(dims) // 8, 1024), np.uint64)
        self._handles: Positions = np.zeros(1024, np.int64)
        self._groups: NDArray[np.int32] = np.zeros(1024, np.int32)

    def add(self, handles: Sequence[int], groups: Sequence[int], signs: bytes) -> None:
        """Take in vectors whose handles are higher than all before. `signs` are their first planes, joined."""
        start, end = self.count, self.count + len(handles)
        self._make_room(end)
        self._handles[start:end] = handles
        self._groups[start:end] = groups
        self._words[:, start:end] = np.frombuffer(signs, np.uint64).reshape(len(handles), -1).T
        # Last: a search that is under way looks at the first `count` alone.
        self.count = end

    def _make_room(self, count: int) -> None:
        capacity = self._handles.shape[0]
        if count <= capacity:
            return
        more = max(count, capacity + capacity // 4) - capacity
        # New arrays, so that a search in another thread keeps the ones it began with.
        self._words = np.pad(self._words, ((0, 0), (0, more)))
        self._handles = np.pad(self._handles, (0, more))
        self._groups = np.pad(self._groups, (0, more))

    def without(self, handles: Sequence[int]) -> "Signs":
        """The same without some."""
        kept = np.flatnonzero(~np.isin(self._handles[: self.count], np.asarray(handles, np.int64)))
        rest = Signs(self.dims)
        rest._words = np.ascontiguousarray(self._words[:, kept])
        rest._handles, rest._groups = self._handles[kept], self._groups[kept]
        rest.count = len(kept)
        return rest

    def nearest(self, question: Floats, limit: int, groups: Sequence[int] | None = None) -> list[int]:
        """The handles of the `limit` vectors whose signs agree best with the question, best first.

        `groups` narrows exactly, before the cut. The signs' own distance is coarse (it forgets how much each
        dimension of the question matters), so it only chooses those that are then compared with the question
        as it is.
        """
        count, words, handles = self.count, self._words, self._handles
        inside: Positions | None = None
        if groups is not None:
            wanted = np.isin(self._groups[:count], np.asarray(groups, np.int32))
            inside = np.flatnonzero(wanted)
            words = np.ascontiguousarray(words[:, inside])
            count = len(inside)
        if not count:
            return []
        chosen = _closest(words[:, :count], _as_words(question > 0), _FINER)
        best = chosen[top(_agreement(words[:, chosen], question), limit)]
        found = handles[best if inside is None else inside[best]]
        return [int(handle) for handle in found]


def _as_words(bits: NDArray[np.bool_]) -> Words:
    whole = np.zeros(plane_bytes(bits.shape[0]), np.uint8)
    packed_bits = np.packbits(bits)
    whole[: packed_bits.shape[0]] = packed_bits
    return whole.view(np.uint64)


def _closest(words: Words, question: Words, limit: int) -> Positions:
    """Positions of about `limit` columns that differ from the question in the fewest bits."""
    count = words.shape[1]
    if count <= limit:
        return np.arange(count)
    distances = np.empty(count, np.uint16)
    seen = np.zeros(words.shape[0] * 64 + 1, np.int64)
    for start in range(0, count, _BLOCK):
        part = words[:, start : start + _BLOCK]
        total = distances[start : start + _BLOCK]
        total[:] = bitwise_count(part[0] ^ question[0])
        for word in range(1, words.shape[0]):
            total += bitwise_count(part[word] ^ question[word])
        seen += np.bincount(total, minlength=seen.shape[0])
    # Few distances are possible, so counting them is faster than sorting. All that share the last one
    # come along: none of them is nearer than another.
    return np.flatnonzero(distances <= np.searchsorted(np.cumsum(seen), limit))


def _agreement(words: Words, question: Floats) -> Floats:
    """Half the dot product of the question with the signs of each column, but for a constant.

    The question is rounded to 16 steps from its lowest value. What a column adds up to is then counted: how
    many of its + meet each bit of the steps, and how many + it has, each worth the lowest value.
    """
    lowest, highest = float(question.min()), float(question.max())
    step = (highest - lowest) / 15 or 1.0
    steps = np.round((question - lowest) / step).astype(np.uint8)
    met = np.zeros(words.shape[1], np.int32)
    for bit in range(4):
        met += _counted(words, _as_words((steps >> bit) & 1 == 1)).astype(np.int32) << bit
    everything = _as_words(np.ones(question.shape[0], np.bool_))
    return met.astype(np.float32) * np.float32(step) + _counted(words, everything) * np.float32(lowest)


def _counted(words: Words, mask: Words) -> NDArray[np.uint16]:
    """How many bits of the mask each column has."""
    total = np.zeros(words.shape[1], np.uint16)
    for word, wanted in zip(words, mask, strict=True):
        total += bitwise_count(word & wanted)
    return total


def top(scores: Floats, limit: int) -> Positions:
    """Positions of the highest scores, best first; among equals the later, which is the newer, first."""
    count = scores.shape[0]
    kept: NDArray[Any] = np.arange(count) if count <= limit else np.argpartition(scores, count - limit)[count - limit :]
    return kept[np.lexsort((-kept, -scores[kept]))]
