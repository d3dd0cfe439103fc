"""The page of questions over HTTP: who may answer what, what is kept of it, and what is not."""

import csv
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from reidlib.labels.links import read_links
from tests.asked import truth
from tests.serve.conftest import CAMERA, asking_page, serving
from tests.serve.test_server import ask


@pytest.fixture
def server(asked_about):
    with serving(asking_page(asked_about)) as running:
        yield running


def state(server):
    return json.loads(ask(server, "GET", "/state")[2])


def send(server, path="/answer", *, headers=(), **sent):
    """Send an answer to the pair that is asked, with the page's token, unless it is said otherwise."""
    now = state(server)
    body = {"token": now["token"], **{key: (now["question"] or {}).get(key) for key in ("first", "second")}, **sent}
    status, _, content = ask(server, "POST", path, json.dumps(body).encode(), **dict(headers))
    return status, json.loads(content)


def lines(links):
    return list(csv.DictReader(links.read_text().splitlines())) if links.exists() else []


def names(asked):
    return [side["path"] for side in asked["question"]["sides"]]


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/", "text/html; charset=utf-8", b"Are these two the same individual?"),
        ("/ask.js", "text/javascript; charset=utf-8", b"/answer"),
        ("/asking.js", "text/javascript; charset=utf-8", b"function askingPanel"),
        ("/make.js", "text/javascript; charset=utf-8", b"function make"),
        ("/look.css", "text/css; charset=utf-8", b":root"),
        ("/state", "application/json", b'"question"'),
    ],
)
def test_what_the_page_needs_is_served_under_its_policy(server, path, kind, words):
    status, headers, content = ask(server, "GET", path)
    assert status == 200 and headers["Content-Type"] == kind and words in content
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert ask(server, "GET", path, Host="evil.example")[0] == 421
    assert ask(server, "GET", "/page.js")[0] == 404 and ask(server, "POST", "/search", b"")[0] == 404


def test_a_question_has_two_pictures_with_what_is_told_of_them(server):
    split = server.page.asking.split
    for side, row in zip(state(server)["question"]["sides"], server.page.asking.question(), strict=True):
        status, headers, content = ask(server, "GET", side["source"])
        assert status == 200 and headers["Content-Type"] == "image/webp"
        found = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float64)
        assert found.shape == (16, 8, 3) and abs(found.mean() - split.images[row].mean()) < 8
        told = dict(side["told"])
        assert told["camera"].startswith(CAMERA) and side["name"] in side["path"] and "<" not in side["name"]
        assert ("time" in told) == ("tracklet" in told) == (split.tracklets[row] >= 0)
        strips = {strip["title"]: strip for strip in side["strips"]}
        assert ("Its tracklet" in strips) == (split.tracklets[row] >= 0)
        assert all(len(strip["pictures"]) <= min(8, strip["total"]) for strip in strips.values())
    assert ask(server, "GET", "/picture/96")[0] == 400 and ask(server, "GET", "/picture/-1")[0] == 404


def test_questions_are_answered_to_the_end_and_each_answer_is_kept_at_once(server, asked_about, asked_folder):
    server.page.count = 1000
    before = {path: path.stat().st_mtime_ns for path in asked_folder.rglob("*") if path.is_file()}
    now, given = state(server), 0
    without = now["clusters"]["now"]
    while now["question"]:
        answer = truth(*names(now))
        status, told = send(server, answer=answer)
        given += 1
        assert status == 200 and len(lines(asked_about)) == given == told["given"]
        assert [*lines(asked_about)[-1].values()] == [*names(now), answer]
        now = told
    assert given > 12 and now["answers"]["same"] + now["answers"]["different"] == given and now["answers"]["skip"] == 0
    after = {path: path.stat().st_mtime_ns for path in asked_folder.rglob("*") if path.is_file()}
    assert after.pop(asked_about) and after == before  # nothing else is written
    again = asking_page(asked_about).state()
    assert again["question"] is None and again["clusters"]["before"] == now["clusters"]["now"]
    assert now["clusters"]["before"] == without


def test_it_ends_where_as_many_are_answered_as_were_wanted(server):
    server.page.count = 2
    assert send(server, answer="skip")[1]["question"] and send(server, answer="different")[1]["question"] is None
    now = state(server)
    assert (now["given"], now["answers"]) == (2, {"same": 0, "different": 1, "skip": 1})
    last = dict(zip(("first", "second"), now["last"], strict=True))
    assert send(server, "/undo", **last)[1]["question"] == {**last, "sides": state(server)["question"]["sides"]}


def test_an_answer_that_is_sent_twice_is_kept_once_and_answers_nothing_else(server, asked_about):
    first = state(server)["question"]
    pair = {key: first[key] for key in ("first", "second")}
    assert send(server, answer="same", **pair)[0] == 200
    status, told = send(server, answer="same", **pair)
    assert status == 409 and "not asked any more" in told["error"]
    assert len(lines(asked_about)) == 1 and state(server)["question"] != first
    other = {"first": pair["second"], "second": pair["first"]}
    assert send(server, answer="same", **other)[0] == 409 and len(lines(asked_about)) == 1


def test_of_many_answers_at_once_one_is_kept(server, asked_about):
    now, statuses = state(server), []
    body = json.dumps({"token": now["token"], **{key: now["question"][key] for key in ("first", "second")},
                       "answer": "different"}).encode()  # fmt: skip
    threads = [
        threading.Thread(target=lambda: statuses.append(ask(server, "POST", "/answer", body)[0])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7 and len(lines(asked_about)) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Sec_Fetch_Site": "cross-site"}, 403),
     ({"Host": "evil.example"}, 421)],
)  # fmt: skip
def test_other_pages_cannot_answer(server, asked_about, headers, status):
    for path in ("/answer", "/undo"):
        assert send(server, path, answer="same", headers=headers.items())[0] == status
    assert ask(server, "GET", "/state", **headers)[0] == status  # nor read the token
    assert not asked_about.exists()


@pytest.mark.parametrize("token", ["", "é", "x" * 43])
def test_who_has_not_read_the_token_cannot_answer(server, asked_about, token):
    for path in ("/answer", "/undo"):
        status, told = send(server, path, answer="same", token=token)
        assert status == 403 and "started anew" in told["error"]
    assert not asked_about.exists()


@pytest.mark.parametrize(
    "sent", [{"answer": "perhaps"}, {"answer": None}, {"first": "x"}, {"second": None}, {"first": 1e999}]
)
def test_what_is_no_answer_is_told_of(server, asked_about, sent):
    status, told = send(server, **{"answer": "same", **sent})
    assert status == 400 and "expected" in told["error"] and not asked_about.exists()
    assert ask(server, "POST", "/answer", b"[]")[0] == 400 and ask(server, "POST", "/answer", b"\xff")[0] == 400


def test_a_contradiction_is_told_with_its_chain_and_not_kept(server, asked_about):
    now = state(server)
    first, second = names(now)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["first", "second", "answer"], [first, second, "different"]])
    asked_about.write_text(text.getvalue())  # by somebody else, meanwhile
    body = json.dumps({"token": now["token"], **{key: now["question"][key] for key in ("first", "second")},
                       "answer": "same"}).encode()  # fmt: skip
    status, _, content = ask(server, "POST", "/answer", body)
    told = json.loads(content)["error"]
    assert status == 409 and told.startswith("Not kept. links: a pair is different, though a chain")
    assert (
        f"{first} and {second} are different (links.csv, line 2), but the same by {first} = {second} (this answer)"
        in told
    )
    assert asked_about.read_text() == text.getvalue()
    later = state(server)
    assert later["question"]["first"] != now["question"]["first"] or later["question"] != now["question"]
    assert later["answers"]["different"] == 1 and later["given"] == 0


def test_undo_takes_the_newest_answer_back_and_asks_it_again(server, asked_about):
    one = state(server)["question"]
    send(server, answer="same")
    two = state(server)["question"]
    send(server, answer="different")
    pairs = [{key: pair[key] for key in ("first", "second")} for pair in (one, two)]
    status, told = send(server, "/undo", **pairs[0])
    assert status == 409 and "not the newest" in told["error"] and len(lines(asked_about)) == 2
    status, told = send(server, "/undo", **pairs[1])
    assert status == 200 and {key: told["question"][key] for key in ("first", "second")} == pairs[1]
    assert send(server, "/undo", **pairs[1])[0] == 409  # pressed twice
    with asked_about.open("a") as file:  # somebody else
        csv.writer(file, lineterminator="\n").writerow([*names({"question": two}), "skip"])
    assert send(server, "/undo", **pairs[0])[0] == 409 and len(lines(asked_about)) == 2
    assert send(server, "/undo", **pairs[1])[0] == 200
    assert [line["answer"] for line in lines(asked_about)] == ["same"] and told["given"] == 1


def test_it_goes_on_where_it_was(server, asked_about):
    asked = []
    for answer in ("same", "skip", "different"):
        asked.append({*names(state(server))})
        send(server, answer=answer)
    split = server.page.asking.split
    again = asking_page(asked_about)
    assert again.asking.answers == server.page.asking.answers and len(read_links(asked_about, split)) == 3
    told = again.state()
    assert told["given"] == 0 and told["answers"] == {"same": 1, "different": 1, "skip": 1}
    assert {*names(told)} not in asked
    with serving(again) as other:
        assert send(other, answer="skip", token=state(server)["token"])[0] == 403  # of the server before


def test_a_file_that_somebody_broke_is_told_of_and_left_as_it_is(server, asked_about):
    now = state(server)
    asked_about.write_text("first,second,answer\nnobody.jpg,nowhere.jpg,same\n")
    body = json.dumps({"token": now["token"], **{key: now["question"][key] for key in ("first", "second")},
                       "answer": "same"}).encode()  # fmt: skip
    for method, path, sent in (("POST", "/answer", body), ("GET", "/state", None)):
        status, _, content = ask(server, method, path, sent)
        assert status in (400, 409) and "line 2: 'nobody.jpg' is none of the training images" in content.decode()
    assert asked_about.read_text().endswith("nobody.jpg,nowhere.jpg,same\n")
