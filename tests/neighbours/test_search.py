"""nearest: every way against a sort in float64, ties, duplicates, bad input, and one result whatever computes it."""

import sys
import types
from itertools import pairwise
from pathlib import Path

import faiss
import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.neighbours import search, search_torch
from reidlib.neighbours.candidates import nearest_by_candidates
from reidlib.neighbours.search import nearest
from reidlib.neighbours.search_torch import nearest_on_device


def unit_rows(n, d, seed, *, duplicates=0):
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, d)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if duplicates:
        rows[generator.choice(n, duplicates, replace=False)] = rows[generator.integers(n, size=duplicates)]
    return rows


def bfloat16(embeddings, queries, **settings):
    return nearest_by_candidates(embeddings, queries, **settings, bfloat16=True)


def float32(embeddings, queries, **settings):
    return nearest_by_candidates(embeddings, queries, **settings, bfloat16=False)


def on_device(embeddings, queries, **settings):
    return nearest_on_device(embeddings, queries, **settings, device="cpu")


class FakeFaiss(types.ModuleType):
    """What is used of faiss where it has a GPU: brute force whose scores are right but for rounding."""

    METRIC_INNER_PRODUCT = 0
    asked = 0

    def get_num_gpus(self):
        return 1

    def StandardGpuResources(self):  # noqa: N802
        return "resources"

    def knn_gpu(self, resources, queries, rows, k, *, metric, device):
        assert (resources, metric, device) == ("resources", 0, 0)
        FakeFaiss.asked += len(queries)
        scores = queries @ rows.T
        return torch.topk(scores + 1e-7 * torch.sin(1e4 * scores), k, dim=1)


def by_faiss_on_device(embeddings, queries, **settings):
    find = search_torch._faiss_on
    modules = dict.fromkeys(("faiss", "faiss.contrib", "faiss.contrib.torch_utils"), FakeFaiss("faiss"))
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        patch.setattr(search_torch, "_faiss_on", lambda _: find(torch.device("cuda")))
        return on_device(embeddings, queries, **settings)


WAYS = [bfloat16, float32, on_device, by_faiss_on_device]


def check_against_sort(way, rows, queries, k):
    """The oracle sorts float64 products; what it may differ in is the order of products closer than float32 tells."""
    similarities, indices = way(rows, queries, k=k)
    asked = rows if queries is None else queries
    exact = asked.astype(np.float64) @ rows.T.astype(np.float64)
    assert similarities.dtype == np.float32 and indices.dtype == np.int32 and similarities.shape == (len(asked), k)
    for i, found in enumerate(indices):
        assert len(set(found.tolist())) == k
        order = [(-exact[i, j], j) for j in range(len(rows)) if queries is not None or j != i]
        expected = sorted(order)[: k if queries is not None else k - 1]
        start = 0 if queries is not None else 1
        if queries is None:
            assert found[0] == i
        np.testing.assert_allclose(exact[i, found[start:]], [-value for value, _ in expected], atol=1e-6)
        np.testing.assert_allclose(similarities[i], exact[i, found], atol=1e-6)
        pairs = [(-s, j) for s, j in zip(similarities[i, start:].tolist(), found[start:].tolist(), strict=True)]
        assert pairs == sorted(pairs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("k", [1, 2, 15, 250])
def test_every_way_finds_what_a_sort_finds(way, k):
    rows = unit_rows(250, 48, seed=1, duplicates=40)
    check_against_sort(way, rows, None, k)
    check_against_sort(way, rows, unit_rows(30, 48, seed=2), k)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31), st.data())
@settings(max_examples=25, deadline=None)
def test_small_sets_with_duplicates(n, d, seed, data):
    rows = unit_rows(n, d, seed, duplicates=data.draw(st.integers(0, n)))
    k = data.draw(st.integers(1, n))
    for way in WAYS:
        check_against_sort(way, rows, None, k)


def test_ways_agree_to_the_bit_over_several_tiles(monkeypatch):
    monkeypatch.setattr("reidlib.neighbours.candidates.TILE_ROWS", 128)
    rows = unit_rows(700, 64, seed=3, duplicates=300)
    queries = np.concatenate([rows[:20], unit_rows(180, 64, seed=4)])
    for asked in (None, queries):
        expected = float32(rows, asked, k=20)
        found = bfloat16(rows, asked, k=20)
        assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("way", WAYS)
def test_shares_are_the_whole_to_the_bit(way, monkeypatch):
    for name in ("candidates.TILE_ROWS", "search_torch.BLOCK_ROWS"):
        monkeypatch.setattr(f"reidlib.neighbours.{name}", 128)
    rows = unit_rows(700, 64, seed=18, duplicates=300)
    whole = way(rows, None, k=20)
    shares = [way(rows, None, k=20, rows=range(*share)) for share in pairwise([0, 0, 90, 333, 700])]
    for part, found in zip(zip(*shares, strict=True), whole, strict=True):
        assert np.array_equal(np.concatenate(part), found)


def test_nearest_takes_a_share():
    rows = unit_rows(300, 512, seed=19)
    whole = nearest(rows, k=7)
    part = nearest(rows, k=7, rows=range(100, 250))
    assert np.array_equal(part.similarities, whole.similarities[100:250])
    assert np.array_equal(part.indices, whole.indices[100:250])
    for wrong in (range(0, 301), range(0, 10, 2), range(-1, 5)):
        with pytest.raises(ValueError, match=r"rows within 0\.\.300"):
            nearest(rows, k=7, rows=wrong)
    with pytest.raises(ValueError, match="without queries"):
        nearest(rows, k=7, rows=range(5), queries=rows)


def test_faiss_on_a_gpu_is_asked_and_has_to_have_one(monkeypatch):
    before = FakeFaiss.asked
    by_faiss_on_device(unit_rows(60, 8, seed=21), None, k=5)
    assert FakeFaiss.asked == before + 60
    by_faiss_on_device(unit_rows(60, 8, seed=21), None, k=58)  # fewer spare rows than it takes
    assert FakeFaiss.asked == before + 60
    assert search_torch._faiss_on(torch.device("cpu")) is None
    monkeypatch.setattr(FakeFaiss, "get_num_gpus", lambda _: 0)
    monkeypatch.setitem(sys.modules, "faiss", FakeFaiss("faiss"))
    assert search_torch._faiss_on(torch.device("cuda")) is None
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert search_torch._faiss_on(torch.device("cuda")) is None


def test_low_precision_keeps_what_it_cannot_tell_apart():
    """Rows that bfloat16 rounds to the same: a random direction plus changes far below its precision."""
    generator = np.random.default_rng(5)
    rows = unit_rows(1, 512, seed=5) + 1e-4 * generator.standard_normal((900, 512)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    check_against_sort(bfloat16, rows.astype(np.float32), None, 10)


def test_more_near_ties_than_room():
    rows = np.tile(unit_rows(1, 32, seed=6), (300, 1))
    rows[::3] = unit_rows(100, 32, seed=7)
    for way in WAYS:
        _, indices = way(rows, None, k=4)
        assert indices[1].tolist() == [1, 2, 4, 5]
        assert indices[299].tolist() == [299, 1, 2, 4]


def test_all_rows_equal():
    _, indices = nearest(np.tile(unit_rows(1, 16, seed=8), (50, 1)), k=3)
    assert indices[40].tolist() == [40, 0, 1] and indices[0].tolist() == [0, 1, 2]


def test_same_result_for_any_number_of_threads(monkeypatch):
    rows = unit_rows(600, 512, seed=9)
    expected = nearest(rows, k=12)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    found = nearest(rows, k=12)
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("low", [True, False])
def test_finds_what_faiss_finds_with_and_without_bfloat16(low, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: low)
    rows = unit_rows(1500, 64, seed=10)
    similarities, indices = faiss.knn(rows, rows, 10, metric=faiss.METRIC_INNER_PRODUCT)
    found = nearest(rows, k=10)
    np.testing.assert_allclose(found.similarities, similarities, atol=1e-6)
    recall = np.mean([len(np.intersect1d(a, b)) for a, b in zip(found.indices, indices, strict=True)]) / 10
    assert recall == 1.0


@pytest.fixture
def without_torch(monkeypatch):
    """Torch is not imported yet, and may not be."""
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    monkeypatch.delitem(sys.modules, "reidlib.neighbours.search_torch")
    fewer = {name: module for name, module in sys.modules.items() if name != "torch"}
    monkeypatch.setattr(search, "sys", types.SimpleNamespace(modules=fewer))


@pytest.mark.parametrize("gpu_file", [True, False])
def test_a_short_search_does_without_torch(without_torch, monkeypatch, tmp_path, gpu_file):
    (tmp_path / "gpu").touch()
    monkeypatch.setattr(search, "GPU_FILES", [tmp_path / "gpu"] if gpu_file else [])
    rows = unit_rows(300, 64, seed=11, duplicates=50)
    expected = float32(rows, None, k=9)
    found = nearest(rows, k=9)
    assert np.array_equal(found.similarities, expected[0]) and np.array_equal(found.indices, expected[1])
    monkeypatch.setattr(search, "WORTH_TORCH", 0)
    if gpu_file:
        with pytest.raises(ModuleNotFoundError, match="torch"):
            nearest(rows, k=9)


@pytest.mark.parametrize("loaded", [True, False])
def test_torch_is_asked_where_it_is_loaded_or_worth_its_import(monkeypatch, loaded):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(asked.append("gpu")))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(asked.append("bfloat16")))
    if not loaded:
        monkeypatch.setattr(search, "sys", types.SimpleNamespace(modules={}))
        monkeypatch.setattr(search, "GPU_FILES", [Path("/")])
    rows = unit_rows(100, 8, seed=22)
    nearest(rows, k=3)
    assert asked == (["gpu", "bfloat16"] if loaded else [])
    monkeypatch.setattr(search, "WORTH_TORCH", 100 * 100 * 8)
    nearest(rows, k=3)
    assert asked.count("gpu") == 1 + loaded
    nearest(rows, k=3, device="cpu")
    assert asked.count("gpu") == 1 + loaded


def test_a_gpu_is_where_the_search_goes(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def on_gpu(embeddings, queries, **settings):
        calls.append(settings.pop("device"))
        return nearest_on_device(embeddings, queries, **settings, device="cpu")

    monkeypatch.setattr(search_torch, "nearest_on_device", on_gpu)
    rows = unit_rows(200, 16, seed=23)
    found = nearest(rows, k=4, queries=rows[:20])
    assert calls == ["cuda"] and found.similarities.dtype == np.float32 and found.indices.dtype == np.int32
    assert np.array_equal(found.indices, nearest(rows, k=4, queries=rows[:20], device="cpu").indices)


def test_any_memory_layout_and_float_type(tmp_path):
    rows = unit_rows(60, 24, seed=12)
    expected = nearest(rows, k=6)[1]
    wide = np.zeros((60, 48), np.float32)
    wide[:, ::2] = rows
    assert np.array_equal(nearest(wide[:, ::2], k=6)[1], expected)
    assert np.array_equal(nearest(np.asfortranarray(rows), k=6)[1], expected)
    assert np.array_equal(nearest(rows.astype(np.float64), k=6)[1], expected)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert np.array_equal(nearest(mapped, k=6)[1], expected)
    assert np.array_equal(nearest(mapped, k=6, queries=mapped)[1][:, 0], np.arange(60))
    halves = rows.astype(np.float16)
    assert np.array_equal(nearest(halves, k=6)[1], nearest(halves.astype(np.float32), k=6)[1])


def test_one_row():
    similarities, indices = nearest(unit_rows(1, 8, seed=13), k=1)
    assert indices.tolist() == [[0]] and similarities[0, 0] == pytest.approx(1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
@pytest.mark.parametrize("d", [8, 512])
def test_rows_that_are_not_unit_norm_are_refused(value, d):
    rows = unit_rows(30, d, seed=14)
    rows[17] *= value
    with pytest.raises(ValueError, match="row 17 has norm"):
        nearest(rows, k=3)
    with pytest.raises(ValueError, match=r"queries must be finite.*row 17"):
        nearest(unit_rows(30, d, seed=15), k=3, queries=rows)


def test_sizes_out_of_range_are_refused():
    rows = unit_rows(10, 4, seed=16)
    for k in (0, 11):
        with pytest.raises(ValueError, match=f"got k={k} for n=10"):
            nearest(rows, k=k)
    with pytest.raises(ValueError, match="n=0"):
        nearest(rows[:0], k=1)
    with pytest.raises(ValueError, match="queries have length 3, embeddings 4"):
        nearest(rows, k=1, queries=rows[:, :3])


@pytest.mark.parametrize("rows", [None, range(5, 61)])
def test_a_block_that_does_not_fit_the_memory_is_halved(rows, monkeypatch, capsys):
    embeddings, whole, sizes = unit_rows(70, 8, seed=18), search_torch._by_tile, []
    expected = nearest_on_device(embeddings, None, k=5, rows=rows, device="cpu")

    def by_tile(base, asked, places, k):
        sizes.append(len(asked))
        if len(asked) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(base, asked, places, k)

    monkeypatch.setattr(search_torch, "_by_tile", by_tile)
    monkeypatch.setattr(search_torch, "BLOCK_ROWS", 32)
    found = nearest_on_device(embeddings, None, k=5, rows=rows, device="cpu")
    assert sizes[:3] == [32, 16, 8] and set(sizes[3:]) <= {8, 6}
    assert np.array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    assert "no memory for 32 rows at a time, going on with 16" in capsys.readouterr().out
    monkeypatch.setattr(search_torch, "_by_tile", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no")))
    with pytest.raises(torch.OutOfMemoryError):
        nearest_on_device(embeddings, None, k=5, device="cpu")


def test_blocks_are_powers_of_two_that_fit_the_free_memory(monkeypatch):
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    free = [1 << 40]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free[0], free[0]))
    assert search_torch._block_rows(12936, gpu) == search_torch._block_rows(12936, cpu) == 1024
    assert search_torch._block_rows(10**6, gpu) == search_torch._block_rows(10**6, cpu) == 256
    free[0] = 8 * 4 * 10**6 * 100  # an eighth of it holds 100 rows
    assert search_torch._block_rows(10**6, gpu) == 64
    free[0] = 0
    assert search_torch._block_rows(10**6, gpu) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_finds_the_same():
    rows = unit_rows(3000, 256, seed=17)
    expected = nearest(rows, k=30, device="cpu")
    found = nearest(rows, k=30)
    np.testing.assert_allclose(found.similarities, expected.similarities, atol=2e-6)
    assert (found.indices == expected.indices).mean() > 0.999
