"""Sequential looks: a proof that stops at the first few random draws that decide it.

`draws: sequential` looks after 5, 9 and 19 draws, at levels that add up to that of one look at the end
(union bound): .01, .015 and .025 at 5 %. Looking again and again at the whole level would call random
sets better or worse far more often than it says. The first look that says better or worse is the last.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SEQUENTIAL = "sequential"
LOOKS = (5, 9, 19)
SHARES = (0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Look:
    """How many draws a selection is judged by, and which share of the level that spends."""

    draws: int
    share: float = 1.0
    number: int = 1
    of: int = 1

    def describe(self) -> dict[str, Any]:
        """Return the look as proof.json has it."""
        return {**asdict(self), "all": list(LOOKS) if self.of > 1 else [self.draws]}


def looks_of(draws: int | str) -> list[Look]:
    """Return the looks of a recipe's `prove.draws`: one for a number."""
    if draws != SEQUENTIAL:
        return [Look(int(draws))]
    numbered = enumerate(zip(LOOKS, SHARES, strict=True), start=1)
    return [Look(count, share, number, len(LOOKS)) for number, (count, share) in numbered]


def look_sentence(look: Mapping[str, Any]) -> str:
    """Return which look it was and what was left; nothing where there is but one."""
    if look["of"] == 1:
        return ""
    rest = [str(count) for count in look["all"][look["number"] :]]
    sentence = f" This is look {look['number']} of {look['of']}, and all of them share the level"
    if not rest:
        return f"{sentence}."
    return f"{sentence}; {' and '.join(rest)} draws were not needed."
