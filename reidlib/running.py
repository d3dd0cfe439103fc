"""How a stage is called: its command line, its processes and threads, what is said when it cannot go on.

No stage's result depends on it, so that dvc.yaml does not name it.
"""

import argparse
import ctypes
import faulthandler
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

NO_MEMORY = (
    "not enough memory ({error}). Training needs less with fewer train_intra.clusters_per_batch or "
    "train_inter.clusters_per_batch (images_per_cluster likewise), smaller images (unzip.height_px, unzip.width_px) or "
    "compute.precision=bf16; the first embedding with a smaller extract.batch_size, the last with embed.batch_size; "
    "images on a GPU with less compute.device_memory_gib"
)
QUOTA = Path("/sys/fs/cgroup/cpu.max")
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")  # torch and faiss: OpenMP
UNSET = tuple(name for name in POOLS if name not in os.environ)
PATIENCE = {"GOMP_SPINCOUNT": "20000", "OPENBLAS_THREAD_TIMEOUT": "16"}
"""Idle threads spin for a moment, then sleep (GNU's OpenMP after a millisecond or less, OpenBLAS after 2^16 clocks).
Asleep at once, they wake too late for a small network's layers, which two threads then train hardly faster than one;
spinning for long, they slow every other process (`benchmarks.together`)."""


def set_threads(processes: int = 1) -> None:
    """Tell every library the threads of one of so many processes; before they are imported, which is when they ask.

    That is REID_THREADS; without it, where there are several processes or the control group has time of fewer cores
    than the process may run on, its share of them. Else nothing is told: left alone, libraries take these cores. What
    stands in the environment already stays, but for REID_THREADS.
    """
    given = os.environ.get("REID_THREADS", "")
    if given and (not given.isdigit() or int(given) < 1):
        sys.exit(f"error: REID_THREADS: expected a number of threads, 1 or more; found {given!r}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _text(QUOTA).partition(" ")
    share = max(1, min(cores, int(quota) // int(period) if quota.isdigit() else cores) // processes)
    if given or share < cores:
        os.environ.update(dict.fromkeys(POOLS if given else UNSET, given or str(share)))
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.update(PATIENCE | os.environ)


def keep_freed_memory() -> None:
    """Let glibc keep up to 1 GiB that was freed for what is asked for next, where the C library is glibc.

    By itself it hands the memory of an activation back to the kernel, which fills it with zeros for the next one: 7 to
    10 % of a training step on a CPU.
    """
    largest_kept, trim = (-3, 32 << 20), (-1, 1 << 30)  # M_MMAP_THRESHOLD, at its limit, and M_TRIM_THRESHOLD
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for parameter, value in (largest_kept, trim):
            library.mallopt(parameter, value)


def run(main: Callable[..., None]) -> None:
    """Call a stage with the paths of the command line; an expected error is one message and exit code 1.

    Expected errors are ValueError, FileNotFoundError and the like of bad input, which say what to do, and too little
    memory, of which it is said what needs less; any other exception keeps its traceback, since it is ours to mend.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name in inspect.signature(main).parameters:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True)
    _tell_of_other_archives()
    keep_freed_memory()
    faulthandler.enable()  # a file cut short under its reader kills the process: then at least the line is told
    try:
        main(**vars(parser.parse_args()))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("(out of|not enough) memory", str(error)):
            raise
        sys.exit("error: " + NO_MEMORY.format(error=str(error).partition("\n")[0][:200] or type(error).__name__))
    except (ValueError, OSError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        sys.exit(f"error: {error}\n({Path(frame.filename).name}:{frame.lineno})")


def _tell_of_other_archives() -> None:
    """Say where the demo's set is run beside archives of the user's: an experiment that did not repeat its dataset."""
    line = re.search(r"^dataset:\n(?:  .*\n)*?  name: (\S+)", _text(Path("params.yaml")), re.MULTILINE)
    others = sorted({path.parts[1] for path in Path("data").glob("*/raw/*")} - {"synthetic"})
    if line and line[1] == "synthetic" and others:
        print(
            f"note: dataset synthetic, while archives lie in {', '.join(f'data/{name}/raw' for name in others)}: an "
            f"experiment composes its values anew, so that every -S must be said again (-S dataset={others[0]} …)",
            flush=True,
        )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def run_in_processes(main: Callable[..., None]) -> None:
    """Call a stage as `run`, in as many processes as REID_NPROC or torchrun's own variables (PET_...) say."""
    processes = os.environ.get("REID_NPROC", "1")
    if not processes.isdigit() or int(processes) < 1:
        sys.exit(f"error: REID_NPROC: expected a number of processes, 1 or more; found {processes!r}")
    if "WORLD_SIZE" not in os.environ and (processes != "1" or "PET_NNODES" in os.environ):
        spec = sys.modules["__main__"].__spec__
        assert spec is not None
        alone = [] if "PET_NNODES" in os.environ else ["--standalone"]
        set_threads(int(processes))
        command = ["-m", "torch.distributed.run", *alone, f"--nproc-per-node={processes}", "-m", spec.name]
        os.execv(sys.executable, [sys.executable, *command, *sys.argv[1:]])
    run(main)
