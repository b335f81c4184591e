"""Fill: what is asked with which rows, blind labels, lineage, the table, and the bill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.generate.candidates import RejectReason, rows_of
from curate.generate.methods.fill import FillGenerator
from curate.llm.requests import Call
from tests.generate.generations import generate, reject_reasons
from tests.generate.scripted import ScriptedEngine, text_of, texts_of
from tests.generate.stages import check_same, keeps_some, stage_calls, words

POOL = (
    ("How much is 3 + 4?", "It is seven."),
    ("Prove that there are endlessly many primes.", "Suppose there were only so many of them."),
    ("How much is 5 + 4?", "It is nine."),
    ("Name a river.", "The Loire is one."),
    ("Why do rivers meander in wide plains?", "Their outer banks wear away, and inner ones grow."),
)
METAS = (
    {"topic": "numbers", "level": "child"},
    {"topic": "numbers", "level": "expert"},
    {"topic": "numbers", "level": "child"},
    {"topic": "rivers", "level": "child"},
    {"topic": "rivers", "level": "teacher"},
)
PARAMS = {"fields": ["topic", "level"], "rows": 6, "shots": 2}
SETTINGS: dict[str, Any] = {"pool": POOL, "metas": METAS, "params": PARAMS, "target": []}
WRITE, LABEL = "to which all of this applies", "Say of the request above"


def values_in(text: str) -> dict[str, str]:
    lines = [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")]
    return dict(line.split(": ", 1) for line in lines)


def write(call: Call) -> str:
    values = values_in(text_of(call))
    return json.dumps(
        {"prompt": f"A {values.get('level')} on {values.get('topic')}: {words(call, 6)}?"}
    )


def label(call: Call, **other: str) -> str:
    text = text_of(call)
    request = text.split('"""')[1]
    names = {field: value.split(" | ") for field, value in values_in(text).items()}
    values = {field: next(n for n in some if n in request) for field, some in names.items()}
    return json.dumps(values | other)


def script(labelling: Any = label) -> ScriptedEngine:
    return ScriptedEngine(
        [
            (lambda call: LABEL in text_of(call), labelling),
            (lambda call: WRITE in text_of(call), write),
            (lambda call: True, lambda call: f"They say: {words(call, 8)}."),
        ]
    )


def test_it_keeps_its_books(tmp_path: Path) -> None:
    run = check_same("fill", script, tmp_path, **SETTINGS)
    assert len(run.kept) == 6
    assert FillGenerator(**PARAMS).cost(0, 5).calls == 18
    assert FillGenerator(**PARAMS, verify=False).cost(0, 5).calls == 12


def test_absent_combinations_come_first_and_their_fields_are_in_the_record() -> None:
    run = generate("fill", script(), **SETTINGS)
    planned = [(c.notes["topic"], c.notes["level"]) for c in run.kept]
    assert set(planned[:2]) == {("rivers", "expert"), ("numbers", "teacher")}
    metas = rows_of(run.kept, "generated")["meta"]
    assert metas.str.json_path_match("$.topic").to_list() == [topic for topic, _ in planned]
    table = run.tables["fill"]
    assert table["tried"].sum() == 6
    assert table["kept"].to_list() == table["tried"].to_list()
    by_values = {tuple(json.loads(v).values()): n for v, n in table.select("values", "pool").rows()}
    assert by_values["rivers", "expert"] == 0
    assert by_values.get(("numbers", "child"), 2) == 2


def test_requests_are_written_after_rows_that_together_have_the_values() -> None:
    engine = script()
    run = generate("fill", engine, **SETTINGS)
    draft = next(
        c for c in run.kept if (c.notes["topic"], c.notes["level"]) == ("rivers", "expert")
    )
    # One row of rivers, and the only row of experts.
    assert len(draft.parents) == 2
    assert "pool/2" in draft.parents
    assert set(draft.parents) & {"pool/4", "pool/5"}
    call = next(
        c
        for c in stage_calls(engine, WRITE)
        if text_of(c).startswith("- topic: rivers\n- level: expert")
    )
    turns = texts_of(call)
    place = turns.index(json.dumps({"prompt": POOL[1][0]}, separators=(",", ":")))
    assert turns[place - 1].startswith("- topic: numbers\n- level: expert")
    (answer,) = [c for c in engine.calls if text_of(c) == draft.prompt]
    assert POOL[1][1] in texts_of(answer)
    assert [m["role"] for m in draft.messages] == ["user", "assistant"]


def test_labels_are_blind_and_another_kind_goes() -> None:
    def mislabel(call: Call) -> str:
        return (
            label(call, level="teacher")
            if "expert" in text_of(call).split('"""')[1]
            else label(call)
        )

    engine = script(mislabel)
    run = generate("fill", engine, **SETTINGS)
    for call in stage_calls(engine, LABEL):
        assert "- level: child | expert | teacher" in text_of(call)
        assert len(call.request.messages) == 2
    dropped = [c for c in run.candidates if c.reject_reason is RejectReason.OTHER_KIND]
    assert dropped
    assert {c.notes["level"] for c in dropped} == {"expert"}
    assert dropped[0].detail == "level: teacher, not expert"
    assert set(reject_reasons(run.candidates)) == {None, "other_kind"}
    kept = run.tables["fill"].filter(pl.col("values").str.contains("expert"))["kept"]
    assert kept.sum() == 0
    answered = {text_of(call) for call in engine.calls if call.request.schema is None}
    assert answered.isdisjoint(one.prompt for one in dropped)


def test_without_labels_or_rows_to_show_it_asks_less() -> None:
    engine = script()
    params = {"fields": ["level"], "values": {"level": ["nobody yet"]}, "rows": 1, "shots": 0}
    run = generate(
        "fill", engine, pool=POOL, metas=METAS, target=[], params={**params, "verify": False}
    )
    assert len(engine.calls) == 2
    (candidate,) = run.candidates
    assert candidate.parents == ()
    assert candidate.notes["level"] == "nobody yet"


def test_fields_are_checked() -> None:
    with pytest.raises(ValidationError, match="each field can be named once"):
        FillGenerator(fields=["a", "a"])
    for taken in ("row_id", "meta", "fill"):
        with pytest.raises(ValidationError, match=f"{taken}' has another meaning here"):
            FillGenerator(fields=["a", taken])
    with pytest.raises(ValidationError, match="'b' is none of the fields"):
        FillGenerator(fields=["a"], values={"b": ["x"]})
    with pytest.raises(ValidationError, match="should match pattern"):
        FillGenerator(fields=["a.b"])


@pytest.mark.model
def test_the_real_model_fills(smollm: Path) -> None:
    params = {"fields": ["topic"], "rows": 4, "shots": 3, "verify": False, "max_tokens": 96}
    keeps_some("fill", smollm, pool=POOL, metas=METAS, target=[], params=params)
