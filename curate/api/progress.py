"""A bar in a notebook: the step at work, and how many of its kind are done; nothing on a terminal.

embed  3 of 8   [======      ]
"""

import sys
from collections.abc import Sequence
from html import escape
from typing import Any

from curate.core.store import Artifact, Computation
from curate.pipeline.engine import Submit


class NotebookProgress:
    """Lets an engine compute calls, and shows in a notebook which one is waited for."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._display = notebook_display()

    def __call__(self, computations: Sequence[Computation]) -> list[Artifact]:
        """Return the artifacts of computations, made now or found, in their order."""
        artifacts, waits = [], self._submit(computations)
        for number, (one, wait) in enumerate(zip(computations, waits, strict=True), start=1):
            self._show(progress_html(one.name, number, len(computations)))
            artifacts.append(wait())
        self._show("")
        return artifacts

    def _show(self, html: str) -> None:
        if self._display is not None:
            self._display.update({"text/html": html, "text/plain": ""}, raw=True)


def progress_html(name: str, number: int, count: int) -> str:
    """Return a line with the name of a step, its number among those of its kind, and a bar."""
    if count == 1:
        return f"<small>{escape(name)}</small>"
    bar = f'<progress value="{number - 1}" max="{count}"></progress>'
    return f"<small>{escape(name)} {number:,} of {count:,}</small> {bar}"


def notebook_display() -> Any:
    """Return an empty output of the current cell that can be updated, None outside of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return ipython.display.display(  # type: ignore[union-attr]
        {"text/html": "", "text/plain": ""}, raw=True, display_id=True
    )
