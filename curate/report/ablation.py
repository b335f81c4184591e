"""The stage ablation of a proof in the report: what each stage earned, and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from curate.proof.earnings import compared_clause
from curate.runs.folder import RunFolder


@dataclass(frozen=True)
class StageLine:
    """A stage: what it earned (difference, low, high) or why nothing was trained, and its bill.

    guards: what it keeps out of all that is trained on, for which it was not left out.
    over_random: how far the selection without it lies above the mean of the random draws.
    """

    name: str
    earned: tuple[float, float, float] | None
    note: str | None
    over_random: float | None
    dropped: int
    new_rows: int
    back: int
    changed: int
    unjudged: tuple[str, ...]
    guards: str | None
    seconds: float | None
    calls: int


@dataclass(frozen=True)
class Ablation:
    """All stages of a recipe, each left out alone."""

    metric: str
    unit: str
    compared: str
    over_random: float
    stages: tuple[StageLine, ...]

    @property
    def unjudged(self) -> tuple[StageLine, ...]:
        """Return the stages whose rows came back past a stage that runs a model."""
        return tuple(line for line in self.stages if line.back and line.unjudged)


def gather_ablation(run: RunFolder) -> Ablation | None:
    """Return the ablation of a run's proof, None if it has none."""
    path = run.path / "proof.json"
    ablation = orjson.loads(path.read_bytes()).get("ablation") if path.is_file() else None
    if ablation is None:
        return None
    bill = run.manifest.get("ablation", {})
    return Ablation(
        ablation["metric"],
        ablation["unit"],
        compared_clause(ablation) if ablation["compared"] else "",
        ablation["over_random"],
        tuple(_line(line, bill.get(line["stage"], {})) for line in ablation["stages"]),
    )


def _line(line: Mapping[str, Any], spent: Mapping[str, Any]) -> StageLine:
    earned = line["earned"]
    return StageLine(
        line["stage"],
        (earned["difference"], earned["low"], earned["high"]) if earned else None,
        line["note"],
        line["over_random"],
        line["dropped"],
        line["new_rows"],
        line["back"],
        line["changed"],
        tuple(line["unjudged"]),
        line["guards"],
        spent.get("seconds"),
        spent.get("calls", 0),
    )
