"""One file per stage of the pipeline: wiring between artifacts and the library.

A stage is ``main(*, name: Path, ...)``; its keyword-only paths are the options of ``python -m stages.<name>``, so that
dvc.yaml is the only place with paths. Values come from params.yaml, through ``reidlib.params``.
"""

import argparse
import faulthandler
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from reidlib.artifacts import atomic_file

# Idle OpenMP threads sleep instead of spinning, which on a machine with other work makes training several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run(main: Callable[..., None]) -> None:
    """Call a stage with the paths of the command line; an expected error is one message and exit code 1.

    Expected errors are ValueError, FileNotFoundError and the like of bad input, which say what to do; any other
    exception keeps its traceback, since it is ours to mend.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name in inspect.signature(main).parameters:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True)
    faulthandler.enable()  # a file cut short under its reader kills the process: then at least the line is told
    try:
        main(**vars(parser.parse_args()))
    except (ValueError, OSError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        sys.exit(f"error: {error}\n({Path(frame.filename).name}:{frame.lineno})")


def write_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Write one flat JSON object of finite numbers, in the order given; NaN is refused (DVC cannot compare it)."""
    rounded = {name: round(float(value), 6) for name, value in metrics.items()}
    whole = {name: int(value) for name, value in rounded.items() if value.is_integer()}
    text = json.dumps(rounded | whole, indent=2, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV that `dvc plots` and people read."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
