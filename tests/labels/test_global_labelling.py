"""The default recipe's labels find their own values: sets of any size, clusters of two and of fifty."""

import numpy as np
import pytest

from reidlib.commands.compose import compose_values
from reidlib.labels.alignment import align_cameras
from reidlib.labels.global_labelling import camera_aware_graphs, global_labelling
from reidlib.labels.icsr import global_labels
from reidlib.labels.quality import label_quality

LABELLING = global_labelling(compose_values(["dataset=folder"]))


def planted(n, *, per_camera, cameras, noise, length, seed):
    """Rows around one centre a person, `per_camera` on each camera, all moved by their camera; identities, cameras."""
    generator = np.random.default_rng(seed)
    identities, of = np.arange(n) // (per_camera * cameras), np.arange(n) % cameras
    rows = generator.standard_normal((identities.max() + 1, length))[identities]
    rows = rows + noise * generator.standard_normal((n, length)) + 2 * generator.standard_normal((cameras, length))[of]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), identities, of


@pytest.mark.parametrize(
    ("n", "per_camera", "cameras", "least"),
    [
        (100, 1, 2, 0.9),
        (600, 1, 2, 0.9),
        (100, 5, 2, 0.95),
        (600, 25, 2, 0.95),
        (1000, 3, 6, 0.95),
        (3000, 10, 3, 0.95),
        (40, 4, 1, 0.95),  # one camera
        (300, 20, 1, 0.95),
    ],
)
def test_clusters_of_any_size_are_found(n, per_camera, cameras, least):
    size = {"per_camera": per_camera, "cameras": cameras, "length": 128}
    embeddings, identities, of = planted(n, **size, noise=0.8, seed=0)
    colours = planted(n, **size, noise=2.0, seed=1)[0]
    unknown = np.full(n, -1, np.int32)
    found = global_labels(embeddings, unknown, of, labelling=LABELLING, seed=0, colours=colours)
    quality = label_quality(found.labels, identities)
    assert quality["bcubed_f"] > least and quality["pairwise_precision"] > 0.95
    assert (found.measures["camera_span"] > 0.95) == (cameras > 1) and found.measures["camera_probe"] < 0.1


@pytest.mark.parametrize(("per_camera", "graphs"), [(1, 1), (8, 2)])
def test_twice_as_many_neighbours_are_tried_where_there_may_be_so_many(per_camera, graphs):
    embeddings, _, of = planted(200, per_camera=per_camera, cameras=2, length=128, noise=0.8, seed=0)
    found = camera_aware_graphs(align_cameras(embeddings, of, alignment="whiten"), of, labelling=LABELLING)
    assert len(found) == graphs


def test_a_small_set_is_labelled_without_a_word_of_the_neighbours_that_it_does_not_count():
    embeddings, _, of = planted(16, per_camera=4, cameras=2, length=128, noise=0.5, seed=0)
    unknown = np.full(16, -1, np.int32)
    assert LABELLING.k1 > 16  # warnings are errors
    assert global_labels(embeddings, unknown, of, labelling=LABELLING, seed=0, colours=embeddings).labels.max() >= 1
