"""A short run of benchmarks/fuzz.py: damaged files are refused or read right."""

import pytest

from benchmarks.fuzz import BAD, KINDS, REFUSED, became


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(("kind", "count"), {**dict.fromkeys(KINDS, 30), "JPEG": 140, "PNG": 70}.items())
def test_damaged_files_are_refused_or_read_right(tmp_path, monkeypatch, kind: str, count: int) -> None:
    monkeypatch.chdir(tmp_path)
    wholes = KINDS[kind][1](kind)
    found = [became(kind, number, wholes, seed=1) for number in range(count)]
    assert [(number, word) for number, (what, word, _) in enumerate(found) if what in BAD] == []
    assert sum(what == REFUSED for what, _, _ in found) > count / 4


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_files_are_not_refused(tmp_path, monkeypatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    _, make, read = KINDS[kind]
    assert {read(kind, whole, whole) for whole in make(kind)} == {"as before"}
