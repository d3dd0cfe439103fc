"""Every recipe on the synthetic set, and sweeps of two, through real `dvc exp run`: `python -m benchmarks.recipes`.

    python -m benchmarks.recipes [--only cluster_contrast gam ...] [--sweeps] [--workers 2]

Each worker has a repository of its own (a copy of today's sources), one thread of the processors, and takes one
experiment after the other. A line per experiment is appended to benchmarks/results/recipes.jsonl as it ends; recipes.md
(means and standard deviations over seeds) and, with `--sweeps`, their chart are made from that file (`--table` alone
runs nothing).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from threading import Lock
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tests.repository import environment, make_repository

RESULTS = Path(__file__).parent / "results"
RECIPES = sorted(path.stem for path in (Path(__file__).parent.parent / "conf/recipe").glob("*.yaml"))
RECIPES.remove("assisted_cues")  # which wants a person's answers: benchmarks.assisted
SEVERAL = ("icsr", "cluster_contrast", "multi_queue", "iids", "gam")  # these with three seeds, the others with one
HEAD = """Every recipe on the synthetic set (`python -m benchmarks.recipes`): demo-sized, a small network from random
weights; the last line of recipes.jsonl for each recipe and seed, with its date and load. mAP, Rank-1, mINP and label F
(pairwise) in percent, ± the standard deviation over seeds where there are several. One thread each, often beside other
work, so that minutes (of a `dvc exp run evaluate`) and images/s (the median epoch) compare recipes badly."""
QUEUE = "train_inter.loss.queue_memory"
SWEEPS = {  # recipe, and what is set for each value; nothing where it is the recipe's own
    "length": ("multi_queue", {n: [] if n == 16 else [f"{QUEUE}.length={n}"] for n in (2, 4, 8, 16, 32)}),
    "temperature": (
        "multi_queue",
        {
            "0.03": [f"{QUEUE}.temperature=0.03"],
            "0.05": [],
            "0.1": [f"{QUEUE}.temperature=0.1"],
            "trained": [f"{QUEUE}.trainable_temperature=true"],
        },
    ),
    "nodes": ("icsr", {"none": ["refine.nodes=none"], "one": [], "all": ["refine.nodes=all"]}),
}
COLUMNS = [
    "initial_mAP",
    "intra_mAP",
    "inter_mAP",
    "inter_rank1",
    "inter_mINP",
    "label_f",
    "minutes",
    "images_per_second",
]


def jobs(names: list[str], *, sweeps: bool) -> list[dict]:
    """What is to be run: name, overrides and seed of each experiment."""
    if sweeps:
        return [
            {"name": f"{sweep}: {value}", "overrides": [f"recipe={recipe}", *changes], "seed": 1}
            for sweep, (recipe, arms) in SWEEPS.items()
            for value, changes in arms.items()
            if changes
        ]
    return [{"name": name, "overrides": [f"recipe={name}"], "seed": seed}
            for seed in (1, 2, 3) for name in names if seed == 1 or name in SEVERAL]  # fmt: skip


def experiment(folder: Path, job: dict) -> dict:
    """Run one experiment in a repository and return what it measured."""
    settings = [word for override in [*job["overrides"], f"seed={job['seed']}"] for word in ("-S", override)]
    began = perf_counter()
    done = subprocess.run(
        ["dvc", "exp", "run", "evaluate", *settings], cwd=folder, env=environment() | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    minutes = (perf_counter() - began) / 60
    if done.returncode:
        return job | {"error": (done.stdout + done.stderr)[-1500:]}
    metrics = json.loads((folder / "metrics/evaluate.json").read_text())
    quality = pd.read_csv(folder / "metrics/evaluate/label_quality_inter.csv")
    speeds = [float(speed.replace(",", "")) for speed in re.findall(r"([\d,]+) images/s", done.stdout)]
    return job | metrics | {
        "label_f": 100 * float(quality[quality["camera"] == -1]["pairwise_f"].iloc[-1]), "minutes": minutes,
        "images_per_second": float(np.median(speeds)) if speeds else None,
        "date": datetime.now(UTC).date().isoformat(), "load": os.getloadavg()[0],
    }  # fmt: skip


def run_all(wanted: list[dict], *, workers: int) -> None:
    """Run the experiments, appending each result as it comes."""
    lock, queue = Lock(), Queue[dict]()
    for job in wanted:
        queue.put(job)

    def worker(number: int, folder: Path) -> None:
        make_repository(folder, [])
        while not queue.empty():
            found = experiment(folder, queue.get())
            with lock, (RESULTS / "recipes.jsonl").open("a") as file:
                file.write(json.dumps(found) + "\n")
            print(number, found["name"], found["seed"], found.get("error", found.get("inter_mAP")), flush=True)

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(workers) as pool:
        folders = [Path(scratch) / str(number) for number in range(workers)]
        for folder in folders:
            folder.mkdir()
        list(pool.map(worker, range(workers), folders))


def table() -> str:
    """The last result of every recipe and seed, as Markdown: means, and standard deviations where there are seeds."""
    rows = pd.read_json(RESULTS / "recipes.jsonl", lines=True)
    rows = rows[rows["name"].isin(RECIPES)].drop_duplicates(["name", "seed"], keep="last")
    lines = [
        "| recipe | seeds | initial mAP | intra mAP | final mAP | Rank-1 | mINP | label F | minutes | images/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in rows.groupby("name"):
        cells = []
        for column in COLUMNS:
            values = runs[column].dropna() if column in runs else runs["seed"][:0]
            spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():,.1f}{spread}" if len(values) else "-")
        lines.append(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_sweeps(path: Path) -> None:
    """Final mAP over the values of each sweep, side by side."""
    rows = pd.read_json(RESULTS / "recipes.jsonl", lines=True).drop_duplicates(["name", "seed"], keep="last")
    figure, axes = plt.subplots(1, len(SWEEPS), figsize=(12, 3.4), sharey=True, layout="constrained")
    for axis, (sweep, (recipe, arms)) in zip(axes, SWEEPS.items(), strict=True):
        names = {str(value): f"{sweep}: {value}" if changes else recipe for value, changes in arms.items()}
        found = {value: rows[(rows["name"] == name) & (rows["seed"] == 1)] for value, name in names.items()}
        measured = {value: one["inter_mAP"].iloc[0] for value, one in found.items() if len(one)}
        values = list(measured.values())
        axis.plot(list(measured), values, "o-", color="#1b6ca8")
        for place, value in enumerate(values):
            axis.annotate(f"{value:.1f}", (place, value), xytext=(0, 7), textcoords="offset points", ha="center")
        axis.set(xlabel=f"{recipe}: {sweep}")
        axis.grid(alpha=0.3)
        axis.margins(y=0.25)
    axes[0].set_ylabel("mAP (%)")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--sweeps", action="store_true")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.table:
        run_all(jobs(arguments.only, sweeps=arguments.sweeps), workers=arguments.workers)
    (RESULTS / "recipes.md").write_text(f"{HEAD}\n\n{table()}\n")
    if arguments.sweeps:
        draw_sweeps(RESULTS / "recipes_sweeps.png")
    sys.stdout.write(table() + "\n")


if __name__ == "__main__":
    main()
