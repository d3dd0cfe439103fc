import numpy as np

from reidlib.labels.identities import identity_labels


def test_people_are_clusters_and_the_unknown_outliers():
    identities = np.array([7, 3, 7, 0, -1, 3, 9])
    found = identity_labels(identities)
    assert found.dtype == np.int32 and found.tolist() == [0, 1, 0, -1, -1, 1, 2]


def test_inside_cameras_a_person_is_a_cluster_on_each():
    identities, cameras = np.array([7, 7, 3, 7, 0, 3]), np.array([1, 0, 1, 1, 1, 0], np.int16)
    assert identity_labels(identities, cameras).tolist() == [0, 1, 2, 0, -1, 3]


def test_nobody_known():
    assert identity_labels(np.array([0, -1]), np.array([0, 1])).tolist() == [-1, -1]
