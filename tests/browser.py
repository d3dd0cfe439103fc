"""Debian's chromium, headless, for the tests of pages: `apt-get install chromium chromium-driver`."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.common.exceptions import ElementClickInterceptedException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

OPTIONS = (
    "headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1280,900",
)  # fmt: skip
REQUIRED = "REID_BROWSER"  # where this is set, as .ci/run does, a machine without a browser fails the tests


def find_browser() -> tuple[str, str]:
    """Return the paths of chromium and chromedriver; without both the test is skipped, or fails if REID_BROWSER is set.

    The reason says what to install.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        reason = "no chromium and chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{reason} ({REQUIRED} is set, so that this is no reason to skip)")
        pytest.skip(reason)
    return browser, driver


@contextmanager
def start_browser(profile: Path) -> Iterator[Chrome]:
    """A browser with a new profile, that notes every request and every line of the console; it ends with the block."""
    browser, driver = find_browser()
    options = ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"user-data-dir={profile}"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def console(chrome: Chrome) -> list[str]:
    """Return what the console said since it was last asked (warnings and errors of the page and of its policy)."""
    return [entry["message"] for entry in chrome.get_log("browser")]


def click(chrome: Chrome, element: WebElement) -> None:
    """Bring into view and click; again where what grew above pushed it away between the two and no click was made."""

    def reach(_: Chrome) -> bool:
        chrome.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()
        return True

    WebDriverWait(chrome, 60, 0.05, ignored_exceptions=[ElementClickInterceptedException]).until(reach)


def requests(chrome: Chrome) -> list[str]:
    """Return the addresses asked for since the last call, without data:, blob: and the browser's own."""
    messages = [json.loads(entry["message"])["message"] for entry in chrome.get_log("performance")]
    sent = [entry["params"]["request"]["url"] for entry in messages if entry["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:", "chrome:"))]


def resize(chrome: Chrome, width: int, height: int, *, dark: bool = False, printed: bool = False) -> None:
    """Give the page a size in CSS pixels (a headless window has its own least width), a scheme and a medium."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    medium = {"media": "print" if printed else "", "features": scheme}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", medium)


@contextmanager
def opened(chrome: Chrome, address: str) -> Iterator[None]:
    """A served page, opened anew at a desk; at the end nothing but its server was asked and the console is empty."""
    resize(chrome, 1280, 900)
    chrome.get("about:blank")
    console(chrome), requests(chrome)
    chrome.get(address)
    yield
    assert {url for url in requests(chrome) if not url.startswith((address, "about:"))} == set()
    assert console(chrome) == []
