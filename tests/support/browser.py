"""A headless Chromium that tells everything a page does wrong."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRE = "RLBUFFERS_REQUIRE_CHROMIUM"
_TRIES, _PAUSE = 2400, 0.025  # patience only: what waits, waits for a state
_SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]


def find_chromium() -> str:
    """Return the browser's path; without one, skip the test, or fail it if the environment asks for one."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is not None:
        return found
    reason = f"no Chromium ({', '.join(_NAMES)}) on this machine"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{reason}, and {REQUIRE}=1")
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser; each of its contexts has a fresh profile."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=_SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


def until(page: Any, condition: str) -> None:
    """Wait until an expression is true; Playwright's own waiting is an eval, which the page's policy forbids."""
    for _ in range(_TRIES):
        if page.evaluate(condition):
            return
        time.sleep(_PAUSE)
    pytest.fail(f"the page did not come to this: {condition}")


class Visit:
    """An open page, with what it complained of and what it asked for."""

    def __init__(self, context: Any, path: Path, *, width: int = 1280, scheme: str = "light") -> None:
        self.page = context.new_page()
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.address = path.resolve().as_uri()
        self.page.goto(self.address)
        until(self.page, "document.querySelectorAll('.plot svg, .plot img').length > 0")

    def close(self) -> None:
        """Close the page and check that it neither complained nor asked for anything but itself."""
        self.page.close()
        # Tests read the canvas back, which pages need not be quick at.
        complaints = [text for text in self.complaints if "willReadFrequently" not in text]
        asked = [url for url in self.requests if not url.startswith("data:") and url != self.address]
        if complaints or asked:
            pytest.fail(f"the page complained: {complaints}; it asked for: {asked}")
