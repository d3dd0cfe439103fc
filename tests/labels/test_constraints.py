from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.labels.clustering import cluster
from reidlib.labels.constraints import (
    Constraints,
    Links,
    constraints,
    join_tracklets,
    keep_groups_whole,
    separate_moments,
)
from reidlib.labels.dbscan import dbscan
from reidlib.labels.linkage import average_linkage, linkage
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import silhouette

GRAPHS = {
    "seed": st.integers(0, 10**6),
    "n": st.integers(2, 28),
    "density": st.sampled_from([0.1, 0.4, 1.0]),
    "levels": st.sampled_from([0, 4]),
    "grouped": st.sampled_from([0.0, 0.3, 0.9]),
    "apart": st.sampled_from([0.0, 0.1, 0.5]),
}


def random_constraints(n: int, *, seed: int, grouped: float, apart: float) -> Constraints:
    """Groups of up to three rows and pairs of groups kept apart."""
    generator = np.random.default_rng(seed + 1)
    groups = np.where(generator.random(n) < grouped, generator.integers(0, max(1, n // 3), n), n + np.arange(n))
    groups = number_clusters(groups)
    pairs = [pair for pair in combinations(range(groups.max() + 1), 2) if generator.random() < apart]
    return Constraints(groups, np.array(pairs, dtype=np.int32).reshape(-1, 2))


def holds_apart(rows: set[int], known: Constraints) -> bool:
    groups = {int(known.groups[row]) for row in rows}
    return any({int(a), int(b)} <= groups for a, b in known.apart)


def nodes_of(known: Constraints) -> list[set[int]]:
    return [set(np.flatnonzero(known.groups == group).tolist()) for group in range(known.groups.max() + 1)]


def labels_of(clusters: list[set[int]], n: int, *, smallest: int = 1) -> np.ndarray:
    labels = np.full(n, -1)
    for number, rows in enumerate(clusters):
        labels[list(rows)] = number
    return number_clusters(labels, smallest=smallest)


def naive_linkage(dense: np.ndarray, known: Constraints, *, stop: float | int) -> np.ndarray:
    """All pairs of clusters are looked at before each merge; stop: a height (float), or a number of clusters (int)."""
    clusters = nodes_of(known)
    while not isinstance(stop, int) or len(clusters) > stop:
        pairs = combinations(enumerate(clusters), 2)
        allowed = [(float(np.mean([[dense[i, j] for j in b] for i in a])), p, q)
                   for (p, a), (q, b) in pairs if not holds_apart(a | b, known)]  # fmt: skip
        height, p, q = min(allowed, default=(1.0, 0, 0))
        if height >= 1 - 1e-12 or (isinstance(stop, float) and height > stop):
            break
        merged = clusters[p] | clusters[q]
        clusters = [rows for place, rows in enumerate(clusters) if place not in (p, q)] + [merged]
    return labels_of(clusters, len(dense), smallest=2)


def naive_dbscan(dense: np.ndarray, known: Constraints, *, eps: float, min_samples: int) -> np.ndarray:
    nodes = nodes_of(known)
    near = {(p, q): min(dense[i, j] for i in a for j in b)
            for (p, a), (q, b) in combinations(enumerate(nodes), 2)}  # fmt: skip
    near = {pair: distance for pair, distance in near.items() if distance <= np.float32(eps)}
    weight = [len(rows) + sum(len(nodes[p if q == node else q]) for p, q in near if node in (p, q))
              for node, rows in enumerate(nodes)]  # fmt: skip
    core = [heavy >= min_samples for heavy in weight]
    cluster_of = {node: {node} for node in range(len(nodes)) if core[node]}
    for _, (p, q) in sorted((distance, pair) for pair, distance in near.items() if core[pair[0]] and core[pair[1]]):
        merged = cluster_of[p] | cluster_of[q]
        if not holds_apart(set().union(*(nodes[node] for node in merged)), known):
            for node in merged:
                cluster_of[node] = merged
    clusters = []
    for node in sorted(cluster_of):
        if not any(node in one for one in clusters):
            clusters.append(set(cluster_of[node]))
    with_core = [set(one) for one in clusters]
    for node in range(len(nodes)):
        for one, cores in zip(clusters, with_core, strict=True):
            touches = any((min(node, other), max(node, other)) in near for other in cores)
            rows = set().union(*(nodes[other] for other in one | {node}))
            if not core[node] and touches and not holds_apart(rows, known):
                one.add(node)
                break
    taken = set().union(*clusters) if clusters else set()
    clusters += [{node} for node in range(len(nodes)) if node not in taken and len(nodes[node]) > 1]
    return labels_of([set().union(*(nodes[node] for node in one)) for one in clusters], len(dense))


@settings(max_examples=60, deadline=None)
@given(**(GRAPHS | {"levels": st.just(0)}), threshold=st.sampled_from([0.3, 0.6, 0.9]), number=st.integers(1, 10))
def test_linkage_is_the_naive_one(random_graph, seed, n, density, levels, grouped, apart, threshold, number):
    graph, dense = random_graph(n, density=density, seed=seed, levels=levels)
    known = random_constraints(n, seed=seed, grouped=grouped, apart=apart)
    found = linkage(graph, distance_threshold=threshold, constraints=known)
    assert np.array_equal(found, naive_linkage(dense, known, stop=threshold))
    found = linkage(graph, n_clusters=min(number, n), constraints=known)
    assert np.array_equal(found, naive_linkage(dense, known, stop=min(number, n)))
    assert known.broken(found) == 0


@settings(max_examples=60, deadline=None)
@given(**GRAPHS, eps=st.sampled_from([0.2, 0.5, 0.9]), min_samples=st.integers(1, 5))
def test_dbscan_is_the_naive_one(random_graph, seed, n, density, levels, grouped, apart, eps, min_samples):
    graph, dense = random_graph(n, density=density, seed=seed, levels=levels)
    known = random_constraints(n, seed=seed, grouped=grouped, apart=apart)
    found = dbscan(graph, eps=eps, min_samples=min_samples, constraints=known)
    assert np.array_equal(found, naive_dbscan(dense, known, eps=eps, min_samples=min_samples))
    assert known.broken(found) == 0


@settings(max_examples=40, deadline=None)
@given(**GRAPHS)
def test_the_silhouettes_choice_keeps_them_too(random_graph, seed, n, density, levels, grouped, apart):
    """With ties, too, where several orders of merges are right."""
    graph, _ = random_graph(n, density=density, seed=seed, levels=levels)
    known = random_constraints(n, seed=seed, grouped=grouped, apart=apart)
    for method in ({"n_clusters": "silhouette"}, {"images_per_cluster": 50}, {"distance_threshold": 1.0}):
        found = linkage(graph, **method, constraints=known)
        assert known.broken(found) == 0
        assert (found[~(known.sizes == 1)[known.groups]] >= 0).all()  # a group of several is no outlier
    heights = average_linkage(graph, known)[:, 2]
    assert (np.diff(heights) >= 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), levels=st.sampled_from([0, 5]))
def test_constraints_that_say_nothing_change_nothing(random_graph, seed, n, levels):
    graph, _ = random_graph(n, density=0.3, seed=seed, levels=levels)
    nothing = constraints(n)
    assert np.array_equal(average_linkage(graph, nothing), average_linkage(graph))
    for method in ({"n_clusters": "silhouette"}, {"images_per_cluster": 4}, {"quantile": 0.1}):
        assert np.array_equal(linkage(graph, **method, constraints=nothing), linkage(graph, **method))
    for eps in (0.3, "auto"):
        plain = dbscan(graph, eps=eps, min_samples=3)
        assert np.array_equal(dbscan(graph, eps=eps, min_samples=3, constraints=nothing), number_clusters(plain))


def test_people_of_known_tracklets_come_out_whole(people, labelling):
    embeddings, identities, cameras = people(300, noise=1.0)
    tracklets = number_clusters(identities * 3 + cameras)
    known = constraints(300, same=join_tracklets(tracklets))
    for method in ({"name": "linkage", "n_clusters": "silhouette"}, {"name": "dbscan", "eps": 0.6, "min_samples": 4}):
        how = labelling(method.pop("name"), method, k1=12, k2=3)
        found = cluster(embeddings, labelling=how, seed=0, constraints=known).labels
        assert known.broken(found) == 0 and found.max() > 5


def test_a_method_without_constraints_says_so(people, labelling):
    embeddings, _, _ = people(60)
    with pytest.raises(ValueError, match=r"kmeans keeps no constraints.*expected one of dbscan, linkage"):
        cluster(embeddings, labelling=labelling("kmeans", {"n_clusters": 4}), seed=0, constraints=constraints(60))


def test_a_contradiction_is_told_with_its_chain():
    reasons = ["tracklet 7", "tracklet 7", "line 2", "line 3"]
    same = Links(np.array([[0, 1], [1, 2], [2, 3], [4, 5]]), reasons.__getitem__)
    different = Links(np.array([[4, 0], [3, 0], [5, 5]]), ["line 4", "line 5", "line 6"].__getitem__)
    with pytest.raises(ValueError) as caught:
        constraints(6, same=same, different=different, names=list("abcdef"))
    assert str(caught.value).splitlines()[1:] == [
        "  d and a are different (line 5), but the same by d = c (line 2), c = a (tracklet 7)",
        "  f and f are different (line 6), but they are one image",
    ]
    assert str(caught.value).startswith("links: 2 pairs are different")


def test_groups_and_pairs_follow_from_links():
    known = constraints(
        6, same=Links(np.array([[4, 0], [2, 4]])), different=Links(np.array([[1, 2], [4, 1], [5, 3], [3, 5]]))
    )
    assert known.groups.tolist() == [0, 1, 0, 2, 0, 3]
    assert known.apart.tolist() == [[0, 1], [2, 3]]
    assert known.broken(np.array([0, 1, 0, 2, 0, 3])) == 0
    assert known.broken(np.array([0, 1, 0, 2, -1, 2])) == 2


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 40), resolution=st.sampled_from([1, 3, 100]))
def test_tracklets_of_one_moment_are_those_of_a_double_loop(seed, n, resolution):
    generator = np.random.default_rng(seed)
    tracklets = generator.integers(-1, 8, n)
    cameras = np.where(tracklets >= 0, tracklets % 2, generator.integers(0, 2, n))
    times = generator.integers(0, 10 * resolution, n) / resolution
    times[generator.random(n) < 0.1] = np.nan
    found = separate_moments(cameras, tracklets, times)
    expected = set()
    for a, b in combinations(range(8), 2):
        spans = [times[(tracklets == tracklet) & np.isfinite(times)] for tracklet in (a, b)]
        if a % 2 == b % 2 and all(len(span) for span in spans):
            (begin, end), (other_begin, other_end) = ((span.min(), span.max()) for span in spans)
            if begin < other_end and other_begin < end:
                expected.add((a, b))
    assert {tuple(sorted(pair)) for pair in tracklets[found.pairs].tolist()} == expected
    assert len(found.pairs) == len(expected)
    if expected:
        assert "at one moment" in found.why(0)


def test_refinement_is_undone_inside_groups():
    known = constraints(6, same=Links(np.array([[0, 1], [2, 3]])))
    assert keep_groups_whole(np.array([4, -1, -1, -1, 2, 4]), known).tolist() == [0, 0, -1, -1, 1, 0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(4, 30), grouped=st.sampled_from([0.0, 0.5, 0.9]))
def test_the_silhouette_leaves_out_what_is_known(random_graph, seed, n, grouped):
    graph, dense = random_graph(n, density=0.7, seed=seed)
    known = random_constraints(n, seed=seed, grouped=grouped, apart=0.0)
    labels = np.random.default_rng(seed).integers(0, 3, known.groups.max() + 1)[known.groups]
    if len(np.unique(labels)) < 2:
        return
    expected = []
    for i in range(n):
        others = [dense[i, j] for j in range(n) if labels[j] == labels[i] and known.groups[j] != known.groups[i]]
        outside = min(
            np.mean([dense[i, j] for j in range(n) if labels[j] == other]) for other in {*labels} - {labels[i]}
        )
        inside = np.mean(others) if others else outside
        expected.append((outside - inside) / max(outside, inside))
    assert silhouette(graph, labels, groups=known.groups) == pytest.approx(np.mean(expected), abs=1e-6)
    assert silhouette(graph, labels, groups=np.arange(n)) == silhouette(graph, labels)
