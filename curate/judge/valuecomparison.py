"""How far a response and a sampled answer agree by their values, before any text is compared."""

from dataclasses import dataclass

from curate.answers.values import Check, Form, find_form, same_value
from curate.llm.compare import alike

# The weight of agreement against exact match.
ALPHA = 0.8


@dataclass(frozen=True)
class ValueComparison:
    """Comparison of a response and a sampled answer by value alone, before any text is compared."""

    form: Form | None
    equal: bool
    same: bool | None

    @property
    def not_comparable(self) -> bool:
        """Return whether the response has a value and the sample none to compare with it."""
        return self.form is not None and self.same is None and not self.equal

    @property
    def needs_text(self) -> bool:
        """Return whether the texts have to be compared."""
        return not self.equal and (self.same is None or self.form == "final")

    def consistency(self, text: float) -> float:
        """Return 0.8 s + 0.2 r; `text` is the agreement of the texts, where that is needed."""
        if self.equal:
            return 1.0
        if self.same is None:
            return ALPHA * text
        agreement = (self.same + text) / 2 if self.form == "final" else float(self.same)
        return ALPHA * agreement + (1 - ALPHA) * self.same


def compare_values(response: str, sample: str, check: Check = "auto") -> ValueComparison:
    """Return what values say of a response and a sampled answer."""
    form = find_form(response, check)
    same = None if form is None else same_value(form, response, sample)
    return ValueComparison(form, alike(response, sample), same)
