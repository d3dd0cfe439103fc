"""Invariants of the samplers on random label sets."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.batches.sampling import batches_of_a_pass, pk_batches
from reidlib.labels.numbering import separate_outliers

camera_pk_batches = partial(pk_batches, sampling="camera")
every_camera_pk_batches = partial(pk_batches, sampling="every_camera")

CASES = {
    "labels": st.lists(st.tuples(st.integers(-1, 9), st.integers(0, 3)), min_size=1, max_size=60).filter(
        lambda pairs: any(label >= 0 for label, _ in pairs)
    ),
    "per_batch": st.integers(1, 6),
    "images": st.integers(1, 6),
    "batches": st.integers(1, 12),
    "seed": st.integers(0, 2**32),
}
# Every image twice: no cluster, and none of a camera, has one image alone.
SEVERAL = CASES | {"labels": CASES["labels"].map(lambda pairs: pairs * 2)}


def arrays(pairs):
    labels, cameras = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    return labels, cameras


def drawn(function, pairs, per_batch, images, batches, seed):
    labels, cameras = arrays(pairs)
    found = function(
        labels,
        cameras,
        clusters_per_batch=per_batch,
        images_per_cluster=images,
        batches=batches,
        generator=np.random.default_rng(seed),
    )
    return labels, cameras, list(found)


def each_of(labels, images):
    """How many images of each cluster come at a time: K, but of a cluster of one image that one alone."""
    return {label: images if count > 1 else 1 for label, count in Counter(labels.tolist()).items() if label >= 0}


@settings(max_examples=100, deadline=None)
@given(**CASES)
def test_a_cluster_of_one_image_is_shown_once_and_more_clusters_fill_the_batch(
    labels, per_batch, images, batches, seed
):
    labels, _, found = drawn(pk_batches, labels, per_batch, images, batches, seed)
    each, size = each_of(labels, images), per_batch * images
    enough, singles = sum(each.values()) >= size, [label for label, count in each.items() if count == 1 < images]
    for rows in found:
        counts = Counter(labels[rows].tolist())
        assert len(rows) == size
        if enough:
            short = [label for label, count in counts.items() if count < each[label]]
            assert len(short) <= 1 and all(counts[label] <= each[label] for label in counts)
        else:
            assert set(counts) == set(each)
            if len(singles) < len(each):
                assert all(counts[label] == 1 for label in singles)


@settings(max_examples=100, deadline=None)
@given(**CASES)
def test_without_repeats_small_clusters_are_shown_whole_and_more_clusters_fill_the_batch(
    labels, per_batch, images, batches, seed
):
    function = partial(pk_batches, repeat_images=False)
    labels, _, found = drawn(function, labels, per_batch, images, batches, seed)
    sizes = Counter(labels[labels >= 0].tolist())
    enough = sum(min(size, images) for size in sizes.values()) >= per_batch * images
    times = Counter(dict.fromkeys(sizes, 0))
    for rows in found:
        counts = Counter(labels[rows].tolist())
        times.update(counts.keys())
        assert len(rows) == per_batch * images
        if enough:
            assert len(set(rows.tolist())) == len(rows)
            assert sum(count < min(sizes[label], images) for label, count in counts.items()) <= 1
    assert max(times.values()) - min(times.values()) <= 1


@settings(max_examples=60, deadline=None)
@given(**SEVERAL)
def test_batches_hold_p_clusters_of_k_images(labels, per_batch, images, batches, seed):
    pairs = labels
    labels, cameras, found = drawn(pk_batches, pairs, per_batch, images, batches, seed)
    clusters = {label for label in labels.tolist() if label >= 0}
    assert len(found) == batches
    for rows in found:
        assert rows.dtype == np.int64
        assert len(rows) == per_batch * images
        counts = Counter(labels[rows].tolist())
        assert -1 not in counts
        assert len(counts) == min(per_batch, len(clusters))
        assert max(counts.values()) - min(counts.values()) <= (len(clusters) < per_batch)
        for label, count in counts.items():
            members = rows[labels[rows] == label]
            repeats = Counter(members.tolist()).values()
            size = (labels == label).sum()
            assert max(repeats) == -(-count // size)  # nothing repeats before all of the cluster were shown
            own = cameras[members[0]]
            others = ((labels == label) & (cameras != own)).sum()
            assert (cameras[members[1 : min(count, size)]] != own).sum() == min(others, min(count, size) - 1)
    again = drawn(pk_batches, pairs, per_batch, images, batches, seed)[2]
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@settings(max_examples=30, deadline=None)
@given(**CASES)
def test_clusters_come_equally_often(labels, per_batch, images, batches, seed):
    labels, _, found = drawn(pk_batches, labels, per_batch, images, batches, seed)
    times = Counter({label: 0 for label in labels.tolist() if label >= 0})
    for rows in found:
        times.update(set(labels[rows].tolist()))
    assert max(times.values()) - min(times.values()) <= 1


@settings(max_examples=60, deadline=None)
@given(**SEVERAL)
def test_camera_batches_come_from_one_camera(labels, per_batch, images, batches, seed):
    labels, cameras, found = drawn(camera_pk_batches, labels, per_batch, images, batches, seed)
    assert len(found) == batches
    for rows in found:
        assert len(rows) == per_batch * images
        assert len(set(cameras[rows].tolist())) == 1
        assert (labels[rows] >= 0).all()
        there = {label for label in labels[cameras == cameras[rows[0]]].tolist() if label >= 0}
        assert len(set(labels[rows].tolist())) == min(per_batch, len(there))


@settings(max_examples=60, deadline=None)
@given(**SEVERAL)
def test_batches_of_every_camera_hold_p_clusters_of_k_images_of_each(labels, per_batch, images, batches, seed):
    pairs = labels
    labels, cameras, found = drawn(every_camera_pk_batches, pairs, per_batch, images, batches, seed)
    known = sorted({camera for label, camera in pairs if label >= 0})
    assert len(found) == batches
    for rows in found:
        assert rows.dtype == np.int64 and (labels[rows] >= 0).all()
        np.testing.assert_array_equal(cameras[rows], np.repeat(known, per_batch * images))
        for camera in known:
            own = labels[rows[cameras[rows] == camera]]
            assert len(set(own.tolist())) == min(per_batch, len({p[0] for p in pairs if p[1] == camera and p[0] >= 0}))
    for camera in known:  # and over the batches every cluster of a camera comes equally often, but for one
        counts = Counter(label for rows in found for label in set(labels[rows[cameras[rows] == camera]].tolist()))
        assert max(counts.values()) - min(counts.values()) <= 1
    again = drawn(every_camera_pk_batches, pairs, per_batch, images, batches, seed)[2]
    assert all(np.array_equal(mine, its) for mine, its in zip(found, again, strict=True))


def test_cameras_get_batches_in_proportion_to_their_clusters():
    labels = np.repeat(np.arange(16), 4)
    cameras = np.repeat([0] * 8 + [1] * 5 + [2] * 2 + [3], 4)
    times = Counter()
    for seed in range(200):
        _, _, found = drawn(camera_pk_batches, list(zip(labels, cameras, strict=True)), 4, 4, 10, seed)
        times.update(int(cameras[rows[0]]) for rows in found)
    shares = np.array([times[c] for c in range(4)]) / 2000
    np.testing.assert_allclose(shares, np.array([8, 5, 2, 1]) / 16, atol=0.01)
    _, _, found = drawn(camera_pk_batches, list(zip(labels, cameras, strict=True)), 4, 4, 100, 0)
    order = [int(cameras[rows[0]]) for rows in found]
    assert order != sorted(order)


def test_anchors_and_images_are_uniform():
    labels, cameras = np.zeros(10, int), np.arange(10)
    rows = np.stack(drawn(pk_batches, list(zip(labels, cameras, strict=True)), 1, 2, 4000, 0)[2])
    for column in rows.T:
        assert abs(np.bincount(column, minlength=10) / 4000 - 0.1).max() < 0.02


def test_seeds_differ():
    pairs = [(i // 5, i % 3) for i in range(60)]
    first, second = (drawn(pk_batches, pairs, 4, 4, 3, seed)[2] for seed in (0, 1))
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("function", [pk_batches, camera_pk_batches, every_camera_pk_batches])
def test_errors_come_at_the_call(function):
    generator = np.random.default_rng(0)
    right = {"clusters_per_batch": 2, "images_per_cluster": 2, "batches": 2, "generator": generator}
    with pytest.raises(ValueError, match="at least one cluster, got 3 outliers"):
        function(np.full(3, -1), np.zeros(3, int), **right)
    with pytest.raises(ValueError, match="at least one cluster, got 0 outliers"):
        function(np.zeros(0, int), np.zeros(0, int), **right)
    for count in (2, 4):
        with pytest.raises(ValueError, match=f"one camera per label, got 3 labels and {count} cameras"):
            function(np.zeros(3, int), np.zeros(count, int), **right)


@settings(max_examples=40, deadline=None)
@given(**SEVERAL)
def test_every_cluster_comes_within_one_pass(labels, per_batch, images, batches, seed):
    count = len({label for label, _ in labels if label >= 0})
    passed = -(-count // per_batch)
    everything = {label for label, _ in labels if label >= 0}
    labels, _, found = drawn(pk_batches, labels, per_batch, images, 3 * passed, seed)
    for start in range(0, 2 * passed + 1, passed):
        assert set(labels[np.concatenate(found[: start + passed])].tolist()) == everything
    times = Counter(label for rows in found for label in set(labels[rows].tolist()))
    assert min(times.values()) >= 3 * passed * min(per_batch, count) // count  # so many whole passes


@settings(max_examples=40, deadline=None)
@given(**SEVERAL)
def test_every_cluster_of_a_camera_comes_equally_often_and_gets_k_images(labels, per_batch, images, batches, seed):
    labels, cameras, found = drawn(camera_pk_batches, labels, per_batch, images, batches, seed)
    for camera in {int(cameras[rows[0]]) for rows in found}:
        mine = [rows for rows in found if cameras[rows[0]] == camera]
        clusters = {label for label in labels[cameras == camera].tolist() if label >= 0}
        times = Counter({label: sum(label in labels[rows] for rows in mine) for label in clusters})
        assert max(times.values()) - min(times.values()) <= 1
        for rows in mine:
            counts = Counter(labels[rows].tolist()).values()
            assert min(counts) == per_batch * images // min(per_batch, len(clusters))


@given(**CASES)
@settings(max_examples=60, deadline=None)
def test_shuffled_batches_are_passes_over_each_cameras_images(labels, per_batch, images, batches, seed):
    function = partial(pk_batches, sampling="shuffled")
    labels, cameras, found = drawn(function, labels, per_batch, images, batches, seed)
    size, present = per_batch * images, np.unique(cameras[labels >= 0])
    assert len(found) == batches
    for number, camera in enumerate(present.tolist()):
        own = np.flatnonzero((labels >= 0) & (cameras == camera))
        parts = [batch[number * size : (number + 1) * size] for batch in found]
        assert all(len(part) == size and set(part) <= set(own) for part in parts)
        a_pass = max(len(own) // size, 1)
        for start in range(0, batches, a_pass):
            counts = Counter(np.concatenate(parts[start : start + a_pass]).tolist())
            assert max(counts.values()) <= (1 if len(own) >= size else -(-size // len(own)))
    assert all(len(batch) == len(present) * size for batch in found)


@given(**CASES)
@settings(max_examples=60, deadline=None)
def test_a_pass_has_as_many_batches_as_whole_ones_fit(labels, per_batch, images, batches, seed):
    pairs = labels
    labels, cameras = arrays(pairs)
    size = {"clusters_per_batch": per_batch, "images_per_cluster": images}
    clustered = [camera for label, camera in pairs if label >= 0]
    whole, fewest = len(clustered), min(Counter(clustered).values())
    for sampling, count in (("mixed", whole), ("camera", whole), ("every_camera", fewest), ("shuffled", fewest)):
        found = batches_of_a_pass(labels, cameras, sampling=sampling, **size)
        assert found == max(1, count // (per_batch * images))


def test_an_outlier_that_is_a_class_is_drawn_once_as_spcl_draws_it():
    """The published batches hold up to 64 classes; K copies of each outlier would leave room for 16."""
    labels = np.array([0] * 8 + [1] * 8 + [-1] * 200)
    classes = separate_outliers(labels)
    *_, found = drawn(pk_batches, [(label, i % 3) for i, label in enumerate(classes.tolist())], 16, 4, 12, 0)
    seen = Counter()
    for rows in found:
        counts = Counter(classes[rows].tolist())
        assert len(rows) == 64 and len(counts) >= 64 - 2 * 3
        assert all(count == 1 for label, count in counts.items() if label > 1)
        seen.update(set(counts))
    assert set(seen) == set(range(202)) and max(seen.values()) - min(seen.values()) <= 1
