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
from benchmarks.step import loop_seconds, network, options, random_images, training_settings
from reidlib.training.distributed import connect


def inside(*, backbone: str, height: int, width: int, batch: int, iterations: int, precision: str) -> None:
    """Train in this process as one of several; the first prints seconds a step."""
    images, labels = random_images(height, width)
    settings = training_settings(iterations=iterations, precision=precision)
    with connect() as world:
        model = network(backbone)
        taken = [
            loop_seconds(model, images, labels, settings, batch=batch, world=world) for _ in range(2)
        ]  # the first warms up
        if world.first:
            print(json.dumps({"seconds": taken[1], "device": world.device.type}))


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
    parser = options(__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--repeats", type=int, default=3)
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
