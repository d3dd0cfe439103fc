"""Milliseconds of a memory update: rounds over the k-th occurrence of each label against one sample at a time.

    python -m benchmarks.memory [--json]

Batch 256, 700 clusters, 2,048 dimensions; labels at random, and 16 clusters of 16 as the sampler draws them. The peer
is the loop that the published cluster-contrast codes run in the backward pass; both take turns in one process, start
from the same memory, and must end bit-equal.
"""

from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import run_repeated
from reidlib.losses.centres import move_centres

BATCH, CLUSTERS, DIMENSION, MOMENTUM = 256, 700, 2048, 0.1


def one_by_one(centres: Tensor, features: Tensor, labels: Tensor) -> None:
    for feature, label in zip(features, labels.tolist(), strict=True):
        centres[label] = MOMENTUM * centres[label] + (1 - MOMENTUM) * feature
        centres[label] /= centres[label].norm()


def milliseconds(labels: Tensor, *, repeats: int) -> tuple[float, float]:
    """Return the medians of the loop and of the rounds.

    Raises:
        RuntimeError: memories that are not bit-equal.
    """
    generator = torch.Generator().manual_seed(0)
    centres = functional.normalize(torch.randn(CLUSTERS, DIMENSION, generator=generator))
    moved, of = centres.clone(), labels.numpy()
    loop, rounds = [], []
    for _ in range(repeats + 2):
        features = functional.normalize(torch.randn(BATCH, DIMENSION, generator=generator))
        start = perf_counter()
        one_by_one(centres, features, labels)
        middle = perf_counter()
        move_centres(moved, features, of, momentum=MOMENTUM)
        loop.append(middle - start)
        rounds.append(perf_counter() - middle)
    if not torch.equal(centres, moved):
        raise RuntimeError("the two memories differ")
    return 1e3 * float(np.median(loop[2:])), 1e3 * float(np.median(rounds[2:]))


def measure(*, repeats: int = 100) -> dict[str, float]:
    torch.set_num_threads(1)  # the loop uses one; more help the rounds on an idle machine, and hurt them on a busy one
    generator = torch.Generator().manual_seed(1)
    figures: dict[str, float] = {}
    for name, labels in {
        "random": torch.randint(0, CLUSTERS, (BATCH,), generator=generator),
        "16x16": torch.randperm(CLUSTERS, generator=generator)[:16].repeat_interleave(16),
    }.items():
        loop, rounds = milliseconds(labels, repeats=repeats)
        figures |= {f"loop_{name}_ms": loop, f"rounds_{name}_ms": rounds, f"ratio_{name}": loop / rounds}
    return figures


if __name__ == "__main__":
    run_repeated(measure, description=__doc__, repeats=100)
