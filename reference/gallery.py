"""Pictures of a real run for the documentation: report, viewer, notebook, and what the terminal says.

    python -m reference.gallery      (make docs) writes docs/reference/gallery.md and its pictures

Two small runs of the data that `curate init` writes, without a proof, are made in a temporary folder by
the commands themselves. Each page is taken in Chromium, wide and narrow, in light and in dark.
"""

import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

from curate.api.finishedrun import FinishedRun
from curate.pipeline.curation import read_result
from curate.report.drawing import palette_css

PAGE = "gallery.md"
FOLDER = "gallery"
SCHEMES = ("light", "dark")
# Name, width and height of a picture in points.
Screen = tuple[str, int, int]
SCREENS: tuple[Screen, ...] = (("wide", 1280, 800), ("narrow", 390, 800))
RUN, OTHER = "runs/quickstart", "runs/smaller"
SETTINGS = (
    "prove=null",
    "stages=[exact, fuzzy, leaks, rules]",
    "select={method: embed, budget: 48}",
    "compare=[bm25]",
)
# What stands in the page under "On the terminal", as a reader would type it.
COMMANDS = (
    f"curate rows {RUN} --where \"stage = 'fuzzy'\" --first 3",
    f"curate explain {RUN} bundled/alpaca.jsonl.gz:20",
    f"curate plan {RUN} --budget rows=20",
    "curate ls",
)
# Pixels to a point.
SCALE = 1.5
# Of the log of a run, the end.
LOG_LINES = 24
WAIT_MS = 240_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@dataclass(frozen=True)
class Picture:
    """A page to take: its name, what it shows, where it is, and what of it must be there.

    part: the element to take; what the screen holds if empty. press: a button to press before. narrow:
    whether it is taken on a phone as well.
    """

    name: str
    title: str
    text: str
    address: str
    ready: str
    part: str = ""
    press: str = ""
    narrow: bool = True

    @property
    def screens(self) -> tuple[Screen, ...]:
        """Return the screens that it is taken on."""
        return SCREENS if self.narrow else SCREENS[:1]


VIEWER = (
    Picture(
        "rows",
        "Every row of a run",
        "`curate view runs/quickstart`: fate, reason and scores of all rows, filtered by any of them. "
        "The address holds the whole state, so a link leads to the same rows.",
        "/rows?fate=dropped",
        "table",
    ),
    Picture(
        "map",
        "The map",
        "Rows by their stored vectors: what was selected, dropped and passed over, and where the target "
        "examples lie. A brush lists what is inside it.",
        "/map",
        "canvas, svg",
    ),
    Picture(
        "whatif",
        "What if",
        "Another threshold, budget or cap, answered from what is stored: nothing is computed again.",
        "/whatif?of=fuzzy&threshold=0.85",
        "form",
    ),
    Picture(
        "compare",
        "Two runs side by side",
        "`curate view runs/quickstart runs/smaller`: what their recipes differ in, their funnels, what "
        "both select.",
        "/compare",
        "table",
    ),
    Picture(
        "label",
        "Which rows to label",
        "`curate label runs/quickstart`: right or wrong by a key, first the rows whose labels say most. "
        "Rows can also be marked to keep, drop or correct, and runs and plans honour the marks.",
        "/label",
        "main",
        press="Draw rows",
    ),
)


def main(docs: Path) -> None:
    """Write the page and its pictures into a folder of the documentation."""
    out = docs / FOLDER
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        demo = Path(temporary) / "demo"
        log = make_runs(demo)
        terminal = [("curate run quickstart.yaml", log), *((c, say(demo, c)) for c in COMMANDS)]
        report = (demo / RUN / "report" / "index.html").as_uri()
        pictures = [
            Picture(
                "report",
                "The report",
                "One file that opens offline, with what became of every row. The verdict stands first, "
                "where a proof was asked for ([five minutes](../quickstart.md)).",
                report,
                "h1",
            ),
            *VIEWER[:1],
            Picture(
                "row",
                "One row in full",
                "Why it went, with the row that it copies and the words in which they differ.",
                f"/row?id={quote(near_copy(demo))}",
                "main",
            ),
            *VIEWER[1:],
            Picture(
                "notebook",
                "In a notebook",
                "`curate.run(...)` shows its result in the cell ([from Python](../python.md)).",
                notebook_page(demo).as_uri(),
                "main",
                part="main",
                narrow=False,
            ),
        ]
        with viewer(demo) as base, chromium() as browser:
            for screen, scheme in product(SCREENS, SCHEMES):
                take_all(browser, pictures, screen, scheme, base, out)
        text = "\n\n".join(page(pictures, terminal)) + "\n"
        assert temporary not in text, "the page names a folder of this machine"
    assert "Traceback" not in text, "a command of the page failed"
    (docs / PAGE).write_text(text, encoding="utf-8")
    check_pictures(text, out)


def check_pictures(text: str, folder: Path) -> None:
    """Check that the page has every picture, each of its screen's size and other in the other scheme.

    Raises:
        AssertionError: a picture is missing, or has another size, or is the same in both schemes.
    """
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    references = re.findall(r"!\[[^\]]+\]\(\w+/([\w-]+\.png)#only-(light|dark)\)", text)
    names = {name for name, scheme in references if name.endswith(f"-{scheme}.png")}
    assert names == files.keys(), f"page and folder differ in {sorted(names ^ files.keys())}"
    for name, data in files.items():
        # Where a PNG has its size. Of a notebook, a part of the screen is taken.
        width, height = struct.unpack(">II", data[16:24])
        expected = next((w * SCALE, h * SCALE) for screen, w, h in SCREENS if f"-{screen}-" in name)
        assert width == expected[0], f"{name} is {width} pixels wide"
        assert height == expected[1] or name.startswith("notebook"), f"{name} is {height} high"
        other = (
            name.replace("-light", "-dark") if "-light" in name else name.replace("-dark", "-light")
        )
        assert data != files.get(other), f"{name} is the same in both schemes"


def make_runs(demo: Path) -> str:
    """Make both runs; return the end of what the first one says."""
    run(demo.parent, "curate", "init", demo.name)
    options = [word for setting in SETTINGS for word in ("--set", setting)]
    first = run(demo, "curate", "run", "quickstart.yaml", *options)
    fewer = ["--set", "select.budget=24", "--set", "stages.1={method: fuzzy, threshold: 0.8}"]
    run(demo, "curate", "run", "quickstart.yaml", *options, *fewer, "--out", OTHER)
    return "\n".join(first.splitlines()[-LOG_LINES:])


def say(demo: Path, command: str) -> str:
    """Return what a command says."""
    return subprocess.run(
        f"{sys.executable} -m {command}", shell=True, cwd=demo, text=True, check=True,
        stdout=subprocess.PIPE,
    ).stdout.rstrip()  # fmt: skip


def run(folder: Path, *command: str) -> str:
    """Return log and output of a command that is in the environment's Python."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, text=True, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ).stdout  # fmt: skip


@contextmanager
def viewer(demo: Path) -> Iterator[str]:
    """Yield the address of the viewer, with its token."""
    command = [sys.executable, "-m", "curate", "view", RUN, OTHER, "--no-browser"]
    with subprocess.Popen(command, cwd=demo, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        try:
            yield next(word for word in words if word.startswith("http://127.0.0.1:"))
        finally:
            process.terminate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser of this machine."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        sys.exit("the gallery needs Chromium: `make chromium` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def take_all(
    browser: Browser, pictures: list[Picture], screen: Screen, scheme: str, base: str, out: Path
) -> None:
    """Take the pages that are shown on a screen, in a scheme.

    base: the address of the viewer, with the token that it takes once.

    Raises:
        AssertionError: a page is wider than the screen, so the picture would be cut.
    """
    name, width, height = screen
    origin = base.partition("/?")[0]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=SCALE,
        reduced_motion="reduce",
    )
    view = context.new_page()
    view.goto(base)
    view.wait_for_url("**/rows")
    for picture in pictures:
        if screen not in picture.screens:
            continue
        view.goto(picture.address if ":" in picture.address else origin + picture.address)
        settle(view, picture)
        too_wide = view.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not too_wide, f"{picture.name} is wider than {width} points"
        area = view.locator(picture.part) if picture.part else view
        area.screenshot(path=out / f"{picture.name}-{name}-{scheme}.png")
    context.close()


def settle(view: Page, picture: Picture) -> None:
    """Wait until a page is whole."""
    view.wait_for_selector(picture.ready, timeout=WAIT_MS)
    view.wait_for_load_state("networkidle", timeout=WAIT_MS)
    button = view.get_by_role("button", name=picture.press)
    if picture.press and button.count():
        button.click()
        button.wait_for(state="detached", timeout=WAIT_MS)
        view.wait_for_load_state("networkidle", timeout=WAIT_MS)


def near_copy(demo: Path) -> str:
    """Return the row that `fuzzy` dropped by the smallest margin."""
    ledger = read_result(demo / RUN).ledger.filter(fate="dropped", stage="fuzzy")
    return str(ledger.sort("score", "row_id")["row_id"][0])


def notebook_page(demo: Path) -> Path:
    """Return a page that shows a cell and its result as a notebook does."""
    with chdir(demo):
        html = FinishedRun.of(read_result(Path(RUN)))._repr_html_()
    code = 'result = curate.run("quickstart.yaml")\nresult'
    path = demo / "notebook.html"
    style = (
        "body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: var(--page, Canvas);"
        " color: CanvasText; color-scheme: light dark; }"
        "main { padding: 1rem; } main div { overflow-x: auto; }"
        "pre { padding: .75rem 1rem; border: 1px solid; border-radius: 4px; overflow-x: auto; }"
    )
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width="
        f"device-width'><title>Notebook</title><style>{palette_css()}{style}</style><main>"
        f"<pre><code>{escape(code)}</code></pre><div>{html}</div></main></html>",
        encoding="utf-8",
    )
    return path


def page(pictures: list[Picture], terminal: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the paragraphs of the page."""
    yield "# Gallery"
    yield (
        "All of this is one small run of the data that `curate init` writes, made anew with this site: "
        "`python -m reference.gallery`. It took seconds, since nothing was proved."
    )
    for picture in pictures:
        yield f"## {picture.title}"
        yield picture.text
        images = [
            image(picture, screen, scheme) for screen, *_ in picture.screens for scheme in SCHEMES
        ]
        yield "\n".join([*images, "{: .pictures }"])
    yield "## On the terminal"
    for command, output in terminal:
        yield f"```console\n$ {command}\n{output}\n```"


def image(picture: Picture, screen: str, scheme: str) -> str:
    """Return a picture that is shown in one of the site's schemes."""
    file = f"{FOLDER}/{picture.name}-{screen}-{scheme}.png"
    on = "a phone" if screen == "narrow" else "a wide screen"
    return f"![{picture.title}, on {on}]({file}#only-{scheme}){{: .{screen} loading=lazy }}"


if __name__ == "__main__":
    main(Path(__file__).parents[1] / "docs" / "reference")
