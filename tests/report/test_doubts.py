"""Which clusters are nearly one and nearly two, against loops over every pair of pictures."""

from itertools import combinations

import numpy as np
import pytest

from reidlib.calibration.calibration import Calibration, Curve
from reidlib.report.doubts import MEMBERS, members_of, nearly_one, nearly_two

CURVE = {"false_match_rates": (0.1,), "thresholds": (0.5,), "pairs": 100, "strangers": 100}
CALIBRATION = Calibration(
    prior=0.1, source="strangers", pooled=Curve(slope=12.0, offset=-6.0, **CURVE),
    cameras={"0|1": Curve(slope=9.0, offset=-3.0, **CURVE)},
)  # fmt: skip


def same(one, other, embeddings, cameras):
    """P(same) of two rows, as the calibration defines it."""
    slope, offset = (9.0, -3.0) if {cameras[one], cameras[other]} == {0, 1} else (12.0, -6.0)
    return 1 / (1 + np.exp(-(slope * float(embeddings[one] @ embeddings[other]) + offset)))


def people(centres, sizes, seed=0, spread=0.3):
    """Unit rows around centres, shuffled: embeddings, and the centre that each is of."""
    generator = np.random.default_rng(seed)
    who = generator.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    rows = np.asarray(centres, float)[who] + spread * generator.normal(size=(len(who), len(centres[0])))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), who


def test_pairs_of_clusters_have_the_mean_of_all_their_pairs_surest_first():
    generator = np.random.default_rng(1)
    embeddings, labels = people(generator.normal(size=(5, 6)), [4, 1, 3, 6, 2])
    labels[3] = -1
    labels = np.unique(labels, return_inverse=True)[1].astype(np.int32) - 1  # 0..C-1 without gaps, -1 the outlier
    cameras = generator.integers(0, 3, len(labels)).astype(np.int16)
    table = nearly_one(embeddings, labels, cameras, CALIBRATION)
    expected = {}
    for a, b in combinations(range(labels.max() + 1), 2):
        pairs = [(i, j) for i in np.flatnonzero(labels == a) for j in np.flatnonzero(labels == b)]
        expected[a, b] = np.mean([same(i, j, embeddings, cameras) for i, j in pairs])
    found = {(row.first, row.second): row.same for row in table.itertuples()}
    assert found == pytest.approx(expected, abs=1e-5)  # so few clusters are all compared
    assert table["same"].is_monotonic_decreasing


def test_each_of_many_clusters_is_compared_with_its_nearest():
    angles = np.arange(40) * (2 * np.pi / 40)
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    table = nearly_one(embeddings, np.arange(40, dtype=np.int32), np.zeros(40, np.int16), CALIBRATION)
    steps = {(row.second - row.first) % 40 for row in table.itertuples()}
    assert steps == {1, 2, 3, 4, 36, 37, 38, 39} and len(table) == 40 * 4


@pytest.mark.parametrize("labels", [[-1, -1, -1], [0, 0, -1]])
def test_fewer_than_two_clusters_are_no_pair(labels):
    table = nearly_one(np.eye(3, dtype=np.float32), np.array(labels, np.int32), np.zeros(3, np.int16), CALIBRATION)
    assert list(table.columns) == ["first", "second", "same"] and len(table) == 0


def test_a_cluster_of_two_people_falls_into_them():
    embeddings, who = people(np.eye(6)[:3], [5, 3, 4], spread=0.1)
    labels = np.where(who == 2, 1, 0).astype(np.int32)  # the first two people in one cluster
    cameras = np.arange(12, dtype=np.int16) % 3
    doubt, halves = nearly_two(embeddings, labels, cameras, CALIBRATION)
    assert (halves[who == 0] == 0).all() and (halves[who == 1] == 1).all()
    assert doubt[0] < 0.2 < 0.8 < doubt[1]
    for cluster in (0, 1):
        best = []
        for row in np.flatnonzero(labels == cluster):
            others = np.flatnonzero((labels == cluster) & (halves != halves[row]))
            best.append(max(same(row, other, embeddings, cameras) for other in others))
        assert doubt[cluster] == pytest.approx(np.mean(best), abs=1e-5)


def test_one_picture_has_no_halves_and_equal_ones_have_any():
    embeddings = np.eye(4, dtype=np.float32)[[0, 1, 1, 1, 2]]
    doubt, halves = nearly_two(embeddings, np.array([0, 1, 1, 1, -1], np.int32), np.zeros(5, np.int16), CALIBRATION)
    assert np.isnan(doubt[0]) and doubt[1] > 0.9
    assert halves.tolist() == [0, 0, 0, 1, -1]
    nothing, _ = nearly_two(embeddings, np.full(5, -1, np.int32), np.zeros(5, np.int16), CALIBRATION)
    assert len(nothing) == 0


def test_the_first_members_stand_for_a_large_cluster():
    embeddings, _ = people(np.eye(3)[:1], [MEMBERS + 5])
    labels = np.zeros(MEMBERS + 5, np.int32)
    assert members_of(labels)[0].tolist() == list(range(MEMBERS))
    _, halves = nearly_two(embeddings, labels, np.zeros(MEMBERS + 5, np.int16), CALIBRATION)
    assert (halves[MEMBERS:] == -1).all() and set(halves[:MEMBERS].tolist()) == {0, 1}
