"""What the stages measured: their metrics, curves and tables, read back from the folder they wrote them to."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

STAGES = ("synthesize", "unzip", "extract", "cluster", "train_intra", "refine", "train_inter", "embed", "calibrate",
          "evaluate", "export", "report")  # fmt: skip
TABLES = ("train_intra", "train_inter", "evaluate/label_quality_intra", "evaluate/label_quality_inter",
          "evaluate/cmc", "evaluate/det", "evaluate/reliability")  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Numbers by stage, in the pipeline's order; and tables by name, those that are there and not empty."""

    stages: Mapping[str, Mapping[str, int | float]]
    tables: Mapping[str, pd.DataFrame]


def read_measured(folder: Path) -> Measured:
    """Read <stage>.json of the stages up to `evaluate`, and the tables that they and `evaluate` wrote.

    Raises:
        ValueError: as `read_metrics`.
    """
    stages = {stage: values for stage, values in read_metrics(folder).items() if stage in STAGES[:-2]}
    found = {name.rpartition("/")[2]: folder / f"{name}.csv" for name in TABLES}
    tables = {name: pd.read_csv(path) for name, path in found.items() if path.is_file()}
    return Measured(stages, {name: table for name, table in tables.items() if len(table)})


def read_metrics(folder: Path) -> dict[str, dict[str, int | float]]:
    """The numbers of every <stage>.json of a folder, stages in the pipeline's order, unknown ones last by name."""
    places = {stage: number for number, stage in enumerate(STAGES)}
    paths = sorted(folder.glob("*.json"), key=lambda path: (places.get(path.stem, len(STAGES)), path.stem))
    if not paths:
        raise ValueError(f"{folder}: expected <stage>.json files, found none; run `dvc repro` first")
    stages = {}
    for path in paths:
        values = json.loads(path.read_text(encoding="utf-8"))
        finite = isinstance(values, dict) and all(
            isinstance(value, int | float) and math.isfinite(value) for value in values.values()
        )
        if not finite:
            raise ValueError(f"{path}: expected a flat object of finite numbers, found {str(values)[:80]}")
        stages[path.stem] = values
    return stages
