import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.labels.camera_entropy import cluster_weights


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 5), st.sampled_from([-2, 0, 3, 9])), max_size=40))
def test_weights_equal_the_formula(rows):
    labels = np.array([label for label, _ in rows], dtype=np.int32)
    cameras = np.array([camera for _, camera in rows], dtype=np.int32)
    expected = []
    for cluster in range(labels.max(initial=-1) + 1):
        seen = [camera for label, camera in rows if label == cluster]
        shares = [seen.count(camera) / len(seen) for camera in set(seen)]
        expected.append(math.log(1 + sum(-share * math.log(share) for share in shares)))
    found = cluster_weights(labels, cameras)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_more_cameras_weigh_more():
    labels, cameras = np.repeat([0, 1, 2], 6), np.array([0] * 6 + [0, 1] * 3 + [0, 1, 2] * 2)
    np.testing.assert_allclose(cluster_weights(labels, cameras), np.log1p(np.log([1, 2, 3])), atol=1e-6)


def test_a_camera_per_label():
    with pytest.raises(ValueError, match="expected a camera per label, found 1 for 2"):
        inspect.unwrap(cluster_weights)(np.array([0, 1]), np.array([0]))
