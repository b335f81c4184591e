"""What a run may spend, what it has spent, and when there is no use in going on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pydantic import Field

from curate.core.errors import UserError
from curate.core.params import Params
from curate.llm.requests import Completion

SAMPLES = 3
SAMPLES_FOLLOW = "Some that were dropped:"
EXCERPT = 200


class Limits(Params):
    """Hard limits of a run; null is no limit. What is under way when one is reached is finished."""

    calls: int | None = Field(
        None, ge=0, description="sent to the model, repeated ones included", examples=[20000]
    )
    tokens: int | None = Field(None, ge=0, description="read and written", examples=[30000000])
    cost: float | None = Field(
        None, ge=0, description="in the currency of the engine's prices", examples=[20]
    )
    failures: int = Field(25, ge=1, description="calls in a row without an answer")


@dataclass
class Usage:
    """What a stage's calls came to.

    calls were sent, `retried` of them once more after a failure or a useless answer; `failed` ended
    without an answer; `cached` answers cost nothing. `estimated` calls came without token counts.
    """

    calls: int = 0
    cached: int = 0
    retried: int = 0
    failed: int = 0
    estimated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    useless: dict[str, int] = field(default_factory=dict)

    def add(self, completion: Completion) -> None:
        """Count a completion that was paid for."""
        self.retried += max(completion.sends - 1, 0)
        self.failed += completion.finish == "failed"
        self.estimated += completion.estimated
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.cost += completion.cost

    @property
    def tokens(self) -> int:
        """Return tokens read and written."""
        return self.prompt_tokens + self.completion_tokens

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain mapping."""
        rounded = {"cost": round(self.cost, 6), "seconds": round(self.seconds, 3)}
        return asdict(self) | rounded | {"useless": dict(sorted(self.useless.items()))}


class Bill:
    """What a run spent, stage by stage."""

    def __init__(self) -> None:
        self.stages: dict[str, Usage] = {}

    def stage(self, name: str) -> Usage:
        """Return a stage's line, to count on."""
        return self.stages.setdefault(name, Usage())

    def total(self) -> Usage:
        """Return the sum of all stages."""
        total = Usage()
        for spent in self.stages.values():
            for number in fields(Usage):
                if number.name != "useless":
                    both = getattr(total, number.name) + getattr(spent, number.name)
                    setattr(total, number.name, both)
            for name, count in spent.useless.items():
                total.useless[name] = total.useless.get(name, 0) + count
        return total

    def to_dict(self) -> dict[str, Any]:
        """Return it for a manifest: total, and stages by name."""
        stages = {name: spent.to_dict() for name, spent in self.stages.items()}
        return {"total": self.total().to_dict(), "stages": stages}


def exceeded(limits: Limits, spent: Usage) -> str | None:
    """Return which limit leaves no room for another call, as a sentence; None if none does."""
    reached: Mapping[str, tuple[float | None, float]] = {
        "calls": (limits.calls, spent.calls),
        "tokens": (limits.tokens, spent.tokens),
        "cost": (limits.cost, spent.cost),
    }
    for name, (limit, so_far) in reached.items():
        if limit is not None and so_far >= limit:
            return f"the limit of {limit:,} {name} is reached ({so_far:,.6g}); raise limits.{name}"
    return None


class LowYield(UserError):
    """So little of what was made was kept that going on would waste the rest."""


class YieldGuard:
    """Stops a method whose candidates are nearly all dropped, and shows why.

    Args:
        name: of the method or stage, for the message.
        least: share of the candidates that must be kept.
        after: candidates before it judges.
    """

    def __init__(self, name: str, *, least: float, after: int) -> None:
        self._name, self._least, self._after = name, least, after
        self.kept = self.dropped = 0
        self._samples: dict[str, str] = {}

    def keep(self, count: int = 1) -> None:
        """Count kept candidates."""
        self.kept += count

    def drop(self, reason: str, sample: str) -> None:
        """Count a dropped candidate; the first sample of each reason is remembered.

        Raises:
            LowYield: the share of kept ones is below the least.
        """
        self.dropped += 1
        if len(self._samples) < SAMPLES or reason not in self._samples:
            self._samples.setdefault(
                reason if reason not in self._samples else f"{reason} ({self.dropped})", sample
            )
        self.check()

    def check(self) -> None:
        """Raise LowYield if enough candidates were seen and too few of them kept."""
        seen = self.kept + self.dropped
        if seen < self._after or self.kept >= self._least * seen:
            return
        samples = [f"  {reason}: {_excerpt(text)}" for reason, text in self._diverse()]
        raise LowYield(
            f"{self._name}: only {self.kept:,} of {seen:,} candidates were kept, below the least yield "
            f"of {self._least:.1%}. {SAMPLES_FOLLOW}\n" + "\n".join(samples) + "\nUse a larger "
            "model, change the prompt, or lower least_yield."
        )

    def _diverse(self) -> list[tuple[str, str]]:
        """Return up to three samples, of different reasons first."""
        plain = [item for item in self._samples.items() if not item[0].endswith(")")]
        more = [item for item in self._samples.items() if item[0].endswith(")")]
        return [*plain, *more][:SAMPLES]


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= EXCERPT else f"{line[: EXCERPT - 4]} ...")
