import subprocess
import sys
from pathlib import Path

import numpy as np

from reidlib.labels.infomap_clusters import infomap
from reidlib.labels.quality import label_quality
from reidlib.neighbours.search import Neighbours, nearest


def two_groups() -> tuple[np.ndarray, np.ndarray]:
    """Six and five rows, each linked to its whole group, and one row alone."""
    groups = [range(6), range(6, 11), range(11, 12)]
    indices = np.tile(np.arange(12, dtype=np.int32)[:, None], (1, 6))
    similarities = np.full((12, 6), 0.1, dtype=np.float32)
    similarities[:, 0] = 1
    for group in groups:
        for row in group:
            others = [j for j in group if j != row]
            indices[row, 1 : 1 + len(others)] = others
            similarities[row, 1 : 1 + len(others)] = 0.9
    return similarities, indices


def infomap_from_neighbours(similarities: np.ndarray, indices: np.ndarray, **settings: float) -> np.ndarray:
    return infomap(Neighbours(similarities, indices), k1=indices.shape[1], **settings)


def test_components_are_clusters_and_small_ones_outliers():
    similarities, indices = two_groups()
    found = infomap_from_neighbours(similarities, indices, seed=0)
    assert found.tolist() == [0] * 6 + [1] * 5 + [-1]
    assert infomap_from_neighbours(similarities, indices, seed=0, smallest=6).tolist() == [0] * 6 + [-1] * 6


def test_links_below_the_similarity_are_not_made():
    similarities, indices = two_groups()
    assert (infomap_from_neighbours(similarities, indices, seed=0, min_similarity=0.95) == -1).all()


def test_direction_counts():
    """A row that links to a group which does not link back joins it, and is no reason to join two groups."""
    similarities, indices = two_groups()
    indices[11, 1:4] = [0, 1, 2]
    similarities[11, 1:4] = 0.6
    assert infomap_from_neighbours(similarities, indices, seed=0).tolist() == [0] * 6 + [1] * 5 + [0]


def test_finds_the_people_and_repeats_itself(people):
    embeddings, identities, _ = people(300, noise=0.5)
    neighbours = nearest(embeddings, k=20)
    found = infomap(neighbours, seed=3)
    assert label_quality(found, identities)["bcubed_f"] > 0.9
    assert np.array_equal(found, infomap(neighbours, seed=3))
    assert np.array_equal(found, infomap(nearest(embeddings, k=15), seed=3, k1=15))


def test_faiss_may_be_imported_after_infomap():
    """Both register SWIG's iterators under one name; whoever reads infomap's through faiss's crashes the process."""
    program = (
        "import infomap, faiss, numpy as np\n"
        "from reidlib.labels.infomap_clusters import infomap\n"
        "from reidlib.neighbours.search import Neighbours\n"
        "indices = np.array([[0, 1], [1, 0], [2, 3], [3, 2]], dtype=np.int32)\n"
        "neighbours = Neighbours(np.ones((4, 2), dtype=np.float32), indices)\n"
        "labels = infomap(neighbours, k1=2, seed=0, smallest=2)\n"
        "assert labels.tolist() == [0, 0, 1, 1], labels\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=600, cwd=Path(__file__).parents[2])
