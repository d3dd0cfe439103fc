"""What tracklets, times and a person's answers bring: `python -m benchmarks.assisted`.

    python -m benchmarks.assisted --labels [--only synthetic pku] [--seeds 1 2 3]      # of labels alone, minutes
    python -m benchmarks.assisted --train [--only …] [--seeds …] [--arms plain …] [--steps 720]
    python -m benchmarks.assisted --table

Tracklets: the images of one person on one camera, split in two or three at random. Times: everybody comes once to each
camera, at a random moment, three people at a time on the average; a tracklet follows the other. Answers are those that
identities give, to the pairs that `reidlib.labels.questions` proposes from the embeddings of the arm `times`, in rounds
of ten (`chosen`), or to pairs of images of two cameras drawn at random among those that nothing is known of (`random`).

`--labels` measures the clusters themselves against identities, after each number of answers, without training: of the
initial embeddings, and of the trained ones where `--train` has left any. `--train` runs the pipeline, once for an arm:
plain (no tracklets), tracklets, times, chosen_50 … random_200, and bound (the identities as labels). Photographs are
those of `benchmarks.real`, its values and its weights. A line per measurement is appended to
benchmarks/results/assisted.jsonl as it ends and is not measured again; the pipeline's folders stay in `--folder`, so
that a run goes on where it was stopped. assisted.md is made from that file.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks import real
from reidlib.images.identities import known_identities, read_identities
from reidlib.images.split import Split, read_rows, write_rows
from reidlib.labels.global_labelling import global_labelling
from reidlib.labels.links import Answered, known_constraints, write_links
from reidlib.labels.quality import label_quality
from reidlib.labels.questions import Pair, best_merges, propose, question_graphs
from tests.repository import environment, make_repository, run

RESULTS = Path(__file__).parent / "results"
RUNS = RESULTS / "assisted.jsonl"
BUDGETS = (50, 100, 200)
CHOICES = ("chosen", "random")
ARMS = ("plain", "tracklets", "times", *(f"{choice}_{budget}" for budget in BUDGETS for choice in CHOICES), "bound")
MEASURES = ("pairwise_precision", "pairwise_recall", "pairwise_f", "bcubed_f", "clusters")
HEAD = """What tracklets, times and a person's answers bring (`python -m benchmarks.assisted`, which says how they are
simulated), means ± standard deviations over the seeds, in percent but for the number of clusters. pku: as in real.md,
never part of this repository."""
VISIT_SECONDS, AT_ONCE = 10.0, 3


def with_tracklets(rows: pd.DataFrame, identities: np.ndarray, *, seed: int) -> pd.DataFrame:
    """Return a split's table with tracklets and times drawn; people that are not known have none."""
    generator = np.random.default_rng(seed)
    table = rows.assign(tracklet=np.int32(-1), sequence=np.int32(-1), time_seconds=np.nan)
    people = np.unique(identities[identities > 0])
    number = 0
    for camera in np.unique(rows["camera"]):
        for person in people:
            images = np.flatnonzero((rows["camera"] == camera) & (identities == person))
            start = generator.uniform(0, VISIT_SECONDS * len(people) / AT_ONCE)
            images = generator.permutation(images)
            moments = start + np.linspace(0, VISIT_SECONDS, len(images))
            parts = np.array_split(np.arange(len(images)), generator.integers(2, 4))
            for part in (part for part in parts if len(part)):
                table.loc[images[part], "tracklet"] = np.int32(number)
                table.loc[images[part], "time_seconds"] = moments[part]
                number += 1
    return table


def answers(
    folder: Path, embeddings: np.ndarray, split: Split, identities: np.ndarray, *, choice: str, seed: int
) -> list[tuple[Pair, dict[str, float]]]:
    """Return the pairs asked, one after the other, and the quality of the clusters before each, and after the last."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    colours = np.load(folder / f"data/{params['dataset']['name']}/features/colours.npy")
    graphs = question_graphs(embeddings, colours, split.cameras, labelling=global_labelling(params))
    generator, asked, todo, told = np.random.default_rng(seed), [], [], []
    for step in range(max(BUDGETS) + 1):
        if not todo or step in BUDGETS:
            answered = [_answered(pair, identities) for pair in asked]
            known = known_constraints(split, known="tracklets_and_times", answered=answered)
            merges = best_merges(graphs, known)
            quality = label_quality(merges.labels, identities)
        if not todo:
            todo = propose(merges, split.cameras, asked=asked) if choice == "chosen" else []
            todo = todo or _drawn(split.cameras, known, asked, generator)
        told.append((todo[0], {name: round(quality[name], 4) for name in MEASURES}))
        asked.append(todo.pop(0))
    return told


def _answered(pair: Pair, identities: np.ndarray) -> Answered:
    return Answered(*pair, "same" if identities[pair[0]] == identities[pair[1]] else "different", 0)


def _drawn(cameras: np.ndarray, known: Any, asked: list[Pair], generator: np.random.Generator) -> list[Pair]:
    """Return ten pairs of images of two cameras of which nothing follows from what is known."""
    apart = {tuple(pair) for pair in known.apart.tolist()}
    pairs: list[Pair] = []
    while len(pairs) < 10:
        first, second = sorted(map(int, generator.integers(0, len(cameras), 2)))
        groups = tuple(sorted(known.groups[[first, second]].tolist()))
        fresh = groups[0] != groups[1] and groups not in apart and (first, second) not in {*asked, *pairs}
        if cameras[first] != cameras[second] and fresh:
            pairs.append((first, second))
    return pairs


class Folder:
    """A set's repository for a seed: unzipped, its training images given tracklets and times."""

    def __init__(self, arguments: argparse.Namespace, name: str, seed: int) -> None:
        """Make it, unless it is there."""
        self.name, self.seed, self.steps = name, seed, arguments.steps
        self.dataset = "synthetic" if name == "synthetic" else "market1501"
        self.path = arguments.folder / f"{name}_{seed}"
        self.data = self.path / "data" / self.dataset
        if not (self.data / "ready").is_file():
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            make_repository(self.path, self.values("plain"))
            if name != "synthetic":
                (self.data / "raw").mkdir(parents=True, exist_ok=True)
                shutil.copy(arguments.data / real.SETS[name]["archive"], self.data / "raw")
                shutil.copy(arguments.weights / "efficientnet_lite0.pth", self.path / "data/weights")
            run(self.path, "dvc", "repro", "unzip")
            rows = read_rows(self.data / "images/train")
            (self.data / "images/train/rows.parquet").unlink()  # a link into DVC's cache
            write_rows(self.data / "images/train", with_tracklets(rows, self.identities(rows), seed=seed))
            run(self.path, "dvc", "commit", "--force", "unzip")
            (self.data / "ready").touch()

    def identities(self, rows: pd.DataFrame) -> np.ndarray:
        """Return who is in each image."""
        return known_identities(rows["image"], read_identities(self.data / "identities.parquet"))

    def values(self, arm: str) -> list[str]:
        """Return what `reidlib compose` is told for an arm."""
        recipe = "assisted_cues" if "_" in arm else "aligned_cues"
        job = {"set": self.name, "backbone": "efficientnet_lite0", "recipe": recipe, "seed": self.seed}
        values = [f"recipe={recipe}", f"seed={self.seed}"]
        if self.name != "synthetic":
            values = real.overrides({**job, "steps": self.steps})
        if arm == "bound":
            bound = ["name=aligned_cues_supervised", "supervision=identities.parquet"]
            return [*values, *bound, "clustering@refine.method=identities"]
        known = {"plain": "none", "tracklets": "tracklets"}.get(arm, "tracklets_and_times")
        return [*values, f"refine.constraints={known}"]

    def reproduce(self, arm: str, *targets: str) -> None:
        """Run the pipeline, or as far as the targets, for an arm; DVC has in its cache what was run before."""
        run(self.path, sys.executable, "-m", "reidlib", "compose", *self.values(arm))
        done = subprocess.run(["dvc", "repro", *targets], cwd=self.path, capture_output=True, text=True, check=False,
                              env=environment() | {"OMP_NUM_THREADS": "1"})  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{self.path}, {arm}: {real._message(done.stdout + done.stderr)}")

    def asked(self, source: str, choice: str) -> list[tuple[Pair, dict[str, float]]]:
        """Return the simulated questions by initial embeddings, or by those that the arm `times` trained."""
        rows = read_rows(self.data / "images/train")
        split = Split(np.zeros((len(rows), 1, 1, 3), np.uint8), rows)
        file = "features/train.npy" if source == "initial" else "embeddings/train/inter.npy"
        return answers(
            self.path, np.load(self.data / file), split, self.identities(rows), choice=choice, seed=self.seed
        )

    def train(self, arm: str) -> dict[str, Any]:
        """Return the figures of an arm; answers are given to questions of the arm `times`."""
        if "_" in arm:
            self.reproduce("times", "evaluate")
            choice, budget = arm.split("_")
            ids, people = (rows := read_rows(self.data / "images/train"))["image"], self.identities(rows)
            pairs = [pair for pair, _ in self.asked("trained", choice)][: int(budget)]
            write_links(self.data / "links.csv", [
                (ids[a], ids[b], "same" if people[a] == people[b] else "different") for a, b in pairs
            ])  # fmt: skip
        self.reproduce(arm, "evaluate")
        found = json.loads((self.path / "metrics/evaluate.json").read_text())
        return {name: round(found[name], 4) for name in ("initial_mAP", "inter_mAP", "inter_rank1")}


def read_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.is_file() else []


def is_there(job: Mapping[str, Any]) -> bool:
    return any(job.items() <= line.items() for line in read_lines())


def append(line: Mapping[str, Any]) -> None:
    with RUNS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(*line.values(), flush=True)


def measure_labels(folder: Folder) -> None:
    trained = is_there({"set": folder.name, "seed": folder.seed, "arm": "times"})
    folder.reproduce("times", *([] if trained else ["extract"]))
    sources = ["initial", *(["trained"] if trained else [])]
    for source in sources:
        for choice in CHOICES:
            job = {"measure": "labels", "set": folder.name, "seed": folder.seed, "from": source, "choice": choice}
            if not is_there(job):
                told = folder.asked(source, choice)
                for budget in (0, *BUDGETS):
                    append(job | {"answers": budget} | told[budget][1])


def table() -> str:
    """Return both tables as Markdown."""
    lines = pd.DataFrame(read_lines()).reindex(columns=[
        "measure", "set", "from", "choice", "answers", "arm", "steps", *MEASURES, "inter_mAP", "inter_rank1"
    ])  # fmt: skip
    parts = []
    for measure, keys, columns in (
        ("labels", ["set", "from", "choice", "answers"], MEASURES),
        ("training", ["set", "steps", "arm"], ("inter_mAP", "inter_rank1")),
    ):
        rows = lines[lines["measure"] == measure]
        parts += ["| " + " | ".join([*keys, "seeds", *columns]) + " |", "|---" * (len(keys) + 1 + len(columns)) + "|"]
        for key, group in rows.groupby(keys, sort=False, dropna=False):
            cells = [f"{100 * group[c].mean() if measure == 'labels' and c != 'clusters' else group[c].mean():.1f}"
                     + (f" ± {(100 if measure == 'labels' and c != 'clusters' else 1) * group[c].std():.1f}"
                        if len(group) > 1 else "") for c in columns]  # fmt: skip
            parts.append("| " + " | ".join([*map(str, key), str(len(group)), *cells]) + " |")
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", nargs="+", choices=["synthetic", "pku"], default=["synthetic", "pku"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--steps", type=int, default=720)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("data/weights"))
    parser.add_argument("--folder", type=Path, default=Path(".scratch/assisted"))
    arguments = parser.parse_args()
    for seed in arguments.seeds if arguments.labels or arguments.train else []:
        for name in arguments.only:
            folder = Folder(arguments, name, seed)
            for arm in arguments.arms if arguments.train else []:
                job = {"measure": "training", "set": name, "seed": seed, "arm": arm}
                job["steps"] = arguments.steps if name != "synthetic" else 1020
                if not is_there(job):
                    append(job | folder.train(arm))
            if arguments.labels:
                measure_labels(folder)
    (RESULTS / "assisted.md").write_text(f"{HEAD}\n\n{table()}\n")
    sys.stdout.write(table() + "\n")


if __name__ == "__main__":
    main()
