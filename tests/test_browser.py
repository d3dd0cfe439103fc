"""The browser of the tests sees what it is for: requests and lines of the console; and it is missed where required."""

import pytest

from tests.browser import console, find_browser, requests, resize

PAGE = """<!doctype html><meta charset="utf-8"><title>a page</title><link rel="icon" href="data:,">
<script>console.error("said aloud"); new Image().src = "file:///nowhere.png";</script>"""


def test_requests_and_errors_are_noted(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    console(browser), requests(browser)
    browser.get(page.as_uri())
    assert browser.title == "a page"
    assert any("said aloud" in line for line in console(browser))
    assert requests(browser) == [page.as_uri(), "file:///nowhere.png"]
    assert requests(browser) == []


def test_a_page_can_be_as_narrow_as_a_phone(browser):
    resize(browser, 360, 700, dark=True)
    assert browser.execute_script("return [innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [
        360,
        True,
    ]
    resize(browser, 1280, 900)
    assert browser.execute_script("return innerWidth") == 1280


def test_a_machine_without_a_browser_skips_or_fails_as_it_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("REID_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        find_browser()
    monkeypatch.setenv("REID_BROWSER", "required")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        find_browser()
