"""One file per stage of the pipeline: wiring between artifacts and the library.

A stage is ``main(*, name: Path, ...)``; its keyword-only paths are the options of ``python -m stages.<name>``, so that
dvc.yaml is the only place with paths. Values come from params.yaml, through ``reidlib.settings``.
"""

import os

from reidlib.running import run as run
from reidlib.running import run_in_processes as run_in_processes
from reidlib.running import set_threads

if "WORLD_SIZE" not in os.environ:  # else torchrun's parent did
    set_threads()
