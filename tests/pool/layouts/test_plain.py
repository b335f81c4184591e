"""Records of plain texts are read as the general reader reads them, or left to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.core.jsontext import dump_json
from curate.core.rows import find_fault
from curate.pool.layouts.compared import COMPARISONS
from curate.pool.layouts.pairs import PAIRS
from curate.pool.layouts.plain import PlainReader, PlainRecord
from curate.pool.layouts.preference import CHOSEN
from curate.pool.layouts.reader import ORIGIN_FIELDS, RecordReader
from curate.pool.layouts.unread import SPOKEN_FIELDS
from tests.conftest import examples

NAMES = sorted(
    {
        *SPOKEN_FIELDS, *ORIGIN_FIELDS, *CHOSEN, *CHOSEN.values(),
        *(name for pair in PAIRS for name in (pair.prompt, pair.response, *pair.contexts, *pair.needs)),
        *(name for each in COMPARISONS for name in (each.prompt, *each.answers, *each.verdict) if name),
        *("id", "score", "label", "chat", "tools", "functions", "reasoning", "images", "data"),
        *("kto_tag", "instructions"),
        *("A", "B", "option_a", "option_b", "choice1", "choice2", "answerKey", "correct_answer"),
        *("chat_template_kwargs", "content", "transcript", "Instruction", "Output", "Question"),
        *("sample", "plain_text", "deepseek_reasoning", "generations", "completions", "prefix"),
        *("attempt", "deepseek_attempt", "text_token_length", "reasoning_content", "llm_response"),
        *("trajectory", "speakers", "responses", "r1_solution_1", "complex_cot", "starter_code"),
        *("Answer", "CATEGORY", "custom_id", "body", "replies", "refusal", "weight", "Definition"),
    }
)  # fmt: skip
TEXTS = st.sampled_from(
    ["two words", "Hallo\n\nWelt", "7", "A", "mark0", "", " ", " x", "\xa0x", "null", "false", "[]",
     "[x", "{}", '[{"role": "user", "content": "q"}]', '["a", "b"]', '{"text": "a"}', "model_a",
     "Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "Human: a\nAssistant: b\nHuman: ",
     "USER: hi\n\n\nASSISTANT: yes <|endoftext|>",
     "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
     "SYSTEM: s\nUSER: hi\n\n\nASSISTANT: yes", "[Human]: Hi<eoh> [MOSS]: Hello<eoa>", "off",
     "[INST] q [/INST] a", "### Human: q### Assistant: a", "Answer it", "System: s"]
)  # fmt: skip
VALUES = TEXTS | st.text(max_size=4) | st.none() | st.booleans() | st.integers(-2, 3)
ROLES = st.sampled_from(["user", "assistant", "human", "gpt", "system", "tool", "User", "judge"])
TURN = (
    st.fixed_dictionaries({"role": ROLES, "content": TEXTS})
    | st.fixed_dictionaries({"from": ROLES, "value": TEXTS})
    | st.fixed_dictionaries({"content": TEXTS, "role": ROLES}, optional={"weight": st.just(0)})
)
PAIR = st.sampled_from(PAIRS).flatmap(
    lambda pair: st.fixed_dictionaries(dict.fromkeys((pair.prompt, pair.response), TEXTS))
)
LISTED = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["messages", "conversations", "dialog"], st.lists(TURN, max_size=4))
)
RECORDS = st.tuples(
    PAIR | LISTED,
    st.dictionaries(st.sampled_from(NAMES), VALUES | st.lists(TURN, max_size=2), max_size=3),
).map(lambda parts: {**parts[0], **parts[1]})  # fmt: skip


@examples(10)
@given(st.lists(RECORDS, max_size=4))
@example([{"question": "q", "answer": "A", "A": "x", "B": "y"}])
@example([{"instruction": "q", "output": "a", "template": "long " * 50}])
@example([{"messages": [{"role": "user", "content": "q"}], "answer": "a", "reasoning": "off"}])
@example([{"problem": "p q", "answer": "p", "solution": ""}])
@example([{"prompt": "p", "chosen": "c", "rejected": "r"}])
@example([{"context": "c", "response1": "a", "response2": "b", "overall_preference": "1"}])
def test_plain_records_are_read_as_the_general_reader_reads_each(
    records: list[dict[str, Any]],
) -> None:
    for record, plain in zip(records, PlainReader(RecordReader()).read(records), strict=True):
        if plain is not None:
            assert_read_alike(record, plain)


def assert_read_alike(record: dict[str, Any], plain: PlainRecord) -> None:
    parsed = RecordReader().read(record)
    [conversation] = parsed.conversations
    assert conversation.fault is None
    assert conversation.example is not None
    turns = [{"role": role, "content": text} for role, text in zip(*plain.turns, strict=True)]
    assert conversation.example.turns == turns
    assert (conversation.example.tools, conversation.example.rejected) == (None, None)
    assert (parsed.layout, parsed.fields) == (plain.layout, plain.fields)
    assert (conversation.origin, dump_json(conversation.meta)) == (plain.origin, plain.meta)
    assert find_fault(conversation.example.turns) is None


@examples(4)
@given(st.lists(RECORDS, max_size=6))
def test_what_a_record_becomes_does_not_hang_on_those_beside_it(
    records: list[dict[str, Any]],
) -> None:
    together = PlainReader(RecordReader()).read(records)
    assert together == [
        alone for record in records for alone in PlainReader(RecordReader()).read([record])
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"instruction": "a", "input": "b", "output": "c"},
        {"instruction": "a", "input": "", "output": "c"},
        {"instruction": "a", "context": "", "response": "c", "category": "qa"},
        {"question": "How?", "answer": "So.", "id": 7, "split": None},
        {"prompt": "a", "completion": "b", "url": "{x}"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "[b]"}]},
        {"id": "1", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    ],
)  # fmt: skip
def test_the_commonest_records_have_a_form(record: dict[str, Any]) -> None:
    assert PlainReader(RecordReader()).read([record]) != [None]


def test_a_reader_that_is_not_the_usual_one_reads_all_records_itself() -> None:
    record = {"instruction": "a", "output": "c"}
    for reader in (
        RecordReader(roles={"bot": "user"}),
        RecordReader(origin="task"),
        RecordReader(by_name=True),
        RecordReader(layouts=RecordReader().layouts[::-1]),
    ):
        assert PlainReader(reader).read([record]) == [None]
