import json
import sys
from pathlib import Path

import pandas as pd
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


def test_metrics_are_flat_finite_and_whole_where_they_can_be(tmp_path):
    stages.write_metrics(tmp_path / "new" / "a.json", {"share": 1 / 3, "count": 4.0})
    text = (tmp_path / "new" / "a.json").read_text()
    assert json.loads(text) == {"share": 0.333333, "count": 4} and "4.0" not in text
    with pytest.raises(ValueError, match=r"NaN|nan|JSON"):
        stages.write_metrics(tmp_path / "b.json", {"share": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_tables_are_csv(tmp_path):
    stages.write_table(tmp_path / "a.csv", pd.DataFrame({"epoch": [1.0, 2.0], "loss": [0.1234567891, 2.0]}))
    assert (tmp_path / "a.csv").read_text() == "epoch,loss\n1,0.123457\n2,2\n"
