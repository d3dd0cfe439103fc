"""Runs compared over seeds: ``python -m reidlib.compare --metrics inter_mAP inter_rank1 --csv comparison.csv``.

Runs are DVC's experiments and commits (``dvc exp show``), or folders that hold params.yaml and metrics/. Those that
differ in nothing but ``seed`` are one line: number of seeds, mean ± standard deviation (n - 1) of each metric.
"""

import argparse
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from reidlib.artifacts import atomic_file
from reidlib.report.tables import read_metrics

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
    may be newer than its metrics (``folder_runs`` reads it).

    Raises:
        ValueError: where `dvc exp show` fails.
    """
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *(["--all-commits"] if all_commits else [])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{folder}: `dvc exp show` failed; run in the pipeline's repository:\n{done.stderr[-500:]}")
    runs = []
    for commit in json.loads(done.stdout):
        if commit["rev"] == "workspace":
            continue
        runs.append(_recorded(commit["name"] or commit["rev"][:7], commit))
        for experiment in commit["experiments"] or []:
            runs.append(_recorded(experiment["name"] or "experiment", experiment["revs"][0]))
    measured = [run for run in runs if run.metrics]
    if len(measured) < len(runs):
        names = ", ".join(run.where for run in runs if not run.metrics)
        warnings.warn(f"left out, without metrics/evaluate.json (not run, or not to the end): {names}", stacklevel=2)
    return measured


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
        runs.append(Run(str(folder), _flat(params), _named(read_metrics(folder / "metrics"))))
    return runs


def compared(runs: Sequence[Run], *, metrics: Sequence[str] = ()) -> pd.DataFrame:
    """One row per setting of the parameters (seed apart), the largest first metric first.

    Of runs with the same parameters and seed the first one counts, with a warning where the others measured otherwise.

    Without names, `metrics` are mAP, mINP and Rank-1 of the last model, or all that was measured where there is no mAP.

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
    groups: dict[str, dict[str, Run]] = {}
    for run in runs:
        seeds = groups.setdefault(json.dumps(_without_seed(run.params), sort_keys=True), {})
        first = seeds.setdefault(str(run.params.get("seed")), run)
        if first.metrics != run.metrics:
            warnings.warn(
                f"{run.where} is left out: {first.where} has its parameters and seed, but measured something else, so "
                "their code or data differ",
                stacklevel=2,
            )
    members = [list(seeds.values()) for seeds in groups.values()]
    table = pd.DataFrame([_row(runs, metrics) for runs in members])
    table.insert(1, "differs", _differences([_without_seed(runs[0].params) for runs in members]))
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
        cells = [_formatted(row[name], row[f"{name} sd"]) for name in metrics]
        table.add_row(row["name"], "\n".join(lines), str(row["seeds"]), *cells)
    return table


def _recorded(where: str, revision: Mapping[str, Any]) -> Run:
    """A revision of `dvc exp show`; without metrics where it did not run to its end."""
    data = revision["data"] or {"params": {}, "metrics": {}}
    params = data["params"].get("params.yaml", {}).get("data") or {}
    metrics = {Path(path).stem: found.get("data") or {} for path, found in data["metrics"].items()}
    return Run(where, _flat(params), _named(metrics) if metrics.get("evaluate") else {})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _named(stages: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The measures of `evaluate` first, by name; then those of the other stages as stage.name."""
    others = ((stage, found) for stage, found in stages.items() if stage != "evaluate")
    named = {f"{stage}.{name}": value for stage, found in others for name, value in found.items()}
    return {**stages.get("evaluate", {}), **named}


def _default_metrics(known: Sequence[str]) -> list[str]:
    models = {name: found[1] for name in known if (found := re.fullmatch(r"(.+)[_/](mAP|mINP|rank1)", name))}
    plain = [model for model in models.values() if "reranked" not in model]
    return [name for name in models if models[name] == plain[-1]] if plain else list(known)


def _without_seed(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != "seed"}


def _row(runs: Sequence[Run], metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": str(runs[0].params.get("name", "")), "seeds": len(runs)}
    for name in metrics:
        values = pd.Series([run.metrics[name] for run in runs if name in run.metrics], dtype="float64")
        row |= {name: values.mean(), f"{name} sd": values.std()}
    return row


def _differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What sets each setting apart from the others of its name, a line per parameter; the data set from all others."""
    texts = [{name: json.dumps(value) for name, value in setting.items()} for setting in settings]
    differences = []
    for text in texts:
        same_name = [other for other in texts if other.get("name") == text.get("name")]
        differing = [name for name in text if any(other.get(name) != text[name] for other in same_name)]
        if any(other.get("dataset.name") != text.get("dataset.name") for other in texts):
            differing = ["dataset.name", *(name for name in differing if name != "dataset.name")]
        differences.append("\n".join(f"{name}={text.get(name)}" for name in differing))
    return differences


def _formatted(mean: float, deviation: float) -> str:
    if pd.isna(mean):
        return ""
    digits = 2 if abs(mean) >= 1 else 4
    return f"{mean:.{digits}f}" + ("" if pd.isna(deviation) else f" ± {deviation:.{digits}f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison, and write it where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m reidlib.compare", description=__doc__.split("\n")[0])
    parser.add_argument("--metrics", nargs="+", default=[], help="names in metrics/evaluate.json, or stage.name")
    parser.add_argument("--runs", nargs="+", type=Path, help="folders with params.yaml and metrics/, not DVC's runs")
    parser.add_argument("--all-commits", action="store_true", help="the runs of all commits, not of HEAD alone")
    parser.add_argument("--csv", type=Path, help="write the comparison to this file too")
    chosen = parser.parse_args(arguments)
    runs = folder_runs(chosen.runs) if chosen.runs else dvc_runs(Path(), all_commits=chosen.all_commits)
    comparison = compared(runs, metrics=chosen.metrics)
    Console().print(comparison_table(comparison))
    if chosen.csv:
        with atomic_file(chosen.csv) as temporary:
            comparison.to_csv(temporary, index=False)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
