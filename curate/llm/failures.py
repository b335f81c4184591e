"""Why answers were of no use: counted by class for each question, the first of each class kept.

rubric: none of 12 answers was of use (12 failed). One of them: http://h/v1: HTTP 500 overloaded
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from curate.llm.requests import Call
from curate.llm.structured import Answer

# Nothing came that could be called an answer of the model.
LOST = frozenset({"failed", "unknown", "filtered"})
# The model is heard, though something is wrong: with the values of a record, or with a free text.
HEARD = frozenset({"schema_violation"})
HEARD_FREE = frozenset({"truncated", "repetition", "only_reasoning"})


@dataclass
class Tally:
    """Answers to one question that was put to many rows: how many were of use, why others were not."""

    total: int = 0
    heard: int = 0
    useless: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)

    def add(self, call: Call, answer: Answer) -> None:
        """Count an answer."""
        self.total += 1
        self.heard += _is_heard(call, answer)
        if answer.failure is not None:
            self.useless[answer.failure] += 1
            self.samples.setdefault(answer.failure, answer.reason)

    @property
    def sentence(self) -> str | None:
        """Return what went wrong if no answer was of use, else None."""
        if not self.total or self.useless.total() < self.total:
            return None
        counts = ", ".join(f"{count:,} {name}" for name, count in self.useless.most_common())
        return f"none of {self.total:,} answers was of use ({counts}). {self.sample()}"

    def sample(self, counts: Counter[str] | None = None) -> str:
        """Return one reason of the class that is most frequent, by default of all; empty if none is."""
        (frequent, *_) = (counts or self.useless).most_common(1) or [("", 0)]
        return f"One of them: {self.samples[frequent[0]]}" if frequent[1] else ""


@dataclass
class Faults:
    """A tally of answers to each question, by the stage that puts it, and one of all together.

    `unanswered` ones were sent in vain: the server may answer them another time.
    """

    unanswered: int = 0
    together: Tally = field(default_factory=Tally)
    by_stage: dict[str, Tally] = field(default_factory=dict)

    def add(self, stage: str, calls: Sequence[Call], answers: Sequence[Answer]) -> str | None:
        """Count answers; return what to warn of where calls were lost."""
        lost: Counter[str] = Counter()
        tally = self.by_stage.setdefault(stage, Tally())
        for call, answer in zip(calls, answers, strict=True):
            if answer.failure == "unsent":
                continue
            tally.add(call, answer)
            self.together.add(call, answer)
            if answer.failure in LOST:
                lost[answer.failure] += 1
                self.unanswered += answer.failure != "filtered" and answer.completion.sends > 0
        if not lost:
            return None
        return f"{lost.total():,} of {len(answers):,} calls had no answer. {tally.sample(lost)}"

    @property
    def withheld(self) -> int:
        """Return how many answers were refused, by the model or by a policy: that is an answer too."""
        return self.together.useless["refused"] + self.together.useless["filtered"]

    def of_method(self, method: str) -> str | None:
        """Return what went wrong with all that a method asked; None if the model said anything."""
        tallies = [t for stage, t in self.by_stage.items() if stage.split(".")[0] == method]
        if any(tally.heard for tally in tallies):
            return None
        return next((tally.sentence for tally in tallies if tally.sentence), None)

    def sentences(self, *, unheard: bool = False) -> list[str]:
        """Return what went wrong with each question of which no answer was of use.

        Args:
            unheard: only those to which the model said nothing at all.
        """
        return [
            f"{stage}: {tally.sentence}"
            for stage, tally in self.by_stage.items()
            if tally.sentence is not None and not (unheard and tally.heard)
        ]


def _is_heard(call: Call, answer: Answer) -> bool:
    if answer.ok or answer.failure in HEARD:
        return True
    return call.request.schema is None and answer.failure in HEARD_FREE
