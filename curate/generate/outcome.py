"""What each generation method of a finished run came to: made, kept, dropped, paid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curate.llm.engines.absent import ABSENT
from curate.llm.limits import SAMPLES_FOLLOW

BILL, CANDIDATES = "generated/bill.json", "generated/candidates"
MOST_REASONS = 2
NOT_STARTED = "a limit was reached before its turn"


@dataclass(frozen=True)
class MethodOutcome:
    """A method's candidates and calls; `dropped` has the reasons, frequent ones first.

    `calls` were paid for, `cached` answers came from the store. `stopped` says why it ended early, at a
    limit or for its low yield, and `failed` by which fault of what it read or was answered.
    """

    method: str
    generated: int
    kept: int
    dropped: tuple[tuple[str, int], ...]
    calls: int
    cached: int
    tokens: int
    cost: float
    stopped: str | None
    failed: str | None = None

    @property
    def share(self) -> float | None:
        """Return the share of the candidates that were kept, the yield."""
        return self.kept / self.generated if self.generated else None

    @property
    def calls_a_row(self) -> float | None:
        """Return the answers that a kept row took, stored ones included."""
        return (self.calls + self.cached) / self.kept if self.kept else None

    @property
    def tokens_a_row(self) -> float | None:
        """Return the tokens that a kept row took; stored answers count like those paid for."""
        if not (self.calls and self.kept):
            return None
        return self.tokens * (1 + self.cached / self.calls) / self.kept


@dataclass(frozen=True)
class RowWriter:
    """The engine that wrote a run's rows; `facts` are revision, dtype and weights of its model.

    servers: how many there are, for one that is behind servers; structured: how it keeps to a schema.
    """

    model: str
    engine: str
    servers: int
    facts: tuple[tuple[str, str], ...]
    structured: str | None


def read_bill(run: Path) -> dict[str, Any] | None:
    """Return the bill of a run's generation, None if it made no rows."""
    path = run / BILL
    return dict(orjson.loads(path.read_bytes())) if path.is_file() else None


def writer_of(bill: dict[str, Any], config: dict[str, Any]) -> RowWriter | None:
    """Return the recipe's engine, from bill and recipe as resolved; None if no method asked it."""
    settings, identity = config["generate"]["engine"], bill["engine"]
    if identity["engine"] == ABSENT:
        return None
    facts = {name: identity.get(name) for name in ("revision", "dtype", "weights")}
    return RowWriter(
        model=str(identity.get("model") or settings["model"] or config["models"]["base"]),
        engine=str(identity["engine"]),
        servers=len(settings.get("endpoints", ())),
        facts=tuple((name, str(value)[:12]) for name, value in facts.items() if value),
        structured=bill["structured"],
    )


def outcomes_of(bill: Mapping[str, Any], methods: Sequence[str]) -> list[MethodOutcome]:
    """Return the outcome of each method that was asked for, in that order."""
    return [_outcome(method, bill) for method in methods]


def _outcome(method: str, bill: Mapping[str, Any]) -> MethodOutcome:
    stages = [s for name, s in bill["bill"]["stages"].items() if name.split(".")[0] == method]
    counted = bill["methods"].get(method, {"made": 0, "kept": 0, "dropped": {}})
    stopped, failed = bill["stopped"].get(method), bill.get("failed", {}).get(method)
    if not (stopped or failed) and bill["stopped"] and not stages and not counted["made"]:
        stopped = NOT_STARTED
    return MethodOutcome(
        method=method,
        generated=counted["made"],
        kept=counted["kept"],
        dropped=tuple(sorted(counted["dropped"].items(), key=lambda item: (-item[1], item[0]))),
        calls=sum(stage["calls"] for stage in stages),
        cached=sum(stage["cached"] for stage in stages),
        tokens=sum(stage["prompt_tokens"] + stage["completion_tokens"] for stage in stages),
        cost=sum(stage["cost"] for stage in stages),
        stopped=_first_sentence(method, stopped) if stopped else None,
        failed=_first_sentence(method, failed) if failed else None,
    )


def _first_sentence(method: str, stopped: str) -> str:
    """Return why a method stopped, without its name and the samples that may follow."""
    line = stopped.split("\n")[0]
    return line.removeprefix(f"{method}: ").removesuffix(SAMPLES_FOLLOW).rstrip(" .")


def generated_lines(run: Path) -> list[str]:
    """Return a line for each generation method of a run."""
    bill = read_bill(run)
    if bill is None:
        return []
    config = orjson.loads((run / "manifest.json").read_bytes())["config"]
    methods = [params["method"] for params in config["generate"]["methods"]]
    return [outcome_line(outcome) for outcome in outcomes_of(bill, methods)]


def outcome_line(outcome: MethodOutcome) -> str:
    """Return what a generation method kept, why other candidates went, and what it took."""
    why = ", ".join(f"{count:,} {name}" for name, count in outcome.dropped[:MOST_REASONS])
    most = "most dropped: " if len(outcome.dropped) > MOST_REASONS else "dropped: "
    return (
        f"{outcome.method}: {outcome.kept:,} of {outcome.generated:,} candidates kept"
        + (f" ({most}{why})" if why else "")
        + f"; {outcome.tokens:,} tokens in {outcome.calls:,} calls"
        + (f", {outcome.cached:,} answers from the store" if outcome.cached else "")
        + (f", cost {outcome.cost:.4g}" if outcome.cost else "")
        + (f"; stopped: {outcome.stopped}" if outcome.stopped else "")
        + (f"; failed: {outcome.failed}" if outcome.failed else "")
    )
