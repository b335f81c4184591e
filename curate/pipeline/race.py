"""A race inside a run: its candidates select, brief proofs choose one, and what the run keeps of them.

Scores and rankings are made by the methods (curate.selectors), the choice by fine-tunes
(curate.proof.race).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.selector import Selector
from curate.core.store import Artifact
from curate.selectors.compared import candidate_names
from curate.selectors.race import RaceParams
from curate.selectors.selection import SelectionResult

PART = "race"
RankAll = Callable[[Sequence[tuple[str, Selector]]], list[SelectionResult]]
Standings = Callable[[dict[str, SelectionResult]], Artifact]


@dataclass(frozen=True)
class RaceResult:
    """A race that was held: the selections of all candidates by name, and the standings."""

    candidates: dict[str, SelectionResult]
    standings: Artifact

    @property
    def winner(self) -> str:
        """Return the name of the candidate that won."""
        return str(self.standings.counts["winner"])

    @property
    def select(self) -> Selector:
        """Return what the winner selects by."""
        return self.candidates[self.winner].params

    @property
    def files(self) -> dict[str, Path]:
        """Return rankings and scores of those that lost, by their place in the run folder."""
        files = {}
        for name, chosen in self.candidates.items():
            if name == self.winner:
                continue
            place = f"evidence/race/{name}"
            files[f"{place}.parquet"] = chosen.ranking.path
            files[f"{place}-scores.parquet"] = chosen.scores.path
            if chosen.pairs is not None:
                files[f"{place}-pairs.parquet"] = chosen.pairs.path
        return files

    def describe(self, artifacts: list[tuple[Artifact, str]]) -> dict[str, Any]:
        """Return what the manifest says: who won, what the selection is made by, what the race took.

        Args:
            artifacts: of the run, each with the part of the recipe that it was first needed for.
        """
        work = {a.key: a for a, part in artifacts if part == PART}
        tunes = [a for a in work.values() if a.name in ("finetune", "finetune-pairs")]
        measures = [a for a in work.values() if a.name == "measure"]
        return {
            "winner": self.winner,
            "select": self.select.model_dump(mode="json"),
            "fine_tunes": len(tunes),
            "seconds": round(sum(a.seconds for a in [*tunes, *measures]), 3),
        }


def hold_race(params: RaceParams, rank: RankAll, prove: Standings) -> RaceResult:
    """Let every candidate select, and return the race between them.

    Args:
        params: the race.
        rank: makes the selections of the candidates, given by their places in the recipe.
        prove: returns the standings of the candidates, by name.

    Raises:
        UserError: a candidate cannot select, or the race cannot be held.
    """
    names = candidate_names(params)
    places = [f"select.of.{i} ({name})" for i, name in enumerate(names)]
    results = rank(list(zip(places, params.candidates, strict=True)))
    chosen = dict(zip(names, results, strict=True))
    return RaceResult(chosen, prove(chosen))
