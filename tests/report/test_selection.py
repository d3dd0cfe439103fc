"""Which images a page holds: all where they fit, else some of every cluster, and all that is spoken of."""

import numpy as np
import pytest

from reidlib.report.selection import choose_images

COUNTS = {"train": 60, "query": 10, "gallery": 50}


def labels():
    return np.array([-1] * 5 + [0] * 30 + [1] * 2 + [2] * 3 + [3] * 20, np.int32)[
        np.random.default_rng(0).permutation(60)
    ]


def test_all_that_fit():
    chosen = choose_images(labels(), COUNTS, {}, most=120)
    assert {name: rows.tolist() for name, rows in chosen.items()} == {k: list(range(n)) for k, n in COUNTS.items()}


@pytest.mark.parametrize("most", [20, 40, 80])
def test_of_more_some_of_every_cluster_and_what_is_spoken_of(most):
    spoken = {"train": [59, 3], "query": [9], "gallery": [49, 48]}
    chosen = choose_images(labels(), COUNTS, spoken, most=most)
    assert sum(map(len, chosen.values())) == most
    for name, rows in chosen.items():
        assert set(spoken[name]) <= set(rows.tolist()) and (np.diff(rows) > 0).all() and rows.max() < COUNTS[name]
    of_each = np.bincount(labels()[chosen["train"]] + 1, minlength=5)
    assert (of_each[1:] > 0).all()
    rest = {row for row in chosen["train"].tolist() if row not in spoken["train"]}
    largest = max(sum(labels()[row] == cluster for row in rest) for cluster in range(4))
    whole = [cluster for cluster in range(4) if (labels() == cluster).sum() <= largest - 2]
    assert all(of_each[cluster + 1] == (labels() == cluster).sum() for cluster in whole)  # in turns: small ones whole


def test_what_is_spoken_of_is_there_whatever_fits():
    chosen = choose_images(labels(), COUNTS, {"gallery": list(range(50))}, most=10)
    assert len(chosen["gallery"]) == 50


def test_a_set_without_queries_and_gallery():
    chosen = choose_images(labels(), {"train": 60, "query": 0, "gallery": 0}, {}, most=30)
    assert [len(rows) for rows in chosen.values()] == [30, 0, 0]
