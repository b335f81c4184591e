"""Why answers were of no use: counted by class over all that is asked, the first of each class kept.

rubric: none of 12 answers was of use (12 failed). One of them: http://h/v1: HTTP 500 overloaded
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from curate.generate.requests import Call
from curate.generate.structured import Answer

# Nothing came that could be called an answer of the model.
LOST = frozenset({"failed", "unknown", "filtered"})
# The model is heard, though something is wrong: with the values of a record, or with a free text.
HEARD = frozenset({"schema_violation"})
HEARD_FREE = frozenset({"truncated", "repetition", "refused"})


@dataclass
class Faults:
    """A tally of answers.

    `unanswered` ones were sent in vain: the server may answer them another time.
    """

    total: int = 0
    heard: int = 0
    unanswered: int = 0
    useless: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)

    def add(self, calls: Sequence[Call], answers: Sequence[Answer]) -> str | None:
        """Count answers; return what to warn of where calls were lost."""
        lost: Counter[str] = Counter()
        for call, answer in zip(calls, answers, strict=True):
            if answer.failure == "unsent":
                continue
            self.total += 1
            self.heard += _is_heard(call, answer)
            if answer.failure is None:
                continue
            self.useless[answer.failure] += 1
            self.samples.setdefault(answer.failure, answer.reason)
            if answer.failure in LOST:
                lost[answer.failure] += 1
                self.unanswered += answer.failure != "filtered" and answer.completion.sends > 0
        if not lost:
            return None
        return f"{lost.total():,} of {len(answers):,} calls had no answer. {self.sample(lost)}"

    @property
    def sentence(self) -> str | None:
        """Return what went wrong if nothing that was asked had an answer of use, else None."""
        if self.heard or not self.total:
            return None
        counts = ", ".join(f"{count:,} {name}" for name, count in self.useless.most_common())
        return f"none of {self.total:,} answers was of use ({counts}). {self.sample()}"

    def sample(self, counts: Counter[str] | None = None) -> str:
        """Return one reason of the class that is most frequent, by default of all; empty if none is."""
        (frequent, *_) = (counts or self.useless).most_common(1) or [("", 0)]
        return f"One of them: {self.samples[frequent[0]]}" if frequent[1] else ""


def _is_heard(call: Call, answer: Answer) -> bool:
    if answer.ok or answer.failure in HEARD:
        return True
    return call.request.schema is None and answer.failure in HEARD_FREE
