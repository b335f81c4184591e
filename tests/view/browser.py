"""A browser that looks at a served run: what goes wrong on the way, which rules of access it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe

# Each width and each scheme once: what lies where hangs on the one, contrast on the other.
SCREENS = [(1280, "light"), (390, "dark")]


@dataclass
class Visit:
    """A page of a browser that is signed in, and all that went wrong on it."""

    page: Any
    root: str
    faults: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a page of the viewer."""
        self.page.goto(f"{self.root}{path}")

    def violations(self) -> list[tuple[str, list[str]]]:
        """Return the rules of accessibility that the page breaks, with all that is folded opened."""
        self.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        broken_rules = Axe().run(self.page).response["violations"]
        return [(one["id"], [node["html"] for node in one["nodes"][:3]]) for one in broken_rules]

    def overflow(self) -> int:
        """Return how much wider than the screen the page is."""
        width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(width))


@contextmanager
def visit(browser: Any, address: str, width: int, scheme: str) -> Iterator[Visit]:
    """Yield a signed-in page of some width; afterwards nothing may have gone wrong."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
    )
    root = address.partition("/?")[0]
    one = Visit(context.new_page(), root)
    one.page.on("console", lambda message: one.faults.append(message.text))
    one.page.on("pageerror", lambda error: one.faults.append(str(error)))
    one.page.on("dialog", lambda dialog: one.faults.append(dialog.message))
    one.page.on(
        "request",
        lambda request: (
            None if request.url.startswith((root, "data:")) else one.faults.append(request.url)
        ),
    )
    one.page.goto(address)
    one.page.wait_for_url("**/rows")
    yield one
    assert one.faults == []
    context.close()
