"""What this machine lacks for the pipeline, and what to do about it: ``reidlib doctor``.

One line for each finding: `ok`, `note` (it works, but know this) or `missing` (the pipeline cannot run: exit code 1).
A check that fails itself is a note, and no answer is waited for longer than three seconds. Outside the pipeline's
repository only what the library needs is asked.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reidlib.commands.parsing import command_parser

HELP = "tell what this machine has, what is missing, what to do"
EXAMPLE = "reidlib doctor"
Findings = Iterator[tuple[str, str]]  # ok, note or missing; and a word on it
WAIT_SECONDS, GIB = 3.0, 2**30
GROUPS, LIMITS = Path("/sys/fs/cgroup"), ("memory.max", "memory/memory.limit_in_bytes")
HEAD = "import sys, urllib.request as web; web.urlopen(web.Request(sys.argv[1], method='HEAD'))"


def python() -> Findings:
    """This Python, and whether `python` and `dvc` are those that dvc.yaml's commands will find."""
    known = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield "ok" if known else "missing", f"{sys.version.split()[0]} at {sys.prefix} (needed: 3.11 to 3.13)"
    for name in ("python", "dvc") if _in_repository() else ():
        found = shutil.which(name)
        if found is None or Path(found).parent != Path(sys.executable).parent:
            yield "missing", f"stages would run the `{name}` at {found}: source {Path(sys.prefix) / 'bin/activate'}"


def packages() -> Findings:
    """Installed versions against the lock."""
    from packaging.requirements import Requirement

    lines = Path("requirements.txt").read_text().splitlines()
    locked = [Requirement(line.rstrip("\\ ")) for line in lines if "==" in line and line[0] not in "# "]
    wanted = [requirement for requirement in locked if requirement.marker is None or requirement.marker.evaluate()]
    absent, other = [], []
    for name, specifier in [(requirement.name, requirement.specifier) for requirement in wanted]:
        try:
            if not specifier.contains(version(name), prereleases=True):
                other.append(f"{name} {version(name)} for {specifier}")
        except PackageNotFoundError:
            absent.append(name)
    for mark, names, problem in (("missing", absent, "not installed"), ("note", other, "not as locked")):
        if names:
            more = f" and {len(names) - 5} more" * (len(names) > 5)
            yield mark, f"{problem}: {', '.join(names[:5])}{more}; remove .venv/installed and run `make test`"
    if not absent and not other:
        yield "ok", f"all {len(wanted)} as locked in requirements.txt"


def gpu() -> Findings:
    """The GPUs and their driver, and how many of them torch sees."""
    import torch
    from torch.utils import collect_env

    told: Any = collect_env  # without types
    listed, driver = told.get_gpu_info(_answer), told.get_nvidia_driver_version(_answer)
    there = ", ".join((listed or "no GPU").splitlines())
    if count := torch.cuda.device_count():
        yield "ok", f"{there}; driver {driver}" + "; all but the first are used by torchrun only" * (count > 1)
    else:
        yield "note", f"torch {torch.__version__} sees none ({there}, driver {driver}): networks run on the CPU, slowly"


def faiss() -> Findings:
    """Whether faiss is there, and whether it sees the GPUs."""
    import faiss as library

    yield "ok", f"{library.__version__}, sees {library.get_num_gpus()} GPUs"


def memory() -> Findings:
    """The memory that this process may use: the machine's, or its control group's where that has less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in map(GROUPS.joinpath, LIMITS) if path.is_file()]
    free = min([whole, *(int(limit) for limit in limits if limit.isdigit())])
    yield "ok" if free > 4 * GIB else "note", f"{free / GIB:.1f} GiB"


def disk() -> Findings:
    """Free space and rights where artifacts and their cache lie, and how a cached file gets into the workspace."""
    from dvc_objects.fs.generic import test_links
    from dvc_objects.fs.local import localfs

    config = _config()["cache"]
    wanted = (Path("data").absolute(), Path(".dvc", config.get("dir", "cache")).absolute())
    places = [next(folder for folder in (path, *path.parents) if folder.is_dir()) for path in wanted]
    for place in places:
        free = shutil.disk_usage(place).free / GIB
        mend = "" if free > 10 else "; move .dvc/cache to a larger disk, then `dvc cache dir --local` and its new place"
        yield "ok" if free > 10 else "note" if free > 1 else "missing", f"{free:,.1f} GiB free at {place}{mend}"
        if not os.access(place, os.W_OK):
            yield "missing", f"{place} is not writable for this user"
            return
    kind = test_links(config["type"], localfs, str(places[1]), localfs, str(places[0] / "file"))[0]
    yield "note" if kind == "copy" else "ok", f"cached by {kind}" + ": all is there twice" * (kind == "copy")


def hub() -> Findings:
    """Whether timm's hub answers, which `extract.weights=imagenet` needs the first time."""
    from huggingface_hub import constants

    problem = _problem(f"{constants.ENDPOINT}/api/models/timm/resnet50.a1_in1k")
    mend = "extract.weights=imagenet needs it the first time; else put a file into data/weights/"
    yield ("note", f"{problem}; {mend}") if problem else ("ok", "answers: extract.weights=imagenet can be had")


def remote() -> Findings:
    """The DVC remote, if one is configured."""
    config = _config()
    name = config["core"].get("remote")
    if not name:
        yield "ok", "none configured: artifacts stay on this machine"
        return
    url = config["remote"][name]["url"]
    problem = "" if Path(url).is_dir() else "no such folder"
    if "://" in url:
        problem = _problem(url) if url.startswith("http") else "not tried here, `dvc status --cloud` does"
    yield "note" if problem else "ok", f"{name} at {url}: {problem or 'there'}"


def archive() -> Findings:
    """Whether the archive of the dataset that params.yaml names is there (DVC itself says `[Errno 2]` and no more)."""
    import yaml

    name = yaml.safe_load(Path("params.yaml").read_text())["dataset"]["name"]
    raw = Path("data", name, "raw")
    if raw.is_dir() or name == "synthetic":
        yield "ok", f"{raw} is {'there' if raw.is_dir() else 'rendered by the pipeline'}"
    else:
        yield "missing", f"{raw}: no such folder (dataset {name}); make it and put the archive there, or: dvc pull"


def lock() -> Findings:
    """Whether a killed run of DVC left a lock behind, or a run is under way."""
    path = Path(".dvc/tmp/rwlock")
    text = path.read_text() if path.is_file() else "{}"
    pids = set(re.findall(r'"pid": (\d+)', text))
    alive = sorted(pid for pid in pids if Path("/proc", pid).exists())
    if alive:
        yield "note", f"held by process {', '.join(alive)}: dvc is running here"
    else:
        mend = f"{path} is left of a killed run; remove it if dvc says that it is locked or damaged"
        yield ("note", mend) if pids or text != "{}" else ("ok", "free")


CHECKS: tuple[Callable[[], Findings], ...] = (python, packages, gpu, faiss, memory, disk, hub, remote, archive, lock)
ANYWHERE = (python, gpu, faiss, memory)


def examine(check: Callable[[], Findings]) -> list[tuple[str, str, str]]:
    """Run a check; return mark, check and a word on each finding, or on what the check raised."""
    try:
        return [(mark, check.__name__, text) for mark, text in check()]
    except Exception as error:  # a broken installation raises anything, and the doctor must not fall ill
        mark = "missing" if isinstance(error, ImportError) else "note"
        reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        return [(mark, check.__name__, f"could not be checked ({reason})")]


def _in_repository() -> bool:
    return Path(".dvc").is_dir()


def _config() -> Any:
    from dvc.config import Config

    return Config(str(Path(".dvc").resolve()))


def _problem(url: str) -> str:
    """Ask for the head of a page; return what went wrong, empty where it answered."""
    code, _, error = _answer([sys.executable, "-c", HEAD, url])  # looking up a name heeds no timeout, a process does
    return f"cannot be reached ({error.splitlines()[-1]})" if code else ""


def _answer(command: str | Sequence[str]) -> tuple[int, str, str]:
    """Run a command as `collect_env.run` does, and wait no longer than three seconds."""
    try:
        shell = isinstance(command, str)
        done = subprocess.run(command, shell=shell, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 1, "", f"no answer within {WAIT_SECONDS:g} s"
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def main(arguments: Sequence[str]) -> None:
    """Print one line for each finding; exit with 1 where the pipeline cannot run."""
    command_parser("doctor", HELP, EXAMPLE).parse_args(arguments)
    checks = CHECKS if _in_repository() else ANYWHERE
    with ThreadPoolExecutor(len(checks)) as pool:
        findings = [finding for findings in pool.map(examine, checks) for finding in findings]
    for mark, check, text in findings:
        print(f"{mark:8} {check:9} {text}")
    if any(mark == "missing" for mark, _, _ in findings):
        sys.exit(1)
