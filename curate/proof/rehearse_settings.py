"""The recipe's part `rehearse`: rows of earlier training that are mixed into the selection."""

from typing import Literal

from pydantic import ConfigDict, Field

from curate.core.params import Params
from curate.pool.settings import ShortRowFile
from curate.proof.rehearsed_arms import BY_CHANCE, REHEARSED


class RehearseSettings(Params):
    """Rows that the base was tuned on before, mixed in so that it forgets less of them."""

    model_config = ConfigDict(serialize_by_alias=True)

    rows: ShortRowFile = Field(
        alias="from",
        description="the rows of earlier training, read like those of a pool",
        examples=[{"path": "old.jsonl"}],
    )
    share: float = Field(0.1, gt=0, le=1, description="rehearsed rows for each selected row")
    method: Literal["mix_cd", "random"] = Field(
        "mix_cd",
        description="mix_cd: more rows of the kinds that tuning on the selection makes wrong; random: "
        "any rows, by no model",
    )
    probe: int = Field(
        200, gt=0, description="rows on which mix_cd measures what the tuned model forgot"
    )

    @property
    def arms(self) -> tuple[str, ...]:
        """Return the names of the arms of a proof that are trained on these rows too."""
        return (REHEARSED, BY_CHANCE) if self.finds_damage else (REHEARSED,)

    @property
    def finds_damage(self) -> bool:
        """Return whether models read the rows."""
        return self.method == "mix_cd"
