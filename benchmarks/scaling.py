"""Images per second of the training loop in one process and in several that share its batches.

    python -m benchmarks.scaling [--processes 1 2 --batch 64 --json]

On a machine without GPUs the processes share its processors (gloo), each with its part of the threads: what is measured
there is what the sharing itself costs. On GPUs (NCCL) it is the speed-up.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
import torch

from benchmarks.measure import report
from benchmarks.step import CLUSTERS, network, training_settings, waited
from reidlib.training.distributed import connected
from reidlib.training.loop import train
from reidlib.training.settings import EpochLabels


def inside(*, backbone: str, height: int, width: int, batch: int, iterations: int, precision: str) -> None:
    """Train in this process as one of several; the first prints seconds a step."""
    images = np.random.default_rng(0).integers(0, 256, (2 * CLUSTERS, height, width, 3)).astype(np.uint8)
    labels, began = (np.arange(len(images)) % CLUSTERS).astype(np.int32), [0.0]

    def label(*_: object) -> EpochLabels:
        began[0] = waited()
        return EpochLabels(labels, {})

    settings = training_settings(batch=batch, iterations=iterations, precision=precision)
    with connected() as world:
        model = network(backbone)
        for _ in range(2):  # the first one warms up
            train(model, images, np.zeros(len(images), np.int16), label=label, settings=settings, world=world)
        if world.first:
            print(json.dumps({"seconds": (waited() - began[0]) / iterations, "device": world.device.type}))


def seconds(processes: int, arguments: list[str]) -> tuple[float, str]:
    """Start the processes and return what the first of them measured."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launch, "-m", "benchmarks.scaling", "--inside", *arguments]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{processes} processes failed:\n{done.stderr[-3000:]}")
    line = json.loads(done.stdout.splitlines()[-1])
    return line["seconds"], line["device"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--backbone", default="resnet18_half")
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    as_json, several, repeats = (arguments.pop(name) for name in ("json", "processes", "repeats"))
    if arguments.pop("inside"):
        torch.manual_seed(0)
        inside(**arguments)
        return
    passed = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    turns = [[seconds(processes, passed) for processes in several] for _ in range(repeats)]
    for column, processes in enumerate(several):
        median = float(np.median([turn[column][0] for turn in turns]))
        alone = float(np.median([turn[0][0] for turn in turns]))
        figures = {"processes": processes, **arguments, "device": turns[0][column][1]}
        rates = {"images_per_second": arguments["batch"] / median, f"ratio_to_{several[0]}": alone / median}
        report(figures | rates, as_json=as_json)


if __name__ == "__main__":
    main()
