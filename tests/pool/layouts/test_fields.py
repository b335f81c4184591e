"""Fields that a recipe names: paths into a record, a role map, a system prompt beside the turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.core.turntext import plain_messages
from curate.pool.layouts import Conversation, RecordFault, file_reader
from curate.pool.parts import entry_parts
from curate.pool.rowset import row_set
from curate.pool.settings import FieldMap, RowFile
from tests.conftest import turns

AB = turns("a", "b")


def read(record: dict[str, Any], **fields: Any) -> Conversation:
    names: Any = fields
    [conversation] = file_reader([record], names, "f").read(record).conversations
    assert conversation.example is not None
    return conversation


def turns_of(record: dict[str, Any], **fields: Any) -> Any:
    example = read(record, **fields).example
    return example and example.turns


def test_named_fields_are_used_and_what_is_not_named_goes_to_meta() -> None:
    record = {"q": "a", "c": "x", "r": "b", "s": "be kind", "o": "arithmetic", "instruction": "no"}
    conversation = read(record, prompt="q", context="c", response="r", system="s", origin="o")
    assert conversation.example is not None
    assert conversation.example.turns == [
        {"role": "system", "content": "be kind"},
        *turns("a\n\nx", "b"),
    ]
    assert (conversation.origin, conversation.meta) == ("arithmetic", {"instruction": "no"})


def test_an_origin_may_be_a_number() -> None:
    record = {"q": "a", "r": "b", "task": {"id": 0}, "o": True}
    assert read(record, prompt="q", response="r", origin="task.id").origin == "0"
    assert read(record, prompt="q", response="r", origin="o").origin is None


def test_paths_lead_into_objects_and_lists() -> None:
    record = {"body": {"messages": AB, "model": "m", "system": "s"}, "id": 1}
    conversation = read(record, messages="body.messages", system="body.system")
    assert conversation.example is not None
    assert conversation.example.turns == [{"role": "system", "content": "s"}, *AB]
    assert conversation.meta == {"id": 1, "body": {"model": "m"}}
    record = {"q": {"text": "a"}, "answers": {"text": ["x", "b"]}}
    assert turns_of(record, prompt="q.text", response="answers.text[1]") == AB
    assert read(record, prompt="q.text", response="answers.text[1]").meta == {
        "q": {},
        "answers": {"text": ["x", "b"]},
    }


def test_a_field_whose_own_name_has_a_dot_comes_first() -> None:
    record = {"q.text": "a", "q": {"text": "no"}, "r": "b"}
    assert turns_of(record, prompt="q.text", response="r") == AB


@pytest.mark.parametrize("path", ["body.replies[3]", "body.none", "none.text", "body[0]", "q.x"])
def test_a_path_that_leads_nowhere_refuses_the_record_by_its_name(path: str) -> None:
    with pytest.raises(RecordFault) as caught:
        read({"q": "a", "body": {"replies": ["b"]}}, prompt="q", response=path)
    assert caught.value.field == path


def test_a_role_map_names_roles_with_and_without_fields() -> None:
    record = {"messages": [{"role": "humain", "content": "a"}, {"role": "gpt", "content": "b"}]}
    assert turns_of(record, roles={"humain": "user"}) == AB
    assert turns_of(record, messages="messages", roles={"humain": "user"}) == AB


def test_turns_under_a_named_field_are_held_to_the_same_rule() -> None:
    with pytest.raises(RecordFault) as caught:
        read({"m": [AB[0], AB[1] | {"weight": 2}]}, messages="m")
    assert caught.value.field == "m[1].weight = 2: 0 or 1"


@pytest.mark.parametrize(
    "fields",
    [
        {"response": "q"},
        {"system": "s"},
        {"messages": "m", "prompt": "q"},
        {"roles": {"x": "boss"}},
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RowFile.model_validate({"path": "x", "fields": fields})


def test_a_role_map_alone_still_asks_for_a_known_layout() -> None:
    with pytest.raises(UserError, match="no known layout"):
        file_reader([{"foo": 1}], {"roles": {"x": "user"}}, "f")


def test_a_prompt_alone_is_named_where_prompts_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"goal": "a", "sol1": "x"}\n')
    entry = RowFile(path=str(tmp_path / "x.jsonl"), fields=FieldMap(prompt="goal"))
    prompts = row_set("protected", [entry], seed=0, max_rejected=0.0, prompts=True)
    [part] = entry_parts(prompts.entries.files[0].identity, [f"file://{entry.path}"], 0)
    assert plain_messages(part.read().rows["messages"][0].as_py()) == [AB[0]]
    with pytest.raises(UserError, match="pool: fields: name the `response` beside the `prompt`"):
        row_set("pool", [entry], seed=0, max_rejected=0.0)
