"""Paraphrases: what must stay as it is, the band of similarity, options, responses untouched."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.paraphrase import (
    AXES,
    ParaphraseGenerator,
    find_change,
)
from curate.generate.particulars import count_names, find_names
from curate.llm.requests import Call
from tests.generate.generations import TARGET, example, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import check_hostile, check_same, keeps_some, quoted, words

FREE = {"cosine": (0.0, 0.999)}
BAND = (0.5, 2.0)


def reworded(call: Call) -> str:
    """Say it with two words more, which no rule looks at."""
    return json.dumps({"prompt": f"{words(call, 2)} {quoted(call)}"})


def script(then: Any = reworded) -> ScriptedEngine:
    return ScriptedEngine([("You say things", then)])


def paraphrase(engine: Any, **params: Any) -> Generation:
    target = params.pop("target", examples())
    return generate("paraphrase", engine, target=target, params={**FREE, **params})


def test_each_row_along_several_axes_with_its_response() -> None:
    engine = script()
    run = paraphrase(engine, count=3)
    assert reject_reasons(run.candidates) == [None] * 9
    assert engine.batches == [9]
    for candidate in run.kept:
        (source,) = (e for e in run.target if e.row_id == candidate.parents[0])
        assert candidate.response == source.response
        assert candidate.prompt.endswith(source.prompt)
        assert candidate.hop == 1
        assert 0.5 < candidate.notes["similarity"] < 1
    for source in run.target:
        axes = [c.notes["axis"] for c in run.kept if c.parents == (source.row_id,)]
        assert len(set(axes)) == 3
    assert ParaphraseGenerator(count=3).cost(3, 0).calls == 9


def test_the_axis_is_asked_for_and_axes_take_turns() -> None:
    pieces = {
        "register": "chat among friends",
        "length": "Say it shorter",
        "voice": "passive for active",
        "perspective": "Let somebody else",
        "format": "another form",
    }
    engine = script()
    run = paraphrase(engine, target=examples(TARGET[:1]), count=10)
    axes = [c.notes["axis"] for c in run.candidates]
    assert Counter(axes) == dict.fromkeys(AXES, 2)
    for call, axis in zip(engine.calls, axes, strict=True):
        assert [name for name, piece in pieces.items() if piece in text_of(call)] == [axis]
    run = paraphrase(script(), axes=["voice"], count=2)
    assert {c.notes["axis"] for c in run.candidates} == {"voice"}


@pytest.mark.parametrize(
    ("source", "paraphrase", "reject_reason", "detail"),
    [
        ("Add 12 and 7.5 now.", "Now add 12 and 7.5.", None, ""),
        ("Add 12 and 7.5 now.", "Now add 13 and 7.5.",
     RejectReason.MEANING_CHANGED, "number: '12' 0 times"),
        ("Add 12 and 7.5 now.", "Now add 12, 12 and 7.5.",
     RejectReason.MEANING_CHANGED, "'12' 2 times, not 1"),
        ("Is the Rhine in Bonn?", "Does Bonn have the Rhine?", None, ""),
        ("Is the Rhine in Bonn?", "Bonn: is the Rhine there?", None, ""),
        ("Is the Rhine in Bonn?", "Is the Rhine in Ulm?",
     RejectReason.MEANING_CHANGED, "name: 'Bonn' 0 times"),
        ("Is the Rhine in Bonn?", "Is it in Bonn?", RejectReason.MEANING_CHANGED, "name: 'Rhine'"),
        ("Why can NASA fly?", "How come NASA flies?", None, ""),
        ("Why can NASA fly?", "How come Nasa flies?", RejectReason.MEANING_CHANGED, "name: 'NASA'"),
        ("It does not rain.", "It does rain now.", RejectReason.MEANING_CHANGED, "0 negations of 1"),
        ("It does not rain.", "It never rains.", None, ""),
        ("It does not rain.", "No, it doesn’t rain.", RejectReason.MEANING_CHANGED, "2 negations of 1"),
        ("It does rain a lot.", "It is not so that it does not.", None, ""),
        ("Run `ls -l` now.", "Now run `ls -a`.", RejectReason.MEANING_CHANGED, "code or link: '`ls"),
        ("Run `ls -l` now.", "`ls -l` is to be run.", None, ""),
        ("See https://a.org/x here.", "See here.", RejectReason.MEANING_CHANGED, "code or link"),
        ("What is it that we see?", "Seen?", RejectReason.TOO_SHORT, "0.17 times"),
        ("What is it?", "Tell what it is that is to be told.", RejectReason.TOO_LONG, "times as long"),
        ("What do I see?", "Tell what I see.", None, ""),
        ("这只小猫今天吃了什么东西？", "猫吃啥？", RejectReason.TOO_SHORT, "0.31 times"),
    ],
)  # fmt: skip
def test_what_stays(
    source: str, paraphrase: str, reject_reason: RejectReason | None, detail: str
) -> None:
    change = find_change(source, paraphrase, BAND)
    assert (change[0] if change else None) is reject_reason
    assert detail in (change[1] if change else "")


def test_names() -> None:
    text = 'Who is it? "Then Mr. Bonn" said: Look.\n- See McCoy and iPhones in the USA. I\'m I.'
    assert find_names(text) == {"Mr", "McCoy", "iPhones", "USA"}
    # Bonn opens a sentence for all that can be seen; another text shows that it is a name.
    source, paraphrase_names = count_names(text, "They said that Bonn is iPhones McCoy Mr USA.")
    assert (
        source
        == paraphrase_names
        == Counter({"Mr": 1, "Bonn": 1, "McCoy": 1, "iPhones": 1, "USA": 1})
    )
    assert find_names("河はどこですか。") == set()


@pytest.mark.parametrize(
    ("then", "reject_reason", "detail"),
    [
        (lambda call: json.dumps({"prompt": quoted(call)}), RejectReason.NOT_NEW, "ROUGE-L 1.00"),
        (lambda call: json.dumps({"prompt": quoted(call).lower()}),
     RejectReason.MEANING_CHANGED, "name"),
        (lambda c: json.dumps({"prompt": f"{quoted(c)} Of 3."}),
     RejectReason.MEANING_CHANGED, "'3' 1 times"),
        (json.dumps({"prompt": "Say where Cologne has water."}),
     RejectReason.MEANING_CHANGED, "cosine 0."),
        (json.dumps({"prompt": "Cologne through flows river which?"}),
     RejectReason.TOO_NEAR, "cosine 1.000"),
        (json.dumps({"prompt": " "}), RejectReason.EMPTY, "prompt"),
        ("Which one?", RejectReason.INVALID, "JSON"),
        (Reply(finish="refused"), RejectReason.REFUSED, "refused"),
    ],
)  # fmt: skip
def test_flaws(then: Any, reject_reason: RejectReason, detail: str) -> None:
    params = {"cosine": (0.5, 0.99), "count": 1}
    run = paraphrase(script(then), target=examples(TARGET[:1]), **params)
    assert reject_reasons(run.candidates) == [reject_reason.value]
    assert detail in run.candidates[0].detail


def test_the_second_of_two_alike_goes() -> None:
    same = json.dumps({"prompt": "Tell which river it is that flows through Cologne."})
    run = paraphrase(script(same), target=examples(TARGET[:1]), count=3)
    assert reject_reasons(run.candidates) == [None, "not_new", "not_new"]


def test_options_come_back_as_they_were() -> None:
    source = "Which river is in Bonn?\nA) Rhine\nB) Elbe\nC) Not one of 2"
    engine = script()
    run = paraphrase(engine, target=[example("target/1", source, "A", "Be brief.")], count=1)
    (kept,) = run.kept
    assert quoted(engine.calls[0]) == "Which river is in Bonn?"
    assert kept.prompt.endswith("Which river is in Bonn?\nA) Rhine\nB) Elbe\nC) Not one of 2")
    assert kept.response == "A"
    assert kept.messages[0] == {"role": "system", "content": "Be brief."}


def test_bands_are_in_order() -> None:
    with pytest.raises(ValidationError, match=r"cosine: 0.9 is to be less than 0.8"):
        ParaphraseGenerator(cosine=(0.9, 0.8))
    with pytest.raises(ValidationError, match="length"):
        ParaphraseGenerator(length=(1, 1))


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    check_same("paraphrase", script, tmp_path, params=FREE)
    check_hostile("paraphrase", script, params=FREE)


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    # What a model this small writes drifts: the band is open, the other rules stand.
    params = {"count": 2, "cosine": (0.1, 0.999), "max_tokens": 128, "length": (0.2, 6)}
    params["temperature"] = 0.3
    keeps_some("paraphrase", smollm, params=params)
