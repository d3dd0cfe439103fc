"""Labelling as anybody would write it first: dense matrices, scikit-learn, scipy, one link at a time."""

import numpy as np
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN
from sklearn.metrics import normalized_mutual_info_score, silhouette_score
from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix

from reidlib.labels.numbering import number_clusters, separate_outliers


def dense_distances(graph: sparse.csr_array) -> np.ndarray:
    """The graph as an n × n float32 matrix, 1 where nothing is stored."""
    dense = np.ones(graph.shape, dtype=np.float32)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    dense[rows, graph.indices] = graph.data
    return dense


def dbscan(dense: np.ndarray, *, eps: float, min_samples: int) -> np.ndarray:
    """scikit-learn's DBSCAN of the dense matrix."""
    return DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(dense).labels_


def linkage(dense: np.ndarray, *, n_clusters: int) -> np.ndarray:
    """Average linkage by scipy of the dense matrix, cut at n_clusters; singletons are outliers."""
    merges = hierarchy.linkage(squareform(dense, checks=False), method="average")
    return number_clusters(hierarchy.fcluster(merges, n_clusters, criterion="maxclust"), smallest=2)


def infomap(similarities: np.ndarray, indices: np.ndarray, *, min_similarity: float, seed: int) -> np.ndarray:
    """Infomap with the links added one by one from nested loops."""
    from infomap import Infomap  # after faiss: reading its modules crashes where faiss was imported later

    network = Infomap(two_level=True, directed=True, seed=seed + 1, silent=True)
    for i in range(len(indices)):
        for j, similarity in zip(indices[i], similarities[i], strict=True):
            if i != j and similarity >= min_similarity:
                network.add_link(i, int(j), float(similarity))
    labels = np.full(len(indices), -1)
    for i, module in network.run().modules().items():
        labels[i] = module
    return number_clusters(labels, smallest=5)


def silhouette(dense: np.ndarray, labels: np.ndarray) -> float:
    """scikit-learn's silhouette of the rows that are no outliers."""
    rows = np.flatnonzero(labels >= 0)
    return float(silhouette_score(dense[np.ix_(rows, rows)], labels[rows], metric="precomputed"))


def library_quality(labels: np.ndarray, identities: np.ndarray) -> dict[str, float]:
    """Pairs and NMI by scikit-learn, and BCubed from its sparse contingency table."""
    clusters = separate_outliers(labels)
    (_, in_cluster), (in_identity, both) = pair_confusion_matrix(identities, clusters).tolist()
    table = contingency_matrix(identities, clusters, sparse=True).tocoo()
    squares = table.data.astype(np.float64) ** 2 / len(labels)
    in_row, in_column = (np.asarray(table.sum(axis=axis)).ravel() for axis in (1, 0))
    return {
        "pairwise_precision": both / max(both + in_cluster, 1),
        "pairwise_recall": both / max(both + in_identity, 1),
        "bcubed_precision": float((squares / in_column[table.col]).sum()),
        "bcubed_recall": float((squares / in_row[table.row]).sum()),
        "nmi": float(normalized_mutual_info_score(identities, clusters)),
    }


def label_quality(labels: np.ndarray, identities: np.ndarray) -> dict[str, float]:
    """Pairwise and BCubed from n × n matrices of "same cluster" and "same identity", NMI from scikit-learn."""
    clusters = separate_outliers(labels)
    same_cluster = clusters[:, None] == clusters
    same_identity = identities[:, None] == identities
    both = (same_cluster & same_identity).sum(axis=1)
    in_cluster, in_identity = same_cluster.sum(axis=1), same_identity.sum(axis=1)
    n = len(labels)
    return {
        "pairwise_precision": float((both.sum() - n) / max(in_cluster.sum() - n, 1)),
        "pairwise_recall": float((both.sum() - n) / max(in_identity.sum() - n, 1)),
        "bcubed_precision": float((both / in_cluster).mean()),
        "bcubed_recall": float((both / in_identity).mean()),
        "nmi": float(normalized_mutual_info_score(identities, clusters)),
    }
