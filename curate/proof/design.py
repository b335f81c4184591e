"""How a proof compares: its settings, how often each arm is trained, and the level of its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate.core.keyed import KeyedRecord
from curate.proof.arms import main_control
from curate.proof.metrics import Metric, deciding_metric
from curate.proof.values import ProofValues


@dataclass(frozen=True)
class ProofDesign(KeyedRecord):
    """How a proof compares.

    prove: the recipe's settings, with the draws of this look.
    runs: how often selection and controls are trained.
    alpha: of the verdict.
    judged: how many selections share the level.
    others: names of the further arms.
    look: which one it is (curate.proof.looks).
    shared_control: how the other control is drawn where selections share it, None where they do not.
    """

    prove: ProofValues
    runs: Mapping[str, int]
    alpha: float
    judged: int
    others: Sequence[str]
    look: Mapping[str, Any]
    shared_control: Mapping[str, Any] | None = None

    @property
    def plain(self) -> "ProofDesign":
        """Return the design of the verdict alone, without what stands beside it."""
        return replace(self, others=[], prove={**self.prove, "keep": False})

    @property
    def control(self) -> str:
        """Return the control that is drawn most often."""
        return main_control(self.runs)

    @property
    def metric(self) -> Metric:
        """Return the metric that decides."""
        return deciding_metric(self.prove["metric"])

    @property
    def trained(self) -> dict[str, int]:
        """Return how many fine-tunes each arm has."""
        return {**self.runs, **dict.fromkeys(self.others, self.prove["seeds"])}
