"""Translations: what stays, the language of the result, the way back, rows that are in it already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.translate import TranslateGenerator, is_sentence, lost_names
from curate.llm.limits import Limits
from curate.llm.requests import Call
from curate.text.chrf import chrf
from tests.generate.generations import example, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of, texts_of
from tests.generate.stages import (
    check_hostile,
    check_same,
    quoted,
    real_engine,
    short_tasks,
    static,
)

ROWS = (
    ("Which of these 2 rivers flows through the old city of Cologne, as you know?",
     "The Rhine flows through Cologne, and the Mosel does not come near to it."),
    ("For how many weeks does a worker bee live in summer, {name}?",
     "A worker bee lives for about 6 weeks in summer, {name}, and longer in winter."),
)  # fmt: skip
GERMAN = (
    ("Welcher von diesen 2 Flüssen fließt bekanntlich durch die Altstadt von Köln?",
     "Der Rhein fließt durch Köln, und die Mosel kommt nicht einmal in die Nähe davon."),
    ("Wie viele Wochen lang lebt im Sommer eine Arbeiterin der Bienen, {name}?",
     "Eine Arbeiterin lebt im Sommer ungefähr 6 Wochen, {name}, und im Winter länger."),
)  # fmt: skip
FRENCH = (
    ("Laquelle de ces 2 rivières traverse la vieille ville de Cologne, comme tu sais ?",
     "Le Rhin traverse la ville de Cologne, et la Moselle ne passe pas près de là."),
    ("Pendant combien de semaines une ouvrière vit-elle en été, {name} ?",
     "Une abeille ouvrière vit pendant environ 6 semaines en été, {name}, et plus en hiver."),
)  # fmt: skip
WORDS = {
    language: dict(zip(sum(ROWS, ()), sum(rows, ()), strict=True))
    for language, rows in (("German (de)", GERMAN), ("French (fr)", FRENCH))
}
BACK = {b: a for words in WORDS.values() for a, b in words.items()}


def language_of(call: Call) -> str:
    # What was invalid is asked for again, with a turn behind.
    return "".join(texts_of(call)).rsplit("Translate both into ", 1)[1].split(". Numbers")[0]


def by_dictionary(call: Call) -> str:
    """Look both texts up; what is in no dictionary comes back as it was."""
    words = WORDS.get(language_of(call), BACK)
    prompt, response = (words.get(quoted(call, k), quoted(call, k)) for k in (0, 1))
    return json.dumps({"prompt": prompt, "response": response})


def script(there: Any = by_dictionary, back: Any = by_dictionary) -> ScriptedEngine:
    return ScriptedEngine([(lambda call: language_of(call) in WORDS, there), ("English", back)])


def translate(engine: ScriptedEngine, **settings: Any) -> Generation:
    params = {"to": ["de"], **settings.pop("params", {})}
    target = settings.pop("target", examples(ROWS))
    return generate("translate", engine, target=target, params=params, **settings)


def test_each_row_into_each_language_and_back() -> None:
    engine = script()
    run = translate(engine, params={"to": ["de", "fr"]})
    assert reject_reasons(run.candidates) == [None] * 4
    assert engine.batches == [4, 4]
    assert TranslateGenerator(to=["de", "fr"]).cost(2, 0).calls == 8
    pairs = [(c.prompt, c.response) for c in run.kept]
    assert pairs == [GERMAN[0], FRENCH[0], GERMAN[1], FRENCH[1]]
    assert [c.parents for c in run.kept] == [(f"target/{i}",) for i in (1, 1, 2, 2)]
    assert run.kept[1].notes == {
        "language": "fr", "source_language": "en", "prompt_chrf": 1.0, "response_chrf": 1.0,
    }  # fmt: skip
    assert run.tables["rows"].rows()[1] == ("target/1", "en", "fr", 1.0, 1.0, "kept", "")
    for call in engine.calls[4:]:
        assert language_of(call) == "English (en)"
        assert not any(text in text_of(call) for row in ROWS for text in row)


def test_a_system_turn_stays() -> None:
    run = translate(script(), target=[example("target/1", *ROWS[0], "Be brief.")])
    assert run.kept[0].messages[0] == {"role": "system", "content": "Be brief."}


def answer(prompt: str, response: str) -> str:
    return json.dumps({"prompt": prompt, "response": response})


GOOD = GERMAN[0]
OTHER = "The Elbe, which is a long river of the north, goes through the city of Hamburg."


@pytest.mark.parametrize(
    ("there", "back", "reject_reason", "detail"),
    [
        (answer(GOOD[0].replace("2", "3"), GOOD[1]), None,
         RejectReason.MEANING_CHANGED, "prompt: number: '2' is lost"),
        (answer(GOOD[0], f"{GOOD[1]} <br>"), None,
         RejectReason.MEANING_CHANGED, "response: placeholder: '<br>' is new"),
        (answer(GOOD[0], OTHER), None, RejectReason.WRONG_LANGUAGE, "en, not de"),
        (answer(*FRENCH[0]), None, RejectReason.WRONG_LANGUAGE, "fr, not de"),
        (answer(*ROWS[0]), None, RejectReason.NOT_EVOLVED, "it is as it was"),
        (answer(GOOD[0], ROWS[0][1]), None, RejectReason.NOT_EVOLVED, "the response is as it was"),
        (answer(GOOD[0], " "), None, RejectReason.EMPTY, "response"),
        ("Der Rhein.", None, RejectReason.INVALID, "JSON"),
        (Reply('{"prompt": "W', "truncated"), None, RejectReason.TRUNCATED, ""),
        (by_dictionary, answer(ROWS[0][0], OTHER), RejectReason.MEANING_CHANGED, "response: chrF 0."),
        (by_dictionary, answer(ROWS[0][0], ROWS[0][1].replace("Rhine", "Rhone")),
         RejectReason.MEANING_CHANGED, "response: name: 'Rhine' is lost"),
        (by_dictionary, Reply(finish="refused"), RejectReason.REFUSED, ""),
    ],
)  # fmt: skip
def test_flaws(there: Any, back: Any, reject_reason: RejectReason, detail: str) -> None:
    engine = script(there, back or by_dictionary)
    run = translate(engine, target=examples(ROWS[:1]))
    assert reject_reasons(run.candidates) == [reject_reason.value]
    assert detail in run.candidates[0].detail
    assert run.tables["rows"]["state"].to_list() == [reject_reason.value]
    assert any(language_of(call) == "English (en)" for call in engine.calls) == bool(
        back or there == by_dictionary
    )


def test_the_threshold_is_that_of_the_worse_part() -> None:
    worse = ROWS[0][1].replace("flows through", "passes").replace("near to it", "close")
    score = chrf(worse, ROWS[0][1])
    for least, kept in ((score - 0.01, 1), (score + 0.01, 0)):
        engine = script(back=answer(ROWS[0][0], worse))
        run = translate(engine, target=examples(ROWS[:1]), params={"round_trip": least})
        assert len(run.kept) == kept
        assert run.tables["rows"]["response_chrf"][0] == pytest.approx(score, abs=1e-4)


def test_rows_that_are_in_the_language_are_not_translated_into_it() -> None:
    engine = ScriptedEngine([("", by_dictionary)])
    target = examples([ROWS[0], GERMAN[1]])
    run = translate(engine, target=target, params={"to": ["de", "fr"]})
    assert run.tables["rows"].select("source_language", "language", "state").rows() == [
        ("en", "de", "kept"), ("en", "fr", "kept"), ("de", "de", "is in it"),
        ("de", "fr", "not_evolved"),
    ]  # fmt: skip
    assert len(run.candidates) == 3


def test_a_short_row_has_the_language_of_most_and_one_can_be_named() -> None:
    short = ("2 + 2?", "4")
    run = translate(script(), target=examples([*ROWS, short]))
    assert run.tables["rows"]["source_language"].to_list() == ["en"] * 3
    with pytest.raises(UserError, match="none of 1 rows is long enough to tell its language"):
        translate(script(), target=examples([short]))
    named = translate(script(), target=examples([short]), params={"source": "en"})
    assert named.tables["rows"]["state"].to_list() == ["not_evolved"]


def test_codes_are_those_of_languages() -> None:
    for codes, match in (
        (["german"], "no language has the code 'german'"),
        (["de", "de"], "named once"),
        ([], "at least 1 item"),
    ):
        with pytest.raises(ValidationError, match=match):
            TranslateGenerator(to=codes)
    with pytest.raises(ValidationError, match="that of the rows not at all"):
        TranslateGenerator(to=["de"], source="de")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("Bees carry pollen.", True), ("New York City", False), ("f(x) + g(y) = h", False),
     ("positive", False), ("```\nfor one in all of them\n```", False), ("wir sind da", True),
     ('{"size": 1, "colour": 2, "price": 3}', False)],
)  # fmt: skip
def test_what_may_be_the_same_in_both_languages(text: str, sentence: bool) -> None:
    assert is_sentence(text) is sentence


def test_names_are_in_the_translation_or_come_back() -> None:
    source = "Is Cologne's Rhine, or what NATO calls it, in Bonn?"
    assert lost_names(source, ["Ist der Rhine in Köln, OTAN, Bonn?"], "en") == ["Cologne's", "NATO"]
    both = ["Ist der Rhine in Köln, OTAN, Bonn?", "Is the Cologne Nato there?"]
    assert lost_names(source, both, "en") == []
    german = "Steht das Haus der NASA in Bonn?"
    assert lost_names(german, ["Is NASA's house there?"], "de") == []
    assert lost_names(german, ["Is the house there?"], "de") == ["NASA"]


def test_what_a_limit_leaves_open() -> None:
    run = translate(script(), limits=Limits(calls=3))
    assert run.tables["rows"]["state"].to_list() == ["kept", "unsent"]


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    params = {"to": ["de", "fr"]}
    check_same("translate", script, tmp_path, target=examples(ROWS), params=params)
    check_hostile("translate", script, params={"to": ["de"]})


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    # A model this small writes no other language: what comes back is measured, not judged.
    params = {"to": ["fr", "es"], "source": "en", "max_tokens": 96, "round_trip": 0}
    target = short_tasks()[2::3]
    run = generate("translate", real_engine(smollm), embed=static, target=target, params=params)
    assert len(run.candidates) == 4
    assert run.tables["rows"].height == 4
