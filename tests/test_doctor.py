"""The doctor: what is wrong with an environment is told, and nothing that is wrong makes it fall ill."""

import json
import os
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from reidlib import doctor

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A repository as the doctor sees it, with everything as it should be."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    type = reflink,hardlink,copy\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("python", "dvc"):
        (tmp_path / "bin" / name).write_text("")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "requirements.txt").write_text("numpy==1.0 ; python_version < '3' \\\n    --hash=sha256:00\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):  # DVC looks for configurations there too
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def found(check) -> list[tuple[str, str]]:
    return list(check())


def test_every_check_answers_here_and_quickly_enough_to_be_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reidlib.doctor"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert {check for _, check, _ in lines} == {check.__name__ for check in doctor.CHECKS}
    assert {mark for mark, _, _ in lines} <= {"ok", "note", "missing"}
    assert done.returncode == any(mark == "missing" for mark, _, _ in lines)
    assert "Traceback" not in done.stderr


def test_python(place, monkeypatch) -> None:
    assert [mark for mark, _ in found(doctor.python)] == ["ok"]
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    (place / "bin" / "dvc").unlink()
    (old, text), (absent, mend) = found(doctor.python)
    assert (old, absent) == ("missing", "missing")
    assert "(needed: 3.11 or 3.12)" in text
    assert "`dvc` at None: source" in mend


def test_packages(place) -> None:
    assert found(doctor.packages) == [("ok", "all 0 as locked in requirements.txt")]
    lines = [f"nothing-{number}==1 \\" for number in range(7)] + ["numpy==0.1 \\", "    --hash=sha256:00"]
    (place / "requirements.txt").write_text("\n".join(lines))
    absent, other = found(doctor.packages)
    assert absent[0] == "missing"
    assert absent[1].startswith(
        "not installed: nothing-0, nothing-1, nothing-2, nothing-3, nothing-4 and 2 more; remove"
    )
    assert other[0] == "note"
    assert "for ==0.1; remove .venv/installed" in other[1]


def test_a_check_that_raises_is_told_and_the_others_go_on(place, monkeypatch) -> None:
    (place / "requirements.txt").unlink()
    monkeypatch.setitem(sys.modules, "torch", None)  # "import of torch halted"
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(doctor, "_asked", lambda url: "no answer within 3 s")
    findings = {check: (mark, text) for mark, check, text in doctor.examine()}
    assert findings["packages"][0] == "note"
    assert "could not be checked (FileNotFoundError" in findings["packages"][1]
    assert findings["gpu"][0] == findings["faiss"][0] == "missing"
    assert "could not be checked (ModuleNotFoundError" in findings["gpu"][1]
    assert findings["hub"][1].startswith("no answer within 3 s; extract.weights=imagenet needs it")
    assert findings["lock"] == ("ok", "free")
    with pytest.raises(SystemExit, match="1"):
        doctor.main()


def test_gpus(monkeypatch, tmp_path) -> None:
    about = SimpleNamespace(name="Some GPU", total_memory=80 * 2**30)
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_properties=lambda number: about,
        is_bf16_supported=lambda including_emulation: False,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(get_num_gpus=lambda: 2, __version__="9"))
    (tmp_path / "version").write_text("580.1\n")
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "version")
    text = "Some GPU, 80 GiB, driver 580.1, no bfloat16"
    assert found(doctor.gpu) == [("ok", text), ("ok", f"{text}; used by torchrun only")]
    assert found(doctor.faiss) == [("ok", "9, sees 2 GPUs")]


def test_a_control_group_counts(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(doctor, "GROUPS", tmp_path)
    whole = found(doctor.machine)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert found(doctor.machine) == whole
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text(f"{3 * 2**30}\n")
    assert found(doctor.machine) == [("note", "1 cores, 3.0 GiB of memory")]


def test_disk(place, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    for free, marks in ((50, ["ok", "ok"]), (5, ["note", "note"]), (0, ["missing", "missing"])):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, free=free: usage(0, 0, free * 2**30))
        findings = found(doctor.disk)
        assert [mark for mark, _ in findings[:2]] == marks
        assert findings[2][1].startswith(("cached by hardlink", "cached by reflink"))
    (place / ".dvc" / "config").write_text("[cache]\n    type = copy\n    dir = ../elsewhere\n")
    *_, cache, link = found(doctor.disk)
    assert cache[1].startswith(f"0.0 GiB free at {place}")
    assert link == ("note", "cached by copy: all is there twice")
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert found(doctor.disk)[-1] == ("missing", f"{place / 'data'} is not writable for this user")


def test_a_hub_that_hangs_or_refuses(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "WAIT_SECONDS", 0.05)
    stuck = threading.Event()
    monkeypatch.setattr(doctor.urllib.request, "urlopen", lambda *_, **__: stuck.wait(20))
    assert doctor._asked("http://hub") == "no answer within 0.05 s"
    stuck.set()

    def refuse(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(doctor, "WAIT_SECONDS", 20)
    monkeypatch.setattr(doctor.urllib.request, "urlopen", refuse)
    assert doctor._asked("http://hub") == "cannot be reached (OSError: no route)"
    monkeypatch.setattr(doctor, "_asked", lambda url: "")
    assert found(doctor.hub) == [("ok", "answers: extract.weights=imagenet can be had")]


def test_remotes(place, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_asked", lambda url: "cannot be reached")
    assert found(doctor.remote)[0] == ("ok", "none configured: artifacts stay on this machine")
    for url, answer in (
        ("../store", ("note", f"r at {place / 'store'}: no such folder")),
        ("https://x.org/y", ("note", "r at https://x.org/y: cannot be reached")),
        ("s3://x/y", ("note", "r at s3://x/y: not tried here, `dvc status --cloud` does")),
    ):
        (place / ".dvc" / "config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {url}\n")
        assert found(doctor.remote) == [answer]
    (place / ".dvc" / "config").write_text("[core]\n    remote = r\n['remote \"r\"']\n    url = ../store\n")
    (place / "store").mkdir()
    assert found(doctor.remote) == [("ok", f"r at {place / 'store'}: there")]


def test_locks(place) -> None:
    path = place / ".dvc" / "tmp" / "rwlock"
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    entry = {"pid": process.pid, "cmd": "dvc repro"}
    for text, mark, words in (
        ("{}", "ok", "free"),
        (json.dumps({"a": {"write": entry}}), "note", "is left of a killed run; remove it"),
        (json.dumps({"a": {"read": [entry, {**entry, "pid": os.getpid()}]}}), "note", f"held by process {os.getpid()}"),
        ("", "note", "remove it if dvc says that it is locked or damaged"),
        ('{"a": {"wri', "note", "remove it"),
    ):
        path.write_text(text)
        ((found_mark, found_text),) = found(doctor.lock)
        assert found_mark == mark
        assert words in found_text
