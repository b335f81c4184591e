"""The curve of a proof in the report: a panel and a line for each ability, and nothing where none is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.report.build import write_report
from curate.report.curve import read_curve
from curate.report.curve_chart import PANELS, draw_ability_curves
from curate.report.drawing import draw_unchecked

MakeRun = Callable[..., Path]
HOSTILE = "<script>alert(1)</script>\u202e"


def ability(
    growth: str = "growing", examples: int = 4, enough: int | None = None
) -> dict[str, Any]:
    points = [
        {"rows": rows, "selected": 2 - rows / 50, "control": 2.0, "by_draw": [1.9, 2.1]}
        for rows in (48, 12, 3)
    ]
    gain = {"gain": 0.72, "low": 0.7, "high": 0.74, "class": growth}
    return {"examples": examples, "base": 2.4, "points": points, "enough": enough, **gain}


def curve(**abilities: dict[str, Any]) -> dict[str, Any]:
    return {
        "factor": 4,
        "metric": "loss",
        "unit": "nats per response token",
        "control": "random_rows",
        "margin": 0.05,
        "total": ability(enough=12),
        "abilities": [{"ability": name, **lines} for name, lines in abilities.items()],
        "sentence": "A sentence of the curve.",
    }


def add_curve(run: Path, curve_lines: dict[str, Any]) -> str:
    proof = json.loads((run / "proof.json").read_text())
    (run / "proof.json").write_text(json.dumps({**proof, "curve": curve_lines}))
    return write_report(run).read_text()


def test_every_ability_has_a_line_and_its_class(make_run: MakeRun) -> None:
    curve_lines = curve(riddles=ability(), sums=ability("harmed", enough=3))
    source = add_curve(make_run(), curve_lines)
    assert "A sentence of the curve." in source
    for part in ("riddles", "sums", "harmed", "12 rows", "+0.72"):
        assert part in source
    assert "Curves of the loss with 3 to 48 rows: 1.9400 to 1.0400 for all examples." in source


def test_a_proof_without_a_curve_says_nothing_of_one(make_run: MakeRun) -> None:
    assert "How much of the selection is enough" not in write_report(make_run()).read_text()


def test_where_no_smaller_size_was_trained_only_the_sentence_stands(make_run: MakeRun) -> None:
    curve_lines = curve(riddles=ability())
    for part in (curve_lines["total"], *curve_lines["abilities"]):
        del part["class"]
    source = add_curve(make_run(), curve_lines)
    assert "A sentence of the curve." in source
    assert "Gain of the last step" not in source


def test_names_of_abilities_are_escaped(make_run: MakeRun) -> None:
    source = add_curve(make_run(), curve(**{HOSTILE: ability(), "sums": ability()}))
    assert HOSTILE not in source
    assert source.count("<script>") == 1


def test_the_chart_holds_the_largest_abilities_and_one_alone_is_the_whole() -> None:
    many = read_curve(curve(**{f"task-{i:02}": ability(examples=i + 1) for i in range(30)}))
    one = read_curve(curve(only=ability()))
    assert many is not None
    assert one is not None
    drawn = draw_unchecked(draw_ability_curves, many).alt
    assert "task-29" in drawn
    assert f"task-{30 - PANELS + 1:02}" in drawn
    assert "task-00" not in drawn
    assert "only" not in draw_ability_curves(one).alt
