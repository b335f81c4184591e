"""What every selection takes: a budget, and what may stand between a row's rank and its choice."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from curate.core.params import Params


class Budget(Params):
    """How much to select: exactly one of rows, tokens of the base model, or a fraction of the rows."""

    rows: int | None = Field(None, description="so many rows", examples=[500])
    tokens: int | None = Field(
        None, description="at most so many tokens of the base model", examples=[200000]
    )
    fraction: float | None = Field(
        None, description="a share of the kept rows, above 0 and at most 1", examples=[0.05]
    )

    @model_validator(mode="after")
    def _check(self) -> "Budget":
        given = {k: v for k, v in self if v is not None}
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of rows, tokens and fraction (got {', '.join(given) or 'none'})"
            )
        name, value = next(iter(given.items()))
        if not value > 0 or (name == "fraction" and value > 1):
            limit = "above 0 and at most 1" if name == "fraction" else "above 0"
            raise ValueError(f"{name} must be {limit} (got {value})")
        return self

    def __str__(self) -> str:
        name, value = next((k, v) for k, v in self if v is not None)
        if name == "fraction":
            return "all rows" if value == 1 else f"{value:.4g} of the rows"
        return f"{value:,} {name}"


def _read_budget(value: Any) -> Any:
    """Return a bare number as a budget: a whole one as rows, one below 1 as a fraction of the rows."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int):
        return {"rows": value}
    if 0 < value < 1:
        return {"fraction": value}
    raise ValueError("write a number of rows (100), a fraction below 1 (0.05) or {tokens: 20000}")


ShortBudget = Annotated[
    Budget, BeforeValidator(_read_budget, json_schema_input_type=Budget | int | float)
]


class Share(Params):
    """How much of the budget groups of rows may or must take, as shares from 0 to 1."""

    by: str = Field(
        description="what makes the groups: source, origin, meta.FIELD or STAGE.COLUMN",
        examples=["source"],
    )
    most: Annotated[float, Field(ge=0, le=1)] | dict[str, Annotated[float, Field(ge=0, le=1)]] = (
        Field(1.0, description="cap of every group, or of the groups named", examples=[0.4])
    )
    least: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {},
        description="quota of the groups named, as far as they have rows",
        examples=[{"arithmetic": 0.1}],
    )

    @model_validator(mode="after")
    def _check(self) -> "Share":
        if sum(self.least.values()) > 1 + 1e-9:
            raise ValueError(
                f"the quotas add up to {sum(self.least.values()):.4g}, which is above 1"
            )
        for name, share in self.least.items():
            if share > self.cap(name):
                raise ValueError(f"the quota of {name!r} is above its cap of {self.cap(name)}")
        return self

    def cap(self, group: str) -> float:
        """Return a group's cap."""
        return self.most if isinstance(self.most, float) else self.most.get(group, 1.0)


class Diversity(Params):
    """Pass over rows that are too similar to one that ranks higher (cosine of their embeddings)."""

    most: float = Field(0.9, gt=0, le=1, description="rows from this similarity on are passed over")
    embedder: str | None = Field(
        None, description="the run's own if not given", examples=["minilm"]
    )


class SelectParams(Params):
    """What all selectors take: a budget, and what may stand between a row's rank and its choice."""

    budget: ShortBudget
    filter: str | None = Field(
        None,
        description="SQL condition on tokens, source, meta.FIELD, STAGE.COLUMN ... that rows must meet",
        examples=["tokens < 800"],
    )
    shares: list[Share] = Field(
        [],
        description="caps and quotas of groups of rows",
        examples=[[{"by": "source", "most": 0.4}]],
    )
    diversity: Diversity | None = None
