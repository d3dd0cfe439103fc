"""What checkpoints cost: the training loop with one at every epoch's end against the loop without any.

    python -m benchmarks.checkpoints [--backbone resnet18_half --batch 64 --iterations 60] [--json]

The two take turns in one process; epochs of the demo's length by default. A longer epoch pays less: the cost of a
checkpoint is that of writing the model three times (weights and Adam's two moments).
"""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import report, seconds
from benchmarks.step import network, options, random_images, training_phase, training_settings
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.training.checkpoint import Checkpoints
from reidlib.training.loop import train


def measure(
    *, backbone: str, height: int, width: int, batch: int, iterations: int, precision: str, repeats: int
) -> dict[str, float | str]:
    """Medians of alternating turns of two epochs each."""
    images, labels = random_images(height, width)
    cameras = np.zeros(len(images), np.int16)
    how = training_settings(epochs=2, iterations=iterations, precision=precision)
    model = network(backbone)
    phases = [training_phase(lambda *_: PseudoLabels(labels, {}), batch=batch)]

    def run(checkpoints: Checkpoints | None) -> None:
        train(model, images, cameras, phases=phases, settings=how, checkpoints=checkpoints)

    times: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(repeats + 1):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            pair = {"without": seconds(lambda: run(None)), "with": seconds(lambda: run(Checkpoints(Path(folder))))}
            size = max(path.stat().st_size for path in Path(folder).iterdir())
        if turn:
            for name, value in pair.items():
                times[name].append(value)
    ratios = np.array(times["with"]) / np.array(times["without"])
    return {
        "backbone": backbone, "batch": batch, "iterations": iterations, "precision": precision,
        "epoch_seconds": float(np.median(times["without"])) / 2, "checkpoint_mib": size / 2**20,
        "cost_percent": 100 * (float(np.median(ratios)) - 1),
    }  # fmt: skip


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    report(measure(**arguments), as_json=as_json)


if __name__ == "__main__":
    main()
