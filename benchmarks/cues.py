"""What the labels are made from, before any training: `python -m benchmarks.cues`.

    python -m benchmarks.cues --data ../shared/data [--weights FOLDER] [--only pku vehicles holstein] [--table]

For each set of `benchmarks.real`: the embeddings of the training images by the ImageNet weights of EfficientNet-Lite0,
averaged with the mirror images', as they are and aligned across cameras; the colours; and both together. Every training
image searches those of other cameras. A line per set is appended to benchmarks/results/cues.jsonl; cues.md is made from
it. Identities are read to measure alone.
"""

import argparse
import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.real import BACKBONES, SETS, overrides, present
from reidlib.images.identities import known_identities, read_identities
from reidlib.images.split import open_training
from reidlib.labels.alignment import align_cameras, join_cues
from reidlib.retrieval.metrics import cosine_tiles, evaluate
from reidlib.tables import open_embeddings
from tests.repository import make_repository, run

RESULTS = Path(__file__).parent / "results"
RUNS = RESULTS / "cues.jsonl"
CUES = {
    "network": ("none", None),
    "network, centred": ("centre", None),
    "network, whitened": ("whiten", None),
    "colours, centred": ("centre", 0.0),
    "colours, whitened": ("whiten", 0.0),
    "both, centred": ("centre", 1.0),
    "both, whitened": ("whiten", 1.0),
}
HEAD = """What labels are made from, before any training (`python -m benchmarks.cues`): mAP / Rank-1 in percent of every
training image searching the training images of other cameras, by the ImageNet weights of EfficientNet-Lite0 and by
colours. The pictures are those of [real.md](real.md). The recipe aligned_cues clusters the last row."""


def measure(folder: Path) -> dict[str, list[float]]:
    """Return mAP and Rank-1 of each cue, in a repository whose stage `extract` has run."""
    data = folder / "data/market1501"
    split = open_training(data / "images/train", camera_labels=True)
    identities = known_identities(split.ids, read_identities(data / "identities.parquet"))
    network, colours = (
        open_embeddings(data / "features" / name, images=len(split)) for name in ("train.npy", "colours.npy")
    )
    found = {}
    for name, (alignment, weight) in CUES.items():
        first, second = (align_cameras(rows, split.cameras, alignment=alignment) for rows in (network, colours))
        rows = first if weight is None else second if weight == 0 else join_cues(first, second, weight=weight)
        precisions, first_right = [], []
        for camera in np.unique(split.cameras):
            here, there = split.cameras == camera, split.cameras != camera
            result = evaluate(
                cosine_tiles(rows[here], rows[there]),
                query_identities=identities[here],
                gallery_identities=identities[there],
                query_cameras=split.cameras[here],
                gallery_cameras=split.cameras[there],
            )
            precisions.append(result.average_precisions[~np.isnan(result.average_precisions)])
            first_right.append(result.cmc[0] * result.queries)
        count = sum(map(len, precisions))
        found[name] = [round(100 * sum(part) / count, 1) for part in (np.concatenate(precisions), first_right)]
    return found


def run_set(name: str, *, data: Path, weights: Path) -> dict[str, object]:
    """Unzip and extract a set in a repository of its own, and measure."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        job = {"set": name, "backbone": "efficientnet_lite0", "recipe": "aligned_cues", "seed": 1, "steps": 720}
        make_repository(folder, overrides(job))
        (folder / "data/market1501/raw").mkdir(parents=True, exist_ok=True)
        shutil.copy(data / SETS[name]["archive"], folder / "data/market1501/raw")
        shutil.copy(weights / str(BACKBONES["efficientnet_lite0"][1]), folder / "data/weights")
        run(folder, "dvc", "repro", "extract")
        return {"set": name, "date": datetime.now(UTC).isoformat(timespec="minutes"), **measure(folder)}


def table() -> str:
    """The last line of every set as Markdown."""
    lines = {line["set"]: line for line in map(json.loads, RUNS.read_text().splitlines())}
    names = [name for name in SETS if name in lines]
    rows = ["| cue | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for cue in CUES:
        rows.append(f"| {cue} | " + " | ".join("{:.1f} / {:.1f}".format(*lines[name][cue]) for name in names) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("data/weights"))
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    archives = {name: str(photographs["archive"]) for name, photographs in SETS.items()}
    for name in [] if arguments.table else present(arguments.only, archives, folder=arguments.data):
        line = run_set(name, data=arguments.data, weights=arguments.weights)
        with RUNS.open("a") as file:
            file.write(json.dumps(line) + "\n")
    (RESULTS / "cues.md").write_text(f"{HEAD}\n\n{table()}\n")
    print(table())


if __name__ == "__main__":
    main()
