"""The benchmark of a GPU: no part can hang or end the others, and what was found is kept."""

import json
import sys

import pytest

from benchmarks import gpu
from benchmarks.features import features

SCRIPTS = {
    "checks": 'print(\'{"check": "memory", "found": 0.5}\', flush=True); print(\'words\'); raise SystemExit(3)',
    "step": 'import time; print(\'{"backbone": "one"}\', flush=True); time.sleep(600)',
    "epoch": "print('{\"seconds\": 2.0}')",
}


def test_parts_end_apart_and_what_they_found_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "command", lambda part, quick: [sys.executable, "-c", SCRIPTS[part]])
    (tmp_path / "gpu.json").write_text(
        json.dumps({"million": {"rows": [], "ended": "whole", "seconds": 1, "date": ""}})
    )
    gpu.run_parts(list(SCRIPTS), folder=tmp_path, quick=True, limit=4)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {part: (len(each["rows"]), each["ended"]) for part, each in found.items()} == {
        "million": (0, "whole"),
        "checks": (1, "failed (3), see above"),
        "step": (1, "ended after 4 s"),
        "epoch": (1, "whole"),
    }
    assert found["step"]["seconds"] < 300
    assert capsys.readouterr().out.splitlines()[1] == "words"
    text = (tmp_path / "gpu.md").read_text()
    assert "## step: ended after 4 s" in text and "| memory | 0.5 |" in text


def test_labelling_a_million_in_small():
    rows = list(gpu.million(quick=True))
    assert [row["part"] for row in rows] == ["k-NN", "Jaccard", "DBSCAN", "average linkage"]
    assert all(row["images"] == 3000 and row["seconds"] > 0 for row in rows)


def test_a_difference_that_is_too_large_is_told_at_the_end(monkeypatch):
    monkeypatch.setattr(gpu, "differences", lambda n: iter([("memory", 1.0), ("mAP", 0.0)]))
    monkeypatch.setattr(gpu, "features", lambda _, preset: features(100, preset=preset, d=16))
    seen = []
    with pytest.raises(RuntimeError, match=r"disagree: \{'memory': 1\.0\}"):
        for row in gpu.checks(quick=True):
            seen.append(row["check"])
    assert seen == ["memory", "mAP", "k-NN, seconds", "k-NN and Jaccard, seconds"]
