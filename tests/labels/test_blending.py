import numpy as np
import pytest
import torch

from reidlib.labels.clustering import cluster, local_clusters, local_distances
from reidlib.labels.dbscan import dbscan
from reidlib.labels.graphs import blended
from reidlib.labels.linkage import linkage
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
    for rows in (embeddings, np.asfortranarray(embeddings), torch.from_numpy(embeddings)):
        found = blended(graph, rows, original_weight=weight)
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
            blended(graph, embeddings, original_weight=wrong)


@pytest.mark.parametrize(
    ("method", "function"),
    [({"name": "dbscan", "eps": 0.5, "min_samples": 4}, dbscan), ({"name": "linkage", "quantile": 0.02}, linkage)],
)
def test_clusterings_are_made_on_the_blended_graph(people, method, function):
    embeddings, _, cameras = people(200)
    settings = {key: value for key, value in method.items() if key != "name"}
    graph = blended(jaccard_distance(embeddings, k1=15, k2=4), embeddings, original_weight=0.3)
    found = cluster(embeddings, k1=15, k2=4, method=method, seed=0, original_weight=0.3)
    assert np.array_equal(found.labels, function(graph, **settings))
    assert np.array_equal(found.distances.toarray(), graph.toarray())
    local = local_clusters(embeddings, cameras, k1=15, k2=4, method=method, seed=0, original_weight=0.3)
    graph = local_distances(embeddings, cameras, k1=15, k2=4, original_weight=0.3)
    assert np.array_equal(local.distances.toarray(), graph.toarray())
    rows = np.flatnonzero(cameras == 1)
    alone = blended(jaccard_distance(embeddings[rows], k1=15, k2=4), embeddings[rows], original_weight=0.3)
    assert np.array_equal(graph[rows][:, rows].toarray(), alone.toarray())


def test_methods_without_a_graph_refuse_the_weight(people):
    embeddings, _, _ = people(60)
    with pytest.raises(ValueError, match=r"kmeans uses no Jaccard distance.*found 0\.3"):
        cluster(embeddings, k1=5, k2=2, method={"name": "kmeans", "n_clusters": 6}, seed=0, original_weight=0.3)
