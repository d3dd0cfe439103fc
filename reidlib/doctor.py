"""What the pipeline finds on this machine, what is missing, what to do about it: `make doctor`.

One line for each finding: `ok`, `note` (it works, but know this) or `missing` (the pipeline cannot run: exit code 1).
A check that fails itself is a note, and no answer is waited for longer than three seconds.
"""

import os
import queue
import re
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Findings = Iterator[tuple[str, str]]  # ok, note or missing; and a word on it
WAIT_SECONDS, GIB = 3.0, 2**30
GROUPS, DRIVER = Path("/sys/fs/cgroup"), Path("/sys/module/nvidia/version")


def python() -> Findings:
    """This Python, and whether `python` and `dvc` are those that dvc.yaml's commands will find."""
    known = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield "ok" if known else "missing", f"{sys.version.split()[0]} at {sys.prefix} (needed: 3.11 or 3.12)"
    for name in ("python", "dvc"):
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
    for mark, names, what in (("missing", absent, "not installed"), ("note", other, "not as locked")):
        if names:
            more = f" and {len(names) - 5} more" * (len(names) > 5)
            yield mark, f"{what}: {', '.join(names[:5])}{more}; remove .venv/installed and run `make test`"
    if not absent and not other:
        yield "ok", f"all {len(wanted)} as locked in requirements.txt"


def gpu() -> Findings:
    """The GPUs that torch sees, their memory and driver, and bfloat16."""
    import torch

    if not torch.cuda.is_available():
        yield "note", f"torch {torch.__version__} sees none: networks run on the CPU, slowly"
        return
    driver = DRIVER.read_text().strip() if DRIVER.is_file() else "unknown"
    low = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bfloat16"
    for number in range(torch.cuda.device_count()):
        about, alone = torch.cuda.get_device_properties(number), "; used by torchrun only" * (number > 0)
        yield "ok", f"{about.name}, {about.total_memory / GIB:.0f} GiB, driver {driver}, {low}{alone}"


def faiss() -> Findings:
    """Whether faiss is there, and whether it sees the GPUs."""
    import faiss as library

    yield "ok", f"{library.__version__}, sees {library.get_num_gpus()} GPUs"


def machine() -> Findings:
    """Cores and memory that this process may use: the machine's, or its control group's where that has less."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files = (GROUPS / name for name in ("cpu.max", "memory.max", "memory/memory.limit_in_bytes"))
    shares, *limits = (path.read_text().split() if path.is_file() else ["max"] for path in files)
    if shares[0].isdigit():
        cores = min(cores, max(1, int(shares[0]) // int(shares[1])))
    memory = min([memory, *(int(limit[0]) for limit in limits if limit[0].isdigit())])
    yield "ok" if memory > 4 * GIB else "note", f"{cores} cores, {memory / GIB:.1f} GiB of memory"


def disk() -> Findings:
    """Free space and rights where artifacts and their cache lie, and how a cached file gets into the workspace."""
    from dvc_objects.fs.generic import test_links
    from dvc_objects.fs.local import localfs

    config = _config()["cache"]
    places = [_existing(Path("data")), _existing(Path(".dvc", config.get("dir", "cache")))]
    for place in places:
        free = shutil.disk_usage(place).free / GIB
        mend = "" if free > 10 else "; free some space (`dvc gc --workspace` drops what other runs left)"
        yield "ok" if free > 10 else "note" if free > 1 else "missing", f"{free:,.1f} GiB free at {place}{mend}"
        if not os.access(place, os.W_OK):
            yield "missing", f"{place} is not writable for this user"
            return
    kind = test_links(config["type"], localfs, str(places[1]), localfs, str(places[0] / "file"))[0]
    yield "note" if kind == "copy" else "ok", f"cached by {kind}" + ": all is there twice" * (kind == "copy")


def hub() -> Findings:
    """Whether timm's hub answers, which `extract.weights=imagenet` needs the first time."""
    from huggingface_hub import constants

    problem = _asked(f"{constants.ENDPOINT}/api/models/timm/resnet50.a1_in1k")
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
        problem = _asked(url) if url.startswith("http") else "not tried here, `dvc status --cloud` does"
    yield "note" if problem else "ok", f"{name} at {url}: {problem or 'there'}"


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


CHECKS: tuple[Callable[[], Findings], ...] = (python, packages, gpu, faiss, machine, disk, hub, remote, lock)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]


def examine() -> list[tuple[str, str, str]]:
    """Run every check, side by side; return mark, check and a word on it, for a check that raises too."""

    def checked(check: Callable[[], Findings]) -> list[tuple[str, str, str]]:
        try:
            return [(mark, check.__name__, text) for mark, text in check()]
        except Exception as error:  # a broken installation raises anything, and the doctor must not fall ill
            mark = "missing" if check in (gpu, faiss) else "note"
            return [(mark, check.__name__, f"could not be checked ({_said(error)})")]

    with ThreadPoolExecutor(len(CHECKS)) as pool:
        return [finding for findings in pool.map(checked, CHECKS) for finding in findings]


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _config() -> Any:
    from dvc.config import Config

    return Config(str(Path(".dvc").resolve()))


def _asked(url: str) -> str:
    """Ask for the head of a page; return what went wrong, empty where it answered."""
    answer: queue.Queue[str] = queue.Queue()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=WAIT_SECONDS).close()
            answer.put("")
        except Exception as error:
            answer.put(f"cannot be reached ({_said(error)})")

    threading.Thread(target=ask, daemon=True).start()  # looking up a name heeds no timeout
    with suppress(queue.Empty):
        return answer.get(timeout=WAIT_SECONDS)
    return f"no answer within {WAIT_SECONDS:g} s"


def main() -> None:
    """Print one line for each finding; exit with 1 where the pipeline cannot run."""
    findings = examine()
    for mark, check, text in findings:
        print(f"{mark:8} {check:9} {text}")
    if any(mark == "missing" for mark, _, _ in findings):
        sys.exit(1)


if __name__ == "__main__":
    main()
