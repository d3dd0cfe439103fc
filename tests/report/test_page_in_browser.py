"""The page in a browser, from the disk, with and without identities: it is clicked through, and asks for nothing."""

import csv
import io
import json

import numpy as np
import pytest
from selenium.webdriver.support.wait import WebDriverWait

from reidlib.labels.links import read_links
from reidlib.report.page import write_page
from tests.browser import click, console, requests, resize
from tests.made_up_run import CAMERA_NAMES, HOSTILE, grey_maps, made_up_run

FACTS = {"recipe": "icsr", "dataset": "<i>mine</i>", "seed": 1}
SETTINGS = {"facts": FACTS, "method": "A ramp.", "seed": 1, "neighbours": 5, "pictures": 1000}


@pytest.fixture(scope="module", params=[True, False], ids=["known", "unknown"])
def run(request):
    return made_up_run(known=request.param)


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, run, grey_maps, **SETTINGS)
    return path


@pytest.fixture
def page(browser, file):
    """The page, newly opened; when the test ends it has asked for nothing but itself, and said nothing."""
    console(browser), requests(browser)
    browser.get(file.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    yield browser
    assert console(browser) == [] and requests(browser) == [file.as_uri()]
    assert browser.execute_script("return window.hacked") is None
    resize(browser, 1280, 900)


def press(page, selector, number=0):
    """Click what may be to come."""
    wait(page, f"document.querySelectorAll({json.dumps(selector)}).length > {number}")
    click(page, page.find_elements("css selector", selector)[number])


def texts(page, selector):
    return [found.text for found in page.find_elements("css selector", selector)]


def wait(page, condition):
    page.execute_async_script(
        "const [condition, done] = arguments, test = new Function('return ' + condition);"
        "const look = () => test() ? done() : setTimeout(look, 20); look();", condition
    )  # fmt: skip


def shown(page, selector):
    """Numbers of the pictures in a part of the page."""
    return [
        int(found.get_attribute("data-picture")) for found in page.find_elements("css selector", f"{selector} .picture")
    ]


def test_an_individual_opens_to_its_pictures_camera_by_camera(page, run):
    assert texts(page, "#shown") == ["8 of 8"]
    press(page, "#individual-2 summary")
    wait(page, "document.querySelectorAll('#individual-2 h4').length == 2")
    heads = texts(page, "#individual-2 h4")
    rows = np.flatnonzero(run.labels == 2)
    counts = [int((run.splits["train"].cameras[rows] == camera).sum()) for camera in (0, 1)]
    assert heads == [f"camera {CAMERA_NAMES[camera]} · {counts[camera]}" for camera in (0, 1)]  # markup is text
    assert sorted(shown(page, "#individual-2 .all")) == rows.tolist()
    wait(page, "[...document.querySelectorAll('#individual-2 .all img')].every((i) => i.naturalWidth == 16)")


def test_individuals_are_filtered_and_sorted(page, run):
    sizes = np.bincount(run.labels[run.labels >= 0])
    first = texts(page, "#clusters summary strong")
    assert first[0] == f"Individual {np.argmax(sizes)}"
    press(page, "#only-doubtful")
    doubtful = texts(page, "#clusters summary strong")
    assert texts(page, "#shown") == [f"{len(doubtful)} of 8"] and len(doubtful) == 3
    assert all("doubtful: may be" in text for text in texts(page, "#clusters summary"))
    press(page, "#only-doubtful")
    row = int(np.flatnonzero(run.labels == 4)[0])
    page.find_element("id", "filter").send_keys(f"/{row}.jpg")
    assert texts(page, "#clusters summary strong") == ["Individual 4"]


def test_doubts_show_their_pictures_and_lead_to_the_individuals(page, run):
    page.execute_script("document.getElementById('nearly-one').scrollIntoView()")
    wait(page, "document.querySelectorAll('#nearly-one .picture').length > 1")
    one, other = (int(text.split()[1]) for text in texts(page, "#nearly-one .doubt h4 button")[:2])
    people = [set(np.flatnonzero(run.labels == cluster).tolist()) for cluster in (one, other)]
    assert set(shown(page, "#nearly-one .doubt")) <= people[0] | people[1]
    press(page, "#nearly-one .doubt h4 button")
    wait(page, f"document.querySelector('#individual-{one} details').open")


def shown_question(page):
    """Wait until an answer would be taken; the paths of the two pictures."""
    page.execute_script("document.getElementById('asking').scrollIntoView({behavior: 'instant'})")
    wait(page, "document.getElementById('questions').dataset.open === 'true'")
    return [name.get_attribute("title") for name in page.find_elements("css selector", "#questions .side .name")]


def answer(page, key):
    before = shown_question(page)
    page.find_element("id", "questions").send_keys(key)
    shown_question(page)
    return before


def test_pairs_are_asked_by_keys_and_the_answers_saved(page, run, tmp_path):
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    asked, paths = [], run.names["path"].tolist()
    first = shown_question(page)
    page.find_element("css selector", "body").send_keys("s")  # the keys are heard in the question alone
    assert shown_question(page) == first and not page.find_element("id", "save-links").is_enabled()
    for key in "sdk":
        asked.append([paths.index(path) for path in answer(page, key)])
        assert asked[-1] not in asked[:-1]
    assert texts(page, "#questions .told")[0].startswith("3 of ")
    assert "answered: 1 same, 1 different, 1 skipped" in texts(page, "#questions .told")[0]
    press(page, "#questions .answer-undo")
    assert [paths.index(path) for path in shown_question(page)] == asked[2]
    press(page, "#save-links")
    file = tmp_path / "links.csv"
    WebDriverWait(page, 60).until(lambda _: file.is_file() and file.stat().st_size)
    told = [one[:3] for one in read_links(file, run.splits["train"])]
    assert told == [(*asked[0], "same"), (*asked[1], "different")]


def test_what_follows_from_answers_is_not_asked_and_names_are_quoted(page, run):
    answers = [[["a", 1], ["b", 2], "same"], [["b", 2], ["c", 3], "different"], [["c", 3], ["d", 4], "skip"]]
    found = page.execute_script(
        "const side = ([name, group]) => ({name, group}), kept = facts.questions.apart;"
        "facts.questions.apart = [[3, 5]];"
        "for (const [a, b, answer] of arguments[0]) answers.push({pair: [side(a), side(b)], answer});"
        "const pairs = [[1, 2], [1, 3], [3, 2], [1, 4], [3, 4], [5, 3], [5, 1]];"
        "const found = pairs.map((pair) => follows(pair.map((group) => ({group}))));"
        "answers[0].pair[0].name = 'a, \"b\"\\n.jpg';"
        "const file = linksFile(); answers.length = 0; facts.questions.apart = kept; return [found, file];", answers
    )  # fmt: skip
    assert found[0] == [True, True, True, False, False, True, False]
    assert list(csv.reader(io.StringIO(found[1], newline=""))) == [
        ["first", "second", "answer"], ['a, "b"\n.jpg', "b", "same"], ["b", "c", "different"], ["c", "d", "skip"]
    ]  # fmt: skip


def test_search_ranks_as_the_embeddings_do_and_a_hit_is_followed(page, run):
    row = int(np.flatnonzero(run.labels == 3)[0])
    press(page, "#individual-3 summary")
    press(page, f"#individual-3 .all [data-picture='{row}']")
    cameras, embeddings = run.splits["train"].cameras, run.embeddings["train"]
    others = np.flatnonzero(cameras != cameras[row])
    expected = others[np.argsort(-(embeddings[others] @ embeddings[row]), kind="stable")]
    hits = shown(page, "#who-hits")
    assert hits[:3] == expected[:3].tolist() and set(hits) == set(others.tolist())
    share = float(run.calibration.probability(float(embeddings[hits[0]] @ embeddings[row]), (0, 1)))
    said = texts(page, "#who-hits .picture")[0]
    assert (f"{share * 100:.0f}\N{NO-BREAK SPACE}%" if share < 0.995 else ">99") in said.replace(
        " ", "\N{NO-BREAK SPACE}"
    )
    known = bool((run.identities["train"] > 0).any())
    right = run.identities["train"][hits[0]] == run.identities["train"][row]
    marks = page.find_element("css selector", "#who-hits .picture").get_attribute("class").split()
    assert ("right" in marks) == (known and right) and ("✓" in said) == (known and right)
    assert run.names["path"][row] in texts(page, "#who-picture")[0]
    press(page, "#who-hits .picture", 5)
    assert run.names["path"][hits[5]] in texts(page, "#who-picture")[0]
    press(page, "#who-back")
    assert shown(page, "#who-hits") == hits
    press(page, "#who-others")
    assert len(shown(page, "#who-hits")) == 40 and texts(page, "#who-more") == ["More"]  # of 47, in steps
    page.find_element("id", "who-close").send_keys("\ue00c")  # Escape
    wait(page, "!document.getElementById('who').open")


def test_the_queries_to_look_at_are_there(page, run):
    page.execute_script("document.getElementById('queries').scrollIntoView()")
    wait(page, "document.querySelectorAll('#queries .query .first').length > 2")
    known = bool((run.identities["query"] > 0).any())
    assert texts(page, "#queries h3")[0] == ("Best queries" if known else "Surest pictures")
    first = shown(page, "#queries .query .first")[0]
    assert (first >= 48) == known


def test_a_point_of_the_map_shows_its_picture_and_leads_to_its_search(page):
    page.execute_script("document.getElementById('plane').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = page.execute_script(
        "const box = canvas.getBoundingClientRect(), [x, y] = placeOf(7);"
        "const at = {clientX: box.left + x + 1, clientY: box.top + y + 1, bubbles: true};"
        "window.found = pointAt(x, y); canvas.dispatchEvent(new PointerEvent('pointermove', at)); return [x, y];"
    )
    assert texts(page, "#hint")[0].startswith(page.execute_script("return nameOf(found)"))
    drawn = page.execute_script(
        "draw(); const ratio = devicePixelRatio;"
        "return [...canvas.getContext('2d').getImageData(arguments[0] * ratio, arguments[1] * ratio, 1, 1).data]", x, y
    )  # fmt: skip
    assert drawn[3] > 0
    press(page, "#zoom-in")
    assert page.execute_script("return view.scale") > 1
    page.find_element("id", "plane").send_keys("0")
    assert page.execute_script("return view.scale") == 1
    page.execute_script("openSearch(found)")
    assert page.execute_script("return dialog.open")
    options = texts(page, "#colour option")
    assert options[:3] == ["individual", "camera", "epoch of joining"] and ("identity" in options) == (
        page.execute_script("return facts.pictures.identity !== null")
    )


def test_it_reads_on_a_phone_in_the_dark_and_in_print(page, tmp_path):
    light = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    resize(page, 360, 740, dark=True)
    assert page.execute_script("return [document.documentElement.scrollWidth <= innerWidth, innerWidth]") == [True, 360]
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") != light
    press(page, "#individual-2 summary")
    press(page, "#individual-2 .all .picture")
    assert page.execute_script(
        "return dialog.scrollWidth <= dialog.clientWidth && dialog.getBoundingClientRect().right <= innerWidth"
    )
    resize(page, 800, 1000, printed=True)
    state = "const seen = (id) => document.getElementById(id).getClientRects().length > 0;"
    assert page.execute_script(f"{state} return ['glance', 'doubtful', 'cameras', 'map', 'individuals'].map(seen)") == [
        True, True, True, False, False
    ]  # fmt: skip


def test_the_keyboard_reaches_it_all_and_pictures_have_names(page):
    summary = page.find_element("css selector", "#individual-2 summary")
    summary.send_keys("\ue007")  # Enter
    wait(page, "document.querySelector('#individual-2 details').open")
    labels = page.execute_script(
        "return [...document.querySelectorAll('.picture')].map((e) => e.getAttribute('aria-label'))"
    )
    assert labels and all(label and "camera" in label for label in labels)
    unnamed = page.execute_script(
        "const named = (e) => e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('alt') !== null"
        " || (e.labels && e.labels.length);"
        "return [...document.querySelectorAll('button, select, input, canvas, svg, img')].filter((e) => !named(e))"
        ".map((e) => e.outerHTML.slice(0, 90))"
    )
    assert unnamed == []
    assert HOSTILE in page.execute_script("return facts.pictures.path.find((path) => path.includes('script'))")
