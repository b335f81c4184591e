"""SELF-GUIDE: what inputs are asked for, length and noise, votes, labels and their balance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.generation import Generation
from curate.generate.methods.self_guide import (
    NOISE,
    SelfGuideGenerator,
    balance,
    band_of,
    find_label,
    most_frequent,
)
from curate.llm.limits import Limits
from curate.llm.requests import Call
from tests.generate.generations import example, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of, texts_of
from tests.generate.stages import check_same, keeps_some, words

SMALL = {"rounds": 2, "batch": 3, "samples": 2}


def wants_input(call: Call) -> bool:
    return call.request.schema is not None


def write(call: Call) -> str:
    return json.dumps({"input": f"Tell of {words(call, 6)}?"})


def answer(call: Call) -> str:
    """Return what all samples of an input say."""
    return f"It was so: {text_of(call)[8:40]}"


def script(given: Any = write, output: Any = answer) -> ScriptedEngine:
    return ScriptedEngine([(wants_input, given), (lambda call: True, output)])


def guide(engine: Any, **params: Any) -> Generation:
    names = ("target", "limits", "cache", "seed")
    settings = {name: params.pop(name) for name in names if name in params}
    return generate("self_guide", engine, params=SMALL | params, **settings)


def inputs(engine: ScriptedEngine) -> list[Call]:
    return [call for call in engine.calls if wants_input(call)]


def outputs(engine: ScriptedEngine) -> list[Call]:
    return [call for call in engine.calls if not wants_input(call)]


def test_counts_and_lineage() -> None:
    engine = script()
    run = guide(engine)
    assert engine.batches == [3, 3, 12]
    generator = SelfGuideGenerator.model_validate(SMALL)
    assert generator.cost(3, 0).calls == len(engine.calls) == 18
    assert SelfGuideGenerator().cost(3, 0).calls == 400 * 11
    assert len(run.kept) == len(run.candidates) == 6
    assert all(c.hop == 1 and len(c.parents) == 3 for c in run.candidates)
    assert all((c.notes["agree"], c.notes["samples"]) == (2, 2) for c in run.candidates)


def test_what_an_input_is_asked_with() -> None:
    engine = script()
    run = guide(engine, task="Answer questions", rounds=3)
    first, later = inputs(engine)[:3], inputs(engine)[3:]
    for call in first:
        assert "Weak inputs" not in text_of(call)
        assert texts_of(call)[0].startswith("You write inputs for a task: Answer questions.")
        # The target's prompts are answers that were given before.
        given = [json.loads(words)["input"] for words in texts_of(call)[2::2]]
        assert sorted(given) == sorted(e.prompt for e in run.target)
        assert set(texts_of(call)[1::2]) == {"Write one new input."}
        assert (call.sampling.temperature, call.sampling.top_k) == (0.9, 40)
    counts = set()
    for k, call in enumerate(later):
        weak = text_of(call).split("Weak inputs")[1]
        shots = [c.prompt for c in run.candidates if c.prompt in weak]
        assert all(
            run.candidates.index(c) < 3 + 3 * (k // 3) for c in run.candidates if c.prompt in shots
        )
        counts.add(len(shots))
    assert 0 not in counts
    assert len(counts) > 1


def test_outputs_follow_the_examples_as_turns() -> None:
    target = [
        example(f"t/{i}", e.prompt, e.response, "Be brief.") for i, e in enumerate(examples())
    ]
    engine = script()
    run = guide(engine, task="Answer questions", target=target, demos=2)
    call = outputs(engine)[0]
    roles = [m["role"] for m in call.request.messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert texts_of(call)[0] == "Be brief.\n\nAnswer questions"
    shots = dict(zip(texts_of(call)[1:-1:2], texts_of(call)[2:-1:2], strict=True))
    assert shots.items() <= {e.prompt: e.response for e in target}.items()
    assert (call.sampling.temperature, call.sampling.top_k, call.sampling.n) == (0.2, 10, 2)
    # The target's own system turn is part of the row; what the task is said to be is not.
    assert run.kept[0].messages[0] == {"role": "system", "content": "Be brief."}


def votes(*samples: Any) -> Any:
    return lambda call: samples[call.sample]


def one(samples: tuple[Any, ...], **params: Any) -> Candidate:
    given = {"rounds": 1, "batch": 1, "samples": len(samples)}
    (candidate,) = guide(script(output=votes(*samples)), **(given | params)).candidates
    return candidate


OTHERS = tuple(f"Yet another one of {letter}" for letter in "abcdefghij")


@pytest.mark.parametrize(
    ("samples", "output", "reject_reason"),
    [
        (("It is the same as ever.",) * 3 + OTHERS[:7], "It is the same as ever.", None),
        (
            ("It is the same as ever.",) * 2 + OTHERS[:8],
            "It is the same as ever.",
            RejectReason.INCONSISTENT,
        ),
        (
            ("It is a longer one than that.",) * 4 + ("It is it, and no more.",) * 4 + OTHERS[:2],
            "It is it, and no more.",
            None,
        ),
        # What filters leave counts against all that was sampled.
        (
            ("It is the same as ever.",) * 2 + ("",) * 8,
            "It is the same as ever.",
            RejectReason.INCONSISTENT,
        ),
        (("",) * 10, "", RejectReason.NO_ANSWER),
        (("It is the same as ever.",) * 5 + ("x" * 400,) * 5, "It is the same as ever.", None),
        (
            ("Output: it is this one.",) * 6 + ("It is the same as ever.",) * 4,
            "It is the same as ever.",
            None,
        ),
        (
            (Reply("It is", finish="truncated"),) * 7 + ("It is so, they all say.",) * 3,
            "It is so, they all say.",
            None,
        ),
    ],
)
def test_votes(samples: tuple[Any, ...], output: str, reject_reason: RejectReason | None) -> None:
    candidate = one(samples)
    assert (candidate.reject_reason, candidate.response) == (reject_reason, output)


@pytest.mark.parametrize(
    ("checker", "outputs", "expected"),
    [
        ("auto", ("42", "42.0", "The answer is 42.", "43", "43"), ("42", 3, 0)),
        ("auto", ("12 minutes", "12 hours", "12 hours"), ("12 hours", 2, 0)),
        ("numeric", ("5", "x^2+5", "x^2+5", "so it is 5"), ("5", 2, 2)),
        ("math", (r"$x^2-1$", "(x-1)(x+1)", "x^2+1", "no idea"), (r"$x^2-1$", 2, 1)),
        ("exact", ("Yes", "yes.", "no"), ("Yes", 2, 0)),
        ("auto", ("It is a text of many words.", "it is a text of many words."),
         ("It is a text of many words.", 1, 0)),
    ],
)  # fmt: skip
def test_outputs_agree_by_value_and_what_cannot_be_compared_is_told(
    checker: Any, outputs: tuple[str, ...], expected: tuple[str, int, int]
) -> None:
    assert most_frequent(outputs, checker) == expected


def test_a_draft_without_a_usable_sample_says_why() -> None:
    candidate = one(("x" * 400, "x" * 400, "Output: this", ""))
    assert candidate.detail == "no sample can be used: 2 too_long, 1 keyword, 1 empty"


@pytest.mark.parametrize(
    ("text", "reject_reason", "params"),
    [
        ("Here is a new question: what is it?", RejectReason.KEYWORD, {}),
        ("Tell of the big bad wolf?", RejectReason.KEYWORD, {"noise": ["Bad Wolf"]}),
        ("Tell of everything there is. " + "Also of this thing. " * 3, None, {}),
        ("Which river flows through  Cologne?", RejectReason.NOT_NEW, {}),
        ("Why?", RejectReason.TOO_SHORT, {}),
        (" " * 3, RejectReason.EMPTY, {}),
        ("ab " * 600, RejectReason.TRUNCATED, {"max_tokens": 128}),
    ],
)
def test_inputs_of_no_use(
    text: str, reject_reason: RejectReason | None, params: dict[str, Any]
) -> None:
    limit = 3 * (params.get("max_tokens", 500) - 32)
    engine = script(given=json.dumps({"input": text[:limit]}))
    run = guide(engine, rounds=1, batch=1, **params)
    assert [c.reject_reason for c in run.candidates] == [reject_reason]
    assert len(outputs(engine)) == (0 if reject_reason else 2)


def test_the_same_input_twice() -> None:
    engine = script(given=json.dumps({"input": "Tell me of ships and sails."}))
    assert reject_reasons(guide(engine, rounds=2, batch=2).candidates) == [None, *["not_new"] * 3]


def test_noise_of_one_task_is_none_of_the_next() -> None:
    before = list(NOISE)
    input_json = json.dumps({"input": "Tell of the big bad wolf?"})
    run = guide(script(given=input_json), rounds=1, batch=1, noise=["bad wolf"])
    assert reject_reasons(run.candidates) == ["keyword"]
    run = guide(script(given=input_json), rounds=1, batch=1)
    assert reject_reasons(run.candidates) == [None]
    assert before == NOISE
    # What the examples say themselves is no noise.
    wolf = [example("t/1", "Who is the bad wolf here?", "It is so and so."), *examples()]
    run = guide(script(given=input_json), rounds=1, batch=1, noise=["bad wolf"], target=wolf)
    assert reject_reasons(run.candidates) == [None]


def test_lengths_within_two_deviations() -> None:
    band = band_of(["x" * 10, "x" * 20, "x" * 30], 2.0)
    assert band.most == pytest.approx(20 + 2 * (200 / 3) ** 0.5)
    # Examples of one length let others through, too.
    same = band_of(["x" * 20] * 3, 2.0)
    assert (same.least, same.most) == (10, 30)
    assert same.find_rejection("x" * 10) is same.find_rejection("x" * 30) is None
    assert band_of(["x"], 2.0).find_rejection("x") is None


LABELS = {"labels": ["entailed", "not entailed", "open"]}


def labelled(call: Call) -> str:
    return json.dumps({"input": f"Tell of {words(call, 4)}?"})


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("Not entailed.", "not entailed"),
        ("entailed", "entailed"),
        ("The label is: NOT ENTAILED, clearly", "not entailed"),
        ("it is open, not entailed", "open"),
        ("reopened", None),
        ("", None),
    ],
)
def test_labels_are_found_whole_and_the_longest_first(words: str, label: str | None) -> None:
    assert find_label(words, LABELS["labels"]) == label


def test_each_label_is_asked_for_as_often_as_any_other() -> None:
    engine = script(given=labelled, output="open")
    target = [*examples(), example("t/4", "Is it open?", "Open.")]
    run = guide(engine, rounds=2, batch=6, balance=None, target=target, **LABELS)
    assert Counter(c.notes["asked"] for c in run.candidates) == dict.fromkeys(LABELS["labels"], 4)
    for call, candidate in zip(inputs(engine), run.candidates, strict=True):
        assert f"The right answer to it is: {candidate.notes['asked']}" in text_of(call)
        # An example is asked for with the label that it has.
        instruction, given = texts_of(call)[1], json.loads(texts_of(call)[2])["input"]
        assert ("is: open" in instruction) == (given == "Is it open?")
        assert call.sampling.temperature == 0.7
    # The label asked for decides nothing.
    assert all(c.notes["label"] == c.response == "open" for c in run.candidates)
    assert "right answer" not in text_of(outputs(engine)[0])


def test_inputs_of_a_strange_length_go_where_there_are_labels() -> None:
    input_json = json.dumps({"input": "Tell of everything there is. " + "Also of this thing. " * 3})
    run = guide(script(given=input_json, output="open"), rounds=1, batch=1, **LABELS)
    assert reject_reasons(run.candidates) == ["too_long"]


def test_labels_are_balanced_after_all_filters() -> None:
    def by_number(call: Call) -> str:
        return LABELS["labels"][[0, 0, 0, 1, 1, 2, 2, 0, 0][number[text_of(call)]]]

    number: dict[str, int] = {}

    def count(call: Call) -> str:
        text = json.loads(labelled(call))["input"]
        number[text] = len(number)
        return json.dumps({"input": text})

    run = guide(script(given=count, output=by_number), rounds=1, batch=9, **LABELS)
    assert Counter(c.notes["label"] for c in run.kept) == dict.fromkeys(LABELS["labels"], 2)
    assert Counter(reject_reasons(run.candidates)) == {None: 6, "over_quota": 3}
    assert [c.reject_reason for c in run.candidates[2:3]] == [RejectReason.OVER_QUOTA]


def test_balance() -> None:
    candidates = [
        Candidate(pair(f"p{i}", label), "self_guide", notes={"label": label})
        for i, label in enumerate("aaaabb")
    ]
    assert reject_reasons(balance(candidates, 1.5)) == [None] * 3 + ["over_quota"] + [None] * 2
    assert reject_reasons(balance(candidates, None)) == [None] * 6
    # What other filters dropped counts for no label.
    less = [candidates[0].drop(RejectReason.NOT_NEW), *candidates[1:5]]
    assert reject_reasons(balance(less, 1.0)) == ["not_new", None, *["over_quota"] * 2, None]
    assert balance([], 1.0) == []


@pytest.mark.parametrize("labels", [["one"], ["a", "A"], ["a", "!"]])
def test_labels_that_are_none(labels: list[str]) -> None:
    with pytest.raises(ValidationError, match="two labels or more"):
        SelfGuideGenerator.model_validate({"labels": labels})


def test_same_result_in_batches_and_again(tmp_path: Path) -> None:
    check_same("self_guide", script, tmp_path, params=SMALL)


def test_half_a_vote_is_none() -> None:
    engine = script()
    run = guide(engine, limits=Limits(calls=9), samples=4)
    assert run.stopped
    assert run.candidates == []
    assert len(guide(script(), limits=Limits(calls=10), samples=4).candidates) == 1


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    small = {"rounds": 1, "batch": 4, "samples": 2, "agreement": 0.1, "max_tokens": 64}
    keeps_some("self_guide", smollm, params=small)
