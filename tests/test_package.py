"""The library as an installed package: what the wheel holds, and that it works where there is no repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser

import pytest

import reidlib
from tests.repository import ROOT

USE = """
import sys
from reidlib.commands.table import main
import reidlib
assert reidlib.__file__.startswith(sys.prefix), reidlib.__file__
main(["index", "crops/"])
main(["search", "query.png", "-k", "2", "--to", "answers.csv"])
assert not {"dvc", "hydra", "omegaconf"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built of a copy of the sources, so that nothing is left in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "reidlib", folder / "source/reidlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    for other in ("stages", "conf", "data", "metrics", "benchmarks"):  # beside it in the repository, and not of it
        (folder / "source" / other).mkdir()
        (folder / "source" / other / "__init__.py").touch()
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, folder / "source")
    (made,) = folder.glob("*.whl")
    return made


def pip(*arguments, python=sys.executable):
    command = [sys.executable, "-m", "pip", "--python", python, *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)


def test_the_wheel_holds_the_library_alone_and_asks_for_no_pipeline(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(archive.read(metadata).decode())
    held = [*(ROOT / "reidlib").rglob("*.py"), *(ROOT / "reidlib").glob("*/assets/*")]
    assert names == {path.relative_to(ROOT).as_posix() for path in held}
    assert told["Version"] == reidlib.__version__ and told["Requires-Python"] == "<3.14,>=3.11"
    needed = told.get_all("Requires-Dist")
    assert any(line.startswith("torch>=") for line in needed)
    pipeline = [line for line in needed if line.startswith(("dvc", "hydra"))]
    assert len(pipeline) == 2 and all('extra == "pipeline"' in line for line in pipeline)


def test_installed_it_indexes_and_searches_in_an_empty_folder(wheel, tmp_path, model_file, crops):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    site, python = next(environment.glob("lib/*/site-packages")), environment / "bin/python"
    (site / "locked.pth").write_text(sysconfig.get_path("purelib"))  # what the wheel asks for, as it is locked
    pip("install", "--no-deps", "--no-index", wheel, python=python)
    here = tmp_path / "here"
    shutil.copytree(crops, here / "crops")
    shutil.copy(model_file, here / "model.safetensors")
    (here / "crops/door/person4/001.png").rename(here / "query.png")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command):
        done = subprocess.run(command, cwd=here, env=bare, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert run(python, "-c", USE).endswith("wrote answers.csv: 2 answers to 1 queries\n")
    assert "person4" in (here / "answers.csv").read_text().splitlines()[1]
    assert run(environment / "bin/reidlib", "--version") == f"reidlib {reidlib.__version__}\n"
    assert "clone the pipeline's repository and run this in it" in run(environment / "bin/reidlib", "compose")
