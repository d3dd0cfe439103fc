"""Runs the benchmarks of training and keeps their figures: `python -m benchmarks.training`.

Loader and memory on one thread; the loop against the bare step; what checkpoints cost; one process and two that share a
run; two runs at once; extraction; an epoch.
Writes benchmarks/results/training.md, with machine, date and the load at each start (0 = quiet).
"""

import datetime
import os

from benchmarks.chart import FOLDER
from benchmarks.growth import machine, measure

RUNS = [
    ("loader", ""),
    ("memory", ""),
    ("step", "--iterations 60"),
    ("checkpoints", ""),
    ("scaling", "--repeats 2"),
    ("together", "--repeats 2"),
    ("extraction", ""),
    ("epoch", "--images 12936 --batch 64 --iterations 100"),
]


def main() -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    parts = [f"Measured on {machine()}, {today}, by `python -m benchmarks.training`."]
    for name, arguments in RUNS:
        load = f"{os.getloadavg()[0]:.1f}"
        lines = measure(name, arguments.split(), limit=900)
        if not lines:
            continue
        parts.append(f"`python -m benchmarks.{name} {arguments}`".replace(" `", "`") + f" (load {load})")
        if len(lines) == 1 and len(lines[0]) > 8:  # many figures of one thing: one below the other
            rows = [f"| {key} | {_shown(value)} |" for key, value in lines[0].items()]
            parts.append("\n".join(["| figure | |", "|---|---|", *rows]))
        else:
            head = f"| {' | '.join(lines[0])} |\n|{'---|' * len(lines[0])}"
            parts.append("\n".join([head, *(f"| {' | '.join(map(_shown, line.values()))} |" for line in lines)]))
        (FOLDER / "training.md").write_text("\n\n".join(parts) + "\n")


def _shown(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    main()
