"""System texts that a chat template refuses are merged into the first user turn, or are left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.models.acceptance import accepted_messages, find_lasting_fault, merge_system
from curate.models.load import load_tokenizer
from tests.conftest import turns
from tests.models.test_refusals import STRICT


def said(*roles_and_texts: str) -> list[Message]:
    """Return messages written as "role: text"."""
    parts = [text.split(": ", 1) for text in roles_and_texts]
    return [{"role": role, "content": content} for role, content in parts]


@pytest.mark.parametrize(
    ("messages", "merged"),
    [
        (["system: S", "user: a", "assistant: b"], ["user: S\n\na", "assistant: b"]),
        (["system: S", "system: T", "user: a"], ["user: S\n\nT\n\na"]),
        (["system:  ", "user: a"], ["user: a"]),
        (["user: a", "assistant: b"], None),
        (["system: S", "assistant: b"], None),
        (["system: S"], None),
    ],
)
def test_leading_system_texts_open_the_first_user_turn(
    messages: list[str], merged: list[str] | None
) -> None:
    assert merge_system(said(*messages)) == (None if merged is None else said(*merged))


def test_what_a_template_refuses_is_merged_only_where_that_is_allowed_and_helps(
    tiny: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "strict"))
    (folder / "chat_template.jinja").write_text(STRICT)
    tokenizer = load_tokenizer(folder)
    system = said("system: S", "user: a", "assistant: b")
    twice = said("system: S", "user: a", "user: b", "assistant: c")
    assert accepted_messages(tokenizer, turns("a", "b"), "drop_row") == turns("a", "b")
    assert accepted_messages(tokenizer, system, "drop_row") is None
    assert accepted_messages(tokenizer, system, "merge") == turns("S\n\na", "b")
    assert accepted_messages(tokenizer, twice, "merge") is None
    assert find_lasting_fault(tokenizer, system, "merge") is None
    fault = find_lasting_fault(tokenizer, system, "drop_row")
    assert fault is not None
    assert fault[0] == Reason.TEMPLATE_REFUSED
