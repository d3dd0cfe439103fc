from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.labels.constraints import Links, constraints, join_tracklets
from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.graphs import graph_arrays
from reidlib.labels.linkage import average_linkage, best_number
from reidlib.labels.quality import label_quality
from reidlib.labels.question_kernels import closest_pairs
from reidlib.labels.questions import Merges, best_merges, propose, question_graphs

LABELLING = GlobalLabelling(
    k1=12, k2=3, original_weight=0.0, method={"name": "dbscan", "eps": 0.6, "min_samples": 4}, camera_similarity=0.0,
    camera_alignment="centre", colour_weight=0.0, camera_aware=None, nodes="none", link_k=4, link_min_similarity=0.1,
)  # fmt: skip


def parts_of(merges: np.ndarray, n: int) -> list[tuple[list[int], list[int]]]:
    """The rows of both parts of each merge."""
    members = {row: [row] for row in range(n)}
    parts = []
    for number, (left, right, *_) in enumerate(merges):
        parts.append((members[int(left)], members[int(right)]))
        members[n + number] = parts[-1][0] + parts[-1][1]
    return parts


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 25))
def test_the_parts_of_a_pair_are_those_of_the_merge_that_brings_it_together(random_graph, seed, n):
    graph, _ = random_graph(n, density=0.4, seed=seed, levels=0)
    merges = average_linkage(graph)
    told, parts = Merges(graph, merges, len(merges), 0), parts_of(merges, n)
    for first, second in product(range(n), range(n)):
        if first == second:
            continue
        meeting = [part for part in parts if {first, second} <= {*part[0], *part[1]}]
        found = [sorted(part.tolist()) for part in told.parts(first, second)]
        if meeting:
            assert found == [sorted(next(side for side in meeting[0] if row in side)) for row in (first, second)]
        else:
            whole = [max(([*one, *other] for one, other in parts if row in [*one, *other]), key=len, default=[row])
                     for row in (first, second)]  # fmt: skip
            assert found == [sorted(side) for side in whole]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 30),
    density=st.sampled_from([0.2, 0.8]),
    levels=st.sampled_from([0, 3]),
)
def test_the_pair_of_a_merge_is_that_of_a_double_loop(random_graph, seed, n, density, levels):
    graph, dense = random_graph(n, density=density, seed=seed, levels=levels)
    generator = np.random.default_rng(seed)
    cameras, merges = generator.integers(0, 3, n), average_linkage(graph)
    asked = {(i, j) for i, j in product(range(n), range(n)) if i < j and generator.random() < 0.2}
    keys = np.sort(np.array([i * n + j for i, j in asked], dtype=np.int64))
    first, second, across = closest_pairs(
        *graph_arrays(graph), *(merges[:, side].astype(np.int64) for side in (0, 1)), cameras, keys
    )
    for place, (one, other) in enumerate(parts_of(merges, n)):
        pairs = [(cameras[i] == cameras[j], dense[i, j], min(i, j), max(i, j)) for i in one for j in other]
        pairs = [pair for pair in pairs if pair[1] < 1 and pair[2:] not in asked]
        if not pairs:
            assert (first[place], second[place]) == (-1, -1)
            continue
        same_camera, _, low, high = min(pairs)
        assert (first[place], second[place], across[place]) == (low, high, not same_camera)


def test_questions_are_asked_next_to_the_cut_in_turns_across_cameras_first(people):
    embeddings, _, cameras = people(300, noise=1.4)
    graphs = question_graphs(embeddings, None, cameras, labelling=LABELLING)
    merges = average_linkage(graphs[0])
    made = 300 - best_number(graphs[0], merges)
    where = {}
    for place, (one, other) in enumerate(parts_of(merges, 300)):
        where |= {(min(i, j), max(i, j)): place for i in one for j in other}
    pairs = propose(best_merges(graphs, None), cameras, count=400)
    assert len(set(pairs)) == len(pairs) > 100
    crossing = [bool(cameras[i] != cameras[j]) for i, j in pairs]
    assert crossing == sorted(crossing, reverse=True) and crossing[0]
    places = [where[pair] for pair, cross in zip(pairs, crossing, strict=True) if cross]
    above, below = [p for p in places if p >= made], [p for p in places if p < made]
    assert above == sorted(above) and below == sorted(below, reverse=True)
    turns = min(len(above), len(below))
    assert places[: 2 * turns : 2] == above[:turns] and places[1 : 2 * turns : 2] == below[:turns]


def test_answers_make_the_clusters_those_of_the_people_and_nothing_is_asked_twice(people):
    embeddings, identities, cameras = people(200, noise=1.4)
    graphs = question_graphs(embeddings, None, cameras, labelling=LABELLING)
    base = join_tracklets(identities * 3 + cameras)
    before, asked, qualities = constraints(200, same=base), [], []
    for _ in range(10):
        answers = np.array(asked, dtype=np.int64).reshape(-1, 2)
        same = identities[answers[:, 0]] == identities[answers[:, 1]]
        pairs = np.concatenate([base.pairs, answers[same]])
        known = constraints(200, same=Links(pairs), different=Links(answers[~same]))
        known = replace(known, before=before)
        merges = best_merges(graphs, known)
        assert known.broken(merges.labels) == 0
        qualities.append(label_quality(merges.labels, identities)["pairwise_f"])
        for first, second in propose(merges, cameras, asked=asked):
            groups = sorted(known.groups[[first, second]].tolist())
            assert (first, second) not in asked and groups[0] != groups[1] and groups not in known.apart.tolist()
            assert not known.settles(first, second)
            asked.append((first, second))
    assert len(asked) == 100 and qualities == sorted(qualities) and qualities[0] < 0.9 and qualities[-1] == 1


def test_fewer_images_than_neighbours_are_asked_about_too(people):
    embeddings, _, cameras = people(8)
    with pytest.warns(UserWarning, match="the training set has 8 images, too few"):
        graphs = question_graphs(embeddings, None, cameras, labelling=LABELLING)
    assert graphs[0].shape == (8, 8) and len(propose(best_merges(graphs, None), cameras)) <= 7


def test_where_all_is_known_there_is_no_question(people):
    embeddings, _, cameras = people(60)
    graphs = question_graphs(embeddings, None, cameras, labelling=LABELLING)
    everyone = constraints(60, same=join_tracklets(np.zeros(60, np.int64)))
    assert propose(best_merges(graphs, everyone), cameras) == []
    assert len(propose(best_merges(graphs, None), cameras, count=3)) == 3
    with pytest.raises(ValueError, match="colour_weight"):
        question_graphs(
            embeddings, None, cameras, labelling=LABELLING.__class__(**{**vars(LABELLING), "colour_weight": 1.0})
        )
