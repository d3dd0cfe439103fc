"""The pipeline where there is neither DVC nor Git, several runs side by side: what `benchmarks.real --workers` calls.

A process imports the libraries once and then takes one run after the other, each of which begins with `unzip`: what an
earlier one made is removed. Kernels should be there before (`python -m reidlib warm`), or every process compiles them.
"""

import os
import re
import shlex
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from functools import reduce
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from operator import getitem
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

import yaml

from reidlib.commands import compose
from reidlib.running import run, set_threads

ROOT = Path(__file__).parent.parent
LOG = "log.txt"
GRACE = 60  # seconds that runs in progress have to end, after the last may begin
Job = Mapping[str, Any]
Measure = Callable[[Path, Job], dict[str, Any]]


def run_stages(folder: Path, *, until: str = "evaluate") -> None:
    """Run in this process, one after the other, the stages of `folder` that `until` needs, and that stage itself.

    As DVC does, outputs are removed before their stage runs, and what a stage depends on has to be there.

    Raises:
        ValueError: where it is not.
        SystemExit: with its message, where a stage refuses or is stopped (see `reidlib.running.run`).
    """
    values = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    text = re.sub(
        r"\$\{([\w.]+)\}",
        lambda key: str(reduce(getitem, key[1].split("."), values)),
        (folder / "dvc.yaml").read_text(encoding="utf-8"),
    )
    stages = yaml.safe_load(text)["stages"]
    with chdir(folder):
        for name in needed(stages, until=until):
            if missing := [path for path in _data(stages[name]["deps"]) if not Path(path).exists()]:
                raise ValueError(f"{name}: missing {', '.join(missing)}")
            for path in _outputs(stages[name]):
                shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)
            _, _, module, *sys.argv[1:] = shlex.split(stages[name]["cmd"])  # python -m stages.<name> --option path …
            run(import_module(module).main)


def needed(stages: Mapping[str, Any], *, until: str) -> list[str]:
    """Return the stages, in the order of the file, whose outputs `until` needs, directly or not, and itself."""
    wanted, open_ones = set[str](), {until}
    while open_ones:
        wanted |= open_ones
        paths = [Path(path) for name in open_ones for path in stages[name]["deps"]]
        makers = {
            name for name, stage in stages.items() for out in map(Path, _outputs(stage))
            if any(path.is_relative_to(out) or out.is_relative_to(path) for path in paths)
        }  # fmt: skip
        open_ones = makers - wanted
    return [name for name in stages if name in wanted]


def _outputs(stage: Mapping[str, Any]) -> list[str]:
    """Return what a stage writes; an entry with settings is a mapping of one key."""
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _data(paths: Sequence[str]) -> list[str]:
    """Return the paths that are no sources, which are those of this process."""
    return [path for path in paths if Path(path).parts[0] not in ("reidlib", "stages")]


def run_pipeline(folder: Path, overrides: Sequence[str]) -> str:
    """Compose params.yaml in `folder` and run the stages there; return "", or what is said of a failure.

    An unexpected error is raised: it ends the process, which a failed GPU would leave of no use.
    """
    shutil.copy(ROOT / "dvc.yaml", folder)
    try:
        with chdir(folder):
            compose.main(overrides)
        run_stages(folder)
    except SystemExit as error:
        return error.code if isinstance(error.code, str) else f"error: exit code {error.code}"
    except (ValueError, OSError) as error:
        return f"error: {error}"
    return ""


class Worker(NamedTuple):
    """A process that measures, the end of the pipe to it, and its folder, which is no other's."""

    process: BaseProcess
    connection: Connection
    folder: Path


def run_all(
    jobs: Sequence[Job], *, measure: Measure, workers: int, seconds: float | None = None
) -> Iterator[dict[str, Any]]:
    """Measure jobs in so many processes of one thread each, taken in their order; yield each result as it ends.

    Of a process that dies the last line of its log is the error, and another takes its place. No job begins after so
    many `seconds`; those that have not ended `GRACE` later are lost. Whatever ends this process ends the others, at
    the latest after their run.

    Args:
        jobs: what `measure` takes.
        measure: is given a worker's folder and a job, in a process of its own: a function that can be pickled.
        workers: number of processes.
        seconds: from now; None: without end.
    """
    os.environ["REID_THREADS"] = "1"
    set_threads()  # of the processes to come, before they import what asks for it
    began, left, idle = monotonic(), deque(jobs), list[Worker]()
    busy: dict[Any, tuple[Worker, Job]] = {}  # by the connection that is waited for
    with TemporaryDirectory() as scratch:
        try:
            idle += [_start(Path(scratch) / str(number), measure) for number in range(min(workers, len(jobs)))]
            while True:
                while idle and left and (seconds is None or monotonic() - began < seconds):
                    worker = idle.pop(0)
                    try:
                        worker.connection.send(left[0])
                    except OSError:  # it has died since its last job
                        idle.append(_start(worker.folder, measure))
                    else:
                        busy[worker.connection] = worker, left.popleft()
                timeout = None if seconds is None else max(0.0, began + seconds + GRACE - monotonic())
                ready = wait(list(busy), timeout) if busy else []  # without any it would wait for ever
                if not ready:  # no job is left, or no time
                    return
                for connection in ready:
                    worker, job = busy.pop(connection)
                    found = _received(worker, job)
                    idle.append(worker if worker.process.is_alive() else _start(worker.folder, measure))
                    yield found
        finally:
            for worker in [*idle, *(worker for worker, _ in busy.values())]:
                worker.process.kill()
                worker.process.join()


def _start(folder: Path, measure: Measure) -> Worker:
    context = get_context("spawn")  # a process that has used a GPU must not be forked
    folder.mkdir(exist_ok=True)
    (folder / LOG).touch()
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(folder, measure, there), daemon=True)
    process.start()
    there.close()
    return Worker(process, here, folder)


def _received(worker: Worker, job: Job) -> dict[str, Any]:
    """Return a worker's result, or that it has died."""
    try:
        return dict(worker.connection.recv())
    except (EOFError, ConnectionResetError):
        worker.process.join()
        end = (worker.folder / LOG).read_text(errors="replace").strip().rpartition("\n")[2]
        return {**job, "error": f"error: the process ended ({worker.process.exitcode}): {end}"}


def _serve(folder: Path, measure: Measure, connection: Connection) -> None:
    """Measure what comes, in the main thread (training handles signals); what is printed goes to log.txt."""
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(measure(folder, job))
