"""A whole epoch at a data set's size, with random images: extraction, neighbours, labels, memory, training steps.

    python -m benchmarks.epoch [--images 12936 --backbone resnet50 --height 256 --width 128 --batch 256] [--json]

The default size is for a CPU; Market-1501's is in the line above. The last epoch of three is measured, and how much
longer the first trains, which compiles and records what the others find made. Random images make embeddings without
clusters, so the embeddings that are labelled are planted ones of the same shape ("late": like a trained network's),
which cost what real ones cost.
"""

import numpy as np
import torch

from benchmarks.features import features
from benchmarks.measure import report
from benchmarks.step import network, options, training_phase, training_settings, waited
from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.icsr import global_labels
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.training.loop import train

LABELLING = GlobalLabelling(
    k1=30, k2=6, original_weight=0.0, method={"name": "dbscan", "eps": 0.6, "min_samples": 4}, camera_similarity=0.0,
    camera_alignment="none", colour_weight=0.0, camera_aware=None, nodes="all", link_k=15, link_min_similarity=0.5,
)  # fmt: skip


def measure(
    *, images: int, backbone: str, height: int, width: int, batch: int, iterations: int, precision: str
) -> dict[str, float | str]:
    """Seconds of the parts of one epoch."""
    crops = np.random.default_rng(0).integers(0, 256, (images, height, width, 3), dtype=np.uint8)
    model = network(backbone)
    planted, _, _ = features(images, preset="late", d=model.dimension)
    cameras = (np.arange(images) % 6).astype(np.int16)
    local = (np.arange(images) // 4).astype(np.int32)
    settings = training_settings(epochs=3, iterations=iterations, precision=precision)
    marks: list[float] = []

    def label(*_: object) -> PseudoLabels:
        marks.append(waited())
        found = global_labels(planted, local, cameras, labelling=LABELLING, seed=0)
        marks.append(waited())
        return found

    train(model, crops, cameras, phases=[training_phase(label, batch=batch)], settings=settings)
    ended = waited()
    labelling, training = marks[5] - marks[4], ended - marks[5]
    extraction = max(marks[4] - marks[3] - training, 0.0)
    epoch = extraction + labelling + training
    return {
        "images": images, "backbone": backbone, "size": f"{height}x{width}", "batch": batch, "iterations": iterations,
        "precision": precision, "extraction_seconds": extraction, "labels_seconds": labelling,
        "training_seconds": training, "epoch_seconds": epoch, "labelling_share": (extraction + labelling) / epoch,
        "first_training_ratio": (marks[2] - marks[1] - extraction) / training, "hours_for_50_epochs": 50 * epoch / 3600,
    }  # fmt: skip


def main() -> None:
    parser = options(__doc__, batch=256, iterations=50)
    parser.add_argument("--images", type=int, default=12936)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    torch.manual_seed(0)
    report(measure(**arguments), as_json=as_json)


if __name__ == "__main__":
    main()
