"""Runs the benchmarks at the sizes of the field's datasets and keeps the figures: `python -m benchmarks.targets`.

12,936 images are Market-1501's training set, 3,368 x 15,913 its queries and gallery (515,913 with its distractors),
11,659 x 82,161 MSMT17's. The search of re-ranking (search_seconds) is not part of its median_seconds. Appends
to benchmarks/results/targets.jsonl and rewrites targets.md, with machine, date and the load at each start (0 = quiet).
"""

import argparse
import datetime
import json
import os
from pathlib import Path

import pandas as pd

from benchmarks.chart import FOLDER
from benchmarks.growth import machine, measure

RUNS = {
    "quick": [
        ("knn", "--n 12936 --repeats 3"),
        ("knn", "--n 12936 --baseline torch"),
        ("knn", "--n 3000 --d 512 --baseline torch"),
        ("jaccard", "--n 12936 --preset late"),
        ("jaccard", "--n 12936 --preset early"),
        ("cluster", "--method dbscan --n 12936 --preset late --repeats 3"),
        ("cluster", "--method linkage --n 12936 --preset late --repeats 3"),
        ("evaluate", "--queries 3368 --gallery 15913"),
        ("rerank", "--queries 3368 --gallery 15913 --repeats 1"),
        ("quality", "--n 1000000"),
    ],
    "long": [
        ("cluster", "--method linkage --n 12936 --preset early --repeats 1"),
        ("jaccard", "--n 100000 --preset early --repeats 3"),
        ("evaluate", "--queries 11659 --gallery 82161 --repeats 1"),
    ],
    "huge": [
        ("cluster", "--method linkage --n 100000 --d 128 --preset late --repeats 1"),
        ("jaccard", "--n 1000000 --d 384 --preset late --repeats 1"),
        ("rerank", "--queries 3368 --gallery 515913 --d 512 --once"),
    ],
}
SHOWN = ["benchmark", "arguments", "median_seconds", "search_seconds", "peak_extra_mib"]
SHOWN += ["baseline", "baseline_seconds", "ratio", "load", "date"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=sorted(RUNS), default="quick")
    given = parser.parse_args()
    path = FOLDER / "targets.jsonl"
    origin = {"machine": machine(), "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat()}
    for name, arguments in RUNS[given.set]:
        load = round(os.getloadavg()[0], 1)
        for line in measure(name, arguments.split(), limit=3600):
            kept = {"benchmark": name, "arguments": arguments, **line, **origin, "load": load}
            print(json.dumps(kept), flush=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(kept) + "\n")
    write_table(path)


def write_table(path: Path) -> None:
    """Write targets.md beside the lines: the last of each benchmark, arguments and method."""
    lines = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    table = lines.drop_duplicates(["benchmark", "arguments", "method"], keep="last")
    rows = [" | ".join("" if pd.isna(value) else str(value) for value in row) for row in table[SHOWN].to_numpy()]
    header = f"{' | '.join(SHOWN)} |\n|{'---|' * len(SHOWN)}"
    head = f"Measured on {lines['machine'].iloc[-1]}, by `python -m benchmarks.targets`.\n\n"
    path.with_suffix(".md").write_text(f"{head}| {header}\n" + "".join(f"| {row} |\n" for row in rows))


if __name__ == "__main__":
    main()
