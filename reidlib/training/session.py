"""How a stage trains in one process or several, is stopped, and is gone on with."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from reidlib.training.checkpoint import Checkpoints, Interrupted, fingerprint, lock_folder
from reidlib.training.distributed import World, connect

NO_RESULT = ("reidlib.check", "reidlib.settings", "reidlib.running")  # they refuse values, or call the stage


@contextmanager
def session(
    scratch: Path, *, inputs: Sequence[Path], params: Mapping[str, Any], check: Callable[[], None]
) -> Iterator[tuple[World, Checkpoints]]:
    """Yield the processes that train together, and the checkpoints of this very run: these inputs, values and code.

    The code is what this process has loaded of this project, so that an edit of another file loses no checkpoint. The
    folder is locked for the time, and removed at the end of a run that finished. It lies in the repository that DVC
    works for (DVC_ROOT), also when an experiment runs in a copy of it.

    Args:
        scratch: the folder of the stage's runs.
        inputs: files and folders that the result depends on.
        params: the values of params.yaml that it depends on, and the whole of `compute`.
        check: called before anything is trained, so that a wrong value of a later stage is not found hours later.

    Raises:
        SystemExit: 128 + the signal's number where the run was asked to stop, which DVC takes for a failed stage.
    """
    code, compute = code_files(), params["compute"]
    values = {**params, "compute": compute["precision"]}  # the rest changes no result
    with connect() as world:
        mark = world.on_first(lambda: fingerprint([*dict.fromkeys(inputs), *code], values))
        world.on_first(check)
        folder = Path(os.environ.get("DVC_ROOT", ".")) / scratch / mark
        with lock_folder(folder) if world.first else nullcontext():
            try:
                yield world, Checkpoints(folder if world.first else None, minutes=compute["checkpoint_minutes"])
            except Interrupted as stopped:
                print(stopped, file=sys.stderr)
                sys.exit(128 + stopped.signal)


def code_files() -> list[Path]:
    """Return the files of this project's modules that this process has loaded, without those no result depends on."""
    modules = {
        name: module.__file__
        for name, module in sorted(sys.modules.items())
        if name == "__main__" or name.split(".")[0] in ("reidlib", "stages")
        if name not in NO_RESULT and getattr(module, "__file__", None)
    }
    return [Path(str(path)) for path in modules.values()]
