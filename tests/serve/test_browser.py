"""The search page as a person uses it, in chromium: by mouse, keyboard and a phone's width."""

import json
import re
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from reidlib.gallery.pictures import picture_files
from reidlib.serve import request
from tests.browser import click, console, opened, requests, resize

DROP = """
const carried = new DataTransfer();
for (const [name, bytes] of arguments[1]) carried.items.add(new File([new Uint8Array(bytes)], name));
const how = {bubbles: true, cancelable: true};
document.querySelector("main").dispatchEvent(arguments[0] === "paste"
    ? new ClipboardEvent("paste", {...how, clipboardData: carried})
    : new DragEvent("drop", {...how, dataTransfer: carried}));
"""


@pytest.fixture
def chrome(browser, server):
    with opened(browser, server.address):
        until(browser, "return document.documentElement.dataset.ready === 'true'")
        yield browser


def until(chrome, script):
    return WebDriverWait(chrome, 60, poll_frequency=0.05).until(lambda _: chrome.execute_script(script))


def one(chrome, selector):
    return chrome.find_element(By.CSS_SELECTOR, selector)


def every(chrome, selector):
    return chrome.find_elements(By.CSS_SELECTOR, selector)


def bring(chrome, how, *files):
    chrome.execute_script(DROP, how, [[file.name, list(file.read_bytes())] for file in files])


def said(chrome, words):
    """Wait until the page says it."""
    until(chrome, f"return document.querySelector('#verdict').textContent.includes({json.dumps(words)})")
    return one(chrome, "#verdict").text


def rows(chrome):
    sources = [image.get_attribute("src") for image in every(chrome, ".answer img")]
    return [int(source.rpartition("/")[2]) for source in sources]


def whole(chrome):
    """Nothing lies outside the window's width, and every picture that is in sight has come."""
    shown = "[...document.images].filter((image) => image.loading !== 'lazy' && image.checkVisibility())"
    until(chrome, f"return {shown}.every((image) => image.naturalWidth)")
    return chrome.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_the_page_opens_with_what_there_is(chrome):
    assert one(chrome, "h1").text == "Who is this?" and not one(chrome, "#results").is_displayed()
    assert one(chrome, "#facts").text == ("24 pictures of 2 cameras, from 77 to 100, by model (icsr on crops)")
    assert len(every(chrome, "#gallery li button")) == 24 and not one(chrome, "#more").is_displayed()
    assert whole(chrome)


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_that_is_dropped_or_pasted_is_searched_for(chrome, crops, how):
    bring(chrome, how, picture_files(crops)[6])
    assert said(chrome, "Known: the first is almost certainly the same, P(same)").endswith("1 % of strangers pass.")
    assert rows(chrome)[0] == 6 and rows(chrome)[1] in (18, 19) and len(rows(chrome)) == 12
    first, third = every(chrome, ".answer")[0].text, every(chrome, ".answer")[2].text
    assert re.search(r"P\(same\) 0\.9\d known", first) and "camera <b>door</b>&amp; · time 94" in first
    assert "known" not in third and "almost certainly not the same" in third
    assert one(chrome, "#query figcaption").text == "searching for 000.png" and whole(chrome)


def test_a_chosen_file_that_nobody_knows(chrome, tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 40), "white").save(tmp_path / "stranger.png")
    one(chrome, "#file").send_keys(str(tmp_path / "stranger.png"))
    said(chrome, "Nobody known: none passes the threshold that 1 % of strangers pass. The nearest are below.")
    assert "nobody" in one(chrome, "#verdict").get_attribute("class") and len(rows(chrome)) == 12


def test_a_click_on_the_gallery_searches_and_a_hit_is_followed(chrome):
    click(chrome, every(chrome, "#gallery li button")[6])
    said(chrome, "Known: the first is almost certainly the same")
    assert rows(chrome)[0] in (18, 19) and 6 not in rows(chrome)
    until(chrome, "return document.querySelector('#query figcaption').textContent.includes('camera')")
    hit = rows(chrome)[0]
    click(chrome, one(chrome, ".answer button"))
    until(chrome, "return document.querySelector('#context').open")
    assert one(chrome, "#context-title").text == f"<img src=x onerror=alert({hit})>{hit}.png"
    assert len(every(chrome, "#tracklet li")) == 2 and len(every(chrome, "#around li")) in range(9, 13)
    [mine] = every(chrome, "#around button[aria-current=true]")
    assert mine.text == str(100 - hit)
    click(chrome, every(chrome, "#around button")[0])
    until(chrome, "return document.querySelector('#around button').getAttribute('aria-current') === 'true'")
    click(chrome, one(chrome, "#search-this"))
    until(chrome, "return location.hash === '#row=23' && !document.querySelector('#context').open")
    until(chrome, "return document.querySelector('#query img').src.endsWith('/23')")
    said(chrome, "the first is")
    chrome.back()
    until(chrome, "return document.querySelector('#query img').src.endsWith('/6')")


def test_an_address_with_a_row_opens_its_search(chrome, server):
    chrome.get("about:blank")
    chrome.get(f"{server.address}#row=12")
    said(chrome, "the first is")
    assert len(rows(chrome)) == 11


def test_limits_change_the_answers_and_the_list(chrome):
    click(chrome, every(chrome, "#gallery li button")[6])
    said(chrome, "the first is")
    click(chrome, every(chrome, "#cameras input")[0])
    until(chrome, "return document.querySelectorAll('#gallery li').length === 12")
    until(chrome, "return document.querySelectorAll('.answer').length === 5")
    assert set(rows(chrome)) < set(range(12))
    click(chrome, one(chrome, "#every"))
    until(chrome, "return document.querySelectorAll('.answer').length === 11")
    one(chrome, "#since").send_keys("98", Keys.TAB)
    until(chrome, "return document.querySelectorAll('.answer').length === 3")
    assert set(rows(chrome)) == {0, 1, 2}
    one(chrome, "#until").send_keys("50", Keys.TAB)
    assert said(chrome, "No answer: nothing in the gallery passes the limits.")
    assert one(chrome, "#gallery-count").text == "No picture passes the limits."


def test_what_is_no_picture_a_bomb_or_too_large_is_told_of(chrome, crops, tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.ppm"
    bomb.write_bytes(b"P6 60000 60000 255\n" + bytes(64))
    text = tmp_path / "text.png"
    text.write_text("<script>document.title = 'x'</script>")
    for file, words in ((bomb, "60000 x 60000 pixels, over max_megapixels = 50"), (text, "no picture of a format")):
        bring(chrome, "drop", file)
        said(chrome, words)
        assert one(chrome, "#verdict").get_attribute("role") == "alert" and not one(chrome, "#results").is_displayed()
    bring(chrome, "drop")
    said(chrome, "That is no picture file.")
    assert chrome.title == "Who is this? · reidlib"
    errors = console(chrome)  # chromium writes a line for each answer that is an error, which a page cannot help
    assert len(errors) == 2 and all("400 (Bad Request)" in line for line in errors)
    monkeypatch.setattr(request, "UPLOAD_BYTES", 10)
    chrome.refresh()
    until(chrome, "return document.documentElement.dataset.ready === 'true'")
    bring(chrome, "paste", picture_files(crops)[0])
    said(chrome, "MiB; save it smaller")
    assert not one(chrome, "#results").is_displayed()


def test_hostile_names_are_text(chrome, crops):
    """They are shown letter for letter, and made nothing else: no element of theirs, no request, no line of theirs."""
    bring(chrome, "drop", picture_files(crops)[6])
    said(chrome, "the first is")
    click(chrome, one(chrome, ".answer button"))
    until(chrome, "return document.querySelector('#context').open")
    text = one(chrome, "body").text
    for name in ("<b>door</b>&amp;", '=HYPERLINK("http://x")', "<script>document.title='x'</script>",
                 "<img src=x onerror=alert(6)>06.png"):  # fmt: skip
        assert name in text
    assert not every(chrome, "main b, dialog b, main script, dialog script, [onerror]")
    assert chrome.title == "Who is this? · reidlib"


def test_the_list_is_saved_without_formulas(chrome, crops, tmp_path):
    chrome.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    bring(chrome, "drop", picture_files(crops)[6])
    said(chrome, "the first is")
    click(chrome, one(chrome, "#save"))
    path = Path(tmp_path, "answers.csv")
    WebDriverWait(chrome, 60).until(lambda _: path.is_file() and path.stat().st_size)
    lines = path.read_text().splitlines()
    assert len(lines) == 13 and lines[0].startswith('"rank","similarity","row","path","camera"')
    assert "'=HYPERLINK" in path.read_text() and not re.search(r'(^|,)"?[=@+]', path.read_text(), re.MULTILINE)


def test_it_is_used_by_keyboard_alone(chrome):
    chrome.execute_script("document.querySelector('#gallery li button').focus()")
    chrome.switch_to.active_element.send_keys(Keys.ENTER)
    said(chrome, "the first is")
    chrome.execute_script("document.querySelector('.answer button').focus()")
    chrome.switch_to.active_element.send_keys(Keys.ENTER)
    until(chrome, "return document.activeElement.id === 'search-this'")
    chrome.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(chrome, "return !document.querySelector('#context').open")
    assert chrome.execute_script("return document.activeElement.matches('.answer button')")


def test_everything_that_can_be_used_has_a_name(chrome):
    """As a screen reader is told: no button, box or picture without words, one heading of the first rank."""
    click(chrome, every(chrome, "#gallery li button")[6])
    said(chrome, "the first is")
    click(chrome, one(chrome, ".answer button"))
    until(chrome, "return document.querySelector('#context').open")
    nodes = chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    told = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    kinds = {"button", "checkbox", "combobox", "spinbutton", "textbox", "link", "image", "dialog", "form", "region"}
    assert {role for role, name in told if role in kinds and not name.strip()} == set()
    assert ("button", "Search for this picture") in told and len(every(chrome, "h1")) == 1


def test_a_phone_and_the_dark(chrome, crops):
    resize(chrome, 360, 740, dark=True)
    bring(chrome, "drop", picture_files(crops)[6])
    said(chrome, "the first is")
    assert whole(chrome)
    cards = [card.rect for card in every(chrome, ".answer")]
    assert all(card["x"] >= 0 and card["x"] + card["width"] <= 360 for card in cards)
    click(chrome, one(chrome, ".answer button"))
    until(chrome, "return document.querySelector('#context').open")
    box = one(chrome, "#context").rect
    assert whole(chrome) and box["x"] >= 0 and box["x"] + box["width"] <= 360
    colours = chrome.execute_script(
        "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
    )
    light, dark = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert light > 600 > 150 > dark


def test_who_must_wait_is_told_and_served(chrome, server, monkeypatch):
    monkeypatch.setattr(request, "WAIT_SECONDS", 0.01)
    with server.turn:
        click(chrome, every(chrome, "#gallery li button")[0])
        said(chrome, "Many are searching; waiting for a turn …")
    said(chrome, "the first is")
    assert all("503" in line for line in console(chrome))


def test_a_server_that_ended_is_told_of(browser, page):
    from tests.serve.conftest import serving

    with serving(page) as server:
        browser.get(server.address)
        until(browser, "return document.documentElement.dataset.ready === 'true'")
    click(browser, every(browser, "#gallery li button")[0])
    said(browser, "The server does not answer. Is reidlib serve still running?")
    console(browser), requests(browser)
