import re

import numpy as np
import pytest

from reidlib.labels.quality import label_quality
from reidlib.labels.signs import camera_probe, stability, warning_signs


def test_the_probe_equals_the_loop(people):
    embeddings, _, cameras = people(60, noise=1.0)
    embeddings = embeddings + 0.3 * np.random.default_rng(0).standard_normal((cameras.max() + 1, 1))[cameras]
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    right, names = [], np.unique(cameras)
    for i in range(60):
        others = np.arange(60) != i
        means = [embeddings[others & (cameras == name)].astype(np.float64).mean(axis=0) for name in names]
        scores = [mean @ embeddings[i] / np.linalg.norm(mean) for mean in means]
        right.append(names[np.argmax(scores)] == cameras[i])
    expected = (np.mean(right) - 1 / len(names)) / (1 - 1 / len(names))
    assert 0 < expected < 1
    assert camera_probe(embeddings, cameras) == pytest.approx(expected)


def test_the_probe_sees_cameras_that_tell_and_no_others(people):
    embeddings, _, cameras = people(300)
    directions = np.eye(embeddings.shape[1], dtype=np.float32)
    assert camera_probe(directions[cameras], cameras) == 1
    assert camera_probe(embeddings, np.random.default_rng(1).integers(0, 3, 300)) < 0.2
    assert camera_probe(embeddings, np.zeros(300, int)) == 0


def test_stability_is_the_agreement_of_two_labellings(people):
    generator = np.random.default_rng(0)
    labels, earlier = generator.integers(-1, 9, 50), generator.integers(-1, 9, 50)
    own = np.where(earlier < 0, 100 + np.arange(50), earlier)
    assert stability(labels, earlier) == label_quality(labels, own)["bcubed_f"]
    assert stability(labels, labels) == 1 > stability(labels, earlier)
    assert stability(np.full(3, -1), np.full(3, -1)) == 1


FINE = {"outlier_share": 0.2, "camera_span": 0.8, "refined_share": 0.1, "camera_probe": 0.05}


@pytest.mark.parametrize(
    ("first", "newest", "words"),
    [
        ({}, {}, None),
        ({}, {"refined_share": 0.46}, r"refinement leaves out 46% .*refine\.nodes=one"),
        ({}, {"outlier_share": 0.68}, r"outliers grow, from 20% to 68% .*refine\.method"),
        ({"outlier_share": 0.66}, {"outlier_share": 0.68}, None),  # many, but from the start
        ({}, {"camera_span": 0.25}, r"only 25% of the clusters span cameras.*refine\.camera_aware"),
        ({}, {"camera_probe": 0.9}, r"separate by camera .*90% .*refine\.camera_alignment=whiten"),
        ({}, {"camera_probe": 0.9, "camera_span": 0.1}, r"separate by camera"),  # its reason, not both
    ],
)
def test_what_is_warned_of(first, newest, words):
    found = warning_signs([FINE | first, FINE | newest])
    assert len(found) == (words is not None)
    assert words is None or re.search(words, next(iter(found.values())))


def test_measures_that_are_not_there_warn_of_nothing():
    assert warning_signs([{"clusters": 7.0}]) == {}
