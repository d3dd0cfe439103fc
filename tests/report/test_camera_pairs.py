"""What is said between cameras, against loops over pairs of images, of clusters, and of queries and gallery."""

import numpy as np
import pytest

from reidlib.report.camera_pairs import first_answers, found_again, pairs_joined

COUNT = 3


def drawn(seed, n=40):
    generator = np.random.default_rng(seed)
    identities = generator.integers(-1, 6, n).astype(np.int32)
    labels = np.where(generator.random(n) < 0.7, np.maximum(identities, 0), generator.integers(-1, 8, n)).astype(
        np.int32
    )
    return labels, identities, generator.integers(0, COUNT, n)


def share(pairs):
    return np.mean(pairs) if pairs else np.nan


@pytest.mark.parametrize("seed", range(4))
def test_the_pairs_that_clusters_join(seed):
    labels, identities, places = drawn(seed)
    recall, precision = pairs_joined(labels, identities, places, COUNT)
    for a in range(COUNT):
        for b in range(COUNT):
            pairs = [
                (identities[i] == identities[j], labels[i] == labels[j] >= 0)
                for i in range(len(labels)) for j in range(len(labels))
                if i != j and places[i] == a and places[j] == b and identities[i] > 0 and identities[j] > 0
            ]  # fmt: skip
            np.testing.assert_allclose(recall[a, b], share([joined for same, joined in pairs if same]))
            np.testing.assert_allclose(precision[a, b], share([same for same, joined in pairs if joined]))


@pytest.mark.parametrize("seed", range(4))
def test_clusters_of_a_camera_found_again_on_another(seed):
    labels, _, places = drawn(seed)
    found = found_again(labels, places, COUNT)
    for a in range(COUNT):
        for b in range(COUNT):
            seen = [set(labels[places == camera].tolist()) - {-1} for camera in (a, b)]
            expected = share([cluster in seen[1] for cluster in seen[0]]) if a != b else np.nan
            np.testing.assert_allclose(found[a, b], expected)
    assert np.isnan(found_again(np.full(5, -1, np.int32), np.arange(5) % 2, 2)).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_first_answer_of_each_camera(seed):
    generator = np.random.default_rng(seed)
    embeddings, identities, places = {}, {}, {}
    for name, n in (("query", 20), ("gallery", 30)):
        rows = generator.normal(size=(n, 5))
        embeddings[name] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        identities[name] = generator.integers(-1, 6, n).astype(np.int32)
        places[name] = generator.integers(0, COUNT, n)
    right, asked = first_answers(embeddings, identities, places, COUNT)
    for a in range(COUNT):
        for b in range(COUNT):
            outcomes = []
            for query in np.flatnonzero((places["query"] == a) & (identities["query"] > 0)):
                rows = np.flatnonzero((places["gallery"] == b) & (identities["gallery"] >= 0))
                who = identities["gallery"][rows]
                if a != b and identities["query"][query] in who:
                    best = np.argmax(embeddings["gallery"][rows] @ embeddings["query"][query])
                    outcomes.append(who[best] == identities["query"][query])
            assert asked[a, b] == len(outcomes)
            np.testing.assert_allclose(right[a, b], share(outcomes))
