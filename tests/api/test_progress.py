"""Steps at work in a notebook, as a real kernel sends them while a cell goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from curate.api.progress import STYLE, notebook_display, progress_html, showing_in_notebook
from curate.progress.tracker import StepProgress

REPO = Path(__file__).parents[2]
# Each step ends when the reader of the messages has seen the one before.
CELL = """
import time
from pathlib import Path
from curate.api.progress import showing_in_notebook
from curate.core.meter import STEPS, metered
from curate.report.wording import steps_label
label = steps_label(["embed"])
with showing_in_notebook(), metered(["embed"], 4, STEPS) as meter:
    for number in (1, 2):
        meter.reach(number)
        while not Path(f"seen-{number}").exists():
            time.sleep(0.05)
"""


class Reader(NotebookClient):
    """Runs a notebook, and marks by a file which counts the updates of its outputs have shown."""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "update_display_data":
            html = msg["content"]["data"]["text/html"]
            for number in (1, 2):
                if f"{number} of 4" in html:
                    (Path(self.resources["metadata"]["path"]) / f"seen-{number}").touch()
        return super().process_message(msg, cell, cell_index)


@pytest.mark.system
def test_a_kernel_sends_the_bar_while_its_cell_goes_on_and_takes_it_away_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    cell = nbformat.v4.new_code_cell(CELL)  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=[cell])  # type: ignore[no-untyped-call]
    # Without updates from within the cell it would wait for ever.
    Reader(notebook, timeout=1_800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = notebook.cells[0].outputs
    assert output["data"]["text/html"] == ""


def test_a_bar_has_counts_times_and_no_markup_of_others() -> None:
    blocks = StepProgress(("a<b",), 3, 8, 0.375, 0.0, 12.0, 20.0, "1 of 2 <rows>")
    alone = StepProgress(("ledger",), 0, 1, None, 0.0, 1.0, None)
    html = progress_html([blocks, alone]).replace(f'<td style="{STYLE}">', "<td>")
    assert '<progress value="0.3750"></progress></td><td>3 of 8</td><td>0:12</td>' in html
    assert "<td>0:20 left</td><td>1 of 2 &lt;rows&gt;</td>" in html
    assert "A&lt;b" in html
    assert "<td>Join the ledger</td><td><progress></progress></td><td></td>" in html
    assert progress_html([]) == ""


def test_a_script_is_shown_nothing() -> None:
    with showing_in_notebook():
        assert notebook_display() is None
