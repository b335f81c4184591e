"""Plans of requests for calls: shares, the even use of functions, what is offered."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.generate.toolplans import plan_requests

NAMES = ["ferries", "tides", "buoys", "moon"]


def test_shares_are_kept_and_functions_take_turns() -> None:
    plans = plan_requests(NAMES, 80, (0.25, 0.1), 3, 3, np.random.default_rng(1))
    assert Counter(p.kind for p in plans) == {"simple": 52, "parallel": 20, "irrelevance": 8}
    simple = plan_requests(NAMES, 80, (0, 0), 3, 3, np.random.default_rng(1))
    assert set(Counter(p.uses for p in simple).values()) == {20}
    several = [p.uses for p in plans if p.kind == "parallel"]
    assert {len(uses) for uses in several} == {2, 3}
    assert {len(set(uses)) == 1 for uses in several} == {True, False}
    # Kinds come mixed.
    assert len({p.kind for p in plans[:20]}) > 1


@given(
    rows=st.integers(1, 40), shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
    calls=st.integers(2, 6), offered=st.integers(1, 6), functions=st.integers(1, 4),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_plans_are_sound(
    rows: int, shares: tuple[float, float], calls: int, offered: int, functions: int, seed: int
) -> None:
    names = NAMES[:functions]
    plans = plan_requests(names, rows, shares, calls, offered, np.random.default_rng(seed))
    assert len(plans) == rows
    for plan in plans:
        counts = {"simple": {1}, "parallel": set(range(2, calls + 1)), "irrelevance": {0}}
        assert len(plan.uses) in counts[plan.kind]
        assert set(plan.uses) <= set(plan.offered) <= set(names)
        assert len(plan.offered) == len(set(plan.offered))
        assert len(plan.offered) == min(max(offered, len(set(plan.uses))), functions)
