"""Runs compared over seeds: ``reidlib compare --metrics inter_mAP inter_rank1 --csv comparison.csv``.

Runs are DVC's experiments and commits, or folders that hold params.yaml and metrics/. Those that differ in nothing but
``seed`` are one line: number of seeds, mean ± standard deviation (n - 1) of each metric.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from reidlib.commands.parsing import command_parser
from reidlib.files import atomic_file
from reidlib.report.measured import read_metrics

HELP = "compare runs over seeds: mean ± standard deviation"
LABEL_MEASURES = re.compile(r"([^.]+)_(clusters|outlier_share|silhouette|camera_span|images_per_cluster)")
EXAMPLE = "reidlib compare --metrics inter_mAP inter_rank1 --csv comparison.csv"
PIPELINE = "DVC is not installed, which knows the runs of the pipeline: pip install 'reidlib[pipeline]'"
SHOWN = 6  # differing parameters of a run in the table; --csv has all


@dataclass(frozen=True)
class Run:
    """What was set and what was measured."""

    where: str  # the experiment, commit or folder
    params: dict[str, Any]  # every value of params.yaml by its dotted name
    metrics: dict[str, float]  # those of `evaluate` by their names, those of other stages as stage.name


def dvc_runs(folder: Path, *, all_commits: bool = False) -> list[Run]:
    """The runs DVC has recorded: HEAD and its experiments, or those of all commits.

    Those without metrics (queued, failed) are left out, with a warning; the workspace always is, since its params.yaml
    may be newer than its metrics (``folder_runs`` reads it). `dvc.api.exp_show` makes the same call, but puts
    parameters, metrics and dependencies into one row of texts, where they are not told apart.

    Raises:
        ValueError: where DVC cannot tell its experiments.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ModuleNotFoundError as error:
        raise ValueError(f"{PIPELINE}; or name folders of runs: --runs FOLDER FOLDER") from error

    try:
        with Repo.open(str(folder)) as repo:
            commits = repo.experiments.show(all_commits=all_commits, hide_workspace=True)
    except DvcException as error:
        raise ValueError(f"{folder}: `dvc exp show` failed; run in the pipeline's repository: {error}") from error
    states = [state for commit in commits for state in (commit, *(tip.revs[0] for tip in commit.experiments or ()))]
    runs = [_run_of(state) for state in states]
    if unmeasured := ", ".join(run.where for run in runs if not run.metrics):
        reason = "without metrics/evaluate.json (not run, or not to the end)"
        warnings.warn(f"left out, {reason}: {unmeasured}", stacklevel=2)
    return [run for run in runs if run.metrics]


def folder_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs whose params.yaml and metrics/<stage>.json lie in these folders.

    Raises:
        ValueError: where one holds no params.yaml or no metrics.
    """
    runs = []
    for folder in folders:
        if not (folder / "params.yaml").is_file():
            raise ValueError(f"{folder}: expected params.yaml and metrics/ of a run, found no params.yaml")
        params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
        runs.append(_run(str(folder), params, read_metrics(folder / "metrics")))
    return runs


def compare_runs(runs: Sequence[Run], *, metrics: Sequence[str] = ()) -> pd.DataFrame:
    """One row per setting of the parameters (seed apart), the largest first metric first.

    Of runs with the same parameters and seed the first one counts, with a warning where the others measured otherwise.
    Without names, `metrics` are mAP, mINP and Rank-1 of the last model; where there is no mAP, what is known of its
    clusters without identities, or else all that was measured.

    Returns:
        name (parameter `name`, the recipe), differs (the parameters that differ between the runs of this name, and the
        data set), seeds (how many), and of each metric its mean, and its standard deviation as "<metric> sd" (NaN where
        one seed alone measured it).

    Raises:
        ValueError: no runs, or metrics that no run has.
    """
    if not runs:
        queue = "dvc exp run --queue -S seed=1,2,3 -S recipe=… && dvc queue start"
        raise ValueError(f"no run with metrics/evaluate.json found; queue some seeds: {queue}")
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    metrics = list(metrics) or _default_metrics(known)
    if unknown := sorted(set(metrics) - set(known)):
        raise ValueError(f"metrics: expected some of {', '.join(known)}; found {', '.join(unknown)}")
    kept: dict[tuple[str, str], Run] = {}
    for run in runs:
        setting = json.dumps(run.params | {"seed": None}, sort_keys=True)
        first = kept.setdefault((setting, str(run.params.get("seed"))), run)
        if first.metrics != run.metrics:
            otherwise = f"{first.where} has its parameters and seed, but measured something else"
            warnings.warn(f"{run.where} is left out: {otherwise}, so their code or data differ", stacklevel=2)
    measured = pd.DataFrame([run.metrics for run in kept.values()], columns=metrics, dtype="float64")
    groups = measured.groupby(pd.Index([setting for setting, _ in kept]), sort=False)
    table = groups.agg(["mean", "std"])
    table.columns = pd.Index([f"{metric}{suffix}" for metric in metrics for suffix in ("", " sd")])
    params = [json.loads(setting) for setting in table.index]
    table.insert(0, "name", [str(values.get("name", "")) for values in params])
    table.insert(1, "differs", _differences(params))
    table.insert(2, "seeds", groups.size())
    return table.sort_values([metrics[0], "name", "differs"], ascending=[False, True, True], ignore_index=True)


def comparison_table(comparison: pd.DataFrame) -> Table:
    """The comparison for a terminal: a line per setting, mean ± standard deviation."""
    table = Table(title="Runs over seeds, mean ± standard deviation", title_justify="left", title_style="bold")
    table.add_column("run", style="bold")
    table.add_column("differs in", overflow="fold")
    metrics = [name.removesuffix(" sd") for name in map(str, comparison.columns) if name.endswith(" sd")]
    for name in ("seeds", *metrics):
        table.add_column(name, justify="right")
    for row in comparison.to_dict("records"):
        lines = row["differs"].split("\n")
        if len(lines) > SHOWN:
            lines = [*lines[:SHOWN], f"… and {len(lines) - SHOWN} more"]
        cells = [_format(row[name], row[f"{name} sd"]) for name in metrics]
        table.add_row(row["name"], "\n".join(lines), str(row["seeds"]), *cells)
    return table


def _run_of(state: Any) -> Run:
    """A commit or experiment as DVC shows it; without metrics where it did not run to its end."""
    files = state.data.metrics.items() if state.data else ()
    stages = {Path(path).stem: file["data"] for path, file in files if file.get("data")}
    measured = "evaluate" in stages
    params = state.data.params["params.yaml"]["data"] if measured else {}
    return _run(state.name or state.rev[:7], params, stages if measured else {})


def _run(where: str, params: Mapping[str, Any], stages: Mapping[str, Mapping[str, float]]) -> Run:
    others = {stage: values for stage, values in stages.items() if stage != "evaluate"}
    metrics = {f"{stage}.{name}": value for stage, values in others.items() for name, value in values.items()}
    flat = {str(name): value for name, value in pd.json_normalize(dict(params)).to_dict("records")[0].items()}
    return Run(where, flat, {**stages.get("evaluate", {}), **metrics})


def _default_metrics(known: Sequence[str]) -> list[str]:
    models = {name: found[1] for name in known if (found := re.fullmatch(r"(.+)[_/](mAP|mINP|rank1)", name))}
    plain = [model for model in models.values() if not model.endswith(("reranked", "tracklets"))]
    if plain:
        return [name for name in models if models[name] == plain[-1]]
    labels = {name: found[1] for name in known if (found := LABEL_MEASURES.fullmatch(name))}
    return [name for name in labels if labels[name] == list(labels.values())[-1]] or list(known)


def _differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What sets each setting apart from the others of its name, a line per parameter; the data set from all others."""
    texts = [{name: json.dumps(value) for name, value in setting.items() if name != "seed"} for setting in settings]
    differences = []
    for text in texts:
        same_name = [other for other in texts if other.get("name") == text.get("name")]
        differing = [name for name in text if any(other.get(name) != text[name] for other in same_name)]
        if any(other.get("dataset.name") != text.get("dataset.name") for other in texts):
            differing = ["dataset.name", *(name for name in differing if name != "dataset.name")]
        differences.append("\n".join(f"{name}={text.get(name)}" for name in differing))
    return differences


def _format(mean: float, deviation: float) -> str:
    if pd.isna(mean):
        return ""
    digits = 2 if abs(mean) >= 1 else 4
    return f"{mean:.{digits}f}" + ("" if pd.isna(deviation) else f" ± {deviation:.{digits}f}")


def main(arguments: Sequence[str]) -> None:
    """Print the comparison, and write it where that is asked for."""
    parser = command_parser("compare", HELP, EXAMPLE)
    parser.add_argument("--metrics", nargs="+", default=[], help="names in metrics/evaluate.json, or stage.name")
    parser.add_argument("--runs", nargs="+", type=Path, help="folders with params.yaml and metrics/, not DVC's runs")
    parser.add_argument("--all-commits", action="store_true", help="the runs of all commits, not of HEAD alone")
    parser.add_argument("--csv", type=Path, help="write the comparison to this file too")
    chosen = parser.parse_args(arguments)
    runs = folder_runs(chosen.runs) if chosen.runs else dvc_runs(Path(), all_commits=chosen.all_commits)
    comparison = compare_runs(runs, metrics=chosen.metrics)
    Console().print(comparison_table(comparison))
    if chosen.csv:
        with atomic_file(chosen.csv) as temporary:
            comparison.to_csv(temporary, index=False)
