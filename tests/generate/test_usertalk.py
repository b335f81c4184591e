"""What a user's message must not be: thanks alone, the assistant's words, an earlier turn again."""

from __future__ import annotations

import pytest

from curate.generate.usertalk import find_user_fault, is_courtesy
from tests.conftest import turns

TALK = turns(
    "Why does the sea rise twice a day?",
    "The moon pulls at the water, and the earth turns under two bulges of it.",
)


@pytest.mark.parametrize(
    "text",
    [
        "Thanks!",
        "Thank you so much for the explanation of the tides.",
        "Great, thanks for your help!",
        "Okay. That makes sense. I really appreciate it.",
        "Perfect \u2014 that's very helpful. Have a nice day!",
        "You're welcome. Bye!",
        "I understand now, no more questions.",
    ],
)
def test_thanks_and_goodbyes_alone_ask_for_nothing(text: str) -> None:
    assert is_courtesy(text)
    assert find_user_fault(text, TALK) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Thanks, and at night?",
        "Great. Now say it to a child of five.",
        "That's very helpful for my essay on rivers, so please add sources.",
        "Why two?",
        "Good grief, is that so everywhere?",
        "Merci beaucoup !",
    ],
)
def test_what_asks_for_something_goes_on(text: str) -> None:
    assert not is_courtesy(text)
    assert find_user_fault(text, TALK) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Sure, here is an example of a tide table.", "other_kind"),
        ("Is there anything else I can help with?", "other_kind"),
        ("Assistant: The moon.", "other_kind"),
        ("Why does the sea rise twice each day?", "repeats_itself"),
        ("The moon pulls at the water and the earth turns under two bulges.", "repeats_itself"),
        ("Thanks!", "nothing_asked"),
    ],
)
def test_refusals_have_a_reason(text: str, reason: str) -> None:
    fault = find_user_fault(text, TALK)
    assert fault is not None
    assert fault[0] == reason


def test_what_repeats_names_the_turn() -> None:
    system = [{"role": "system", "content": "Be brief."}, *TALK]
    fault = find_user_fault("Why does the sea rise twice a day?", system)  # type: ignore[arg-type]
    assert fault is not None
    assert fault[1] == "ROUGE-L 1.00 to turn 1 of the talk"
