"""Time and memory of two ways to do the same, taking turns in one process; figures as JSON lines.

Medians of alternated runs, so that a neighbour's load on the machine falls on both; the memory is the highest resident
size during a run of its own, less the size before it.
"""

import argparse
import ctypes
import json
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np

PAGE_MIB = 4096 / 2**20
SAMPLE_SECONDS = 0.002


def resident_mib() -> float:
    """Resident size of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MIB


def peak_extra_mib(function: Callable[[], Any]) -> float:
    """Highest resident size while `function` runs, less the size before; sampled every two milliseconds."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier runs left to reuse would hide what this one needs
    peak = before = resident_mib()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident_mib())
            sleep(SAMPLE_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function()
        peak = max(peak, resident_mib())
    finally:
        done.set()
        watcher.join()
    return peak - before


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = perf_counter()
    function()
    return perf_counter() - start


def compare(
    ours: Callable[[], Any], baseline: Callable[[], Any] | None = None, *, repeats: int = 5, warm: bool = True
) -> dict[str, float | None]:
    """Median seconds of both, their ratio and the extra memory of ours; the two take turns.

    Args:
        ours: what is measured; called once before, for compilation and caches, unless `warm` is off.
        baseline: what it is held against, if anything.
        repeats: runs of each.
        warm: call `ours` (and measure its memory) before the clock runs; off for runs that take minutes.
    """
    if warm:
        ours()
    extra = peak_extra_mib(ours)
    own, other = [], []
    for _ in range(repeats):
        own.append(seconds(ours))
        if baseline is not None:
            other.append(seconds(baseline))
    median = float(np.median(own))
    base = float(np.median(other)) if other else None
    return {
        "median_seconds": median,
        "peak_extra_mib": extra,
        "baseline_seconds": base,
        "ratio": None if base is None else base / median,
    }


def report(figures: dict[str, Any], *, as_json: bool) -> None:
    """Print one measurement, as a JSON object in a line or for people."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    print(json.dumps(rounded) if as_json else "  ".join(f"{k} {v}" for k, v in rounded.items()), flush=True)


def options(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A parser of --json and of these options, each of its default's type; a `preset` is late or early."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    for name, value in defaults.items():
        choices = ["late", "early"] if name == "preset" else None
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, choices=choices)
    return parser


def run_repeated(measure: Callable[..., dict[str, float]], *, description: str | None, repeats: int) -> None:
    """The command line of a benchmark whose figures go by names: --json and --repeats; one figure a line for people."""
    arguments = options(description, repeats=repeats).parse_args()
    figures = measure(repeats=arguments.repeats)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:50} {value:12,.2f}")
