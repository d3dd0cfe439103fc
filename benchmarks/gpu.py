"""All that matters on one GPU, part by part, without dvc or faiss: is it right, and how fast is it?

    python -m benchmarks.gpu [--parts checks,step,epoch,million] [--limit 120] [--out benchmarks/results] [--quick]

- checks: the GPU against the CPU on the same data (nearest neighbours, the Jaccard distance, DBSCAN's labels, the
  memory's update, augmentation, the retrieval metrics of a network's embeddings), and the seconds of labelling's parts;
- step: `benchmarks.step` of ResNet-50 at 256 x 128, float32 and bfloat16;
- epoch: `benchmarks.epoch` of 200 iterations at Market-1501's size;
- million: search, Jaccard distance, DBSCAN and average linkage of 10^6 x 512 embeddings.

Every part runs in a process of its own, which is ended after the limit (seconds); what it found until then is kept:
each line is printed and written to gpu.json and gpu.md, with the card's name, as it comes. Parts that are not run keep
what an earlier run found. Without a GPU, `--quick` runs everything on the CPU in small: a rehearsal, whose figures mean
nothing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks import epoch, step
from benchmarks.features import features
from reidlib.batches.augment import apply, draw
from reidlib.batches.variation import Augmentation
from reidlib.embed import device, embed
from reidlib.labels.dbscan import dbscan
from reidlib.labels.linkage import average_linkage
from reidlib.losses.centres import move_centres
from reidlib.neighbours.jaccard import jaccard_from_neighbours
from reidlib.neighbours.search import Neighbours, nearest
from reidlib.neighbours.search_torch import nearest_on_device
from reidlib.retrieval.metrics import cosine_tiles, evaluate

FULL = {"height": 256, "width": 128, "batch": 256}
SMALL = {"height": 64, "width": 32, "batch": 32}
ALLOWED = {"k-NN similarities": 1e-5, "Jaccard distances": 1e-5, "DBSCAN labels that differ": 0, "memory": 1e-5,
           "augmentation": 0.02, "mAP": 1e-3}  # fmt: skip
Row = dict[str, Any]


def checks(*, quick: bool) -> Iterator[Row]:
    """The largest difference of each thing on the device from the CPU's; then seconds of labelling's parts.

    Raises:
        RuntimeError: at the end, where one is too large.
    """
    wrong = {}
    for name, value in differences(n=1000 if quick else 12936):
        yield {"check": name, "found": value, "allowed": ALLOWED[name]}
        if not value <= ALLOWED[name]:
            wrong[name] = value
    embeddings, _, _ = features(1000 if quick else 12936, preset="late")
    times = np.empty((4, 2))
    for turn in range(4):  # the first warms up
        began = step.waited()
        found = searched(embeddings)
        times[turn, 0] = step.waited() - began
        jaccard_from_neighbours(embeddings, found.indices, k2=6, max_distance=0.6, similarities=found.similarities)
        times[turn, 1] = step.waited() - began
    for name, seconds in zip(("k-NN", "k-NN and Jaccard"), np.median(times[1:], axis=0).tolist(), strict=True):
        yield {"check": f"{name}, seconds", "found": seconds, "allowed": ""}
    if wrong:
        raise RuntimeError(f"the device and the CPU disagree: {wrong}; allowed: {ALLOWED}")


def searched(embeddings: np.ndarray) -> Neighbours:
    return Neighbours(*nearest_on_device(embeddings, None, k=30, device=str(device())))


def differences(*, n: int) -> Iterator[tuple[str, float]]:
    where = device()
    embeddings, identities, cameras = features(n, preset="late")
    ours, theirs = searched(embeddings), nearest(embeddings, k=30, device="cpu")
    yield "k-NN similarities", float(abs(ours.similarities - theirs.similarities).max())
    graphs = [jaccard_from_neighbours(embeddings, found.indices, k2=6) for found in (ours, theirs)]
    yield "Jaccard distances", float(abs(graphs[0] - graphs[1]).max())
    labels = [dbscan(graph, eps=0.6, min_samples=4) for graph in graphs]
    yield "DBSCAN labels that differ", float((labels[0] != labels[1]).sum())
    centres = torch.nn.functional.normalize(torch.randn(700, 2048, generator=torch.manual_seed(0)))
    batch, targets, moved = torch.from_numpy(embeddings[:256]), np.arange(256) % 100, centres.to(where, copy=True)
    move_centres(moved, batch.to(where), targets, momentum=0.1)
    move_centres(centres, batch, targets, momentum=0.1)
    yield "memory", float((moved.cpu() - centres).abs().max())
    crops = np.random.default_rng(0).integers(0, 256, (64, 128, 64, 3)).astype(np.uint8)
    settings = Augmentation(gain=0.2, offset=0.1)
    draws = draw(np.random.default_rng(1), 64, height=128, width=64, settings=settings)
    views = [apply(images, draws, settings=settings).cpu() for images in (torch.from_numpy(crops).to(where), crops)]
    yield "augmentation", float((views[0] - views[1]).abs().max())
    model = step.network("resnet18_half")
    pair = [embed(each, crops) for each in (model, model.cpu())]
    people, seen_by = identities[:64] % 8 + 1, cameras[:64]
    facts = {"query_identities": people[:32], "gallery_identities": people[32:]}
    facts |= {"query_cameras": seen_by[:32], "gallery_cameras": seen_by[32:]}
    first, second = (evaluate(cosine_tiles(each[:32], each[32:]), **facts).mAP for each in pair)
    yield "mAP", abs(first - second)


def steps(*, quick: bool) -> Iterator[Row]:
    size, backbone, iterations = (SMALL, "resnet18_half", 3) if quick else (FULL, "resnet50", 20)
    for precision in ("bf16", "fp32"):
        yield step.measure(backbone=backbone, **size, iterations=iterations, precision=precision)


def one_epoch(*, quick: bool) -> Iterator[Row]:
    size, backbone = (SMALL, "resnet18_half") if quick else (FULL, "resnet50")
    images, iterations = (600, 3) if quick else (12936, 200)
    yield epoch.measure(images=images, backbone=backbone, **size, iterations=iterations, precision="bf16")


def million(*, quick: bool) -> Iterator[Row]:
    """Seconds of each part of labelling, the search on the device, the rest on the CPU.

    Of the pairs those within 0.6 are stored, a dozen to a row; all below 1 would take some 100 GiB.
    """
    images = 3000 if quick else 1_000_000
    embeddings, _, _ = features(images, preset="late", d=512)
    began = step.waited()

    def row(part: str) -> Row:
        nonlocal began
        before, began = began, step.waited()
        most = torch.cuda.max_memory_allocated() / 2**30 if device().type == "cuda" else 0.0
        return {"part": part, "images": images, "length": 512, "seconds": began - before, "peak_gpu_gib": most}

    found = searched(embeddings)
    yield row("k-NN")
    graph = jaccard_from_neighbours(embeddings, found.indices, k2=6, max_distance=0.6, similarities=found.similarities)
    yield row("Jaccard")
    dbscan(graph, eps=0.6, min_samples=4)
    yield row("DBSCAN")
    average_linkage(graph)
    yield row("average linkage")


PARTS: dict[str, Callable[..., Iterator[Row]]] = {
    "checks": checks, "step": steps, "epoch": one_epoch, "million": million,
}  # fmt: skip


def command(part: str, *, quick: bool) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu", "--inside", part, *["--quick"] * quick]


def watch(words: list[str], *, limit: float, keep: Callable[[Row], None]) -> str:
    """Run a part, hand on each line as it comes; how it ended: "whole", "ended after … s" or "failed"."""
    late: list[bool] = []
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    timer = Timer(limit, lambda: (late.append(True), process.kill()))
    timer.start()
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("{"):
                keep(json.loads(line))
    code = process.wait()
    timer.cancel()
    return f"ended after {limit:g} s" if late else "whole" if code == 0 else f"failed ({code}), see above"


def run_parts(parts: list[str], *, folder: Path, quick: bool, limit: float) -> None:
    """Run parts one after the other; write gpu.json and gpu.md after every line."""
    path = folder / "gpu.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    for part in parts:
        began, rows = perf_counter(), []

        def keep(
            row: Row, *, ended: str = "running", part: str = part, rows: list = rows, began: float = began
        ) -> None:
            rows += [row] * bool(row)
            results[part] = {"rows": rows, "ended": ended, "seconds": perf_counter() - began, "date": str(date.today())}
            path.write_text(json.dumps(results, indent=1) + "\n")
            path.with_suffix(".md").write_text(table(results))

        keep({}, ended=watch(command(part, quick=quick), limit=limit, keep=keep))


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = []
    for part, found in results.items():
        lines += [f"## {part}: {found['ended']}, {found['seconds']:.0f} s, {found['date']}", ""]
        if found["rows"]:
            names = list(found["rows"][0])
            lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        for row in found["rows"]:
            cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def inside(part: str, *, quick: bool) -> None:
    """Run a part in this process; a line of JSON for each row."""
    card = torch.cuda.get_device_name() if device().type == "cuda" else "the CPU: a rehearsal, not a result"
    for row in PARTS[part](quick=quick):
        print(json.dumps(row | {"card": card, "torch": torch.__version__}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--limit", type=float, default=120)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--inside", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        inside(arguments.inside, quick=arguments.quick)
        return
    parts = arguments.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts: expected some of {','.join(PARTS)}, found {','.join(sorted(unknown))}")
    if device().type != "cuda" and not arguments.quick:
        parser.error("no GPU here; --quick rehearses everything on the CPU")
    arguments.out.mkdir(parents=True, exist_ok=True)
    run_parts(parts, folder=arguments.out, quick=arguments.quick, limit=arguments.limit)


if __name__ == "__main__":
    main()
