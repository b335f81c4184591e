"""What a chat template writes does not depend on the day."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers.utils import chat_template_utils

from curate.core.dates import pin_date
from curate.models.load import load_tokenizer
from tests.conftest import write_tiny_model

MESSAGES = [{"role": "user", "content": "Which day is it?"}]
BODY = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
TEMPLATES = {
    "today is 26 Jul 2024 ": '{{ "today is " + strftime_now("%d %b %Y") + " " }}',
    "2024-07-26": "{%- set day = strftime_now( '%Y-%m-%d' ) -%}{{ day }}",
    "26 Jul 2024": '{%- set form = "%d %b %Y" -%}{{ strftime_now(form) }}',
    "none": "{%- if strftime_now is defined -%}none{%- endif -%}",
}


@pytest.mark.parametrize("expected", TEMPLATES)
def test_a_template_that_asks_for_today_gets_the_pinned_date(tmp_path: Path, expected: str) -> None:
    folder = write_tiny_model(tmp_path)
    (folder / "chat_template.jinja").write_text(TEMPLATES[expected] + BODY)
    tokenizer = load_tokenizer(folder)
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    assert text == f"{expected}Which day is it?"


def test_without_the_pin_the_day_would_be_seen() -> None:
    template = TEMPLATES["2024-07-26"]
    (texts, _) = chat_template_utils.render_jinja_template([MESSAGES], chat_template=template)
    assert texts != ["2024-07-26"]


def test_a_template_without_a_date_stays_as_it_is() -> None:
    assert pin_date(BODY) == BODY
