"""The curve of the proof, read from proof.json: what each ability does with more rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOTAL = "all examples"


@dataclass(frozen=True)
class Point:
    """What selection and control reach at one size; `draws`: the control's lowest and highest."""

    rows: int
    selected: float
    control: float
    draws: tuple[float, float]


@dataclass(frozen=True)
class Ability:
    """A group of eval examples: its curve from few rows to all, and the gain of the last step."""

    name: str
    examples: int
    base: float
    points: tuple[Point, ...]
    growth: str
    gain: float
    low: float
    high: float
    enough: int | None


@dataclass(frozen=True)
class AbilityCurves:
    """Abilities of an eval set, all of it first; none where no smaller size could be trained on."""

    sentence: str
    metric: str
    unit: str
    factor: int
    margin: float
    control: str
    abilities: tuple[Ability, ...]

    @property
    def sizes(self) -> list[int]:
        """Return the rows of each point, fewest first."""
        return [point.rows for point in self.abilities[0].points] if self.abilities else []


def read_curve(curve: Mapping[str, Any] | None) -> AbilityCurves | None:
    """Return what proof.json says of a curve; None without one."""
    if curve is None:
        return None
    parts = [{"ability": TOTAL, **curve["total"]}, *curve["abilities"]]
    return AbilityCurves(
        curve["sentence"],
        curve["metric"],
        curve["unit"],
        curve["factor"],
        curve["margin"],
        curve["control"],
        tuple(_ability(part) for part in parts if "class" in part),
    )


def _ability(part: Mapping[str, Any]) -> Ability:
    points = (
        Point(p["rows"], p["selected"], p["control"], (min(p["by_draw"]), max(p["by_draw"])))
        for p in reversed(part["points"])
    )
    figures = part["gain"], part["low"], part["high"], part["enough"]
    growth = part["class"]
    return Ability(part["ability"], part["examples"], part["base"], tuple(points), growth, *figures)
