"""Where in a response its answer stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.location import answer_range

OTHER = "It was a long story, told in many words, of a train. "


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("48/2 = 24, and 48 + 24 = 72.\n#### 72", "72"),
        (f"{OTHER}The answer is **12 hours**. Good luck!", "12 hours"),
        (f"{OTHER}So the final answer is: $5$", "5"),
        (r"We get 3. Hence \boxed{\frac{3}{4}}.", r"\frac{3}{4}"),
        (r"Then $$\boxed{(2, 5)}$$ holds, as was to be shown.", "(2, 5)"),
        ("Paris", "Paris"),
        ("  (B) \n", "(B)"),
        ("72", "72"),
        ("B) a road that goes on and on, up the hill and down the hill", None),
        (f"{OTHER}\n\n(B)", "(B)"),
        (f"{OTHER}I would take option C.", "C"),
        (f"{OTHER}Altogether she has 1,234 dollars.", "1,234"),
        (f"{OTHER}That makes -3.5", "-3.5"),
        ("<think>So the answer is 4?</think>\n\n5", "5"),
        (f"The answer is 3. No:\n</think>\n{OTHER}", None),
        (f"The answer is that {OTHER}", None),
        ("The answer is:", None),
        (f"In 1987 he went to Rome. {OTHER}", None),
        (f"{OTHER}It has 3 rooms, and a garden with a view.", None),
        (OTHER, None),
        ("what=solicitor; who=Jo; day=sat; time=15:25; place=Ferry Wharf", None),
        ("", None),
    ],
)
def test_the_answer_is_found_where_it_is_named_and_nowhere_else(
    response: str, answer: str | None
) -> None:
    if response.startswith("B)"):
        answer = response
    place = answer_range(response)
    assert (place and response[slice(*place)]) == answer


@given(st.text(), st.text(max_size=30))
def test_a_place_lies_in_the_text_and_holds_something(before: str, behind: str) -> None:
    for response in (before, f"{before} The answer is {behind}"):
        place = answer_range(response)
        if place is not None:
            assert 0 <= place[0] < place[1] <= len(response)
            assert response[slice(*place)].strip()
