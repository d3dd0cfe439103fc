"""Compile every kernel now, so that no run waits for it: ``reidlib warm``.

Numba keeps what it compiled beside the sources (in `__pycache__`, where that can be written, else in the user's cache)
and takes it from there as long as the sources' content is the same. Whatever has a kernel is called here once, on
little data, by the functions that the pipeline calls.
"""

import gc
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import perf_counter

import numpy as np

from reidlib.commands.parsing import command_parser

HELP = "compile the kernels now, so that no run waits for it"
EXAMPLE = "reidlib warm"
ROWS = 600  # more than a tile of the search's product has


def warm_neighbours() -> None:
    """Call what has a kernel between embeddings and distances, and where a gallery is searched."""
    from reidlib.gallery.search import nearest_rows
    from reidlib.neighbours.jaccard import jaccard_distance
    from reidlib.retrieval.reranking import reranked_tiles

    embeddings = _embeddings()
    jaccard_distance(embeddings, k1=6, k2=2)
    for _ in reranked_tiles(*np.split(embeddings, 2), k1=6, k2=2):
        pass
    nearest_rows(embeddings, embeddings[:1], k=2)


def warm_labels() -> None:
    """Call what has a kernel between distances and labels, and in what measures them."""
    from scipy.sparse import csr_array

    from reidlib.labels.bottom_up import bottom_up
    from reidlib.labels.camera_similarity import camera_similarity
    from reidlib.labels.constraints import Links, constraints
    from reidlib.labels.dbscan import dbscan
    from reidlib.labels.graphs import blend, kth_distances
    from reidlib.labels.linkage import linkage
    from reidlib.labels.questions import best_merges, propose
    from reidlib.retrieval.metrics import cosine_tiles, evaluate

    embeddings, numbers, cameras = _embeddings(), np.arange(ROWS) // 4, np.arange(ROWS) % 2
    graph = csr_array(((numbers[:, None] == numbers) * np.float32(0.5)).astype(np.float32))
    linkage(graph, quantile=0.001)
    linkage(graph, n_clusters="silhouette")
    known = constraints(ROWS, same=Links(np.array([[0, 1]])), different=Links(np.array([[0, 4]])))
    linkage(graph, quantile=0.001, constraints=known)
    dbscan(graph, eps=0.6, min_samples=4, constraints=known)
    propose(best_merges([graph], known), cameras)
    bottom_up(graph)
    kth_distances(graph, k=2)
    blend(graph, embeddings, original_weight=0.5)
    camera_similarity(
        embeddings, np.arange(ROWS, dtype=np.int32)[:, None], 2 * numbers + cameras, cameras.astype(np.int16)
    )
    evaluate(
        cosine_tiles(embeddings, embeddings),
        query_identities=numbers,
        gallery_identities=numbers,
        query_cameras=cameras,
        gallery_cameras=1 - cameras,
    )


def warm_images() -> None:
    """Call what has a kernel over pictures."""
    from reidlib.batches.augment import augment
    from reidlib.batches.colour import balanced_stripes
    from reidlib.batches.variation import Augmentation
    from reidlib.synthetic.figure_kernels import paint

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, 8, 4, 3), dtype=np.uint8)
    augment(images, generator, settings=Augmentation(gain=0.2, offset=0.1))
    balanced_stripes(images)
    canvas, parts, materials, folds, light = (
        np.ones(shape, np.float32) for shape in ((4, 4, 3), (1, 13), (2, 12), (2, 2), (3,))
    )
    paint(canvas, parts, materials, folds, light, 0.0)


def warm_norms() -> None:
    """Call the kernels of a GPU, where there is one."""
    from reidlib.neighbours.search import may_have_gpu

    if not may_have_gpu():
        return
    import torch

    from reidlib.models.norm_in_groups import normalise_groups

    for precision in (torch.float32, torch.bfloat16) if torch.cuda.is_available() else ():
        features = torch.ones((4, 16), dtype=precision, device="cuda", requires_grad=True)
        weight, bias = torch.ones((2, 16), device="cuda")
        torch.autograd.backward(normalise_groups(features, weight, bias, group=2, eps=1e-5).normalised.sum())


PARTS = (warm_neighbours, warm_labels, warm_images, warm_norms)  # the longest first


def _embeddings() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main(arguments: Sequence[str]) -> None:
    """Compile, in several processes (each compiles one kernel at a time), and say how long it took."""
    command_parser("warm", HELP, EXAMPLE).parse_args(arguments)
    began = perf_counter()
    processes = min(len(PARTS), os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=gc.disable) as pool:  # all is kept
        for done in [pool.submit(part) for part in PARTS]:
            done.result()
    print(f"all kernels are compiled ({perf_counter() - began:.0f} s)")
