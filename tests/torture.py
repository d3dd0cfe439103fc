"""Training stages killed at random moments and run again: do they end as a quiet run does, bit for bit?

    python -m tests.torture [--rounds 100] [--seed 0]

Every round is one kill of a real `dvc repro` of a training stage in a repository of its own, followed by another
`dvc repro`: SIGKILL to the trainer, SIGKILL to DVC and the trainer together, or SIGTERM to the trainer, at a moment
drawn from the time that the stage needs. A checkpoint is written after every iteration, so that many kills fall into
the writing of one. Where the stage ends, its outputs are compared with those of the quiet run, and the next round
begins from nothing. Writes benchmarks/results/torture.md.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

from tests.repository import ROOT, TINY, environment, make_repository, run

STAGES = {"train_intra": "intra", "train_inter": "inter"}
LONGER = [f"train_{stage}.{key}" for stage in ("intra", "inter") for key in ("epochs=3", "iterations=12")]
SETTINGS = [*TINY, *LONGER, "compute.checkpoint_minutes=1e-9"]
KILLS = ["SIGKILL trainer", "SIGKILL trainer and DVC", "SIGTERM trainer"]


def digests(folder: Path, stage: str) -> dict[str, str]:
    """What the stage wrote: model, labels, epochs, curves, metrics."""
    paths = [*sorted((folder / "data/synthetic" / STAGES[stage]).iterdir()), *folder.glob(f"metrics/{stage}.*")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def started(folder: Path, stage: str) -> subprocess.Popen:
    """Start the stage under DVC, in a process group of its own."""
    command = ["dvc", "repro", "--force", "--single-item", stage]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def trainers(stage: str, *, below: Path) -> list[int]:
    """The processes of the stage itself that run in a folder or below it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inside = (entry / "cwd").readlink().is_relative_to(below)
            if inside and f"stages.{stage}".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (ProcessLookupError, FileNotFoundError, PermissionError):
            continue
    return found


def killed(process: subprocess.Popen, folder: Path, stage: str, kind: str) -> bool:
    """Kill as `kind` says and wait for the end; False where there is no trainer (any more)."""
    found = trainers(stage, below=folder.resolve())
    if found and kind == "SIGKILL trainer and DVC":
        os.killpg(process.pid, signal.SIGKILL)
    elif found:
        for trainer in found:
            os.kill(trainer, signal.SIGTERM if kind == "SIGTERM trainer" else signal.SIGKILL)
    process.communicate()
    return bool(found) and process.returncode != 0


def torture(folder: Path, *, rounds: int, seed: int, stages: list[str]) -> Counter:
    """Kill stages; count kills (by stage, kind and whether a checkpoint was there), ended runs, outputs that differ.

    Args:
        folder: a repository in which all stages were run, with `SETTINGS`.
        rounds: kills.
        seed: of their moments.
        stages: which to kill.

    Raises:
        RuntimeError: a run that fails by itself.
    """
    counts, choose = Counter(), random.Random(seed)
    expected, needed = {}, {}
    for stage in stages:
        began = time.monotonic()
        run(folder, "dvc", "repro", "--force", "--single-item", stage)
        expected[stage], needed[stage] = digests(folder, stage), time.monotonic() - began
    while counts["kills"] < rounds:
        stage = choose.choice(stages)
        while True:
            process, kind = started(folder, stage), choose.choice(KILLS)
            try:
                _, errors = process.communicate(timeout=choose.uniform(0.3, 1.0) * needed[stage])
            except subprocess.TimeoutExpired:
                if not killed(process, folder, stage, kind):
                    break
                (folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
                found = any(folder.glob(f".scratch/{stage}/*/[0-9]*.safetensors"))
                counts["kills"] += 1
                counts[f"{stage}, {kind}, {'with' if found else 'before the first'} checkpoint"] += 1
                continue
            if process.returncode:
                raise RuntimeError(f"{stage} failed by itself: {errors.decode()[-2000:]}")
            break
        counts["runs ended"] += 1
        differing = {name for name, digest in digests(folder, stage).items() if digest != expected[stage][name]}
        counts["outputs that differ"] += len(differing)
        if any(folder.glob(f".scratch/{stage}/*")):
            counts["scratch folders left behind"] += 1
        print(f"{counts['kills']} kills, {counts['runs ended']} runs ended, differing: {sorted(differing)}", flush=True)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_repository(Path(folder), SETTINGS)
        run(Path(folder), "dvc", "repro")
        counts = torture(Path(folder), rounds=arguments.rounds, seed=arguments.seed, stages=list(STAGES))
    lines = [f"| {name} | {counts[name]} |" for name in ("kills", "runs ended", "outputs that differ")]
    lines += [f"| scratch folders left behind | {counts['scratch folders left behind']} |"]
    lines += [f"| {name} | {count} |" for name, count in sorted(counts.items()) if "," in name]
    head = f"Measured {date.today()} by `python -m tests.torture --rounds {arguments.rounds}`."
    text = "\n".join([head, "", "| what | count |", "|---|---|", *lines, ""])
    (ROOT / "benchmarks/results/torture.md").write_text(text)
    print(text)
    if counts["outputs that differ"]:
        raise SystemExit("resumed runs differ from the quiet run")


if __name__ == "__main__":
    main()
