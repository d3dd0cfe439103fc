"""What two runs at once cost on the cores of one: threads that fight would make it many times as much.

    python -m benchmarks.together [--batch 64 --iterations 30 --repeats 3] [--json]

A run is a process that trains, labels (k-NN, Jaccard distance, linkage, silhouette) and trains again, with threads as
the stages set them (REID_THREADS, or as many as there are cores). One alone and two at once take turns; the ratio is
the time until both have ended over that of one: 2 means that nothing is lost.
"""

import argparse
import subprocess
import sys
from time import perf_counter

import numpy as np

import stages  # noqa: F401  # before torch: it sets the threads
from benchmarks.measure import report
from benchmarks.step import loop_seconds, network, options, random_images, training_settings
from reidlib.running import set_threads


def inside(*, backbone: str, height: int, width: int, batch: int, iterations: int) -> None:
    """Wait for a line, so that all begin when all have loaded; train, label, train."""
    from benchmarks.features import features
    from reidlib.labels.linkage import linkage
    from reidlib.neighbours.jaccard import jaccard_distance

    images, labels = random_images(height, width)
    embeddings, _, _ = features(3000, preset="late", d=512)
    model, settings = network(backbone), training_settings(iterations=iterations)
    print("ready", flush=True)
    sys.stdin.readline()
    loop_seconds(model, images, labels, settings, batch=batch)
    linkage(jaccard_distance(embeddings, k1=30, k2=6), n_clusters="silhouette")
    loop_seconds(model, images, labels, settings, batch=batch)


def seconds(count: int, words: list[str]) -> float:
    """Seconds from the common start of so many runs to the end of the last."""
    command = [sys.executable, "-m", "benchmarks.together", "--inside", *words]
    runs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    for run in runs:
        assert run.stdout is not None
        if run.stdout.readline() != "ready\n":
            raise RuntimeError("a run ended before it began; see above")
    began = perf_counter()
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.close()
    for run in runs:
        assert run.stdout is not None
        run.stdout.read()
        if run.wait():
            raise RuntimeError("a run failed; see above")
    return perf_counter() - began


def main() -> None:
    parser = options(__doc__, iterations=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    as_json, repeats, is_run = (arguments.pop(name) for name in ("json", "repeats", "inside"))
    if is_run:
        inside(**arguments)
        return
    set_threads()
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    taken = np.array([[seconds(1, words), seconds(2, words)] for _ in range(repeats)])
    alone, both = np.median(taken, axis=0).tolist()
    ratio = float(np.median(taken[:, 1] / taken[:, 0]))
    report({**arguments, "alone_seconds": alone, "two_seconds": both, "ratio": ratio}, as_json=as_json)


if __name__ == "__main__":
    main()
