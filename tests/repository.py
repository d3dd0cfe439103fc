"""The pipeline in small: a repository of its own with today's sources and a set that runs in seconds."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
TINY = [
    "recipe=icsr",  # the one that uses every stage
    "synthesize.train_identities=8",
    "synthesize.test_identities=4",
    "synthesize.cameras=2",
    "synthesize.images_per_camera=4",
    "unzip.height_px=32",
    "unzip.width_px=16",
    "cluster.k1=4",
    "cluster.k2=2",
    "refine.k1=6",
    "refine.k2=2",
    "clustering@refine.method=linkage",
    "refine.method.images_per_cluster=8",
    "refine.nodes=none",
    "compute.precision=fp32",
    *(f"train_{stage}.{key}" for stage in ("intra", "inter") for key in ("epochs=2", "iterations=2")),
    "evaluate.ranked_queries=2",
]


def environment() -> dict[str, str]:
    """The environment in which `dvc` and `python` are those of this interpreter."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(folder: Path, *command: str, ok: bool = True) -> str:
    """Run a command in the repository and return what it printed.

    Raises:
        RuntimeError: where it fails, or, with `ok=False`, where it does not.
    """
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if (done.returncode == 0) != ok:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{output}")
    return output


def make_repository(folder: Path, overrides: Sequence[str] = TINY) -> None:
    """Make a git repository of the sources (compiled kernels included) with these parameters, nothing run yet."""
    for name in ("reidlib", "stages", "conf"):
        shutil.copytree(ROOT / name, folder / name)
    for name in (
        "dvc.yaml",
        "params.yaml",
        ".dvcignore",
        ".gitignore",
        "data/synthetic/dvc.yaml",
        "transfer/dvc.yaml",
        ".dvc/config",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / "data/weights").mkdir()
    (folder / "data/weights/.gitkeep").touch()
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "config", "user.name", "test")
    run(folder, "git", "config", "user.email", "test@example.org")
    run(folder, sys.executable, "-m", "reidlib", "compose", *overrides)
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "-m", "start")
