"""What each part of the default recipe brings on the synthetic set, over seeds: `python -m benchmarks.ablation`.

Every arm runs the stages of the pipeline, by the commands of dvc.yaml, in a scratch folder with its own params.yaml;
the arms of one seed share the stages before the first one that differs. `supervised` is the recipe that trains on the
identities: the upper bound of any pseudo-labels. Appends to benchmarks/results/ablation.jsonl (a line
per arm and seed) and ablation.md (means and standard deviations).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import reduce
from pathlib import Path
from time import perf_counter

import pandas as pd
import yaml

from reidlib.compose import composed
from reidlib.evaluation import retrieval_report
from reidlib.features import initial_embeddings
from reidlib.images.packing import open_split
from reidlib.images.table import read_identities, read_index
from reidlib.models.embedder import load_embedder
from reidlib.params import parse

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
ARMS = {  # name: what differs from the default, and the first stage that notices
    "default: shared network, refined by all nodes": ([], "synthesize"),
    "the same in float32": (["compute.precision=fp32"], "train_intra"),
    "refined by one node per cluster": (["refine.nodes=one"], "refine"),
    "supervised: the identities as labels": (["recipe=supervised"], "cluster"),
    "no refinement": (["refine.nodes=none"], "refine"),
    "train_inter from the initial weights": (["train_inter.start_from=initial"], "refine"),
    "per_camera networks, train_inter from the initial weights": (
        ["train_intra.sharing=per_camera", "train_inter.start_from=initial"],
        "train_intra",
    ),
}
COLUMNS = ["initial_mAP", "intra_mAP", "inter_mAP", "inter_rank1", "inter_mINP", "label_f", "training_seconds"]
DESCRIPTORS = ["network_mAP", "colour_stripes_mAP", "balanced_stripes_mAP"]


def commands(values: dict) -> dict[str, list[str]]:
    """The command of each stage, in order, as dvc.yaml spells it."""
    stages = yaml.safe_load((ROOT / "data/synthetic/dvc.yaml").read_text())["stages"]
    stages |= yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

    def value(found: re.Match[str]) -> str:
        return str(reduce(lambda block, key: block[key], found[1].split("."), values))

    return {name: re.sub(r"\$\{([^}]+)\}", value, stage["cmd"]).split() for name, stage in stages.items()}


def run_arm(folder: Path, overrides: list[str], *, first: str) -> dict[str, float]:
    """Run the stages from `first` on in `folder`; return the seconds of the two that train, where both ran."""
    values = composed(overrides)
    parse(values)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "data" / "weights").mkdir(parents=True, exist_ok=True)
    stages = commands(values)
    taken: dict[str, float] = {}
    for name in list(stages)[list(stages).index(first) :]:
        began = perf_counter()
        subprocess.run(  # what runs is dvc.yaml's own command
            [sys.executable, *stages[name][1:]],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        taken[name] = perf_counter() - began
    both = {"train_intra", "train_inter"} <= set(taken)
    return {"training_seconds": taken["train_intra"] + taken["train_inter"]} if both else {}


def measured(folder: Path) -> dict[str, float]:
    """What the arm's evaluation says."""
    values = json.loads((folder / "metrics/evaluate.json").read_text())
    quality = pd.read_csv(folder / "metrics/evaluate/label_quality_inter.csv")
    return values | {"label_f": 100 * float(quality.loc[quality["camera"] < 0, "pairwise_f"].iloc[-1])}


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


def keep(line: dict) -> None:
    """Append a line to the results and draw the table anew."""
    path = RESULTS / "ablation.jsonl"
    shown = {name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()}
    shown = {name: shown[name] for name in ("arm", "seed", *COLUMNS, *DESCRIPTORS) if name in shown}
    shown["date"] = str(date.today())
    print(json.dumps(shown), flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(shown) + "\n")
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    (RESULTS / "ablation.md").write_text(table(lines), encoding="utf-8")


def spread(values: pd.Series) -> str:
    """Mean and standard deviation, or the one value."""
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values.iloc[0]:.1f} (one seed)"


def table(lines: list[dict]) -> str:
    """Means and standard deviations (over seeds, n - 1) as a Markdown table; of each arm what was measured last."""
    frame = pd.DataFrame([line for line in lines if line["arm"] != "descriptors"])
    rows = ["| arm | " + " | ".join(COLUMNS) + " | seeds | date |", "|---" * (len(COLUMNS) + 3) + "|"]
    for arm, measured_ever in frame.groupby("arm", sort=False):
        part = measured_ever[measured_ever["date"] == measured_ever["date"].max()]
        cells = ["-" if column not in part or part[column].isna().all() else spread(part[column]) for column in COLUMNS]
        rows.append(f"| {arm} | " + " | ".join(cells) + f" | {len(part)} | {part['date'].iloc[0]} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="names, or the start of names")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            base = Path(scratch) / f"seed{seed}"
            for number, (arm, (overrides, first)) in enumerate(ARMS.items()):
                if number and not arm.startswith(tuple(options.arms)):
                    continue
                folder = base / str(number)
                if number:
                    shutil.copytree(base / "0", folder)
                taken = run_arm(folder, [*overrides, f"seed={seed}"], first=first)
                keep({"arm": arm, "seed": seed, **measured(folder), **taken})
            keep({"arm": "descriptors", "seed": seed, **descriptors(base / "0")})


if __name__ == "__main__":
    main()
