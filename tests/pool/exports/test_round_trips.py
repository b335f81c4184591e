"""Read, export, read: every format that can say all of a row gives it back with its content hash."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.config.recipe import Config
from curate.core.preferences import chosen_turns_of
from curate.core.rows import Message, ToolCall, content_hash
from curate.pool.export import export_remarks, write_all
from curate.runs.training_files import card_params
from tests.conftest import examples, frame, row, turns

PREFERENCES = ["preference", "sharegpt_preference"]
ALL = ["messages", "prompt_completion", "openai", "alpaca", "sharegpt"]
TOOLS = (
    '[{"type":"function","function":{"name":"add","description":"Sum.",'
    '"parameters":{"type":"object","properties":{}}}}]'
)
CALL: ToolCall = {"id": None, "name": "add", "arguments": '{"a":1,"b":[2,"x"]}'}


def export(rows: pl.DataFrame, formats: list[str], out: Path) -> list[Path]:
    """Write rows in formats; return the files of data."""
    select = {"method": "random", "budget": {"rows": rows.height}}
    config = Config.model_validate({"name": "x", "pool": "x", "select": select})
    paths = write_all(rows, formats, card_params(config), out)
    return [path for path in paths if path.name.startswith("train-")]


def read(place: Path) -> pl.DataFrame:
    """Return the rows of a file or folder, read as a pool."""
    with TemporaryDirectory() as store:
        return curate.read(str(place), store=store).frame


def assert_read_back(rows: pl.DataFrame, place: Path) -> None:
    after = read(place)
    assert after["content_hash"].to_list() == rows["content_hash"].to_list(), place


def tool_row(row_id: str, reasoning: str | None = None) -> dict[str, object]:
    messages: list[Message] = [
        {"role": "user", "content": "1 + 2?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "3", "name": "add"},
        {"role": "assistant", "content": "It is 3.", "reasoning": reasoning},
    ]
    return row(row_id, messages, tools=TOOLS, content_hash=content_hash(messages, TOOLS))


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda text: bool(text.strip())
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Return turns of user and assistant, perhaps behind a system prompt."""
    pairs = draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
    system = draw(st.none() | TEXTS)
    opening: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return [*opening, *turns(*(text for pair in pairs for text in pair))]


@examples(0.2)
@given(st.lists(conversations(), min_size=2, max_size=10))
def test_plain_conversations_come_back_from_every_format(rows: list[list[Message]]) -> None:
    table = frame([row(f"s:{i}", messages) for i, messages in enumerate(rows)])
    with TemporaryDirectory() as folder:
        for file in export(table, ALL, Path(folder)):
            assert_read_back(table, file)
        assert_read_back(table, Path(folder))


@pytest.mark.parametrize("name", ["messages", "prompt_completion"])
def test_tools_calls_and_reasoning_come_back(name: str, tmp_path: Path) -> None:
    rows = frame([tool_row("a"), tool_row("b", reasoning="1 and 2"), row("c", turns("x", "y"))])
    for file in export(rows, [name], tmp_path):
        assert_read_back(rows, file)
        # The folder of a format has the same rows as JSON Lines and as Parquet.
        assert_read_back(rows, file.parent)
        after = read(file)
        assert after["tools"].to_list() == rows["tools"].to_list()


@pytest.mark.parametrize("name", ["openai", "sharegpt"])
def test_tools_and_calls_come_back(name: str, tmp_path: Path) -> None:
    rows = frame([tool_row("a"), row("c", turns("x", "y"))])
    assert_read_back(rows, export(rows, [name], tmp_path)[0])


def test_reasoning_before_a_call_comes_back_from_sharegpt(tmp_path: Path) -> None:
    thinking = tool_row("a")
    messages: list[Message] = thinking["messages"]  # type: ignore[assignment]
    messages[1]["reasoning"] = "1 and 2\nmake 3"
    rows = frame([thinking | {"content_hash": content_hash(messages, TOOLS)}])
    assert_read_back(rows, export(rows, ["sharegpt"], tmp_path)[0])


def test_weights_and_rejected_answers_come_back(tmp_path: Path) -> None:
    messages = turns("a", "b", "c", "d")
    messages[1]["weight"] = 0
    rows = frame([row("a", messages, rejected=turns("x", "no")[1:])])
    for name in ("messages", "prompt_completion", "openai"):
        after = read(export(rows, [name], tmp_path / name)[0])
        assert [turn["weight"] for turn in after["messages"][0]][1] == 0
    for name in ("preference", "sharegpt_preference"):
        after = read(export(rows, [name], tmp_path / name)[0])
        assert after["rejected"][0][0]["content"] == "no"
        assert after["content_hash"].to_list() == rows["content_hash"].to_list()


def test_answers_that_part_early_come_back_as_what_trl_makes_of_them(tmp_path: Path) -> None:
    talk, worse = turns("a", "b", "c", "d"), turns("a", "x", "c", "y")
    lines = [
        {"chosen": talk, "rejected": worse},
        {"chosen": talk, "rejected": [*talk[:3], worse[3]]},
    ]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = read(tmp_path / "pool.jsonl")
    files = {name: export(rows, [name], tmp_path / name)[0] for name in PREFERENCES}
    records = [json.loads(line) for line in files["preference"].read_text().splitlines()]
    texts = [
        [[turn["content"] for turn in record[name]] for name in ("prompt", "chosen", "rejected")]
        for record in records
    ]
    assert texts == [
        [["a"], ["b", "c", "d"], ["x", "c", "y"]],
        [["a", "b", "c"], ["d"], ["y"]],
    ]
    columns = ["messages", "rejected", "content_hash"]
    after = read(files["preference"])
    assert after.select(columns).equals(rows.select(columns))
    assert [chosen_turns_of(*facts) for facts in after.select("messages", "meta").rows()] == [3, 1]
    single = read(files["sharegpt_preference"])
    assert single.select(columns).equals(rows.select(columns).tail(1))
    assert export_remarks(rows, ["sharegpt_preference"]) == [
        "sharegpt_preference: rows are left out, since their rejected answer has several turns "
        f"(1 row: {rows['row_id'][0]})"
    ]


def test_lines_that_repeat_without_their_rejected_answers_are_counted() -> None:
    answers = ["x", "y", "z", None]
    rows = frame(
        [
            row(f"r{i}", turns("a", "b"), rejected=answer and turns("", answer)[1:])
            for i, answer in enumerate(answers)
        ]
    )
    remarks = export_remarks(rows, ["messages", "preference", "alpaca"])
    assert remarks[-1] == (
        "messages, alpaca: lines that repeat, of pairs that differ in their rejected answers alone: 2"
    )
    assert "lines that repeat" not in str(export_remarks(rows, PREFERENCES))
    assert "lines that repeat" not in str(export_remarks(rows.head(1), ["messages"]))


def test_one_rejected_turn_for_several_chosen_ones_fits_no_ranking(tmp_path: Path) -> None:
    early = json.dumps({"pair": {"chosen_turns": 3}})
    rows = frame([row("a", turns("a", "b", "c", "d"), rejected=turns("", "x")[1:], meta=early)])
    assert export(rows, ["sharegpt_preference"], tmp_path) == []
    assert export_remarks(rows, ["sharegpt_preference"]) == [
        "sharegpt_preference: rows are left out, since their answers part before the last turn "
        "(1 row: a)"
    ]


def test_what_a_format_cannot_say_is_counted_and_named() -> None:
    weighted = turns("a", "b", "c", "d")
    weighted[1]["weight"] = 0
    rows = frame(
        [
            row("s:1", weighted),
            tool_row("s:2", reasoning="hm"),
            row("s:3", turns("x", "y"), rejected=turns("x", "no")[1:]),
            row("s:4", [*turns("x", "y"), *turns("z")[:1], *turns("x", "y")]),
        ]
    )
    remarks = export_remarks(rows, [*ALL, "preference"])
    assert [line for line in remarks if "left out" in line] == [
        "alpaca: rows are left out, since they have calls of tools (1 row: s:2)",
        "alpaca: rows are left out, since their turns do not alternate (1 row: s:4)",
        "sharegpt: rows are left out, since their turns do not alternate (1 row: s:4)",
        "preference: rows are left out, since they have no rejected answer (3 rows: s:1, s:2, s:4)",
    ]
    assert "openai: 4 rows; OpenAI's fine-tuning takes no file of fewer than 10" in remarks
    unmarked = "answers of weight 0 are not marked, so trainers learn them (1 row: s:1)"
    assert [line for line in remarks if unmarked in line] == [
        f"alpaca: {unmarked}",
        f"sharegpt: {unmarked}",
    ]


def test_a_format_that_can_hold_no_row_writes_no_file(tmp_path: Path) -> None:
    rows = frame([tool_row("a")])
    assert export(rows, ["alpaca", "preference"], tmp_path) == []
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["README.md"]


def test_a_line_of_openai_has_its_fields_and_no_others(tmp_path: Path) -> None:
    rows = frame([tool_row("a", reasoning="hm")])
    [file] = export(rows, ["openai"], tmp_path)
    record = json.loads(file.read_text())
    assert set(record) == {"messages", "tools"}
    call = record["messages"][1]["tool_calls"][0]
    function = {"name": "add", "arguments": CALL["arguments"]}
    assert call == {"id": "call_1_0", "type": "function", "function": function}
    result = {"role": "tool", "content": "3", "name": "add", "tool_call_id": "call_1_0"}
    assert record["messages"][2:] == [result, {"role": "assistant", "content": "It is 3."}]
    assert record["tools"][0]["function"]["name"] == "add"
