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
# Of use to a caller who asked for no form, though something is wrong with it.
FREE_TEXT = frozenset({"truncated", "repetition", "refused"})


@dataclass
class Faults:
    """A tally of answers.

    `transient` ones may well be answered in another run.
    """

    asked: int = 0
    usable: int = 0
    transient: int = 0
    useless: Counter[str] = field(default_factory=Counter)
    samples: dict[str, str] = field(default_factory=dict)

    def add(self, calls: Sequence[Call], answers: Sequence[Answer]) -> str | None:
        """Count answers; return what to warn of where calls were lost."""
        lost: Counter[str] = Counter()
        for call, answer in zip(calls, answers, strict=True):
            if answer.failure == "unsent":
                continue
            self.asked += 1
            self.usable += _is_usable(call, answer)
            if answer.failure is None:
                continue
            self.useless[answer.failure] += 1
            self.samples.setdefault(answer.failure, answer.reason)
            if answer.failure in LOST:
                lost[answer.failure] += 1
                self.transient += answer.failure != "filtered" and not answer.completion.permanent
        if not lost:
            return None
        return f"{lost.total():,} of {len(answers):,} calls had no answer. {self._sample(lost)}"

    @property
    def sentence(self) -> str | None:
        """Return what went wrong if nothing that was asked had an answer of use, else None."""
        if self.usable or not self.asked:
            return None
        counts = ", ".join(f"{count:,} {name}" for name, count in self.useless.most_common())
        return f"none of {self.asked:,} answers was of use ({counts}). {self._sample(self.useless)}"

    def _sample(self, counts: Counter[str]) -> str:
        return f"One of them: {self.samples[counts.most_common(1)[0][0]]}"


def _is_usable(call: Call, answer: Answer) -> bool:
    return answer.ok or (call.request.schema is None and answer.failure in FREE_TEXT)
