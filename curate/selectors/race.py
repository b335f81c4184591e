"""Race: methods and budgets hold brief proofs in rounds, and those that train worse drop out.

Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): every round doubles the trainings of
those that are left, and the field shrinks by the same factor each time, so that after the last round one
remains; of eight in three rounds 4, 2 and 1. The run's selection is that of the winner.

A race has no score of its own, so it is no part of a blend or cascade and cannot be compared; what runs
it is curate.proof.race.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.methods import methods_in
from curate.core.params import suggest_key
from curate.core.selector import Selector
from curate.core.selectparams import SelectParams
from curate.selectors.parts import read_part
from curate.selectors.planner import common_plan


def _expand_names(value: Any) -> Any:
    """Return candidates with each bare method written out: rds is {method: rds}."""
    if not isinstance(value, list):
        return value
    return [{"method": entry} if isinstance(entry, str) else entry for entry in value]


class RaceParams(SelectParams):
    """Methods and budgets of which brief proofs choose one, on a half of the eval set.

    budget, filter, shares and diversity are those of every candidate that gives none of its own.
    """

    method: Literal["race"] = "race"
    of: Annotated[
        list[dict[str, Any]],
        BeforeValidator(_expand_names, json_schema_input_type=list[dict[str, Any] | str]),
        Field(
            min_length=2,
            description="methods, each by name or with parameters of its own",
            examples=[["rds", "dsir", {"method": "rds", "budget": 40}]],
        ),
    ]
    rounds: int = Field(
        3, ge=1, le=5, description="the first with one training of each, every later one with twice"
    )

    @model_validator(mode="after")
    def _check(self) -> "RaceParams":
        candidates = self.candidates
        twice = next((i for i, one in enumerate(candidates) if one in candidates[:i]), None)
        if twice is not None:
            raise ValueError(f"of.{twice} is the same as of.{candidates.index(candidates[twice])}")
        plan = self._plan()
        lost = [key for key in ("filter", "shares") if getattr(self, key) and not plan.get(key)]
        if "filter" in plan and lost:
            raise ValueError(
                f"{lost[0]} speaks of scores, which mean something else to each method: give it to "
                "those of `of` that it is meant for"
            )
        return self

    @property
    def candidates(self) -> list[Selector]:
        """Return what each candidate selects by.

        Raises:
            ValueError: a sentence that names the candidate at fault.
        """
        plan = self._plan()
        return [_candidate_params(f"of.{i}", {**plan, **entry}) for i, entry in enumerate(self.of)]

    def _plan(self) -> dict[str, Any]:
        try:
            return common_plan(self)
        except UserError:
            # A condition that is no SQL, which the whole recipe's check tells of.
            return {"budget": self.budget}


def _candidate_params(place: str, settings: Mapping[str, JSON]) -> Selector:
    method = settings.get("method")
    if method == "race":
        raise ValueError(f"{place}: a race is no candidate of another; name its methods here")
    if method not in methods_in(Selector):
        raise ValueError(f"{place}: {suggest_key(str(method), sorted(methods_in(Selector)))}")
    return read_part(place, settings)
