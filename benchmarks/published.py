"""What recipes give on photographs with one thing otherwise at a time: those of published systems, and the default.

    python -m benchmarks.published --data ../shared/data --weights FOLDER [--only pku] [--backbones efficientnet_lite0]
        [--recipes icsr calr multi_queue cluster_contrast] [--arms published nodes_all …] [--seeds 1 2 3]
        [--steps 720] [--out FOLDER] [--workers N] [--until SECONDS] [--table]

Sets, weights, steps, measures and further options are those of `benchmarks.real`, which tells of them. Each recipe runs
as it is (unless `benchmarks.real` has run it), and with one thing otherwise at a time (`ARMS`). A line per run is
appended to benchmarks/results/published.jsonl as it ends; a run that has a line there is not run again. published.md is
made from both files (`--table` does only this).
"""

import argparse
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks import real
from benchmarks.real import values_of

RUNS, PAGE = "published.jsonl", "published.md"
KEY = ["set", "backbone", "recipe", "arm", "seed", "steps"]  # what makes a run


class Arm(NamedTuple):
    """One thing that is otherwise: what, and the overrides that make it so."""

    what: str
    values: list[str]


MIRROR = ("extract.flip", "train_inter.label_flip", "embed.flip")
MEMORY = "memory@train_inter.loss="
LINKAGE = "clustering@refine.method=linkage_icsr"
ADVERSARY_ON = "train_inter.loss.camera_adversary.until_epoch=null"
ADVERSARY_OFF = "train_inter.loss.camera_adversary=null"
PUBLISHED = Arm("as published", [])
# Published rates fall at epochs 20 and 40 of 50, here after the same shares; in a short run of their code, never.
LEVEL = Arm("the rate does not fall", ["train_intra.decay_at=[]", "train_inter.decay_at=[]"])
ARMS: Mapping[str, Mapping[str, Arm]] = {
    "aligned_cues": {
        "published": Arm("as it is", []),
        "colours_off": Arm("labels of the network alone", ["refine.colour_weight=0.0"]),
        "centred": Arm("cameras centred, not whitened", ["refine.camera_alignment=centre"]),
        "unaligned": Arm("cameras not aligned", ["refine.camera_alignment=none"]),
        "camera_blind": Arm("neighbours whatever their camera", ["refine.camera_aware=null"]),
        "mirror_off": Arm("without the mirror images'", [f"{key}=false" for key in MIRROR]),
        "jitter_off": Arm("without gain and offset", ["augment.gain=0.0", "augment.offset=0.0"]),
        "repeats": Arm("small clusters repeat their images", ["train_inter.repeat_images=true"]),
        "cluster_memory": Arm("the loss of Cluster Contrast", [MEMORY + "cluster_memory"]),
        "cluster_memory_hard": Arm("the same, by the hardest image", [MEMORY + "cluster_memory_hard"]),
        "as_before": Arm(
            "the loss of Cluster Contrast, and small clusters repeat their images",
            [MEMORY + "cluster_memory", "train_inter.repeat_images=true"],
        ),
        "online": Arm(
            "proxies associated online too (O2CAP)",
            ["+train_inter.loss.camera_proxies.online=true", "train_inter.loss.camera_proxies.cross_weight=1.0"],
        ),
        "temperature_05": Arm("temperature .05", ["train_inter.loss.camera_proxies.temperature=0.05"]),
        "mean_off": Arm("the weights themselves", ["train_inter.ema=null"]),
        "published_rate": Arm("rate .00035", ["train_inter.learning_rate=0.00035"]),
        "rate_0005": Arm("rate .000508", ["train_inter.learning_rate=0.000508"]),
        "rate_0015": Arm("rate .0015", ["train_inter.learning_rate=0.0015"]),
    },
    "supervised": {"published": PUBLISHED, "level": LEVEL},
    "cluster_contrast": {
        "published": PUBLISHED,
        "level": LEVEL,
        "bilinear": Arm("bilinear resize", ["unzip.interpolation=bilinear"]),
        "gem_fixed": Arm("GeM's exponent fixed at 3", ["model.pooling=gem"]),
        "erase_torchvision": Arm("erased boxes as torchvision's", ["augment.erase_like=torchvision"]),
        "mirror": Arm("averaged with the mirror images'", [f"{key}=true" for key in MIRROR]),
        "before_neck": Arm("features before the neck", ["model.embedding=before_neck"]),
    },
    "icsr": {
        "published": PUBLISHED,
        "level": LEVEL,
        "nodes_all": Arm("all information nodes act", ["refine.nodes=all"]),
        "nodes_none": Arm("no refinement", ["refine.nodes=none"]),
        "dbscan": Arm("DBSCAN across cameras", ["clustering@refine.method=dbscan"]),
        "shared": Arm(
            "one network, which goes on across cameras",
            ["train_intra.sharing=shared", "train_inter.start_from=intra"],
        ),
        "singletons_out": Arm("single images inside cameras are outliers", ["clustering@cluster.method=linkage"]),
        "norm_whole": Arm("batch norm over the whole batch", ["model.batch_norm_group=64"]),
        "as_before": Arm(
            "all six at once, as this recipe was before",
            [
                "refine.nodes=all",
                "clustering@refine.method=dbscan",
                "train_intra.sharing=shared",
                "train_inter.start_from=intra",
                "clustering@cluster.method=linkage",
                "model.batch_norm_group=64",
            ],
        ),
    },
    "calr": {
        "published": PUBLISHED,
        "adversary_on": Arm("the adversary goes on to the end", [ADVERSARY_ON]),
        "adversary_off": Arm("no adversary", [ADVERSARY_OFF]),
        "softmax_once": Arm("one softmax", ["train_inter.loss.camera_adversary.repeated_softmax=false"]),
        "weights_off": Arm("clusters count alike", [MEMORY + "cluster_memory"]),
        "linkage": Arm("average linkage across cameras, as ICSR", [LINKAGE]),
        "linkage_adversary_on": Arm("the same, and the adversary goes on to the end", [LINKAGE, ADVERSARY_ON]),
        "linkage_adversary_off": Arm("the same, and no adversary", [LINKAGE, ADVERSARY_OFF]),
    },
    "iids": {
        "published": PUBLISHED,
        "after_neck": Arm("features after the neck", ["model.embedding=after_neck"]),
        "labels_each_epoch": Arm(
            "labels at every epoch, classifiers go on",
            ["train_inter.alternate.labels=epoch", "train_inter.alternate.renew=false"],
        ),
        "mirror_off": Arm(
            "without the mirror images'", [f"{key}=false" for key in (*MIRROR, "train_intra.label_flip")]
        ),
        "mean_over_images": Arm(
            "the loss inside cameras a mean over images",
            ["train_intra.loss.camera_classifiers.over_cameras=mean"],
        ),
        "norm_whole": Arm("batch norm over all cameras' images", ["train_intra.batch_norm_group=null"]),
    },
    "multi_queue": {
        "published": PUBLISHED,
        "level": LEVEL,
        "slots_blended": Arm("slots blended, .15", ["train_inter.loss.queue_memory.slot_momentum=0.15"]),
        "temperature_05": Arm("temperature .05", ["train_inter.loss.queue_memory.temperature=0.05"]),
        "unit_start": Arm("rings begin with means of norm 1", ["train_inter.loss.queue_memory.unit_start=true"]),
    },
}
HEAD = """The default and the published systems' recipes on photographs (`python -m benchmarks.published`), with one thing otherwise at a time.
Sets, weights, steps and measures are those of [real.md](real.md); made from the last line of published.jsonl, or else of real.jsonl,
for each run. mAP, Rank-1 and shares in percent, ± the standard deviation over runs where there are several; "against" is the mean
difference of the final mAP to the recipe as it is, over the seeds that both have on one device, ± its standard deviation. One backbone for both
stages of ICSR (there is no IBN here), batches of 32."""  # noqa: E501


def read_runs(folder: Path = real.RESULTS) -> list[dict[str, Any]]:
    """Return the last line of every run on a device; what ran as it is may stand in the file of `benchmarks.real`."""
    plain = [line | {"arm": "published"} for line in real.read_runs(folder) if line["recipe"] in ARMS]
    return list(
        {values_of(line, [*KEY, "device"]): line for line in [*plain, *real.read_lines(folder / RUNS)]}.values()
    )


def wanted(arguments: argparse.Namespace, *, name: str) -> list[dict[str, Any]]:
    """Return the runs of a set that are wanted and not in the file yet, seed by seed."""
    there = {values_of(line, KEY) for line in read_runs(arguments.out)}
    jobs = []
    for backbone, seed, recipe in product(arguments.backbones, arguments.seeds, arguments.recipes):
        for arm, (_, values) in ARMS[recipe].items():
            job = dict(zip(KEY, (name, backbone, recipe, arm, seed, arguments.steps), strict=True))
            if values_of(job, KEY) not in there and (arguments.arms is None or arm in arguments.arms):
                jobs.append(job | {"values": values})
    return jobs


def table(folder: Path = real.RESULTS) -> str:
    """The last line of every run as Markdown, with the difference of each arm to its recipe as published."""
    columns = {name: key for name, key in real.COLUMNS.items() if name not in ("share of the way", "minutes")}
    rows = pd.DataFrame(read_runs(folder)).reindex(columns=[*KEY, "device", *columns.values(), "error"])
    rows[list(real.PERCENT)] *= 100
    lines = ["| set | backbone | steps | recipe | what is otherwise | runs | " + " | ".join(columns) + " | against |"]
    lines.append("|---" * (7 + len(columns)) + "|")
    place = {(recipe, arm): number for number, (recipe, arm) in enumerate(_arms())}
    of_run = ["set", "backbone", "steps", "recipe", "seed", "device"]
    plain = rows[rows["arm"] == "published"].set_index(of_run)["inter_mAP"]
    groups = rows.groupby(["set", "backbone", "steps", "recipe", "arm"], sort=False)
    for group, runs in sorted(groups, key=lambda pair: (pair[0][:3], place[pair[0][3:]])):
        *where, recipe, arm = group
        cells = [real.mean_of(runs[column].dropna()) for column in columns.values()]
        paired = runs.set_index(of_run)["inter_mAP"] - plain
        against = "" if arm == "published" else _difference(paired.dropna())
        ended = len(runs["inter_mAP"].dropna())
        lines.append(
            "| " + " | ".join(map(str, [*where, recipe, ARMS[recipe][arm].what, ended, *cells, against])) + " |"
        )
    failed = rows.dropna(subset="error").to_dict("records")
    failures = [f"- {', '.join(map(str, values_of(row, KEY)))}: {row['error']}" for row in failed]
    return "\n".join(lines + (["", "Refused or failed:", "", *failures] if failures else []))


def _difference(paired: "pd.Series[float]") -> str:
    mean = real.mean_of(paired)
    return mean if mean.startswith(("-", "0.0")) else f"+{mean}"


def _arms() -> list[tuple[str, str]]:
    return [(recipe, arm) for recipe, arms in ARMS.items() for arm in arms]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(real.SETS), default=["pku"])
    parser.add_argument("--backbones", nargs="+", choices=list(real.BACKBONES), default=["efficientnet_lite0"])
    parser.add_argument("--recipes", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--arms", nargs="+", choices=sorted({arm for _, arm in _arms()}))
    arguments = real.options(parser)
    out = arguments.out
    if not arguments.table:
        jobs = [job for name in arguments.only for job in wanted(arguments, name=name)]
        for found in real.run_jobs(jobs, arguments):
            real.append(out / RUNS, found, KEY)
    if (out / RUNS).is_file():
        (out / PAGE).write_text(f"{HEAD}\n\n{table(out)}\n")
        sys.stdout.write(table(out) + "\n")


if __name__ == "__main__":
    main()
