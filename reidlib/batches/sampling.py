"""Which images make a training batch: P clusters, K images of each, from different cameras where possible."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Int64, Integer

Labels = Integer[np.ndarray, "n"]
Sampling = Literal["mixed", "camera", "every_camera", "shuffled"]


def pk_batches(
    labels: Labels,
    cameras: Integer[np.ndarray, "_"],
    *,
    clusters_per_batch: int,
    images_per_cluster: int,
    batches: int,
    generator: np.random.Generator,
    sampling: Sampling = "mixed",
    repeat_images: bool = True,
) -> Iterator[Int64[np.ndarray, "b"]]:
    """Yield batches of P clusters and K images of each.

    From every cluster an anchor image is drawn, then images of other cameras than the anchor's, then the rest of the
    anchor's camera, each at random without repeats; a cluster of fewer than K images begins again with its anchor.
    (Published samplers, e.g. SpCL's [Ge et al., NeurIPS 2020, arXiv:2006.02713], rather repeat images of the other
    cameras than show another image of the anchor's; here no image repeats before all of its cluster were shown.)
    A cluster of one image is shown once, as there, and more clusters fill the batch, the last with fewer than K images
    where no more have room (published batches begin with its others).

    Clusters are drawn from shuffled passes over all of them, so that any two differ by at most one batch at any
    time; no cluster comes twice in a batch. With too few clusters every batch has all of them and keeps its size of
    P * K images, shared as evenly as possible among those of more than one image (among all where there is none).

    Args:
        labels: clusters, -1 = outlier, never drawn. Gaps are allowed.
        cameras: of the same images.
        clusters_per_batch: P.
        images_per_cluster: K.
        batches: how many to yield; clusters are gone through as often as that takes.
        generator: the only source of randomness.
        sampling: `mixed` draws from all images. With the others a cluster that spans cameras is drawn from on each
            with its images there: `camera` takes every batch from one camera, which gets batches in proportion to its
            clusters (rounded at random, so that over epochs the shares are exact and a small camera is not left out),
            in random order; `every_camera` puts P clusters of K images from every camera that has a cluster into each
            batch, camera after camera, as [Xuan & Zhang, TPAMI 2022] train inside cameras; `shuffled` puts P * K images
            of every such camera into each, camera after camera, from shuffled passes over the camera's images whatever
            their clusters, as that paper's code does.
        repeat_images: whether a cluster of fewer than K images (and more than one) repeats them; otherwise each is
            shown once and more clusters fill the batch, so that K follows the clusters where they are small.

    Yields:
        P * K rows of `labels` (with `every_camera` and `shuffled` so many of each camera), the images of a cluster side
        by side, its anchor first, but for `shuffled`.

    Raises:
        ValueError: no cluster at all, or not one camera per label (at the call, not at the first batch).
    """
    if len(labels) != len(cameras):
        raise ValueError(f"expected one camera per label, got {len(labels)} labels and {len(cameras)} cameras")
    rows = np.flatnonzero(labels >= 0)
    if len(rows) == 0:
        raise ValueError(f"expected at least one cluster, got {len(labels)} outliers; loosen the clustering")
    size = clusters_per_batch, images_per_cluster
    names, which = np.unique(cameras[rows], return_inverse=True)
    if sampling == "mixed":
        return _batches(_Clusters(rows, labels, cameras), *size, batches, generator, repeat_images)
    if sampling == "shuffled":
        spawned = zip([rows[which == i] for i in range(len(names))], generator.spawn(len(names)), strict=True)
        shuffled = [_shuffled(of, clusters_per_batch * images_per_cluster, batches, own) for of, own in spawned]
        return (np.concatenate(parts) for parts in zip(*shuffled, strict=True))
    per_camera = [_Clusters(rows[which == i], labels, cameras) for i in range(len(names))]
    if sampling == "every_camera":
        spawned = zip(per_camera, generator.spawn(len(names)), strict=True)
        streams = [_batches(clusters, *size, batches, own, repeat_images) for clusters, own in spawned]
        return (np.concatenate(parts) for parts in zip(*streams, strict=True))
    shares = np.cumsum([len(clusters.sizes) for clusters in per_camera], dtype=np.float64)
    edges = np.floor(shares / shares[-1] * batches + generator.random())
    edges[-1] = batches
    counts = np.diff(edges, prepend=0).astype(int)
    order = generator.permutation(np.repeat(np.arange(len(names)), counts))
    streams = [
        _batches(clusters, *size, count, generator, repeat_images)
        for clusters, count in zip(per_camera, counts.tolist(), strict=True)
    ]
    return (next(streams[camera]) for camera in order.tolist())


def batches_of_a_pass(
    labels: Labels,
    cameras: Integer[np.ndarray, "_"],
    *,
    clusters_per_batch: int,
    images_per_cluster: int,
    sampling: Sampling = "mixed",
) -> int:
    """Return how many batches hold about as many images as have a cluster, at least 1.

    Where every camera is in each batch, the camera of the fewest images ends the pass, as in the code of IIDS. The
    arguments are those of `pk_batches`.
    """
    whole = cameras[labels >= 0]
    if sampling in ("every_camera", "shuffled"):
        images = int(np.unique(whole, return_counts=True)[1].min(initial=len(whole)))
    else:
        images = len(whole)
    return max(images // (clusters_per_batch * images_per_cluster), 1)


def _shuffled(
    rows: Int64[np.ndarray, "m"], size: int, batches: int, generator: np.random.Generator
) -> Iterator[Int64[np.ndarray, "b"]]:
    """Yield so many rows at a time, from shuffled passes over all of them; what is over at a pass's end is left out.

    Fewer rows than that are all in every batch, and repeat.
    """
    waiting = rows[:0]
    for _ in range(batches):
        if len(waiting) < size:
            waiting = np.resize(generator.permutation(rows), max(len(rows), size))
        yield waiting[:size]
        waiting = waiting[size:]


class _Clusters:
    """The members of each cluster, side by side in `rows` from `starts` on."""

    def __init__(self, rows: Int64[np.ndarray, "m"], labels: Labels, cameras: Labels) -> None:
        self.rows = rows[np.argsort(labels[rows], kind="stable")]
        _, self.starts, self.sizes = np.unique(labels[self.rows], return_index=True, return_counts=True)
        self.cameras = cameras[self.rows]

    def draw(
        self, chosen: Int64[np.ndarray, "p"], images: Int64[np.ndarray, "p"], generator: np.random.Generator
    ) -> Int64[np.ndarray, "b"]:
        """Draw `images[i]` rows of each cluster `chosen[i]`: the anchor, other cameras, its own camera, repeats."""
        sizes = self.sizes[chosen]
        ends = np.cumsum(sizes)
        begins = ends - sizes
        slot = np.repeat(np.arange(len(chosen)), sizes)
        members = np.arange(ends[-1]) + np.repeat(self.starts[chosen] - begins, sizes)
        anchors = begins + np.floor(generator.random(len(chosen)) * sizes).astype(np.int64)
        cameras = self.cameras[members]
        later = (cameras == np.repeat(cameras[anchors], sizes)).astype(np.int64)
        later[anchors] = -1
        order = np.argsort(2 * slot + 0.5 * later + 0.5 * generator.random(len(members)))
        turn = np.arange(images.sum()) - np.repeat(np.cumsum(images) - images, images)
        place = np.repeat(begins, images) + turn % np.repeat(sizes, images)
        return self.rows[members[order[place]]]


def _batches(
    members: _Clusters, clusters: int, images: int, batches: int, generator: np.random.Generator, repeat: bool
) -> Iterator[Int64[np.ndarray, "b"]]:
    count, size = len(members.sizes), clusters * images
    each = np.where(members.sizes > 1, images, 1) if repeat else np.minimum(members.sizes, images)
    waiting = np.zeros(0, np.int64)  # of the current pass
    for _ in range(batches):
        if each.sum() < size:
            chosen = generator.permutation(count)
            yield members.draw(chosen, _shares(members.sizes[chosen], size), generator)
            continue
        passed, chosen = waiting, waiting
        if each[waiting].sum() < size:  # the pass ends inside this batch: fill it from the next, without repeats
            waiting = generator.permutation(count)
            chosen = np.concatenate([passed, waiting[np.isin(waiting, passed, invert=True)]])
        filled = np.cumsum(each[chosen])
        chosen = chosen[: int(np.searchsorted(filled, size)) + 1]
        drawn = each[chosen]
        drawn[-1] -= filled[len(chosen) - 1] - size
        fresh = chosen[len(passed) :] if len(chosen) > len(passed) else chosen
        waiting = waiting[np.isin(waiting, fresh, invert=True)]
        yield members.draw(chosen, drawn, generator)


def _shares(sizes: Int64[np.ndarray, "c"], images: int) -> Int64[np.ndarray, "c"]:
    """Share so many images among clusters, evenly among those of more than one image, where there are any."""
    several = sizes > 1 if (sizes > 1).any() else np.ones(len(sizes), np.bool_)
    each = np.ones(len(sizes), np.int64)
    rest = images - int((~several).sum())
    among = int(several.sum())
    each[several] = rest // among
    each[np.flatnonzero(several)[: rest % among]] += 1
    return each
