"""A real browser on a viewer or a bundle: what went wrong on a page, and what axe finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe


@dataclass
class Screen:
    """A page of a browser, with what it complained of and what it asked for."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def check(self, width: int) -> None:
        """Fail where the page is wider than the screen, complained, or is not accessible."""
        assert self.page.evaluate("document.documentElement.scrollWidth") <= width
        violations = Axe().run(self.page).response["violations"]
        places = [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations]
        assert not places, places
        assert not self.faults, self.faults


@contextmanager
def screen(
    browser: Any, width: int = 1280, scheme: str = "light", **settings: object
) -> Iterator[Screen]:
    """Yield a page of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, **settings
    )
    one = Screen(context.new_page())
    one.page.on("console", lambda message: one.faults.append(message.text))
    one.page.on("pageerror", lambda error: one.faults.append(str(error)))
    one.page.on("dialog", lambda dialog: one.faults.append(dialog.message))
    one.page.on("request", lambda request: one.requests.append(request.url))
    yield one
    context.close()
