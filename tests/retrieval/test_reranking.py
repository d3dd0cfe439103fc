"""Re-ranking against dense matrices by the definition."""

import inspect

import numpy as np
import pytest

from reidlib.neighbours.search import nearest
from reidlib.retrieval.reranking import reranked_tiles


def clustered_rows(n, d, seed, *, noise=0.7):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((max(1, n // 8), d))
    rows = centres[generator.integers(len(centres), size=n)] + noise * generator.standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def oracle(query, gallery, k1, k2, weight):
    """(1 - weight) · Jaccard + weight · original."""
    return jaccard_and_original(query, gallery, k1, k2, weight, of_code=False)


def authors(query, gallery, k1, k2, weight):
    """Their code, on squared Euclidean distances: over the row's largest, and k1 neighbours beside the row itself."""
    return jaccard_and_original(query, gallery, k1, k2, weight, of_code=True)


def jaccard_and_original(query, gallery, k1, k2, weight, *, of_code):
    rows = np.concatenate([query, gallery]).astype(np.float64)
    original = 2 - 2 * rows @ rows.T
    original /= original.max(axis=1, keepdims=True) if of_code else 1
    n = len(rows)
    ranked = nearest(rows, k=k1 + of_code)[1].tolist()
    half = round(k1 / 2) + 1
    mutual = [{j for j in ranked[i] if i in ranked[j]} for i in range(n)]
    nearer = [{j for j in ranked[i][:half] if i in ranked[j][:half]} for i in range(n)]
    weights = np.zeros((n, n))
    for i in range(n):
        expanded = set(mutual[i])
        for c in mutual[i]:
            if len(nearer[c] & mutual[i]) > 2 / 3 * len(nearer[c]):
                expanded |= nearer[c]
        columns = sorted(expanded)
        weights[i, columns] = np.exp(-original[i, columns])
    weights /= weights.sum(axis=1, keepdims=True)
    weights = np.array([weights[ranked[i][:k2]].mean(axis=0) for i in range(n)])
    queries = len(query)
    shared = np.array([[np.minimum(a, b).sum() for b in weights[queries:]] for a in weights[:queries]])
    return (1 - weight) * (1 - shared / (2 - shared)) + weight * original[:queries, queries:]


def collect(query, gallery, **settings):
    scores = np.full((len(query), len(gallery)), np.nan, np.float32)
    for rows, tile in reranked_tiles(query, gallery, **settings):
        assert tile.dtype == np.float32 and np.all(np.isnan(scores[rows]))
        scores[rows] = tile
    return scores


@pytest.mark.parametrize(
    ("k1", "k2", "weight", "tile"), [(20, 6, 0.3, None), (21, 6, 0.3, 7), (9, 1, 0.0, 1), (8, 3, 1.0, 50)]
)
def test_equals_the_definition(k1, k2, weight, tile):
    rows = clustered_rows(170, 16, seed=1)
    query, gallery = rows[:40], rows[40:]
    expected = oracle(query, gallery, k1, k2, weight)
    scores = collect(query, gallery, k1=k1, k2=k2, weight=weight, tile=tile)
    assert np.abs(-scores - expected).max() <= 1e-5


@pytest.mark.parametrize(("k1", "k2", "weight", "tile"), [(20, 6, 0.3, None), (7, 1, 0.0, 7), (9, 3, 1.0, 50)])
def test_as_the_authors_code_has_it(k1, k2, weight, tile):
    rows = clustered_rows(130, 16, seed=1)
    query, gallery = rows[:30], rows[30:]
    expected = authors(query, gallery, k1, k2, weight)
    scores = collect(query, gallery, k1=k1, k2=k2, weight=weight, tile=tile, like="authors")
    assert np.abs(-scores - expected).max() <= 1e-5
    assert np.abs(scores - collect(query, gallery, k1=k1, k2=k2, weight=weight)).max() > 1e-3


def test_copies_alone_have_no_largest_distance():
    rows = np.tile(clustered_rows(1, 8, seed=1), (30, 1))
    assert np.isfinite(collect(rows[:5], rows[5:], k1=9, like="authors")).all()


def test_tiles_cover_the_queries_in_order():
    rows = clustered_rows(60, 16, seed=2)
    slices = [rows for rows, _ in reranked_tiles(rows[:23], rows[23:], tile=10)]
    assert [(rows.start, rows.stop) for rows in slices] == [(0, 10), (10, 20), (20, 23)]


def test_size_of_the_tile_changes_nothing():
    rows = clustered_rows(120, 16, seed=3)
    one = collect(rows[:30], rows[30:], tile=1)
    np.testing.assert_allclose(one, collect(rows[:30], rows[30:], tile=30), atol=1e-6)


def test_read_only_maps_and_other_float_types(tmp_path):
    rows = clustered_rows(80, 16, seed=4)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    expected = collect(rows[:20], rows[20:])
    assert np.array_equal(collect(mapped[:20], mapped[20:]), expected)
    np.testing.assert_allclose(collect(rows[:20].astype(np.float64), rows[20:]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k1": 40}, "k1=40"),
        ({"k1": 39, "like": "authors"}, "k1 < 39"),
        ({"k1": 0}, "k1=0"),
        ({"k2": 21}, "k2=21"),
        ({"weight": 1.5}, "weight"),
        ({"tile": 0}, "tile=0"),
    ],
)
def test_values_out_of_range_are_refused(settings, message):
    rows = clustered_rows(40, 8, seed=5)
    with pytest.raises(ValueError, match=message):
        list(reranked_tiles(rows[:10], rows[10:], **settings))


def test_sets_that_do_not_belong_are_refused():
    rows = clustered_rows(40, 8, seed=6)
    for query, gallery, message in (
        (rows[:0], rows, "0 queries"),
        (rows, rows[:0], "0 gallery"),
        (rows * np.nan, rows, "norm"),
    ):
        with pytest.raises(ValueError, match=message):
            list(reranked_tiles(query, gallery))
    with pytest.raises(ValueError, match="queries have length 4, the gallery 8"):
        inspect.unwrap(reranked_tiles)(rows[:, :4], rows)
