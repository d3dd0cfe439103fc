"""The page of questions as a person uses it, in chromium: by keys, buttons, and on a phone."""

import json
import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.asked import truth
from tests.browser import click, console, opened, requests, resize
from tests.serve.conftest import CAMERA, asking_page, serving
from tests.serve.test_asking import lines
from tests.serve.test_browser import every, one, until, whole


@pytest.fixture
def server(asked_about):
    with serving(asking_page(asked_about, count=20)) as running:
        yield running


@pytest.fixture
def chrome(browser, server):
    with opened(browser, server.address):
        ready(browser)
        yield browser


def ready(chrome):
    """Wait until an answer would be taken."""
    until(chrome, "return document.querySelector('#asking').dataset.open === 'true'")


def press(chrome, *keys):
    for key in keys:
        ready(chrome)
        one(chrome, "body").send_keys(key)
        until(chrome, "return !document.querySelector('#asking[aria-busy]')")


def told(chrome):
    return one(chrome, "#asking .told").text


def asked(chrome):
    return [name.get_attribute("title") for name in every(chrome, "figure.side .name")]


def test_two_pictures_are_shown_with_what_is_known_of_them(chrome, server):
    assert one(chrome, "h1").text == "Are these two the same individual?" and len(every(chrome, "figure.side")) == 2
    names = [server.page.asking.name(row) for row in server.page.asking.question()]
    assert asked(chrome) == names and whole(chrome)
    assert CAMERA.strip() in one(chrome, "figure.side figcaption").text  # letter for letter
    assert told(chrome).startswith("0 of 20 answered · links.csv: 0 same, 0 different, 0 skipped · ")
    sides = [side.rect for side in every(chrome, "img.asked")]
    assert sides[0]["y"] == sides[1]["y"] and sides[0]["x"] < sides[1]["x"] and sides[0]["height"] > 300
    assert not every(chrome, "main [onerror], main b") and chrome.title == "The same individual? · reidlib"


def test_keys_answer_skip_and_take_back(chrome, asked_about):
    first = asked(chrome)
    press(chrome, "s")
    ready(chrome)
    assert asked(chrome) != first and lines(asked_about)[0]["answer"] == "same"
    press(chrome, "D", "k")
    ready(chrome)
    assert [line["answer"] for line in lines(asked_about)] == ["same", "different", "skip"]
    assert told(chrome).startswith("3 of 20 answered · links.csv: 1 same, 1 different, 1 skipped · ")
    press(chrome, "u", "u", "u")
    ready(chrome)
    assert asked(chrome) == first and lines(asked_about) == []
    press(chrome, "u", "x", Keys.ENTER)
    one(chrome, "body").send_keys(Keys.CONTROL, "s")
    ready(chrome)
    assert asked(chrome) == first and lines(asked_about) == []


def test_a_key_that_is_pressed_twice_or_held_answers_once(chrome, asked_about):
    one(chrome, "body").send_keys("sssss")
    until(chrome, "return document.querySelector('.told').textContent.startsWith('1 of')")
    ready(chrome)
    assert len(lines(asked_about)) == 1
    for repeat in (False, True, True):
        ready(chrome)
        event = json.dumps({"key": "d", "repeat": repeat, "bubbles": True})
        chrome.execute_script(f"document.body.dispatchEvent(new KeyboardEvent('keydown', {event}))")
    ready(chrome)
    assert [line["answer"] for line in lines(asked_about)] == ["same", "different"]


def test_buttons_answer_and_a_double_click_does_so_once(chrome, asked_about):
    for name in ("same", "different", "skip"):
        ready(chrome)
        chrome.execute_script("const b = document.querySelector(arguments[0]); b.click(); b.click()", f".answer-{name}")
    ready(chrome)
    assert [line["answer"] for line in lines(asked_about)] == ["same", "different", "skip"]
    click(chrome, one(chrome, ".answer-undo"))
    ready(chrome)
    assert len(lines(asked_about)) == 2


def test_it_is_used_by_keyboard_alone(chrome, asked_about):
    one(chrome, "body").send_keys(Keys.TAB)
    assert chrome.switch_to.active_element.text.startswith("Same")
    chrome.switch_to.active_element.send_keys(Keys.ENTER)
    ready(chrome)
    chrome.switch_to.active_element.send_keys(Keys.TAB, Keys.SPACE)
    ready(chrome)
    assert [line["answer"] for line in lines(asked_about)] == ["same", "different"]


def test_to_the_end_and_on_again(chrome, server, asked_about):
    for given in range(20):
        press(chrome, "s" if truth(*asked(chrome)) == "same" else "d")
        until(chrome, f"return document.querySelector('.told').textContent.startsWith('{given + 1} of 20')")
        ready(chrome)
    assert "20 questions are answered." in one(chrome, "#asking .panel").text and len(lines(asked_about)) == 20
    assert "dvc exp run -S dataset=synthetic -S recipe=assisted_cues" in one(chrome, "#asking .panel").text
    shown = [button.text for button in every(chrome, ".keys button") if button.is_displayed()]
    assert len(shown) == 1 and shown[0].startswith("Undo") and whole(chrome)
    press(chrome, "s", "u")
    ready(chrome)
    assert len(asked(chrome)) == 2 and len(lines(asked_about)) == 19
    chrome.refresh()
    ready(chrome)
    assert told(chrome).startswith("19 of 20 answered")
    server.page.asking.propose = lambda: []
    press(chrome, "d")
    server.page.count = 100
    chrome.refresh()
    ready(chrome)
    assert "Nothing more is worth asking" in one(chrome, "#asking .panel").text


def test_a_contradiction_is_shown_with_its_chain_and_the_next_pair_asked(chrome, asked_about, server):
    first, second = asked(chrome)
    asked_about.write_text(f'first,second,answer\n"{first}","{second}",different\n')
    press(chrome, "s")
    until(chrome, "return document.querySelector('.message.error')?.checkVisibility()")
    message = one(chrome, ".message.error")
    assert "Not kept. links: a pair is different" in message.text and "(this answer)" in message.text
    assert message.get_attribute("role") == "alert" and first in message.text
    ready(chrome)
    assert asked(chrome) != [first, second] and [line["answer"] for line in lines(asked_about)] == ["different"]
    press(chrome, "k")
    ready(chrome)
    assert not message.is_displayed()
    assert all("409 (Conflict)" in line for line in console(chrome))


def test_an_answer_in_another_window_is_not_answered_again(chrome, server, asked_about):
    server.page.asking.answer(*server.page.asking.question(), "same")
    server.page.state()
    press(chrome, "d")
    until(chrome, "return document.querySelector('.message.error')?.checkVisibility()")
    assert one(chrome, ".message.error").text == "Not kept: this pair is not asked any more."
    ready(chrome)
    assert [line["answer"] for line in lines(asked_about)] == ["same"]
    assert all("409 (Conflict)" in line for line in console(chrome))


def test_a_phone_and_the_dark(chrome):
    resize(chrome, 360, 740, dark=True)
    assert whole(chrome)
    boxes = [element.rect for element in every(chrome, "img.asked")]
    assert boxes[0]["y"] == boxes[1]["y"] and all(box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)
    keys = chrome.execute_script("return document.querySelector('.keys').getBoundingClientRect().toJSON()")
    assert 0 < keys["top"] < keys["bottom"] <= 740  # in sight without scrolling
    assert all(button.rect["height"] >= 44 for button in every(chrome, ".keys button"))
    colours = chrome.execute_script(
        "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert light > 600 > 150 > dark


def test_everything_that_can_be_used_or_seen_has_a_name(chrome):
    press(chrome, "k")
    ready(chrome)
    nodes = chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    kinds = {"button", "image", "figure", "region", "progressbar", "progress"}
    assert {role for role, name in named if role in kinds and not name.strip()} == set()
    buttons = [name.strip() for role, name in named if role == "button"]
    assert buttons == ["Same", "Different", "Skip", "Undo"]
    pictures = [name for role, name in named if role == "image"]
    assert pictures[0].startswith("left picture: ") and len(every(chrome, "h1")) == 1


def test_a_server_that_ended_is_told_of(browser, asked_about):
    with serving(asking_page(asked_about)) as server:
        browser.get(server.address)
        ready(browser)
    press(browser, "s")
    until(browser, "return document.querySelector('.message.error')?.checkVisibility()")
    assert "The server does not answer. Is reidlib ask still running?" in one(browser, ".message.error").text
    ready(browser)  # it may be tried again
    assert browser.find_elements(By.CSS_SELECTOR, "figure.side")
    console(browser), requests(browser)
