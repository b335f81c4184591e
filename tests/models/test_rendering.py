"""Rows as texts: what the export `text` holds is what the base model reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from curate.models.chat import tokenise
from curate.models.rendering import render_rows
from tests.conftest import frame, row, turns
from tests.models.test_spans import tokenizer_of

if TYPE_CHECKING:
    from pathlib import Path

    from curate.core.rows import Message


@pytest.mark.parametrize("template", ["chatml", "llama2"])
def test_reasoning_stands_in_the_text_where_the_template_has_no_field_for_it(
    tiny: Path, template: str
) -> None:
    tokenizer = tokenizer_of(tiny, template)
    answer: Message = {"role": "assistant", "content": "42", "reasoning": "6 x 7"}
    messages = [*turns("How much?"), answer]
    [text] = render_rows(tokenizer, frame([row("p1", messages)]))["text"]
    assert "<think>\n6 x 7\n</think>\n\n42" in text
    assert (
        tokenizer(text, add_special_tokens=False)["input_ids"]
        == (tokenise(tokenizer, [messages], None)[0])
    )
