"""Runs every benchmark at growing sizes, one process each, and keeps the lines with machine and date.

    python -m benchmarks.scaling [--only NAME] [--largest 1000000] [--limit 600]

appends to benchmarks/results/scaling.jsonl and draws benchmarks/results/scaling.png (benchmarks.chart). A run that
fails or takes longer than the limit (seconds) is reported, and larger sizes of it are left out. k-NN is measured at
2048 dimensions; where the product is not what is measured, embeddings are short (64 or 128), and queries are 250. Every
line names the machine, the date and the load at its start (0 on a quiet machine): trust ratios where it is high.
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
RUNS = {  # benchmark: its argument lists; {n} is the number of images
    "knn": ["--n {n} --repeats 1"],
    "jaccard": [f"--n {{n}} --d 128 --preset {preset} --repeats 3" for preset in ("late", "early")],
    "cluster": [f"--n {{n}} --method {method} --repeats 3" for method in ("dbscan", "linkage", "infomap")],
    "quality": ["--n {n}"],
    "evaluate": ["--gallery {n} --queries 250 --dimension 128 --sorted 250 --repeats 3"],
    "rerank": ["--gallery {n} --queries 250 --d 128 --repeats 1"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(RUNS))
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--limit", type=int, default=600)
    given = parser.parse_args()
    origin = {"machine": machine(), "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat()}
    for name in [given.only] if given.only else RUNS:
        for arguments in RUNS[name]:
            for size in (size for size in SIZES if size <= given.largest):
                origin["load"] = f"{os.getloadavg()[0]:.1f}"
                lines = measure(name, arguments.format(n=size).split(), limit=given.limit)
                if not lines:
                    break
                with (FOLDER / "scaling.jsonl").open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps({"benchmark": name, **line, **origin}) + "\n" for line in lines)
    draw_chart(read_results(FOLDER), FOLDER / "scaling.png", title="Time and extra memory against the number of images")


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
