"""Templates over the fields of a record: turns, labels, what goes to meta, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.calls import StoreRunner
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.store import Artifact, Store
from curate.core.tables import read_table
from curate.core.turntext import plain_messages
from curate.pool.layouts import Conversation, RecordFault, file_reader
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.conftest import turns

LABELS = {"label": {"0": "negative", "1": "positive"}}
PAIR = "{{ q }}?\n|||\n{{ a }}"


def read(record: dict[str, Any], *texts: str, seed: int = 0, prompts: bool = False) -> Conversation:
    source: Any = {"texts": texts, "labels": LABELS, "seed": seed}
    reader = file_reader([], {"origin": "topic"}, "f", prompts=prompts, template=source)
    [conversation] = reader.read(record).conversations
    return conversation


def turns_of(record: dict[str, Any], *texts: str, **settings: Any) -> list[Any]:
    example = read(record, *texts, **settings).example
    assert example is not None
    return list(example.turns)


def fault_of(record: dict[str, Any], *texts: str) -> tuple[Reason, str]:
    with pytest.raises(RecordFault) as caught:
        read(record, *texts)
    return caught.value.reason, caught.value.field


def test_bars_part_prompt_and_response_and_what_is_not_used_goes_to_meta() -> None:
    conversation = read({"q": "a", "a": "b", "id": 7, "topic": "boats"}, PAIR)
    assert conversation.example is not None
    assert conversation.example.turns == turns("a?", "b")
    assert (conversation.origin, conversation.meta) == ("boats", {"id": 7})


def test_of_three_parts_the_first_is_the_system_turn_unless_it_is_empty() -> None:
    text = "{{ s }} ||| {{ q }} ||| {{ a }}"
    system = {"role": "system", "content": "be kind"}
    assert turns_of({"s": "be kind", "q": "a", "a": "b"}, text) == [system, *turns("a", "b")]
    assert turns_of({"s": " ", "q": "a", "a": "b"}, text) == turns("a", "b")


def test_bars_of_the_record_part_nothing() -> None:
    assert turns_of({"q": "x ||| y", "a": "|||"}, PAIR) == turns("x ||| y?", "|||")


def test_labels_have_names_and_the_record_its_values() -> None:
    text = "{{ q }} ({{ labels.label | join('/') }}) ||| {{ label }} {{ record.label }}"
    for value in (1, "1", 1.0):
        [_, answer] = turns_of({"q": "a", "label": value}, text.replace(" {{ record.label }}", ""))
        assert answer["content"] == "positive"
    assert turns_of({"q": "a", "label": 0}, text)[0]["content"] == "a (negative/positive)"
    assert fault_of({"q": "a", "label": -1}, text) == (
        Reason.WRONG_TYPE,
        "label = -1: none of its labels",
    )
    assert turns_of({"q": "a", "a": "b", "label": -1}, PAIR) == turns("a?", "b")


def test_fields_whose_names_are_no_words_are_taken_from_the_record() -> None:
    conversation = read(
        {"the question": "a", "b-c": "b", "x": 1},
        "{{ record['the question'] }} ||| {{ record['b-c'] }}",
    )
    assert conversation.example is not None
    assert conversation.example.turns == turns("a", "b")
    assert conversation.meta == {"x": 1}


def test_a_template_that_takes_the_whole_record_uses_all_of_it() -> None:
    text = "{% for name in record %}{{ name }} {% endfor %}|||{{ record[a] }}"
    assert read({"a": "b", "b": "c"}, text).meta == {}


@pytest.mark.parametrize(
    ("record", "text", "reason", "field"),
    [
        ({"q": "a"}, PAIR, Reason.MISSING_FIELD, "a"),
        ({"q": "a", "a": None}, PAIR, Reason.MISSING_FIELD, "a"),
        ({"q": "a", "a": " "}, PAIR, Reason.EMPTY_RESPONSE, "template"),
        ({"q": "", "a": "b"}, "{{ q }}|||{{ a }}", Reason.EMPTY_PROMPT, "template"),
        ({"q": {"x": None}, "a": "b"}, "{{ q.x }}|||{{ a }}", Reason.MISSING_FIELD, "is null"),
        ({"q": {}, "a": "b"}, "{{ q.x }}|||{{ a }}", Reason.MISSING_FIELD, "no attribute 'x'"),
        ({"q": ["x"], "a": "b"}, "{{ q }}|||{{ a }}", Reason.WRONG_TYPE, "a list is no text"),
        ({"q": 0, "a": "b"}, "x\n{{ 1 / q }}|||{{ a }}", Reason.WRONG_TYPE, "template line 2"),
        ({"q": "a", "a": "b"}, "{{ q }}{% if 0 %}|||{{ a }}{% endif %}", Reason.WRONG_TYPE, "1 p"),
        ({"q": "a", "a": "b"}, "a|||b|||c|||{{ q }}", Reason.WRONG_TYPE, "4 parts"),
        ({"q": "a", "a": "b"}, "{{ q.__class__.__mro__ }}|||x", Reason.WRONG_TYPE, "unsafe"),
    ],
)
def test_a_record_that_a_template_cannot_write_is_refused_with_a_reason(
    record: dict[str, Any], text: str, reason: Reason, field: str
) -> None:
    assert fault_of(record, text)[0] is reason
    assert field in fault_of(record, text)[1]


def test_of_several_templates_seed_and_record_draw_one() -> None:
    texts = [f"{{{{ q }}}} {number} ||| {{{{ a }}}}" for number in range(3)]
    records = [{"q": str(i), "a": "b"} for i in range(60)]
    drawn = [turns_of(record, *texts, seed=1) for record in records]
    assert drawn == [turns_of(record, *texts, seed=1) for record in records]
    assert drawn != [turns_of(record, *texts, seed=2) for record in records]
    counts = [sum(each[0]["content"].endswith(f" {n}") for each in drawn) for n in range(3)]
    assert min(counts) >= 10
    number = read(records[0], *texts, seed=1).meta["template_number"]
    assert drawn[0][0]["content"] == f"0 {number - 1}"


def test_a_prompt_alone_is_read_only_where_prompts_are() -> None:
    assert turns_of({"q": "a"}, "{{ q }}", prompts=True) == [turns("a", "b")[0]]
    assert fault_of({"q": "a"}, "{{ q }}")[0] is Reason.WRONG_TYPE


def ingest(store: Store, template: Path, path: Path, **settings: Any) -> Artifact:
    entry = {"path": str(path), "source": "s", "template": str(template), **settings}
    rows = row_set("pool", [RowFile.model_validate(entry)], seed=0, max_rejected=1.0)
    return rows.read(StoreRunner(store)).artifact


def test_a_table_becomes_instructions_and_its_rejects_add_up(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{{ text }} ||| {{ label }}")
    (tmp_path / "x.csv").write_text('text,label\n"a\nb",1\nc,2\n,0\nd,0\n')
    labels = {"label": ["negative", "positive"]}
    ingested = ingest(store, tmp_path / "t.j2", tmp_path / "x.csv", labels=labels)
    messages = [
        plain_messages(row) for row in read_table(ingested.file("rows.parquet"))["messages"]
    ]
    assert messages == [turns("a\nb", "positive"), turns("d", "negative")]
    rejects = read_table(ingested.file("rejects.parquet")).select("position", "reason", "field")
    assert rejects.rows() == [
        (4, "wrong_type", "label = '2': none of its labels"),
        (5, "empty_prompt", "template"),
    ]


def test_the_key_holds_what_a_template_says_and_not_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,1\n")
    keys = []
    for name, text in (("a", PAIR), ("b", PAIR), ("c", PAIR + "!")):
        path = tmp_path / f"{name}.j2"
        path.write_text(text)
        entry = RowFile(path=str(tmp_path / "x.csv"), source="s", template=[str(path)])
        keys.append(row_set("pool", [entry], seed=0, max_rejected=0.0).calls[0].key)
    assert keys[0] == keys[1] != keys[2]


def test_names_of_labels_come_with_parquet_files_of_datasets(store: Store, tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "label": [1, 0], "tags": [[0, 1], [1]]})
    feature = '{"names": ["no", "yes"], "_type": "ClassLabel"}'
    info = f'{{"info": {{"features": {{"label": {feature}, "tags": {{"feature": {feature}}}}}}}}}'
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), tmp_path / "x.parquet")
    (tmp_path / "t.j2").write_text("{{ text }} ||| {{ label }}: {{ tags | join(' ') }}")
    ingested = ingest(store, tmp_path / "t.j2", tmp_path / "x.parquet")
    answers = [row[1]["content"] for row in read_table(ingested.file("rows.parquet"))["messages"]]
    assert answers == ["yes: no yes", "no: yes"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\n{{ q }|||b", r"t\.j2:2: unexpected"),
        ("{{ q | shout }}|||b", r"t\.j2:1: No filter named 'shout'"),
        ("{% include 'x' %}|||b", "cannot include"),
        ("{{ q }}", r"write \|\|\| between prompt and response"),
    ],
)
def test_a_file_that_is_no_template_ends_with_a_sentence(
    store: Store, tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "t.j2").write_text(text)
    (tmp_path / "x.csv").write_text("q,a\na,b\n")
    with pytest.raises(UserError, match=rf"^pool: .*{sentence}"):
        ingest(store, tmp_path / "t.j2", tmp_path / "x.csv")
    with pytest.raises(UserError, match=r"none\.j2"):
        ingest(store, tmp_path / "none.j2", tmp_path / "x.csv")


@pytest.mark.parametrize(
    "entry",
    [
        {"labels": {"x": ["a"]}},
        {"template": "t.j2", "fields": {"prompt": "a", "response": "b"}},
        {"template": []},
        {"template": "t.j2", "labels": {"x": {0: 1}}},
    ],
)
def test_settings_that_make_no_sense_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RowFile.model_validate({"path": "x", **entry})
