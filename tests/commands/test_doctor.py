"""The doctor: what is wrong with an environment is told, and nothing that is wrong makes it fall ill."""

import functools
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils import collect_env

from reidlib.commands import doctor

ROOT = Path(__file__).parents[2]


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
        [sys.executable, "-m", "reidlib", "doctor"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
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
    assert "(needed: 3.11 to 3.13)" in text
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


def test_a_check_that_raises_is_told_and_the_others_go_on(place, monkeypatch, capsys) -> None:
    (place / "requirements.txt").unlink()
    monkeypatch.setitem(sys.modules, "torch", None)  # "import of torch halted"
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(doctor, "_problem", lambda url: "no answer within 3 s")
    with pytest.raises(SystemExit, match="1"):
        doctor.main([])
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    findings = {check: (mark, text) for mark, check, text in lines}
    assert findings["packages"][0] == "note"
    assert "could not be checked (FileNotFoundError" in findings["packages"][1]
    assert findings["gpu"][0] == findings["faiss"][0] == "missing"
    assert "could not be checked (ModuleNotFoundError" in findings["gpu"][1]
    assert findings["hub"][1].startswith("no answer within 3 s; extract.weights=imagenet needs it")
    assert findings["lock"] == ("ok", "free")


@pytest.fixture
def graphics(monkeypatch):
    """Set what torch sees, and what nvidia-smi would answer."""

    def put(count, *, listed, driver="580.1") -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(collect_env, "get_gpu_info", lambda run: listed)
        monkeypatch.setattr(collect_env, "get_nvidia_driver_version", lambda run: driver)

    return put


def test_gpus(graphics, monkeypatch) -> None:
    graphics(1, listed="GPU 0: Some GPU")
    assert found(doctor.gpu) == [("ok", "GPU 0: Some GPU; driver 580.1")]
    graphics(2, listed="GPU 0: Some GPU\nGPU 1: Other")
    text = "GPU 0: Some GPU, GPU 1: Other; driver 580.1; all but the first are used by torchrun only"
    assert found(doctor.gpu) == [("ok", text)]
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(get_num_gpus=lambda: 2, __version__="9"))
    assert found(doctor.faiss) == [("ok", "9, sees 2 GPUs")]


def test_no_gpu_and_one_that_torch_does_not_see(graphics) -> None:
    for listed, words in ((None, "no GPU, driver None"), ("GPU 0: Some GPU", "GPU 0: Some GPU, driver None")):
        graphics(0, listed=listed, driver=None)
        ((mark, text),) = found(doctor.gpu)
        assert mark == "note"
        assert text.endswith(f"sees none ({words}): networks run on the CPU, slowly")


def test_a_control_group_counts(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(doctor, "GROUPS", tmp_path)
    whole = found(doctor.memory)
    (tmp_path / "memory.max").write_text("max\n")
    assert found(doctor.memory) == whole
    (tmp_path / "memory.max").write_text(f"{3 * 2**30}\n")
    assert found(doctor.memory) == [("note", "3.0 GiB")]


def test_disk(place, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    for free, marks in ((50, ["ok", "ok"]), (5, ["note", "note"]), (0, ["missing", "missing"])):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, free=free: usage(0, 0, free * 2**30))
        findings = found(doctor.disk)
        assert [mark for mark, _ in findings[:2]] == marks
        assert ("larger disk" in findings[0][1]) == (marks != ["ok", "ok"])
        assert "gc" not in findings[0][1]  # which loses what other experiments and the run cache hold
        assert findings[2][1].startswith(("cached by hardlink", "cached by reflink"))
    (place / ".dvc" / "config").write_text("[cache]\n    type = copy\n    dir = ../elsewhere\n")
    *_, cache, link = found(doctor.disk)
    assert cache[1].startswith(f"0.0 GiB free at {place}")
    assert link == ("note", "cached by copy: all is there twice")
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert found(doctor.disk)[-1] == ("missing", f"{place / 'data'} is not writable for this user")


@pytest.fixture
def server():
    """A socket that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_hub_that_hangs_or_refuses(server, monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(doctor, "WAIT_SECONDS", 0.5)
    began = time.monotonic()
    assert doctor._problem(server) == "cannot be reached (no answer within 0.5 s)"
    assert doctor._answer("sleep 600") == (1, "", "no answer within 0.5 s")
    assert time.monotonic() - began < 300
    monkeypatch.setattr(doctor, "WAIT_SECONDS", 20)
    refused = doctor._problem("http://127.0.0.1:1")
    assert refused.startswith("cannot be reached (urllib.error.URLError") and "\n" not in refused
    monkeypatch.setattr(doctor, "_problem", lambda url: "")
    assert found(doctor.hub) == [("ok", "answers: extract.weights=imagenet can be had")]


def test_a_page_that_answers_and_one_that_is_not_there(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(doctor, "WAIT_SECONDS", 20)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{pages.server_port}"
        assert doctor._problem(address) == ""
        assert "HTTP Error 404" in doctor._problem(f"{address}/gone")
        pages.shutdown()


def test_remotes(place, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_problem", lambda url: "cannot be reached")
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


def test_archives(place) -> None:
    (place / "params.yaml").write_text("dataset: {name: synthetic}\n")
    assert found(doctor.archive) == [("ok", "data/synthetic/raw is rendered by the pipeline")]
    (place / "params.yaml").write_text("dataset: {name: folder}\n")
    [(mark, text)] = found(doctor.archive)
    assert mark == "missing" and "data/folder/raw: no such folder" in text
    (place / "data/folder/raw").mkdir(parents=True)
    assert found(doctor.archive) == [("ok", "data/folder/raw is there")]


def test_no_advice_loses_work() -> None:
    advice = "".join(path.read_text() for path in (*ROOT.glob("reidlib/**/*.py"), *ROOT.glob("stages/*.py")))
    assert not [word for word in ("dvc gc", "git clean", "exp remove", "--force") if word in advice]


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
