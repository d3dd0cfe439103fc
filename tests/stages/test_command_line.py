import sys
from pathlib import Path

import pytest

import stages


def test_paths_become_options(monkeypatch, tmp_path):
    seen = {}

    def main(*, raw: Path, some_labels: Path) -> None:
        seen.update(raw=raw, some_labels=some_labels)

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a/b", "--some-labels", "c.parquet"])
    stages.run(main)
    assert seen == {"raw": Path("a/b"), "some_labels": Path("c.parquet")}


@pytest.mark.parametrize("error", [ValueError("no such thing"), FileNotFoundError("gone")])
def test_an_expected_error_is_one_message(monkeypatch, error):
    def main(*, raw: Path) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a"])
    with pytest.raises(SystemExit) as caught:
        stages.run(main)
    assert str(caught.value).startswith(f"error: {error}\n(test_command_line.py:")


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    def main(*, raw: Path) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a"])
    with pytest.raises(KeyError):
        stages.run(main)
