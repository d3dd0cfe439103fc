"""`reidlib ask` on a small set: it asks, keeps, undoes, lists, takes, and refuses what contradicts."""

import csv
import io
import urllib.request

import pytest

from reidlib.commands.ask import ask, main
from reidlib.commands.compose import compose_values
from reidlib.labels.asking import open_asking
from reidlib.labels.links import read_links
from reidlib.serve.server import PageServer
from tests.asked import make_asked, person


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ask")
    make_asked(folder)
    return folder


@pytest.fixture
def repository(made, monkeypatch):
    (made / "data/synthetic/links.csv").unlink(missing_ok=True)
    monkeypatch.chdir(made)
    return made / "data/synthetic/links.csv"


def params():
    return compose_values([])


def test_it_asks_and_keeps_every_answer_at_once(repository, capsys):
    asking, typed = open_asking(params()), []

    def read(_):
        shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  cam")]
        if len(typed) == 12:
            return "q"
        typed.append("s" if person(shown[0]) == person(shown[1]) else "d")
        assert len(read_links(repository, asking.split) if repository.exists() else []) == len(typed) - 1
        return typed[-1]

    ask(asking, 100, read)
    told = list(csv.DictReader(repository.read_text().splitlines()))
    assert [{"same": "s", "different": "d"}[line["answer"]] for line in told] == typed and len(told) == 12
    assert {*typed} <= {"s", "d"}
    assert all((line["answer"] == "same") == (person(line["first"]) == person(line["second"])) for line in told)
    again = open_asking(params())
    assert again.answers == asking.answers
    asked = {frozenset(line[:2]) for line in again.answers}
    assert not asked & {frozenset(map(again.name, pair)) for pair in again.propose(50)}


def test_skip_undo_and_other_keys(repository, capsys):
    asking = open_asking(params())
    keys = iter(["x", "k", "u", "k", "s", "q"])
    ask(asking, 5, lambda _: next(keys))
    assert [answer for *_, answer in asking.answers] == ["skip", "same"]
    assert "1 same, 0 different" in capsys.readouterr().out
    assert len(asking.constraints().apart) == 0
    keys = iter(["u", "u", "u"])
    ask(asking, 1, lambda _: next(keys, "q"))
    assert asking.answers == [] and repository.read_text() == "first,second,answer\n"


def test_a_list_is_written_answered_and_taken(repository, tmp_path, capsys):
    main(["--list", str(tmp_path / "pairs.csv"), "--count", "6"])
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    assert len(lines) == 7 and all(line.endswith(",") for line in lines[1:])
    lines[1] += "same"
    lines[3] += "different"
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    main(["--take", str(tmp_path / "pairs.csv")])
    main(["--take", str(tmp_path / "pairs.csv")])
    assert repository.read_text().splitlines() == [lines[0], lines[1], lines[3]]
    assert "2 answers more, 2 in all" in capsys.readouterr().out


def test_an_answer_that_contradicts_is_shown_and_not_kept(repository):
    asking = open_asking(params())
    asking.answer(0, 1, "same")
    asking.answer(1, 2, "same")
    with pytest.raises(ValueError, match=r"this answer.*but the same by cam.*\.jpg = cam.*links.csv, line 2"):
        asking.answer(0, 2, "different")
    assert len(asking.answers) == 2 and len(read_links(repository, asking.split)) == 2


def test_what_somebody_else_answers_meanwhile_is_kept_and_a_contradiction_told(repository, capsys):
    asking = open_asking(params())

    def read(_):
        if len(asking.answers) == 0:
            first, second = (asking.name(row) for row in asking.question())
            repository.write_text(f"first,second,answer\n{first},{second},different\n")
            return "s"
        return "q"

    ask(asking, 5, read)
    told = capsys.readouterr().out
    assert "not kept: links: a pair is different" in told and "(links.csv, line 2), but the same by" in told
    assert [answer for *_, answer in open_asking(params()).answers] == ["different"]


def ended(server):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("display", "opened"), [("", 0), (":0", 1)])
def test_the_page_is_served_and_opened_where_there_is_a_display(repository, monkeypatch, capsys, display, opened):
    addresses, pages = [], []
    monkeypatch.setattr("webbrowser.open", addresses.append)
    monkeypatch.setattr(PageServer, "serve_forever", lambda server: pages.append(server.page) or ended(server))
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    main(["--port", "0", "--count", "7"])
    told = capsys.readouterr().out
    assert "the questions are asked at http://127.0.0.1:" in told and len(addresses) == opened
    assert pages[0].count == 7 and "dvc exp run -S dataset=synthetic -S recipe=assisted_cues" in told
    with pytest.raises(OSError, match="refused"):  # nothing listens any more
        urllib.request.urlopen(told.split(" at ")[1].split()[0])


def test_the_terminal_asks_by_names(repository, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    main(["--terminal"])
    assert "1 of 100\n  cam" in capsys.readouterr().out


def test_options_that_cannot_be_are_refused(capsys):
    for wrong in (["--count", "0"], ["--list", "a.csv", "--take", "b.csv"], ["--terminal", "--list", "a.csv"]):
        with pytest.raises(SystemExit):
            main(wrong)
        assert "expected --count" in capsys.readouterr().err
