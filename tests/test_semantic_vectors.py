"""Vectors in four bits, the scan over their signs, and the model that ships inside its package."""

import numpy as np
import pytest

from backscroll.semantic import load_embedder
from backscroll.semantic.vectors import Signs, cosines, packed, plane_bytes, unit
from semantic_doors import ON


@pytest.mark.parametrize("dims", [64, 100, 256, 384, 1536])
def test_four_bits_keep_the_cosine(dims: int) -> None:
    random = np.random.default_rng(dims)
    rows = unit(random.standard_normal((200, dims)).astype(np.float32))
    question = unit(rows[7] + rows[8] + 0.5 * rows[9])
    blobs = packed(rows)
    assert {len(blob) for blob in blobs} == {4 * plane_bytes(dims)}
    assert np.abs(cosines(blobs, question) - rows @ question).max() < 0.5 / dims**0.5
    assert set(np.argsort(-cosines(blobs, question))[:2]) == {7, 8}


def test_a_scan_of_many_finds_the_nearest_and_forgets_what_goes() -> None:
    random = np.random.default_rng(1)
    count, dims = 90_000, 64
    rows = unit(random.standard_normal((count, dims)).astype(np.float32))
    question = rows[44_444]
    near = range(7, count, 3_000)
    for at in near:
        rows[at] = question + 0.6 * unit(random.standard_normal(dims).astype(np.float32))
    rows = unit(rows)
    signs = Signs(dims)
    for start in range(0, count, 30_000):
        data = b"".join(blob[: plane_bytes(dims)] for blob in packed(rows[start : start + 30_000]))
        signs.add(range(start, start + 30_000), [at % 7 for at in range(start, start + 30_000)], data)
    found = signs.nearest(question, 500)
    assert len(found) == 500
    assert found[0] == 44_444
    assert set(near) <= set(found)
    within = signs.nearest(question, 500, groups=[1, 2])
    assert len(within) == 500
    assert {at % 7 for at in within} == {1, 2}
    assert {at for at in near if at % 7 in {1, 2}} <= set(within)
    rest = signs.without([44_444])
    assert rest.count == count - 1
    left = rest.nearest(question, 500)
    assert 44_444 not in left
    assert set(near) <= set(left)
    assert signs.nearest(question, 500) == found


async def test_the_model_needs_no_network_and_tells_its_name() -> None:
    embedder = await load_embedder(ON)
    assert embedder.name == f"wordllama-0.4.0.post1/l2_supercat/{embedder.dims}"
    rows = await embedder.embed(["a car", "a vehicle", "pasta", ""])
    assert rows.shape == (4, embedder.dims)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1, 0])
    assert rows[0] @ rows[1] > rows[0] @ rows[2]
    assert (await embedder.embed([])).shape == (0, embedder.dims)
