"""Nearest rows against a loop over all of them: exact, filtered, one of each group, by an index with rows after it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.gallery import search
from reidlib.gallery.averages import nearest_tracklets
from reidlib.gallery.index import INDEX_FILE, Index, IndexFacts, build_index, open_index
from reidlib.gallery.search import Among, nearest_rows


def unit(generator, rows, length=8, *, coarse=False):
    drawn = generator.integers(-1, 2, (rows, length)) if coarse else generator.standard_normal((rows, length))
    drawn = drawn + (drawn == 0).all(axis=1, keepdims=True)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def slow(vectors, query, *, k, chosen, groups, own):
    """Every row in order of its score, then of its number; the first of each group."""
    scores = vectors @ query
    seen, rows = set(), []
    for row in sorted(range(len(vectors)), key=lambda row: (-scores[row], row)):
        group = row if groups is None else groups[row]
        mine = own is not None and group == (own if groups is None else groups[own])
        if group in seen or mine or (chosen is not None and not chosen[row]):
            continue
        seen.add(group)
        rows.append(row)
    return rows[:k]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), k=st.integers(1, 45), coarse=st.booleans(), data=st.data())
def test_exact_search_is_a_loop_over_all_rows(seed, n, k, coarse, data):
    generator = np.random.default_rng(seed)
    vectors = unit(generator, n, coarse=coarse)
    chosen = generator.random(n) < data.draw(st.sampled_from([0.1, 0.5, 0.9])) if data.draw(st.booleans()) else None
    groups = generator.integers(0, 6, n) if data.draw(st.booleans()) else None
    own = generator.integers(0, n, 3) if data.draw(st.booleans()) else None
    queries = unit(generator, 3, coarse=coarse) if own is None else vectors[own]
    found = nearest_rows(vectors, queries, k=k, among=Among(chosen, groups), own=own)
    for number, answer in enumerate(found):
        mine = None if own is None else own[number]
        expected = slow(vectors, queries[number], k=k, chosen=chosen, groups=groups, own=mine)
        assert len(answer.rows) == len(expected)
        np.testing.assert_allclose(answer.similarities, vectors[expected] @ queries[number], atol=1e-6)
        np.testing.assert_allclose(vectors[answer.rows] @ queries[number], answer.similarities, atol=1e-6)
        assert len({row if groups is None else groups[row] for row in answer.rows}) == len(answer.rows)
        assert chosen is None or chosen[answer.rows].all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), k=st.integers(1, 12), data=st.data())
def test_tracklets_are_found_by_their_averages(seed, n, k, data):
    generator = np.random.default_rng(seed)
    vectors = unit(generator, n)
    groups = generator.integers(0, 6, n)
    chosen = generator.random(n) < 0.6 if data.draw(st.booleans()) else None
    own = generator.integers(0, n, 3) if data.draw(st.booleans()) else None
    queries = unit(generator, 3) if own is None else vectors[own]
    found = nearest_tracklets(vectors, queries, k=k, groups=groups, chosen=chosen, own=own)
    for number, answer in enumerate(found):
        query = queries[number]
        if own is not None:
            query = vectors[groups == groups[own[number]]].sum(axis=0)
            query = query / np.linalg.norm(query)
        expected = []
        for group in set(groups.tolist()) - (set() if own is None else {groups[own[number]]}):
            mine = np.flatnonzero((groups == group) & (True if chosen is None else chosen))
            if len(mine):
                mean = vectors[mine].sum(axis=0) / np.linalg.norm(vectors[mine].sum(axis=0))
                near = vectors[mine] @ mean
                expected.append((float(mean @ query), mine[near >= near.max() - 1e-5][0]))
        expected.sort(key=lambda pair: -pair[0])
        np.testing.assert_allclose(answer.similarities, [score for score, _ in expected[:k]], atol=1e-5)
        assert answer.rows.tolist() == [row for _, row in expected[:k]]


def test_ties_go_to_the_lower_row():
    vectors = np.repeat(np.eye(2, 4, dtype=np.float32), 4, axis=0)
    (found,) = nearest_rows(vectors, vectors[:1], k=3)
    assert found.rows.tolist() == [0, 1, 2] and found.similarities.tolist() == [1, 1, 1]


@pytest.fixture(scope="module")
def clustered():
    generator = np.random.default_rng(0)
    centres = unit(generator, 300, 32)
    vectors = np.repeat(centres, 10, axis=0) + 0.1 * generator.standard_normal((3000, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_index_reaches_the_recall_it_tells_and_rows_after_it_are_found(clustered, kind, tmp_path, monkeypatch):
    def truth(queries, k):
        return [np.argsort(-(held @ query), kind="stable")[:k] for query in queries]

    monkeypatch.setattr(search, "EXACT_UP_TO", 100)
    held, path = clustered[:2500], tmp_path / INDEX_FILE
    facts = build_index(held, path, kind=kind, recall=0.95, lists=40, truth=truth)
    assert facts.recall >= 0.95 and facts.rows == 2500 and facts.kind == kind
    assert path.stat().st_size < held.nbytes / 8 + 160 * 2500 + 10_000  # four bits a number, and links or lists
    index = open_index(path, facts)
    chosen = np.arange(3000) % 3 > 0
    groups = np.arange(3000) // 2
    rows = np.arange(0, 3000, 30)
    for among in (Among(index=index), Among(chosen, groups, index)):
        found = nearest_rows(clustered, clustered[rows], k=5, among=among, own=rows)
        hits = total = 0
        for row, answer in zip(rows, found, strict=True):
            expected = slow(clustered, clustered[row], k=5, chosen=among.chosen, groups=among.groups, own=row)
            np.testing.assert_allclose(answer.similarities, clustered[answer.rows] @ clustered[row], atol=1e-6)
            assert {x for x in expected if x >= 2500} <= set(answer.rows.tolist())
            hits += len(set(expected) & set(answer.rows.tolist()))
            total += len(expected)
        assert hits / total >= 0.9


def test_few_chosen_rows_are_searched_exactly_beside_an_index(clustered):
    index = Index(None, IndexFacts(kind="ivf", rows=3000, effort=1, recall=1.0))  # which would fail if it were asked
    chosen = np.zeros(3000, bool)
    chosen[::7] = True
    (found,) = nearest_rows(clustered, clustered[:1], k=4, among=Among(chosen, None, index))
    assert found.rows.tolist() == slow(clustered, clustered[0], k=4, chosen=chosen, groups=None, own=None)


def test_a_damaged_index_is_refused(clustered, tmp_path):
    path = tmp_path / INDEX_FILE
    facts = build_index(clustered, path, kind="ivf", lists=8, truth=lambda queries, k: [np.arange(k)] * len(queries))
    assert facts.effort == 8 and facts.recall < 0.5  # the widest search cannot reach a truth that is none
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="missing, cut short or damaged"):
        open_index(path, facts)
    path.unlink()
    with pytest.raises(ValueError, match="missing, cut short or damaged"):
        open_index(path, facts)
    build_index(clustered[:50], path, kind="ivf", lists=1, truth=lambda queries, k: [np.arange(k)] * len(queries))
    with pytest.raises(ValueError, match="expected an index of 3,000 vectors, found 50"):
        open_index(path, facts)
