"""All that matters on one GPU, in under nine minutes, without dvc or faiss: is it right, and how fast is it?

    python -m benchmarks.gpu [--out benchmarks/results] [--quick]

Checks hold the GPU against the CPU on the same data: nearest neighbours, the Jaccard distance, DBSCAN's labels, the
memory's update, augmentation, and the retrieval metrics of a network's embeddings. Then the loader, the step (float32,
bfloat16, compiled) of ResNet-50 at 256 x 128 against its bare forward and backward pass, and an epoch of 200 iterations
at Market-1501's size. Writes gpu.json and gpu.md, with the card's name. Without a GPU, `--quick` runs everything on
the CPU in small: a rehearsal, whose figures mean nothing.
"""

import argparse
import json
from datetime import date
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from benchmarks import epoch, step
from benchmarks.features import features
from reidlib.batches.augment import apply, draw
from reidlib.batches.variation import Augmentation
from reidlib.embed import device, embed
from reidlib.labels.dbscan import dbscan
from reidlib.losses.centres import move_centres
from reidlib.neighbours.jaccard import jaccard_distance
from reidlib.neighbours.search import nearest
from reidlib.retrieval.metrics import cosine_tiles, evaluate

FULL = {"height": 256, "width": 128, "batch": 256}
SMALL = {"height": 64, "width": 32, "batch": 32}


def checked(*, quick: bool) -> dict[str, float]:
    """Compare the device with the CPU; the largest difference of each.

    Raises:
        RuntimeError: one that is too large.
    """
    where, n = device(), 1000 if quick else 12936
    embeddings, identities, cameras = features(n, preset="late")
    tensor = torch.from_numpy(embeddings).to(where)
    ours, theirs = nearest(tensor, k=30), nearest(embeddings, k=30, device="cpu")
    found = {"k-NN similarities": float((ours.similarities.cpu() - torch.from_numpy(theirs.similarities)).abs().max())}
    graphs = [jaccard_distance(each, k1=30, k2=6) for each in (tensor, embeddings)]
    found["Jaccard distances"] = float(abs(graphs[0] - graphs[1]).max())
    labels = [dbscan(graph, eps=0.6, min_samples=4) for graph in graphs]
    found["DBSCAN labels that differ"] = float((labels[0] != labels[1]).sum())
    centres = torch.nn.functional.normalize(torch.randn(700, 2048, generator=torch.manual_seed(0)))
    batch, targets, moved = torch.from_numpy(embeddings[:256]), np.arange(256) % 100, centres.to(where, copy=True)
    move_centres(moved, batch.to(where), targets, momentum=0.1)
    move_centres(centres, batch, targets, momentum=0.1)
    found["memory"] = float((moved.cpu() - centres).abs().max())
    crops = np.random.default_rng(0).integers(0, 256, (64, 128, 64, 3)).astype(np.uint8)
    settings = Augmentation(gain=0.2, offset=0.1)
    draws = draw(np.random.default_rng(1), 64, height=128, width=64, settings=settings)
    views = [apply(images, draws, settings=settings).cpu() for images in (torch.from_numpy(crops).to(where), crops)]
    found["augmentation"] = float((views[0] - views[1]).abs().max())
    model = step.network("resnet18_half")
    pair = [embed(each, crops) for each in (model, model.cpu())]
    people, seen_by = identities[:64] % 8 + 1, cameras[:64]
    facts = {"query_identities": people[:32], "gallery_identities": people[32:]}
    facts |= {"query_cameras": seen_by[:32], "gallery_cameras": seen_by[32:]}
    first, second = (evaluate(cosine_tiles(each[:32], each[32:]), **facts).mAP for each in pair)
    found["mAP"] = abs(first - second)
    allowed = {"k-NN similarities": 1e-5, "Jaccard distances": 1e-5, "DBSCAN labels that differ": 0, "memory": 1e-5,
               "augmentation": 0.02, "mAP": 1e-3}  # fmt: skip
    wrong = {name: value for name, value in found.items() if not value <= allowed[name]}
    if wrong:
        raise RuntimeError(f"the device and the CPU disagree: {wrong}; allowed: {allowed}")
    return found


def searched(*, quick: bool) -> dict[str, float]:
    """Seconds of labelling's parts at Market-1501's size, embeddings on the device."""
    embeddings, _, _ = features(1000 if quick else 12936, preset="late")
    tensor = torch.from_numpy(embeddings).to(device())
    times: dict[str, list[float]] = {"k-NN": [], "Jaccard with its search": []}
    for _ in range(4):
        began = step.waited()
        nearest(tensor, k=30)
        middle = step.waited()
        jaccard_distance(tensor, k1=30, k2=6, max_distance=0.6)
        times["k-NN"].append(middle - began)
        times["Jaccard with its search"].append(step.waited() - middle)
    return {f"{name}, seconds": float(np.median(values[1:])) for name, values in times.items()}


def table(results: dict) -> str:
    """The results as Markdown."""
    lines = [f"Measured on {results['card']}, torch {results['torch']}, {results['date']}.", ""]
    for title in ("checks", "labelling"):
        lines += [f"| {title} | |", "|---|---|", *(f"| {k} | {v:.4g} |" for k, v in results[title].items()), ""]
    for title in ("step", "epoch"):
        names = list(results[title][0])
        lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        for row in results[title]:
            cells = [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in names]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if device().type != "cuda" and not arguments.quick:
        parser.error("no GPU here; --quick rehearses everything on the CPU")
    began, quick = perf_counter(), arguments.quick
    size, backbone = (SMALL, "resnet18_half") if quick else (FULL, "resnet50")
    iterations, crops = (3, 600) if quick else (200, 12936)
    card = torch.cuda.get_device_name() if device().type == "cuda" else "the CPU: a rehearsal, not a result"
    results = {"card": card, "torch": torch.__version__, "date": str(date.today())}
    results["checks"], results["labelling"] = checked(quick=quick), searched(quick=quick)
    kinds = [("fp32", False), ("bf16", False), ("bf16", True)]
    results["step"] = [
        step.measure(backbone=backbone, **size, iterations=min(iterations, 50), precision=precision, compiled=compiled)
        for precision, compiled in (kinds[:2] if quick else kinds)
    ]
    results["epoch"] = [epoch.measure(images=crops, backbone=backbone, **size, iterations=iterations, precision="bf16")]
    results["minutes"] = (perf_counter() - began) / 60
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "gpu.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
