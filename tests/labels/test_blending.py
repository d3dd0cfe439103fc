import numpy as np
import pytest

from reidlib.labels.clustering import cluster
from reidlib.labels.dbscan import dbscan
from reidlib.labels.graphs import blend, block_diagonal
from reidlib.labels.linkage import linkage
from reidlib.labels.local import local_labels, silhouette_of
from reidlib.labels.quality import silhouette
from reidlib.neighbours.jaccard import jaccard_distance


def naive_blend(graph, embeddings, weight):
    dense = np.ones(graph.shape)
    coo = graph.tocoo()
    for i, j, distance in zip(*coo.coords, coo.data, strict=True):
        cosine = float(embeddings[i].astype(np.float64) @ embeddings[j].astype(np.float64))
        dense[i, j] = 0 if i == j else (1 - weight) * distance + weight * min(max(1 - cosine, 0), 1)
    return dense


def filled(graph):
    dense = np.ones(graph.shape)
    coo = graph.tocoo()
    dense[coo.coords] = coo.data
    return dense


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_stored_pairs_are_blended_and_others_stay_at_one(people, weight):
    embeddings, _, _ = people(150)
    embeddings[7] = embeddings[3]  # cosine 1
    embeddings[9] = -embeddings[5]
    graph = jaccard_distance(embeddings, k1=20, k2=4)
    before = graph.toarray()
    for rows in (embeddings, np.asfortranarray(embeddings)):
        found = blend(graph, rows, original_weight=weight)
        assert found.dtype == np.float32 and found.nnz == graph.nnz
        np.testing.assert_allclose(filled(found), naive_blend(graph, embeddings, weight), atol=1e-6)
        assert np.array_equal(filled(found), filled(found).T)
        assert found.data.min() >= 0 and found.data.max() <= 1 and (found.data == 0).sum() == 150
    assert np.array_equal(graph.toarray(), before)


def test_the_weight_is_a_share(people):
    embeddings, _, _ = people(30)
    graph = jaccard_distance(embeddings, k1=5, k2=2)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"original_weight: expected a share"):
            blend(graph, embeddings, original_weight=wrong)


@pytest.mark.parametrize(
    ("function", "settings"), [(dbscan, {"eps": 0.5, "min_samples": 4}), (linkage, {"quantile": 0.02})]
)
def test_clusterings_are_made_on_the_blended_graph(people, labelling, function, settings):
    embeddings, _, cameras = people(200)
    graph = blend(jaccard_distance(embeddings, k1=15, k2=4), embeddings, original_weight=0.3)
    how = labelling(function.__name__, settings, original_weight=0.3)
    found = cluster(embeddings, labelling=how, seed=0)
    assert np.array_equal(found.labels, function(graph, **settings))
    assert np.array_equal(found.distances.toarray(), graph.toarray())
    blocks = []
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        alone = jaccard_distance(embeddings[rows], k1=15, k2=4)
        blocks.append((rows, blend(alone, embeddings[rows], original_weight=0.3)))
    local = local_labels(embeddings, cameras, labelling=how, seed=0)
    assert local.measures["silhouette"] == silhouette(block_diagonal(200, blocks), local.labels)
    assert silhouette_of(embeddings, cameras, local.labels, labelling=how) == local.measures["silhouette"]


def test_methods_without_a_graph_refuse_the_weight(people, labelling):
    embeddings, _, _ = people(60)
    with pytest.raises(ValueError, match=r"kmeans uses no Jaccard distance.*found 0\.3"):
        cluster(embeddings, labelling=labelling("kmeans", {"n_clusters": 6}, original_weight=0.3), seed=0)
