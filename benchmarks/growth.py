"""Runs every benchmark at growing sizes, one process each, and keeps the lines with machine and date.

    python -m benchmarks.growth [--only NAME] [--smallest 1000] [--largest 1000000] [--limit 600]

appends to benchmarks/results/growth.jsonl and draws benchmarks/results/growth.png (benchmarks.chart). A run that
fails or takes longer than the limit (seconds) is reported, and larger sizes of it are left out. k-NN is measured at
2048 dimensions; what comes after it at 128 (queries: 250), neighbours given, beyond 50,000 rows within shards
(benchmarks.features.neighbours); three runs each, one from 100,000 images on. Every line names the machine, the date
and the load at its start (0 on a quiet machine): trust ratios where it is high.

Why a line ends before 1,000,000: the exact search grows with the square of N (100,000 x 2048 takes minutes, ten times
as many images a hundred times as long), average linkage ends for its memory (the chart's steepest), the obvious
implementations because they hold N × N numbers or take minutes. Sorting is run on 50 queries, its time scaled to 250.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.chart import FOLDER, draw_chart, read_results

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
RUNS = {  # benchmark: its argument lists, and the largest number of images {n} that is feasible
    "knn": [("--n {n} --repeats {repeats}", 100_000)],
    "jaccard": [
        (f"--n {{n}} --d 128 --preset {preset} --repeats {{repeats}}", 1_000_000) for preset in ("late", "early")
    ],
    "cluster": [
        (f"--n {{n}} --d 128 --method {method} --repeats {{repeats}}", largest)
        for method, largest in (("dbscan", 1_000_000), ("linkage", 100_000), ("infomap", 1_000_000))
    ],
    "quality": [("--n {n}", 1_000_000)],
    "evaluate": [("--gallery {n} --queries 250 --dimension 128 --sorted 50 --repeats {repeats}", 1_000_000)],
    "rerank": [("--gallery {n} --queries 250 --d 128 --sharded --repeats {repeats}", 1_000_000)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(RUNS))
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--smallest", type=int, default=SIZES[0])
    parser.add_argument("--limit", type=int, default=600)
    given = parser.parse_args()
    origin = {"machine": machine(), "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat()}
    for name in [given.only] if given.only else RUNS:
        for arguments, largest in RUNS[name]:
            for size in (size for size in SIZES if given.smallest <= size <= min(largest, given.largest)):
                origin["load"] = f"{os.getloadavg()[0]:.1f}"
                lines = measure(
                    name, arguments.format(n=size, repeats=3 if size < 100_000 else 1).split(), limit=given.limit
                )
                if not lines:
                    break
                with (FOLDER / "growth.jsonl").open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps({"benchmark": name, **line, **origin}) + "\n" for line in lines)
    draw_chart(read_results(FOLDER), FOLDER / "growth.png", title="Time and extra memory against the number of images")


def measure(name: str, arguments: list[str], *, limit: int) -> list[dict[str, float | str]]:
    """The lines that one run prints; none, and a word why, where it fails."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json"]
    print(" ".join(command[1:]), flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
    except subprocess.TimeoutExpired:
        print(f"  longer than {limit} s: larger sizes are left out")
    except subprocess.CalledProcessError as error:
        print(f"  failed: {error.stderr.strip().splitlines()[-1] if error.stderr.strip() else error}")
    else:
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return []


def machine() -> str:
    """Processor, cores and memory, in words."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"


if __name__ == "__main__":
    main()
