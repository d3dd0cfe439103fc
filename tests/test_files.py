"""Artifacts appear whole or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from reidlib.files import atomic_file, atomic_folder, listed


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_is_told_where_the_writer_gives_no_number(tmp_path: Path) -> None:
    def save(path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/full")
        np.save(path, np.zeros(100_000))  # "100000 requested and 0 written"

    with (
        pytest.raises(OSError, match=r"No space.*a\.npy was not written") as caught,
        atomic_file(tmp_path / "a.npy") as t,
    ):
        save(t)
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield disk
    subprocess.run(["umount", disk], check=True)


WRITERS = {
    "a.npy": lambda path: np.save(path, np.random.default_rng(0).random(400_000)),
    "a.parquet": lambda path: pd.DataFrame({"x": np.random.default_rng(0).random(400_000)}).to_parquet(path),
    "a.safetensors": lambda path: save_file({"x": torch.rand(400_000)}, path),
    "a.csv": lambda path: pd.DataFrame({"x": np.arange(400_000)}).to_csv(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_is_really_full(small_disk: Path, name: str) -> None:
    (small_disk / name).write_bytes(b"old")
    message = rf"No space.*{name} was not written and nothing was left behind; free"
    with pytest.raises(OSError, match=message), atomic_file(small_disk / name) as temporary:
        WRITERS[name](temporary)
    message = r"No space.*folder was not written"
    with pytest.raises(OSError, match=message), atomic_folder(small_disk / "folder") as temporary:
        WRITERS[name](temporary / name)
    assert names(small_disk) == [name]
    assert (small_disk / name).read_bytes() == b"old"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with (
        pytest.raises(OSError, match=rf"Read-only file system: .*{name} was not written"),
        atomic_file(small_disk / name),
    ):
        pass


@contextmanager
def closed_folder() -> Iterator[Path]:
    """A folder that this user may read only; root becomes nobody for the time."""
    with TemporaryDirectory() as above:
        folder = Path(above) / "closed"
        folder.mkdir()
        Path(above).chmod(0o755)
        folder.chmod(0o555)
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


@pytest.mark.parametrize("artifact", [atomic_file, atomic_folder])
def test_a_folder_that_is_not_writable_is_named(artifact) -> None:
    with closed_folder() as folder:
        for path in (folder / "a", folder / "new" / "a"):
            message = rf"{path} was not written and nothing was left behind; make {path.parent} writable"
            with pytest.raises(PermissionError, match=message), artifact(path):
                pass
        assert names(folder) == []


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match=r"/elsewhere/key'$"), atomic_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no", "/elsewhere/key")
    with pytest.raises(OSError, match=r"^a plain one$"), atomic_folder(tmp_path / "a"):
        raise OSError("a plain one")
    assert names(tmp_path) == []


def test_a_read_only_link_into_a_cache_is_replaced_and_the_cache_kept(tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "5d41"
    cached.parent.mkdir()
    cached.write_text("old")
    cached.chmod(0o444)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").hardlink_to(cached)
    with atomic_file(tmp_path / "out" / "a.txt") as temporary:
        temporary.write_text("new")
    with atomic_folder(tmp_path / "out") as temporary:
        (temporary / "b.txt").write_text("new")
    assert cached.read_text() == "old"
    assert names(tmp_path / "out") == ["b.txt"]


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
        "import sys, time, pathlib; from reidlib.files import atomic_folder\n"
        "with atomic_folder(pathlib.Path(sys.argv[1])) as t:\n"
        "    (t / 'half').touch(); print('up', flush=True); time.sleep(900)"
    )
    target = tmp_path / "images"
    with subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=600)
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


def test_listed() -> None:
    assert listed([]) == "nothing"
    assert listed({"b", "a"}) == "a, b"
    assert listed([str(number) for number in range(1200)], 2) == "0, 1 and 1,198 more"
