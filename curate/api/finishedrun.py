"""A finished run: its rows and files, how it looks in a notebook, and the viewer on it."""

from __future__ import annotations

from dataclasses import fields
from html import escape
from pathlib import Path

from curate.api.viewing import RunViewer
from curate.pipeline.run import RunResult
from curate.report.wording import stage_label
from curate.runs.dropwarnings import drop_warnings
from curate.runs.folder import open_run
from curate.runs.funnel import Funnel, FunnelStep, gather_funnel


class FinishedRun(RunResult):
    """What `curate.run` returns: the run folder, the verdict, the rows.

    Attributes:
        folder: the run folder.
        manifest: its manifest.json.
        proof: its proof.json; None where no proof was asked for.
        report: the path of the report.
        sentence: the verdict in words, or how many rows are selected.
        ledger: the fate of every row, with the reason.
        selected: the selected rows, best first.
    """

    @classmethod
    def of(cls, result: RunResult) -> FinishedRun:
        """Return a run's result with what there is to do with it in a notebook."""
        return cls(**{field.name: getattr(result, field.name) for field in fields(result)})

    def view(self, other: RunResult | str | Path | None = None) -> RunViewer:
        """Serve the run's rows in the browser until the viewer is closed.

        Args:
            other: another run to compare it with, or its folder.

        Raises:
            UserError: a folder holds no finished run any more.
        """
        beside = other.folder if isinstance(other, RunResult) else other
        return RunViewer(self.folder, None if beside is None else Path(beside))

    def __repr__(self) -> str:
        return f"{self.folder}: {self.sentence}"

    def _repr_html_(self) -> str:
        run = open_run(self.folder)
        funnel = gather_funnel(run)
        warnings = [f"<p>⚠ {escape(one.sentence)}</p>" for one in drop_warnings(run, funnel)]
        report = escape(self.report.as_posix())
        return (
            f"<p><b>{escape(self.sentence)}</b></p>{funnel_html(funnel)}{''.join(warnings)}"
            f'<p><small>{escape(str(self.folder))}: <a href="{report}">report</a></small></p>'
        )


def funnel_html(funnel: Funnel) -> str:
    """Return the funnel as a table: rows after each step, a bar, why rows left."""
    lines, last = [], len(funnel.steps) - 1
    for number, step in enumerate(funnel.steps):
        label = {0: "read", last: "selected"}.get(number, stage_label(step.stage))
        lines.append(_funnel_line(label, step, max(funnel.rows, 1)))
    return f"<table>{''.join(lines)}</table>"


def _funnel_line(label: str, step: FunnelStep, most: int) -> str:
    left = ", ".join(f"{reason} {count:,}" for reason, count in step.left)
    cells = (
        f'<td style="text-align:left;white-space:nowrap">{escape(label)}</td>',
        f"<td>{step.remaining:,}</td>",
        f'<td><meter value="{step.remaining}" max="{most}"></meter></td>',
        f'<td style="text-align:left">{escape(left)}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"
