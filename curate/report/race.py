"""The race that chose the run's method: who was left after each round, by how much the winner led."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from curate.core.selectparams import Budget
from curate.runs.folder import RunFolder, inside

TABLE, SUMMARY = "evidence/race", "evidence/race-summary.json"


@dataclass(frozen=True)
class RaceLine:
    """A candidate at the end of a round; `behind` the best of the round with low and high, if not it."""

    name: str
    budget: str
    rows: int
    trainings: int
    mean: float
    behind: tuple[float, float, float] | None
    kept: bool


@dataclass(frozen=True)
class Race:
    """All rounds, each with its best candidate first, and what they took."""

    winner: str
    metric: str
    unit: str
    examples: int
    candidates: tuple[str, ...]
    rounds: tuple[tuple[RaceLine, ...], ...]
    fine_tunes: int
    seconds: float

    @property
    def second(self) -> RaceLine:
        """Return the candidate that came next in the last round."""
        return self.rounds[-1][1]


def gather_race(run: RunFolder) -> Race | None:
    """Return the race of a run, None if it held none."""
    if "race" not in run.manifest:
        return None
    summary = orjson.loads(inside(run.path, SUMMARY).read_bytes())
    candidates = {candidate["name"]: candidate for candidate in summary["candidates"]}
    table = run.table(TABLE).collect()
    rounds = [table.filter(round=number).to_dicts() for number in table["round"].unique().sort()]
    return Race(
        winner=summary["winner"],
        metric=summary["metric"],
        unit=summary["unit"],
        examples=summary["examples"],
        candidates=tuple(candidates),
        rounds=tuple(tuple(_line(line, candidates) for line in lines) for lines in rounds),
        fine_tunes=run.manifest["race"]["fine_tunes"],
        seconds=run.manifest["race"]["seconds"],
    )


def _line(line: Mapping[str, Any], candidates: Mapping[str, Mapping[str, Any]]) -> RaceLine:
    candidate = candidates[line["name"]]
    behind = None if line["behind"] is None else (line["behind"], line["low"], line["high"])
    return RaceLine(
        name=line["name"],
        budget=str(Budget.model_validate(candidate["select"]["budget"])),
        rows=candidate["rows"],
        trainings=line["trainings"],
        mean=line["mean"],
        behind=behind,
        kept=line["kept"],
    )
