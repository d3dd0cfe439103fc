"""Artifacts appear whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reidlib.artifacts import atomic_file, atomic_folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.parquet"
    with atomic_file(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".parquet"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["table.parquet"]


def test_folder_appears_only_at_the_end_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "images"
    target.mkdir()
    (target / "old.npy").write_text("old")
    with atomic_folder(target) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "new.npy").write_text("new")
        assert names(target) == ["old.npy"]
    assert names(target) == ["deep"]
    assert names(tmp_path) == ["images"]


@pytest.mark.parametrize("error", [ValueError("bad image"), KeyboardInterrupt()])
def test_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_text("kept")
    (tmp_path / "file.txt").write_text("kept")
    with pytest.raises(type(error)), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "half").write_text("half")
        raise error
    with pytest.raises(type(error)), atomic_file(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert names(tmp_path) == ["file.txt", "folder"]
    assert (tmp_path / "file.txt").read_text() == "kept"
    assert names(tmp_path / "folder") == ["kept"]


def test_full_disk_names_the_artifact(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space.*big\.npy was not written"), atomic_file(tmp_path / "big.npy"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.txt: nothing was written"), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.unlink()
    with pytest.raises(ValueError, match="a: nothing was written"), atomic_folder(tmp_path / "a") as temporary:
        temporary.rmdir()
    assert names(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as first:
        (first / "one").touch()
        with atomic_folder(tmp_path / "a") as second:
            assert first.exists()  # the second one did not take it for a leftover
            (second / "two").touch()
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["one"]


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from reidlib.artifacts import atomic_folder\n"
        "with atomic_folder(pathlib.Path(sys.argv[1])) as t:\n"
        "    (t / 'half').touch(); print('up', flush=True); time.sleep(60)"
    )
    target = tmp_path / "images"
    with subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    time.sleep(0.05)
    assert not target.exists()
    assert len(names(tmp_path)) == 1  # the hidden leftover
    with atomic_folder(target) as temporary:
        (temporary / "whole").touch()
    assert names(tmp_path) == ["images"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "plain") as temporary:
        temporary.touch()
    reference = tmp_path / "reference"
    reference.touch()
    assert (tmp_path / "plain").stat().st_mode == reference.stat().st_mode
