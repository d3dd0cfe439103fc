"""Averages of tracklets against loops over them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.retrieval.tracklets import averages, groups_of, most_frequent

rows = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 3)), min_size=1, max_size=30)


@given(rows, st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_tracklets_are_averaged_one_by_one(found, seed):
    tracklets, identities = np.array(found).T
    embeddings = np.random.default_rng(seed).normal(size=(len(found), 6)).astype(np.float32) + 3
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    members = {}
    for row, tracklet in enumerate(tracklets.tolist()):
        members.setdefault(tracklet if tracklet >= 0 else f"row {row}", []).append(row)
    groups = groups_of(tracklets)
    assert [np.flatnonzero(groups == number).tolist() for number in range(len(members))] == list(members.values())
    means, numbers = averages(embeddings, groups), most_frequent(identities, groups)
    assert means.dtype == np.float32 and len(means) == len(numbers) == len(members)
    for mean, number, mine in zip(means, numbers, members.values(), strict=True):
        expected = embeddings[mine].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(mean, expected / np.linalg.norm(expected), atol=1e-5)
        if len(mine) == 1:
            assert (mean == embeddings[mine[0]]).all()
        known = Counter(identities[mine][identities[mine] >= 0].tolist())
        assert number == min(known, key=lambda who: (-known[who], who), default=-1)


def test_embeddings_that_cancel_out_have_no_average():
    with pytest.raises(ValueError, match="found opposite ones"):
        averages(np.array([[1, 0], [-1, 0]], np.float32), np.zeros(2, np.int64))
