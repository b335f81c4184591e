"""The funnel as lines: rows, a bar, what left and why."""

import pytest

from curate.report.funneltext import bar_text, funnel_lines
from curate.runs.funnel import Funnel, FunnelStep


def test_a_funnel_is_a_line_a_step_with_reasons() -> None:
    steps = (
        FunnelStep("pool", (("bad_json", 9), ("empty_prompt", 1), ("a", 1), ("b", 1)), 1000),
        FunnelStep("exact", (("exact_duplicate", 500),), 500),
        FunnelStep("correct", (("wrong_answer", 2),), 508, added=10),
        FunnelStep("leaks", (), 508),
        FunnelStep("select", (("beyond_budget", 507),), 1),
    )
    assert list(funnel_lines(Funnel(1012, steps))) == [
        "read             1,000  ████████████████████  "
        "12 rejected: bad_json 9, empty_prompt 1, a 1 and 1 more",
        "Exact duplicates   500  ██████████            500 dropped: exact_duplicate",
        "Corrections        508  ██████████▏           2 dropped: wrong_answer; 10 made",
        "Eval leaks         508  ██████████▏",
        "selected             1  ▏                     507 not selected: beyond_budget",
    ]


def test_a_funnel_is_cut_to_the_width_of_a_terminal() -> None:
    steps = (FunnelStep("pool", (("empty_response", 12),), 9), FunnelStep("select", (), 9))
    cut, whole = funnel_lines(Funnel(21, steps), 50)
    assert (len(cut), cut[-1]) == (50, "…")
    assert whole.startswith("selected") and "…" not in whole


@pytest.mark.parametrize(
    ("share", "bar"), [(0, ""), (1, "█" * 20), (1e-9, "▏"), (0.5, "█" * 10), (0.028125, "▌")]
)
def test_a_bar_is_as_long_as_its_share_and_never_nothing_for_something(
    share: float, bar: str
) -> None:
    assert bar_text(share) == bar
