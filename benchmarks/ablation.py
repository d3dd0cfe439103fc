"""What each part of the default recipe brings on the synthetic set, over seeds: `python -m benchmarks.ablation`.

Every arm runs the stages of the pipeline, by the commands of dvc.yaml, in a scratch folder with its own params.yaml;
the arms of one seed share the stages before the first one that differs. `supervised` trains the same network by the
same loop on the identities: the upper bound of any pseudo-labels. Writes benchmarks/results/ablation.jsonl (a line
per arm and seed) and ablation.md (means and standard deviations).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import pandas as pd
import yaml

from reidlib.compose import composed
from reidlib.evaluation import known_identities, retrieval_report
from reidlib.features import embed_together, initial_embeddings
from reidlib.images.packing import open_split
from reidlib.images.table import read_identities, read_index
from reidlib.images.training import read_training
from reidlib.images.variation import Augmentation
from reidlib.labels.numbering import number_clusters
from reidlib.models.embedder import load_embedder
from reidlib.params import parse
from reidlib.training.loop import EpochLabels, Settings, train

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
ARMS = {  # name: what differs from the default, and the first stage that notices
    "default: shared network, refined by all nodes": ([], "synthesize"),
    "refined by one node per cluster": (["refine.nodes=one"], "refine"),
    "no refinement": (["refine.nodes=none"], "refine"),
    "train_inter from the initial weights": (["train_inter.start_from=initial"], "refine"),
    "per_camera networks, train_inter from the initial weights": (
        ["train_intra.sharing=per_camera", "train_inter.start_from=initial"],
        "train_intra",
    ),
}
COLUMNS = ["initial_mAP", "intra_mAP", "inter_mAP", "inter_rank1", "inter_mINP", "label_f", "minutes"]


def commands(values: dict) -> dict[str, list[str]]:
    """The command of each stage, in order, as dvc.yaml spells it."""
    stages = yaml.safe_load((ROOT / "data/synthetic/dvc.yaml").read_text())["stages"]
    stages |= yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return {
        name: stage["cmd"].replace("${dataset.name}", values["dataset"]["name"]).split()
        for name, stage in stages.items()
    }


def run_arm(folder: Path, overrides: list[str], *, first: str) -> float:
    """Run the stages from `first` on in `folder`; return the minutes they took."""
    values = composed(overrides)
    parse(values)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "data" / "weights").mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    stages = commands(values)
    for name in list(stages)[list(stages).index(first) :]:
        subprocess.run(  # what runs is dvc.yaml's own command
            [sys.executable, *stages[name][1:]],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return (perf_counter() - began) / 60


def measured(folder: Path, *, minutes: float) -> dict[str, float]:
    """What the arm's evaluation says."""
    values = json.loads((folder / "metrics/evaluate.json").read_text())
    quality = pd.read_csv(folder / "metrics/evaluate/label_quality_inter.csv")
    return values | {"label_f": 100 * float(quality["pairwise_f"].iloc[-1]), "minutes": minutes}


def supervised(folder: Path, *, seed: int) -> dict[str, float]:
    """Train on the identities with the loop, network and number of steps of both training stages together."""
    began, params, images = perf_counter(), parse(composed([f"seed={seed}"])), folder / "data/synthetic/images"
    index = read_index(images)
    who, (ids, cameras) = (
        read_identities(folder / "data/synthetic/identities.parquet", index),
        read_training(images, camera_labels=True),
    )
    crops = {split: open_split(images, split) for split in ("train", "query", "gallery")}
    labels = number_clusters(known_identities(ids, who))
    epochs = params.train_intra.epochs + params.train_inter.epochs
    loop = params.train_inter.loop_values() | {"epochs": epochs, "decay_every": round(0.75 * epochs)}
    augmentation = Augmentation(**params.augment.values())
    settings = Settings(**loop, within_cameras=False, augmentation=augmentation, seed=seed)
    model = load_embedder(folder / "data/synthetic/features/model.safetensors")
    train(model, crops["train"], cameras, label=lambda *_: EpochLabels(labels, {}), settings=settings)
    embedded = {"inter": {split: embed_together([model], crops[split]) for split in ("query", "gallery")}}
    report = retrieval_report(index, who, embedded, reranking=None, ranked_queries=1)
    return report.values() | {"label_f": 100.0, "minutes": (perf_counter() - began) / 60}


def descriptors(folder: Path) -> dict[str, float]:
    """Initial mAP of each descriptor, without any training, in percent."""
    images = folder / "data/synthetic/images"
    index = read_index(images)
    who = read_identities(folder / "data/synthetic/identities.parquet", index)
    model = load_embedder(folder / "data/synthetic/features/model.safetensors")
    embedded = {
        name: {
            split: initial_embeddings(model, open_split(images, split), descriptor=name, batch_size=256)
            for split in ("query", "gallery")
        }
        for name in ("network", "colour_stripes", "balanced_stripes")
    }
    report = retrieval_report(index, who, embedded, reranking=None, ranked_queries=1).values()
    return {f"{name}_mAP": report[f"{name}_mAP"] for name in embedded}


def table(lines: list[dict]) -> str:
    """Means and standard deviations (over seeds, n - 1) as a Markdown table."""
    frame = pd.DataFrame([line for line in lines if line["arm"] != "descriptors"])
    rows = ["| arm | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for arm, part in frame.groupby("arm", sort=False):
        cells = [
            "-" if part[column].isna().all() else f"{part[column].mean():.1f} ± {part[column].std():.1f}"
            for column in COLUMNS
        ]
        rows.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=[*ARMS, "supervised"], help="names, or the start of names")
    options = parser.parse_args()
    lines: list[dict] = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            base = Path(scratch) / f"seed{seed}"
            for number, (arm, (overrides, first)) in enumerate(ARMS.items()):
                if number and not arm.startswith(tuple(options.arms)):
                    continue
                folder = base / str(number)
                if number:
                    shutil.copytree(base / "0", folder)
                minutes = run_arm(folder, [*overrides, f"seed={seed}"], first=first)
                lines.append({"arm": arm, "seed": seed, **measured(folder, minutes=minutes)})
                print(json.dumps({key: lines[-1][key] for key in ("arm", "seed", *COLUMNS)}), flush=True)
            if "supervised" in options.arms:
                lines.append({"arm": "supervised", "seed": seed, **supervised(base / "0", seed=seed)})
                print(json.dumps(lines[-1]), flush=True)
            lines.append({"arm": "descriptors", "seed": seed, **descriptors(base / "0")})
            print(json.dumps(lines[-1]), flush=True)
            (RESULTS / "ablation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (RESULTS / "ablation.md").write_text(table(lines))


if __name__ == "__main__":
    main()
