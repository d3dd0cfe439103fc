"""mAP, mINP and CMC against a naive stable sort of every row, and the rules for junk, cameras, distractors and ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.retrieval import kernels, metrics
from reidlib.retrieval.metrics import cosine_tiles, evaluate, ranked_list


def naive(scores, query_identities, gallery_identities, query_cameras, gallery_cameras, max_rank):
    """The definition: sort each row, drop what is ignored, walk down the list."""
    precisions, penalties, cmc, ignored = [], [], np.zeros(max_rank), 0
    for q, row in enumerate(scores):
        hits = []
        for g in sorted(range(len(row)), key=lambda g: (-row[g], g)):
            same = query_identities[q] == gallery_identities[g]
            if gallery_identities[g] == -1 or (same and query_cameras[q] == gallery_cameras[g]):
                continue
            hits.append(bool(same and query_identities[q] > 0))
        if not any(hits):
            ignored += 1
            continue
        precision, found = 0.0, 0
        for position, hit in enumerate(hits, start=1):
            if hit:
                found += 1
                precision += found / position
                last = position
        precisions.append(precision / found)
        penalties.append(found / last)
        cmc[hits.index(True) :] += 1
    return np.mean(precisions), np.mean(penalties), cmc / len(precisions), ignored


def made(rng, queries, items, *, identities=5, cameras=3, levels=None):
    """Random numbers with junk and distractors; the first query and item are a match. Few levels make many ties."""
    numbers = {
        "query_identities": rng.integers(-1, identities + 1, queries).astype(np.int32),
        "gallery_identities": rng.integers(-1, identities + 1, items).astype(np.int32),
        "query_cameras": rng.integers(0, cameras, queries).astype(np.int16),
        "gallery_cameras": rng.integers(0, cameras, items).astype(np.int16),
    }
    numbers["query_identities"][0] = numbers["gallery_identities"][0] = 1
    numbers["query_cameras"][0], numbers["gallery_cameras"][0] = 0, 1
    scores = rng.standard_normal((queries, items)) if levels is None else rng.integers(0, levels, (queries, items))
    return scores.astype(np.float32), numbers


def check_equal(result, scores, numbers, max_rank):
    precision, penalty, cmc, ignored = naive(scores, *(numbers[name] for name in ORDER), max_rank)
    assert result.mAP == precision
    assert result.mINP == penalty
    assert np.array_equal(result.cmc, cmc)
    assert result.ignored_queries == ignored
    assert result.queries == len(scores) - ignored


def evaluate_rows(query, gallery, **numbers):
    return evaluate(cosine_tiles(query, gallery), **numbers)


ORDER = ("query_identities", "gallery_identities", "query_cameras", "gallery_cameras")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 12),
    items=st.integers(1, 60),
    levels=st.sampled_from([None, 1, 2, 5]),
    cut=st.integers(1, 12),
)
def test_equal_to_a_stable_sort(seed, queries, items, levels, cut):
    scores, numbers = made(np.random.default_rng(seed), queries, items, levels=levels)
    tiles = [(slice(start, min(start + cut, queries)), scores[start : start + cut]) for start in range(0, queries, cut)]
    check_equal(evaluate(tiles[::-1], **numbers, max_rank=20), scores, numbers, 20)


@pytest.mark.parametrize("levels", [None, 40])
def test_rows_longer_than_a_block_and_many_positives(levels):
    items = kernels.BLOCK * 2 + 77
    scores, numbers = made(np.random.default_rng(3), 6, items, identities=9, levels=levels)
    numbers["gallery_identities"][::3] = 1  # many positives
    numbers["query_identities"][:] = [1, 2, 3, 4, 1, 0]
    check_equal(evaluate([(slice(0, 6), scores)], **numbers), scores, numbers, 50)
    few = {**numbers, "gallery_identities": np.where(np.arange(items) % 60 == 7, 2, 0).astype(np.int32)}
    few["query_identities"] = np.full(6, 2, np.int32)
    check_equal(evaluate([(slice(0, 6), scores)], **few), scores, few, 50)


def test_positives_are_ordered_from_the_worst_to_the_best():
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 30, 5000).astype(np.float32)
    positives = np.empty(40, np.int64)
    for filled, column in enumerate(np.sort(rng.choice(5000, 40, replace=False))):
        kernels._insert_worst_first(scores, positives, filled, column)
    keys = list(zip(scores[positives], -positives, strict=True))
    assert keys == sorted(keys)


def embeddings(rng, rows, columns=16):
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_embeddings_are_ranked_by_cosine_in_tiles(monkeypatch):
    rng = np.random.default_rng(7)
    _, numbers = made(rng, 30, 200)
    query, gallery = embeddings(rng, 30), embeddings(rng, 200)
    monkeypatch.setattr(metrics, "TILE_BYTES", 4 * 200 * 7)
    result = evaluate_rows(query, gallery, **numbers)
    precision, penalty, _, _ = naive(query @ gallery.T, *(numbers[name] for name in ORDER), 50)
    assert result.mAP == pytest.approx(precision, abs=1e-12)
    assert result.mINP == pytest.approx(penalty, abs=1e-12)
    assert evaluate_rows(query, gallery, **numbers).mAP == result.mAP


def test_forms_of_arrays_give_the_same(tmp_path):
    rng = np.random.default_rng(8)
    _, numbers = made(rng, 5, 40)
    query, gallery = embeddings(rng, 5), embeddings(rng, 40)
    expected = evaluate_rows(query, gallery, **numbers)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    wide = np.zeros((40, 32), np.float32)
    wide[:, ::2] = gallery
    for form in (mapped, np.asfortranarray(gallery), wide[:, ::2], gallery.astype(np.float64)):
        assert evaluate_rows(query, form, **numbers).mAP == expected.mAP
    half = evaluate_rows(query.astype(np.float16), gallery.astype(np.float16), **numbers)
    assert half.mAP == pytest.approx(expected.mAP, abs=0.05)
    scores = query @ gallery.T
    scores.flags.writeable = False
    for form in (scores, np.asfortranarray(scores)):
        assert evaluate([(slice(0, 5), form)], **numbers).mAP == pytest.approx(expected.mAP, abs=1e-12)


def test_perfect_and_worst():
    query = np.eye(2, dtype=np.float32)
    gallery = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    numbers = {
        "query_identities": np.array([1, 2]),
        "query_cameras": np.array([0, 0]),
        "gallery_identities": np.array([1, 1, 2, 2]),
        "gallery_cameras": np.array([1, 2, 1, 2]),
    }
    best = evaluate_rows(query, gallery, **numbers, max_rank=4)
    assert (best.mAP, best.mINP, best.cmc.tolist()) == (1, 1, [1, 1, 1, 1])
    worst = evaluate_rows(query[::-1], gallery, **numbers, max_rank=4)
    assert (worst.mAP, worst.mINP, worst.cmc.tolist()) == ((1 / 3 + 2 / 4) / 2, 0.5, [0, 0, 1, 1])


def test_distractors_and_junk_queries_match_nothing():
    scores = np.array([[0.5, 0.9], [0.5, 0.9], [0.5, 0.9]], np.float32)
    result = evaluate(
        [(slice(0, 3), scores)],
        query_identities=np.array([4, 0, -1]),
        query_cameras=np.array([0, 0, 0]),
        gallery_identities=np.array([4, 0]),
        gallery_cameras=np.array([1, 1]),
        max_rank=2,
    )
    assert (result.queries, result.ignored_queries) == (1, 2)
    assert (result.mAP, result.cmc.tolist()) == (0.5, [0, 1])
    assert np.array_equal(result.average_precisions, [0.5, np.nan, np.nan], equal_nan=True)


def test_all_equal_rows_are_ranked_by_gallery_order():
    row = np.full((1, 4), 0.5, np.float32)
    numbers = {
        "query_identities": np.array([1]),
        "query_cameras": np.array([0]),
        "gallery_identities": np.array([2, 1, 2, 1]),
        "gallery_cameras": np.array([1, 1, 1, 1]),
    }
    assert evaluate_rows(row, np.repeat(row, 4, axis=0), **numbers).mAP == (1 / 2 + 2 / 4) / 2
    assert ranked_list(row[0], np.repeat(row, 4, axis=0), identity=1, camera=0, **gallery_of(numbers)).tolist() == [
        0,
        1,
        2,
        3,
    ]


def gallery_of(numbers):
    return {name: numbers[name] for name in ("gallery_identities", "gallery_cameras")}


def test_ranked_list_follows_the_rules():
    rng = np.random.default_rng(9)
    _, numbers = made(rng, 6, 50)
    query, gallery = embeddings(rng, 6), embeddings(rng, 50)
    for q in range(6):
        identity, camera = int(numbers["query_identities"][q]), int(numbers["query_cameras"][q])
        rows = ranked_list(query[q], gallery, identity=identity, camera=camera, **gallery_of(numbers), count=8)
        expected = [
            g
            for g in sorted(range(50), key=lambda g: (-(gallery @ query[q])[g], g))
            if numbers["gallery_identities"][g] != -1
            and not (numbers["gallery_identities"][g] == identity > 0 and numbers["gallery_cameras"][g] == camera)
        ]
        assert rows.tolist() == expected[:8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.nan}, "query embeddings must be finite rows of norm 1, but 1 of 4 are not; row 2"),
        ({"gallery": 0.0}, "Divide each row by its norm"),
        ({"gallery": np.inf}, "gallery embeddings must be finite rows of norm 1"),
        ({"gallery_identities": np.full(9, -2)}, "at least -1"),
        ({"gallery_cameras": np.zeros(9, int), "query_cameras": np.zeros(4, int)}, "a match on another camera"),
        ({"max_rank": 0}, "max_rank of at least 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    rng = np.random.default_rng(0)
    arguments = {
        "query": embeddings(rng, 4),
        "gallery": embeddings(rng, 9),
        "query_identities": np.ones(4, int),
        "gallery_identities": np.ones(9, int),
        "query_cameras": np.zeros(4, int),
        "gallery_cameras": np.ones(9, int),
    }
    for name, value in change.items():
        if name in ("query", "gallery"):
            arguments[name][2] = value
        else:
            arguments[name] = value
    with pytest.raises(ValueError, match=message):
        evaluate_rows(arguments.pop("query"), arguments.pop("gallery"), **arguments)


def test_nan_scores_wrong_tiles_and_empty_inputs_are_refused():
    scores, numbers = made(np.random.default_rng(1), 3, 9)
    broken = scores.copy()
    broken[1, 4] = np.nan
    numbers["gallery_identities"][4] = 2
    with pytest.raises(ValueError, match="found NaN for 1 queries, the first is query 1"):
        evaluate([(slice(0, 3), broken)], **numbers)
    with pytest.raises(ValueError, match="found float32 of"):
        evaluate(iter([(slice(0, 3), scores[:, :5])]), **numbers)
    with pytest.raises(ValueError, match="found float64"):
        evaluate(iter([(slice(0, 3), scores.astype(np.float64))]), **numbers)
    with pytest.raises(ValueError, match="2 times for query 0"):
        evaluate([(slice(0, 3), scores), (slice(0, 1), scores[:1])], **numbers)
    with pytest.raises(ValueError, match="0 times for query 2"):
        evaluate([(slice(0, 2), scores[:2])], **numbers)
    with pytest.raises(ValueError, match="as many gallery identities as cameras"):
        metrics._check_numbers("gallery", np.ones(3, int), np.ones(2, int))


@pytest.mark.parametrize(
    ("queries", "items", "message"), [(0, 9, "one query embedding"), (3, 0, "one gallery embedding")]
)
def test_empty_inputs_are_refused(queries, items, message):
    numbers = {
        "query_identities": np.ones(queries, int),
        "gallery_identities": np.ones(items, int),
        "query_cameras": np.zeros(queries, int),
        "gallery_cameras": np.ones(items, int),
    }
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        evaluate_rows(embeddings(rng, queries), embeddings(rng, items), **numbers)
