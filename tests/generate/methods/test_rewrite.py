"""Rewrites: terse responses in full, the value that stays, the blind comparison in both orders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.rewrite import RewriteGenerator
from curate.generate.responsevalue import find_value_change, find_value_form
from curate.generate.step import method_source
from curate.llm.limits import Limits
from curate.llm.requests import Call
from tests.generate.generations import example, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import (
    check_hostile,
    check_same,
    keeps_some,
    quoted,
    short_tasks,
    stage_calls,
    words,
)

WRITE, CHOOSE, REFLECT = "You write short responses", "Response A:", "Which one, A, B or C?"
STYLE = "Two sentences. Say why."
SUMS = (
    ("How much is 20 and 3?", "23"),
    ("Which is a river?\nA) Alps\nB) Rhine", "B"),
    ("Who lives in the hive?", "Bees live there, and Ann keeps 2 of them."),
)


@pytest.fixture
def style(tmp_path: Path) -> str:
    path = tmp_path / "style.md"
    path.write_text(f"{STYLE}\n")
    return str(path)


def full(call: Call) -> str:
    """Write it in full: words that no other call has, then the response."""
    return f"Since {words(call, 5)} so it is. The answer is {quoted(call, 2)}"


def second_is_new(call: Call) -> bool:
    text = text_of(call)
    return "Since" in text.split("Response B:" if "Response B:" in text else "Response 2:")[1]


def prefer(new: bool) -> Any:
    def reply(call: Call) -> str:
        better = "B" if second_is_new(call) is new else "A"
        return json.dumps({"reason": "It says why.", "better": better})

    return reply


def agree(new: bool) -> Any:
    return lambda call: json.dumps({"answer": "A" if second_is_new(call) is new else "B"})


def _shows_new_second(call: Call) -> bool:
    text = text_of(call)
    return "体積" in text.split("Response B:" if "Response B:" in text else "Response 2:")[1]


def always_new(call: Call) -> str:
    return json.dumps({"reason": "Full.", "better": "B" if _shows_new_second(call) else "A"})


def agree_new(call: Call) -> str:
    return json.dumps({"answer": "A" if _shows_new_second(call) else "B"})


def script(**changed: Any) -> ScriptedEngine:
    return ScriptedEngine(
        [
            (WRITE, changed.get("write", full)),
            (CHOOSE, changed.get("choose", prefer(new=True))),
            (REFLECT, changed.get("reflect", agree(new=True))),
        ]
    )


def rewrite(engine: ScriptedEngine, style: str, **params: Any) -> Generation:
    target = params.pop("target", examples(SUMS))
    return generate("rewrite", engine, target=target, params={"style": style, **params})


def test_each_row_in_full_with_its_prompt_and_a_judgement_in_both_orders(style: str) -> None:
    engine = script()
    ruled = example("target/4", "Is it 5?", "It is 5.", "Be brief.")
    run = rewrite(engine, style, target=[*examples(SUMS), ruled], samples=2)
    assert reject_reasons(run.candidates) == [None] * 4
    assert engine.batches == [4, 4 * 2 * (2 + 2)]
    cost = RewriteGenerator(style=style, samples=2).cost(4, 0)
    assert cost.calls == 4 * (1 + 8)
    assert cost.written_tokens == 4 * (cost.answer_tokens + 4 * 128 + 4 * 16)
    for candidate, source in zip(run.kept, run.target, strict=True):
        assert candidate.parents == (source.row_id,)
        assert candidate.prompt == source.prompt
        assert candidate.response.endswith(f"The answer is {source.response}")
        assert candidate.notes["confidence"] == pytest.approx(1.0)
        assert candidate.hop == 1
    assert run.kept[3].messages[0] == {"role": "system", "content": "Be brief."}
    assert [c.notes["answer"] for c in run.kept] == ["number", "choice", None, "short"]
    for call in engine.calls:
        assert any(STYLE in message["content"] for message in call.request.messages)


def test_the_answer_is_asked_for_only_where_it_is_checked(style: str) -> None:
    engine = script()
    as_json = example("target/4", "Where is it?", '{"city": "Ulm"}')
    rewrite(engine, style, target=[*examples(SUMS), as_json])
    ends = [text_of(call).rsplit('"""\n', 1)[1] for call in stage_calls(engine, WRITE)]
    assert ["after the words: The answer is" in end for end in ends] == [True, True, False, False]
    assert ["JSON" in end for end in ends] == [False, False, False, True]


@pytest.mark.parametrize("place", ["A", "B", "tie"])
@pytest.mark.parametrize("agrees", ["A", "B", "C"])
def test_a_judge_with_a_favourite_place_prefers_nothing(
    style: str, place: str, agrees: str
) -> None:
    engine = script(
        choose=json.dumps({"reason": "", "better": place}), reflect=json.dumps({"answer": agrees})
    )
    run = rewrite(engine, style)
    assert reject_reasons(run.candidates) == ["low_grade"] * 3
    assert run.candidates[0].detail == "better with a confidence of 0.50"


def test_the_comparison_does_not_say_which_is_new(style: str) -> None:
    engine = script()
    run = rewrite(engine, style, target=examples(SUMS[:1]))
    first, second = (text_of(call) for call in stage_calls(engine, CHOOSE))
    new = run.kept[0].response
    head = f"Question:\n{SUMS[0][0]}\n\nResponse A:\n"
    assert first == f"{head}23\n\nResponse B:\n{new}"
    assert second == f"{head}{new}\n\nResponse B:\n23"


def test_confidence_is_what_must_be_exceeded(style: str) -> None:
    # The judge prefers the new one, and believes in neither order: 0.7 + 0.3 / 2.
    unsure = json.dumps({"answer": "C"})
    for least, reason in ((0.84, None), (0.86, "low_grade")):
        run = rewrite(script(reflect=unsure), style, confidence=least)
        assert reject_reasons(run.candidates) == [reason] * 3


@pytest.mark.parametrize(
    ("changed", "reject_reason", "detail"),
    [
        ({"write": "24 it is, as far as I see. The answer is 24."},
     RejectReason.WRONG_ANSWER, "not that of '23'"),
        ({"write": "Count them all and you see it."}, RejectReason.NO_ANSWER, "compare with '23'"),
        ({"write": "23."}, RejectReason.NOT_EVOLVED, "1 words, no more than before"),
        ({"write": f"{STYLE} Say it in three lines and no more. So 23."},
     RejectReason.PROMPT_LEAK, "style: "),
        ({"write": "Sorry, the answer is 23."}, RejectReason.REFUSED, "Sorry"),
        ({"write": Reply("It is", "truncated")}, RejectReason.TRUNCATED, ""),
        ({"choose": Reply(finish="refused")}, RejectReason.LOW_GRADE, "no usable judgement"),
        ({"choose": prefer(new=False), "reflect": agree(new=False)},
     RejectReason.LOW_GRADE, "better with a confidence of 0.00"),
    ],
)  # fmt: skip
def test_flaws(
    tmp_path: Path, changed: dict[str, Any], reject_reason: RejectReason, detail: str
) -> None:
    path = tmp_path / "long.md"
    path.write_text(f"{STYLE} Say it in three lines and no more.")
    engine = script(**changed)
    run = rewrite(engine, str(path), target=examples(SUMS[:1]))
    assert reject_reasons(run.candidates) == [reject_reason.value]
    assert detail in run.candidates[0].detail
    assert run.tables["rows"].select("state", "detail").row(0) == (
        reject_reason.value,
        run.candidates[0].detail,
    )
    if "write" in changed:
        assert not stage_calls(engine, CHOOSE)


@pytest.mark.parametrize(
    ("response", "rewritten", "reject_reason", "detail"),
    [
        ("23", "20 and 3 are 23. The answer is 23.", None, ""),
        ("23 kg", "The answer is 23 km, all told.", RejectReason.NO_ANSWER, ""),
        ("B", "The Rhine flows. The answer is (B).", None, ""),
        ("B", "The Alps stand. The answer is (A).", RejectReason.WRONG_ANSWER, ""),
        ("positive", "He liked it. The answer is positive.", None, ""),
        ("positive", "He did not. The answer is negative.", RejectReason.WRONG_ANSWER, ""),
        ("48/2 = 24\n#### 72", "Half of 48 is 24, and so on. The answer is 72.", None, ""),
        ("48/2 = 24\n#### 72", "Half of 48 is 24. The answer is 24.", RejectReason.WRONG_ANSWER, ""),
        ('{"a": [1, 2]}', 'It has two.\n\n{"a": [1, 2.0]}', None, ""),
        ('{"a": [1, 2]}', 'It has two.\n\n{"a": [2, 1]}', RejectReason.WRONG_ANSWER, ""),
        ('{"a": [1, 2]}', "It has two.", RejectReason.NO_ANSWER, ""),
        ("You run `ls -l` there and then look.", "In a shell you run `ls -l` there.", None, ""),
        ("You run `ls -l` there and then look.", "In a shell you run `ls` there.",
     RejectReason.MEANING_CHANGED, "code or link: '`ls -l`' is lost"),
        ("Go by the 12 to Ulm, they say so.", "They say so: take line 12, a bus, to Ulm.", None, ""),
        ("Go by the 12 to Ulm, they say so.", "They say so: take line 13, a bus, to Ulm.",
     RejectReason.MEANING_CHANGED, "number: '12' is lost"),
        ("Go by the 12 to Ulm, they say so.", "They say so: take line 12, a bus, to Bonn.",
     RejectReason.MEANING_CHANGED, "name: 'Ulm' is lost"),
        ("It does not rain much there today, nor will it.", "It rains a lot there, all day.",
     RejectReason.MEANING_CHANGED, "it denies nothing any more"),
        ("These are left of them:\nA) a boat\nB) a kite", "Left are:\nB) a kite, which flies well",
     RejectReason.MEANING_CHANGED, "option: 'A' is lost"),
    ],
)  # fmt: skip
def test_the_value_stays(
    response: str, rewritten: str, reject_reason: RejectReason | None, detail: str
) -> None:
    change = find_value_change(response, rewritten, find_value_form(response, "auto"))
    assert (change[0] if change else None) is reject_reason
    assert detail in (change[1] if change else "")


def test_a_checker_reads_what_it_can_and_rules_the_rest() -> None:
    assert find_value_form("There are 23 of them in all, I should say.", "numeric") == "number"
    assert find_value_form("There are bees of them in all, I should say.", "numeric") is None
    assert find_value_form("There are 23 of them in all, I should say.", "auto") is None
    with pytest.raises(ValidationError, match="checker"):
        RewriteGenerator(style="style.md", checker="exact")


def test_terse_rows_of_the_pool_and_what_became_of_each(style: str) -> None:
    long = " ".join(["and so on"] * 4)
    pool = [("How much is 20 and 3?", "23"), ("What now?", long), ("What is 2 and 5?", "7")]
    engine = script(write=lambda call: full(call) if "20" in text_of(call) else "It is 9, yes.")
    params = {"style": style, "start": "pool", "terse": 11}
    run = generate("rewrite", engine, pool=pool, params=params)
    assert run.tables["rows"].rows() == [
        ("pool/1", "number", 1, 13, 1.0, "kept", ""),
        ("pool/3", "number", 1, 4, None, "wrong_answer", "its answer is not that of '7'"),
    ]
    with pytest.raises(UserError, match="a response of at most 3 words to start from"):
        rewrite(engine, style, target=examples([("What now?", long)]), terse=3)


def test_words_of_a_script_without_spaces_are_its_characters(style: str) -> None:
    long = "木が水に浮くのは水より軽いからです。" * 3
    rows = [("木はなぜ浮きますか。", "軽いから"), ("石はなぜ沈みますか。", long)]
    engine = script(
        write="木は同じ体積の水より軽いから浮きます。 The answer is 軽いから",
        choose=always_new,
        reflect=agree_new,
    )
    for given in ({"target": examples(rows)}, {"pool": rows}):
        params = {"style": style, "terse": 20, "start": "pool" if "pool" in given else "target"}
        run = generate("rewrite", engine, params=params, **given)
        (line,) = run.tables["rows"].rows(named=True)
        assert (line["state"], line["words"], line["new_words"]) == ("kept", 4, 26)


def test_what_a_limit_leaves_open_is_no_row_and_said_so(style: str) -> None:
    engine = script()
    params = {"style": style}
    run = generate(
        "rewrite", engine, target=examples(SUMS), params=params, limits=Limits(calls=3 + 6)
    )
    assert run.tables["rows"]["state"].to_list() == ["kept", "unsent", "unsent"]
    assert len(run.candidates) == 1


def test_the_style_file_is_read_by_its_digest(tmp_path: Path, style: str) -> None:
    before = method_source({**RewriteGenerator(style=style).model_dump(mode="json")}, None)
    Path(style).write_text("Be short.")
    after = method_source({**RewriteGenerator(style=style).model_dump(mode="json")}, None)
    assert before.identity["files"] != after.identity["files"]
    assert {"choose", "doubt", "reflect", "rewrite"} == set(after.prompts)
    empty = tmp_path / "empty.md"
    empty.write_text(" \n")
    with pytest.raises(UserError, match="is empty; let it say how"):
        rewrite(script(), str(empty))
    with pytest.raises(UserError, match="the style file"):
        rewrite(script(), str(tmp_path / "none.md"))


def test_batches_replay_and_limits(tmp_path: Path, style: str) -> None:
    settings: dict[str, Any] = {"target": examples(SUMS), "params": {"style": style}}
    check_same("rewrite", script, tmp_path, **settings)
    check_hostile("rewrite", script, params={"style": style})


@pytest.mark.model
def test_with_the_real_model(smollm: Path, style: str) -> None:
    # A model this small decides next to chance: what it rewrites is kept whatever it prefers.
    tasks = [example(t.row_id, t.prompt, f"{t.response} So it is said by all who were there.")
             for t in short_tasks()[:1]]  # fmt: skip
    params = {"style": style, "confidence": 0, "max_tokens": 96, "temperature": 0.3}
    run = keeps_some("rewrite", smollm, target=tasks, params=params)
    assert run.tables["rows"].height == len(tasks)
