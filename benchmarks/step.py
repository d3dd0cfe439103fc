"""Images per second of the training loop against the bare step and the plain one, and where the loop's time goes.

    python -m benchmarks.step [--backbone resnet18_half --height 64 --width 32 --batch 64 --precision bf16] [--json]

The bare step is forward, backward and optimiser step of the same network on a batch that already lies on the device.
The plain step is the same with ordinary batch normalisation over the whole batch, which is what a user of timm would
have. The loop is `reidlib.training.loop.train` on random images: sampling, augmentation, the scores of a memory and its
update come to it; on a GPU it plays recorded passes, which the other two do not. All take turns in one process. Shares
are each part's time on its own: forward (which holds the norms'), backward and optimiser of the bare step's, data and
memory of the loop's. norm_ratio is the norms' time over that of ordinary ones, on random features of their shapes, one
call after the other.
"""

import argparse
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks.measure import report
from reidlib.batches.augment import augment
from reidlib.batches.variation import Augmentation
from reidlib.embed import device
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.losses.cluster_memory import ClusterMemory
from reidlib.losses.term import Batch, EpochStart
from reidlib.models.architecture import Architecture
from reidlib.models.embedder import Embedder, Features, new_embedder
from reidlib.models.grouped_norm import GroupedBatchNorm
from reidlib.training.distributed import ALONE, World
from reidlib.training.loop import train
from reidlib.training.plan import Compute, Labeller, Phase, Settings

CLUSTERS = 128
IMAGES_PER_CLUSTER = 4
GROUP = 64  # samples to a group of batch normalisation


def network(backbone: str, *, last_stride: int = 1, group: int = GROUP) -> Embedder:
    """A network with statistics of so many samples; of a whole batch, they are ordinary batch normalisation."""
    architecture = Architecture(
        backbone=backbone, last_stride=last_stride, pooling="gem", gem_power=3.0, batch_norm_group=group
    )
    return new_embedder(architecture, seed=0).to(device()).to(memory_format=torch.channels_last)


def random_images(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two images to a cluster, of noise, and their labels."""
    images = np.random.default_rng(0).integers(0, 256, (2 * CLUSTERS, height, width, 3)).astype(np.uint8)
    return images, (np.arange(len(images)) % CLUSTERS).astype(np.int32)


def options(description: str | None, *, batch: int = 64, iterations: int = 60) -> argparse.ArgumentParser:
    """The command line that the benchmarks of training share; the precision is each one's own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18_half")
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--iterations", type=int, default=iterations)
    parser.add_argument("--json", action="store_true")
    return parser


def waited() -> float:
    """The time, after all that the device has to do."""
    if device().type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def training_settings(*, precision: str = "fp32", **changes: Any) -> Settings:
    values = {
        "epochs": 1, "optimiser": "adam", "learning_rate": 1e-4, "backbone_rate": 1.0, "weight_decay": 5e-4,
        "warm_up": 0, "warm_up_from": 0.01, "decay_at": [], "decay_factor": 0.1, "cosine": False, "clip_norm": None,
        "label_flip": False,
        "augmentation": Augmentation(gain=0.2, offset=0.1), "compute": Compute(precision=precision), "seed": 0,
    }  # fmt: skip
    return Settings(**values | changes)


def training_phase(label: Labeller, *, batch: int) -> Phase:
    return Phase(
        label=label, loss={"cluster_memory": {}}, sampling="mixed", clusters_per_batch=batch // IMAGES_PER_CLUSTER,
        images_per_cluster=IMAGES_PER_CLUSTER, local=False,
    )  # fmt: skip


def bare_seconds(model: Embedder, images: torch.Tensor, *, iterations: int, precision: str) -> float:
    """Seconds a step of forward, backward and optimiser alone."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4, fused=True)
    model.train()
    began = waited()
    for _ in range(iterations):
        with torch.autocast(device().type, torch.bfloat16, enabled=precision == "bf16"):
            loss = model(images).embeddings.sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return (waited() - began) / iterations


def phase_seconds(model: Embedder, images: torch.Tensor, *, iterations: int, precision: str) -> dict[str, float]:
    """Seconds of each part of a bare step, the device waited for between them."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4, fused=True)
    model.train()
    taken = dict.fromkeys(("forward", "backward", "optimiser"), 0.0)
    for _ in range(iterations):
        optimiser.zero_grad()
        marks = [waited()]
        with torch.autocast(device().type, torch.bfloat16, enabled=precision == "bf16"):
            loss = model(images).embeddings.sum()
        marks.append(waited())
        torch.autograd.backward(loss)
        marks.append(waited())
        optimiser.step()
        marks.append(waited())
        taken = {name: taken[name] + marks[place + 1] - marks[place] for place, name in enumerate(taken)}
    return {name: seconds / iterations for name, seconds in taken.items()}


def norm_seconds(models: list[Embedder], images: torch.Tensor, *, precision: str, repeats: int = 5) -> list[float]:
    """Seconds that the norms of each network take for forward and backward, each on random features of its shape.

    The networks are alike but for their groups; norm by norm they take turns, and the medians are summed.
    """
    norms = [[part for part in model.modules() if isinstance(part, GroupedBatchNorm)] for model in models]
    seen: list[torch.Tensor] = []
    hooks = [norm.register_forward_hook(lambda _, given, __: seen.append(given[0].detach())) for norm in norms[0]]
    with torch.no_grad(), torch.autocast(device().type, torch.bfloat16, enabled=precision == "bf16"):
        models[0].train()(images)
    for hook in hooks:
        hook.remove()
    total = np.zeros(len(models))
    for place, features in enumerate(seen):
        taken = np.empty((repeats + 1, len(models)))
        given = torch.empty_like(features).normal_()
        features.requires_grad_()
        for turn in range(repeats + 1):
            for number, own in enumerate(norms):
                began = waited()
                torch.autograd.backward(own[place].train()._normalise(features), given)
                taken[turn, number] = waited() - began
                features.grad = None
        total += np.median(taken[1:], axis=0)
    return total.tolist()


def loop_seconds(
    model: Embedder, images: np.ndarray, labels: np.ndarray, settings: Settings, *, batch: int, world: World = ALONE
) -> float:
    """Seconds a step of the last epoch of the loop, labelling left out."""
    labelled = [0.0]

    def label(*_: object) -> PseudoLabels:
        labelled[0] = waited()
        return PseudoLabels(labels, {})

    phases = [training_phase(label, batch=batch)]
    train(model, images, np.zeros(len(images), np.int16), phases=phases, settings=settings, world=world)
    return (waited() - labelled[0]) / settings.iterations


def part_seconds(
    model: Embedder, images: np.ndarray, labels: np.ndarray, settings: Settings, *, batch: int
) -> dict[str, float]:
    """Seconds a step of making the batch, and of the memory's scores and update, each on its own."""
    generator, iterations = np.random.default_rng(0), settings.iterations
    rows = generator.integers(0, len(images), batch)
    source = torch.from_numpy(images).to(device()) if device().type == "cuda" else images
    began = waited()
    for _ in range(iterations):
        augment(source, generator, settings=settings.augmentation, rows=rows)
    data = (waited() - began) / iterations
    memory, cameras = ClusterMemory(), np.zeros(len(images), np.int64)
    embeddings = torch.nn.functional.normalize(torch.randn(len(images), model.dimension), dim=1).numpy()
    memory.begin(
        EpochStart(
            epoch=0, embeddings=embeddings, labels=labels, cameras=cameras, local=False, renewed=True, device=device()
        )
    )
    features = torch.randn(batch, 1, model.dimension).to(device())
    one = Batch(
        epoch=0, first=Features(features, features), second=None, rows=rows, labels=labels[rows].astype(np.int64),
        cameras=cameras[rows], generator=generator,
    )  # fmt: skip
    began = waited()
    for _ in range(iterations):
        memory(one)
        memory.update(one)
    return {"data": data, "memory": (waited() - began) / iterations}


def measure(
    *, backbone: str, height: int, width: int, batch: int, iterations: int, precision: str, repeats: int = 3,
    last_stride: int = 1,
) -> dict[str, float | str]:  # fmt: skip
    """Medians of alternating turns."""
    images, labels = random_images(height, width)
    fixed = torch.randn(batch, 3, height, width).to(device()).to(memory_format=torch.channels_last)
    model, plain = (network(backbone, last_stride=last_stride, group=group) for group in (GROUP, max(batch, 2)))
    settings = training_settings(epochs=2, iterations=iterations, precision=precision)  # the first records the passes
    how = {"precision": precision}
    taken = np.empty((repeats + 1, 3))
    for turn in range(repeats + 1):  # the first warms up
        taken[turn] = (
            bare_seconds(plain, fixed, iterations=iterations, **how),
            bare_seconds(model, fixed, iterations=iterations, **how),
            loop_seconds(model, images, labels, settings, batch=batch),
        )
    rates = batch / np.median(taken[1:], axis=0)
    _, whole, of_loop = np.median(taken[1:], axis=0)
    norms = norm_seconds([model, plain], fixed, **how)
    parts = phase_seconds(model, fixed, iterations=iterations, **how) | {"norm": norms[0]}
    shares = {name: seconds / whole for name, seconds in parts.items()}
    beside = part_seconds(model, images, labels, settings, batch=batch)
    shares |= {name: seconds / of_loop for name, seconds in beside.items()}
    return {
        "backbone": backbone, "size": f"{height}x{width}", "batch": batch, "precision": precision,
        **dict(zip(("plain_images_per_second", "bare_images_per_second", "loop_images_per_second"), rates.tolist(),
                   strict=True)),
        "ratio": float(np.median(taken[1:, 1] / taken[1:, 2])),
        "ratio_to_plain": float(np.median(taken[1:, 0] / taken[1:, 2])), "norm_ratio": norms[0] / norms[1],
        **{f"{name}_share": float(share) for name, share in shares.items()},
    }  # fmt: skip


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--last-stride", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], nargs="+", default=["fp32", "bf16"])
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    for precision in arguments.pop("precision"):
        report(measure(precision=precision, **arguments), as_json=as_json)


if __name__ == "__main__":
    main()
