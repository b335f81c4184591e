"""Chromium, driven by Playwright, for tests that look at pages as a reader does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# On busy machines; Playwright's own limits of 5 and 30 seconds are for idle ones.
WAIT_MS = 600_000


def patient(opener: Callable[..., Any]) -> Callable[..., Any]:
    """Return what opens pages that are waited for as long as a busy machine takes."""

    def opened(**options: Any) -> Any:
        one = opener(**options)
        one.set_default_timeout(WAIT_MS)
        return one

    return opened


@contextmanager
def open_chromium() -> Iterator[Any]:
    """Yield a browser; the test is left out where none is installed."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium is installed")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(
            executable_path=path, args=ARGUMENTS, timeout=WAIT_MS
        )
        browser.new_context, browser.new_page = map(
            patient, (browser.new_context, browser.new_page)
        )
        yield browser
        browser.close()


# Of a module: Playwright does not start a second time in a process before the first one has ended.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with open_chromium() as browser:
        yield browser
