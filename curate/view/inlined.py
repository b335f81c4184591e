"""Scripts and styles that stand in a page of one file, and the policy that allows them alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from curate.report.drawing import palette_css
from curate.report.inline_script import InlineScript

REPORT = Path(__file__).parents[1] / "report" / "templates"
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class InlinedParts:
    """The styles and the scripts of a page, as they stand in it, and its policy."""

    style: Markup
    scripts: tuple[Markup, ...]
    policy: str


def inline_parts() -> InlinedParts:
    """Return what a bundle's page is styled and driven by."""
    style = _joined(REPORT / "report.css", STATIC / "map.css", STATIC / "bundle.css")
    style = f"{palette_css()}{style}"
    table = _joined(REPORT / "rows_table.js", REPORT / "page.js")
    # One module: the plane's, and what else imports from it.
    plane = _as_one_module((STATIC / "plane.js", STATIC / "bundle.js"))
    # Of a page that is opened from a file: nothing is fetched, from nowhere.
    policy = (
        f"default-src 'none'; script-src {_digests((table, plane))}; style-src {_digests((style,))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return InlinedParts(Markup(style), (Markup(table), Markup(plane)), policy)


def _joined(*paths: Path) -> str:
    return "".join(path.read_text("utf-8") for path in paths)


def _as_one_module(paths: Iterable[Path]) -> str:
    """Return modules as one: what is exported by one is imported by the next under the same name."""
    lines = _joined(*paths).splitlines(keepends=True)
    kept = (line.removeprefix("export ") for line in lines if not line.startswith("import "))
    return "".join(kept)


def _digests(codes: Iterable[str]) -> str:
    return " ".join(f"'{InlineScript(code).digest}'" for code in codes)
