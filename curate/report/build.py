"""Write a run's report: one HTML file that needs no network and no other file.

Its one script searches the rows that the page holds; without it the page is a full document.
"""

import os
import re
import shlex
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import orjson
import yaml
from jinja2 import Template, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from curate.core import numerals
from curate.core.escape import visible
from curate.core.reasons import explain_reason
from curate.core.runlock import locked
from curate.core.section import Cell, Heat, RowPart
from curate.proof import proof_labels
from curate.report import wording
from curate.report.charts import draw_chart
from curate.report.data import Report, gather
from curate.report.differences import Side
from curate.report.drawing import Drawing, draw_unchecked, palette_css
from curate.report.examples import RowView
from curate.report.figures import draw_all, language_label, origin_label
from curate.report.inline_script import read_script
from curate.report.page_rows import prompt_line, view_row
from curate.report.templating import page_environment
from curate.report.texts import excerpt, whole
from curate.runs.folder import damage_explained, inside, open_run
from curate.runs.publish import temporary_name

# Strengths of a cell's colour, from 0 (none) on.
SHADES = 9
TEMPLATES = Path(__file__).parent / "templates"
FILTERS = (
    numerals.number, numerals.signed, numerals.significant, numerals.measure, numerals.percent,
    numerals.ratio, numerals.duration, numerals.memory, numerals.span, numerals.similarity,
    explain_reason, wording.stage_label,
    proof_labels.arm_label, proof_labels.metric_label, proof_labels.metric_meaning,
    excerpt, whole,
)  # fmt: skip


def write_report(run: Path) -> Path:
    """Write report/index.html into a finished run's folder, atomically, and return its path.

    Raises:
        UserError: the folder is no finished run.
        ValueError: the run's tables contradict each other.
    """
    page = render(gather(run))
    path = inside(run, "report") / "index.html"
    path.parent.mkdir(exist_ok=True)
    temporary = temporary_name(path)
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def rewrite_report(run: Path) -> Path:
    """Write a finished run's report anew while no other run can take its place; see write_report.

    Raises:
        UserError: also where another run is writing into the folder.
    """
    open_run(run)
    with locked(run), damage_explained(run):
        return write_report(run)


def render(report: Report) -> str:
    """Return the page."""
    config = yaml.safe_dump(dict(report.manifest["config"]), sort_keys=False, allow_unicode=True)
    return _template().render(
        report=report,
        figures=draw_all(report, draw_unchecked),
        palette=Markup(palette_css()),
        config=config,
        script=read_script(TEMPLATES),
        explained=shlex.quote(report.examples.best[0].row.row_id),
        origin_label=origin_label,
        margin_of=wording.margin,
        verdicts=wording.VERDICTS,
        no_proof=wording.NO_PROOF,
        method=wording.method_label(report.select["method"]),
    )


@cache
def _template() -> Template:
    environment = page_environment(TEMPLATES, *FILTERS)
    environment.filters |= {
        "svg": _trusted_svg,
        "draw": partial(draw_unchecked, draw_chart),
        "kind": _kind,
        "heat": cell_shade,
        "shade": shade,
        "filter_json": _filter_json,
        "unescaped": Markup,
        "instant": _instant,
        "language_label": language_label,
        "bytes": numerals.file_size,
        "view": _view,
        "prompt_line": _prompt_line,
    }
    return environment.get_template("report.html.j2")


def _kind(part: object) -> str:
    """Return the name of a block's class, by which the template tells it from others."""
    return type(part).__name__


def cell_shade(cell: Cell) -> str:
    """Return the class of a cell's colour; negative numbers have another one."""
    return shade(cell.value if isinstance(cell, Heat) else None)


def shade(value: float | None) -> str:
    """Return the class of the colour for a strength between -1 and 1."""
    if value is None or abs(value) < 0.5 / SHADES:
        return ""
    return f"{'under' if value < 0 else 'heat'}{round(abs(value) * SHADES)}"


def _instant(text: str) -> str:
    """Return a moment in ISO 8601 as people write it; another text as it is."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d)?\+00:00$", r"\1 \2 UTC", text)


def _filter_json(labels: Mapping[str, str]) -> str:
    """Return a filter as the page's script takes it."""
    return orjson.dumps({key: visible(label) for key, label in labels.items()}).decode()


@pass_context
def _view(context: Context, part: RowPart) -> RowView | Side:
    """Return a row with its texts."""
    return view_row(part, context["report"].page_rows)


@pass_context
def _prompt_line(context: Context, part: RowPart) -> str | None:
    """Return a row's prompt in one line."""
    return prompt_line(part, context["report"].page_rows)


def _trusted_svg(figure: Drawing) -> Markup:
    """Return a chart as markup: our own renderer made it and escaped the text in it."""
    return Markup(figure.svg)
