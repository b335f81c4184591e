"""A proof: does training on a selection do better than training on fair random draws?"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import orjson

from curate.api.progress import showing_in_notebook
from curate.api.rows import RowSource, examples_of
from curate.api.selection import Selection
from curate.api.session import changed_recipe, started_run
from curate.core.errors import UserError
from curate.pipeline.proof import prove_selections
from curate.pipeline.selection import select_rows


@dataclass(frozen=True)
class Proof:
    """The verdict on a selection.

    Attributes:
        verdict: "better", "within the range of random draws", "worse", or why there is none.
        sentence: the verdict with its figures.
        details: all of proof.json.
    """

    verdict: str
    sentence: str
    details: dict[str, Any]

    @property
    def interval(self) -> dict[str, tuple[float, float]]:
        """Return by control the differences in the deciding metric that a random draw shows.

        Outside of both lies a better or worse selection.
        """
        return {
            one["control"]: (-one["half"], one["half"])
            for one in self.details.get("comparisons", ())
            if one["metric"] == self.details["metric"] and one.get("half") is not None
        }

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        return f"<p><strong>{escape(self.verdict)}</strong></p><p>{escape(self.sentence)}</p>"


def prove(selection: Selection, eval: RowSource, **settings: Any) -> Proof:
    """Return whether a selection trains better than random draws of as many rows and tokens.

    Args:
        selection: with a target.
        eval: rows of the skill that no training sees.
        settings: of `prove` in a recipe, such as draws=7 or lora={"epochs": 1}.

    Raises:
        UserError: there is no target, the eval set is at fault, or a setting is.
    """
    target = selection._recipe.target
    if target is None:
        raise UserError("a proof is of a skill: select with target examples, then prove")
    store = selection._recipe.store
    tested = target.model_copy(update={"eval": examples_of(eval, store, "eval")})
    run = started_run(changed_recipe(selection._recipe, target=tested, prove=settings))
    run.part = "select"
    with showing_in_notebook():
        select_rows(run)
        artifact = prove_selections(run)
    assert artifact is not None
    proof = orjson.loads(artifact.file("proof.json").read_bytes())
    return Proof(proof["verdict"], proof["sentence"], proof)
