"""Own archives under DVC: experiments in a clone of its own, and what a remote brings to another machine."""

import sys

import pytest

from tests.repository import make_repository, run
from tests.test_end_to_end import own_crops, stages_run

VALUES = ["dataset=folder", "unzip.height_px=32", "unzip.width_px=16"]


@pytest.fixture
def repository(tmp_path):
    """A repository with somebody's crops and a file of weights, tracked as docs/own-data.md says."""
    folder = tmp_path / "own"
    make_repository(folder, VALUES)
    assert (folder / "data/folder/raw").is_dir()
    own_crops(folder / "data/folder/raw/mine.zip")
    (folder / "data/weights/own.safetensors").write_bytes(b"weights")
    run(folder, "dvc", "add", "data/folder/raw", "data/weights/own.safetensors")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "-m", "my crops")
    return folder


@pytest.mark.slow
def test_tracked_archives_and_weights_go_where_experiments_and_clones_go(repository, tmp_path):
    tracked = run(repository, "git", "ls-files", "data").split()
    assert {"data/folder/raw.dvc", "data/weights/own.safetensors.dvc"} <= {*tracked}
    assert not [path for path in tracked if path.endswith((".zip", ".safetensors"))]
    values = [*VALUES, "model.backbone=resnet18_half", "extract.weights=own.safetensors"]
    output = run(repository, "dvc", "exp", "run", "--temp", "extract", *(f"-S{value}" for value in values), ok=False)
    assert stages_run(output) == ["unzip", "extract"] and "mine.zip: 48 images, 2 cameras" in output
    assert "own.safetensors: expected safetensors" in output and "found text that begins 'weights'" in output
    run(repository, "dvc", "repro", "unzip")
    run(repository, "git", "add", "--all")
    run(repository, "git", "commit", "--quiet", "-m", "ran")
    run(repository, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    run(repository, "dvc", "push")
    run(tmp_path, "git", "clone", "--quiet", "own", "clone")
    clone = tmp_path / "clone"
    run(clone, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    run(clone, "dvc", "pull", "unzip", "data/folder/raw.dvc", "data/weights/own.safetensors.dvc")
    assert stages_run(run(clone, "dvc", "repro", "unzip")) == []
    for path in ("data/folder/raw/mine.zip", "data/weights/own.safetensors", "data/folder/images/train/pixels.npy"):
        assert (clone / path).read_bytes() == (repository / path).read_bytes()


@pytest.mark.slow
def test_an_archive_that_is_not_there_is_asked_for(tmp_path):
    folder = tmp_path / "none"
    make_repository(folder, VALUES)
    output = run(folder, "dvc", "repro", ok=False)
    assert "data/folder/raw: no archive (.zip" in output and "Errno 2" not in output
    (folder / "data/folder/raw").rmdir()
    assert "data/folder/raw: no such folder" in run(folder, sys.executable, "-m", "reidlib", "doctor", ok=False)
