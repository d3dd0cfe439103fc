"""What a calibration is worth, against loops over all pairs."""

import numpy as np
import pandas as pd
import pytest

from reidlib.calibration.calibration import Calibration, Curve
from reidlib.images.split import Split
from reidlib.report import verification
from reidlib.report.verification import verification_report

CURVE = {"offset": -3.0, "false_match_rates": (0.01, 0.1, 0.5), "pairs": 100, "strangers": 100}
KNOWN = Calibration(
    prior=0.1, source="strangers", pooled=Curve(slope=6.0, thresholds=(0.7, 0.5, 0.1), **CURVE),
    cameras={"0|1": Curve(slope=9.0, thresholds=(0.6, 0.4, 0.2), **CURVE)},
)  # fmt: skip


def side(generator, people, cameras, start):
    rows = pd.DataFrame(
        {"image": [f"{start + n:016x}" for n in range(len(people))], "camera": cameras.astype(np.int16)}
    )
    vectors = np.eye(8)[people % 8] + 0.5 * generator.normal(size=(len(people), 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Split(np.zeros((len(people), 2, 1, 3), np.uint8), rows), vectors


@pytest.fixture
def made():
    generator = np.random.default_rng(0)
    people = {"query": generator.integers(-1, 7, 40), "gallery": generator.integers(-1, 7, 60)}
    cameras = {"query": generator.integers(0, 3, 40), "gallery": generator.integers(0, 3, 60)}
    splits, vectors = {}, {}
    for start, name in ((0, "query"), (1000, "gallery")):
        splits[name], vectors[name] = side(generator, people[name], cameras[name], start)
    return splits, vectors, people, cameras


def test_it_is_what_loops_over_all_pairs_find(made, monkeypatch):
    splits, vectors, people, cameras = made
    monkeypatch.setattr("reidlib.retrieval.metrics.TILE_BYTES", 60 * 4 * 7)  # several tiles, in several parts
    monkeypatch.setattr(verification, "PAIRS", 60 * 3)
    found = verification_report(*splits.values(), people, vectors, KNOWN, false_match_rate=0.1)
    pairs, own, other = [], [], []
    for q in range(40):
        best = {True: -np.inf, False: -np.inf}
        for g in range(60):
            same = bool(people["query"][q] == people["gallery"][g])
            if people["query"][q] <= 0 or people["gallery"][g] < 0 or cameras["query"][q] == cameras["gallery"][g]:
                continue
            cosine = float(vectors["query"][q] @ vectors["gallery"][g])
            ours = {int(cameras["query"][q]), int(cameras["gallery"][g])} == {0, 1}
            probability = 1 / (1 + np.exp(-((9.0 if ours else 6.0) * cosine - 3)))
            pairs.append((cosine, probability, cosine >= (0.4 if ours else 0.5), same))
            best[same] = max(best[same], cosine)
        if best[True] > -np.inf:
            own.append(best[True])
            other.append(best[False])
    cosine, probability, reached, same = (np.array(column) for column in zip(*pairs, strict=True))
    error, ranges = 0.0, []
    for part in range(15):
        inside = (probability >= part / 15) & (probability < (part + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(probability[inside].mean() - same[inside].mean())
            ranges.append((probability[inside].mean(), same[inside].mean(), inside.sum()))
    np.testing.assert_allclose(found.reliability[["said", "same", "pairs"]], ranges, atol=1e-6)
    expected = {
        "inter_calibration_error": error,
        "inter_false_match_rate": reached[~same].mean(),
        "inter_false_non_match_rate": 1 - reached[same].mean(),
    }
    for percent in (1, 10):
        rates = []
        for threshold in sorted({-1.0, *other}):  # the lowest that keeps the false alarms
            if sum(score > threshold for score in other) <= percent / 100 * len(own):
                rates.append(np.mean([a > b and a > threshold for a, b in zip(own, other, strict=True)]))
        expected[f"inter_identified_at_fpir_{percent}"] = rates[0]
    assert found.values() == pytest.approx(expected, abs=1e-6)
    assert 0 < expected["inter_identified_at_fpir_1"] < 1
    for row in found.det.iloc[:: max(1, len(found.det) // 20)].itertuples():
        assert row.false_match_rate == pytest.approx((cosine[~same] >= row.threshold).mean(), abs=2e-3)
        assert row.false_non_match_rate == pytest.approx((cosine[same] < row.threshold).mean(), abs=2e-2)
    assert found.det["threshold"].is_monotonic_decreasing
    assert found.det.iloc[-1].tolist()[1:] == [1, 0]


def test_without_pairs_of_the_same_nothing_is_said(made):
    splits, vectors, *_ = made
    for people in (
        {"query": np.full(40, -1), "gallery": np.full(60, -1)},
        {"query": np.full(40, 1), "gallery": np.full(60, 2)},
    ):
        found = verification_report(*splits.values(), people, vectors, KNOWN, false_match_rate=0.01)
        assert found.values() == {} and len(found.det) == len(found.reliability) == 0


def test_false_alarms_allow_no_more_than_they_say():
    other = np.linspace(0, 1, 100)
    best = np.stack([np.full(100, 0.95), other], axis=1)
    found = verification.open_set(best)
    assert found == {"identified_at_fpir_1": 0.0, "identified_at_fpir_10": pytest.approx(0.95, abs=0.006)}
