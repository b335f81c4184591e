"""Magpie: what is sent, where a user's words end, near copies, engines that know no template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.magpie import MagpieGenerator, clean
from curate.llm.engines.engine import ChatPrefix
from curate.llm.limits import Limits
from curate.llm.requests import Call
from tests.generate.generations import generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of, texts_of
from tests.generate.stages import check_same, keeps_some, words


@dataclass
class TemplateEngine(ScriptedEngine):
    """A scripted engine that knows a chat template."""

    def chat_prefix(self, system: str | None) -> ChatPrefix:
        return ChatPrefix(f"<sys>{system or 'standard'}</sys><user>", "</user>")


def wants_prompt(call: Call) -> bool:
    return call.request.prompt is not None


def write(call: Call) -> str:
    return f"Tell of {words(call, 6)}?"


def script(prompt: Any = write, answer: Any = "") -> TemplateEngine:
    reply = answer or (lambda call: f"So it was: {words(call, 4)}.")
    return TemplateEngine([(wants_prompt, prompt), (lambda call: True, reply)])


def magpie(engine: Any, **params: Any) -> Generation:
    names = ("target", "limits", "cache", "seed")
    settings = {name: params.pop(name) for name in names if name in params}
    return generate("magpie", engine, params={"prompts": 5} | params, **settings)


def test_the_template_alone_is_sent() -> None:
    engine = script()
    run = magpie(engine)
    assert engine.batches == [5, 5]
    prompts, answers = engine.calls[:5], engine.calls[5:]
    assert {text_of(call) for call in prompts} == {"<sys>standard</sys><user>"}
    assert [call.sample for call in prompts] == list(range(5))
    assert prompts[0].sampling.stop == ("</user>", "\n")
    assert (prompts[0].sampling.temperature, prompts[0].sampling.top_p) == (1.0, 1.0)
    assert [texts_of(call) for call in answers] == [[row.prompt] for row in run.kept]
    assert all(call.sampling.temperature == 0 for call in answers)
    assert all(c.parents == () and c.hop == 1 for c in run.candidates)
    generator = MagpieGenerator.model_validate({"prompts": 5})
    assert generator.cost(0, 0).calls == len(engine.calls)


def test_several_lines() -> None:
    engine = script(prompt=lambda call: f"Mend this:\n\n{words(call, 8)}")
    run = magpie(engine, one_line=False)
    assert engine.calls[0].sampling.stop == ("</user>",)
    assert all("\n\n" in c.prompt for c in run.kept)
    assert len(run.kept) == 5


def test_systems_share_the_prompts_and_are_no_part_of_rows() -> None:
    engine = script()
    run = magpie(engine, systems=["You tutor.", "You cook.", "You tutor.", "You sew."])
    prompts = [text_of(call) for call in engine.calls if wants_prompt(call)]
    assert prompts == [
        *["<sys>You tutor.</sys><user>"] * 2,
        *["<sys>You cook.</sys><user>"] * 2,
        "<sys>You sew.</sys><user>",
    ]
    assert len({call.sampling.seed for call in engine.calls if wants_prompt(call)}) == 3
    assert [c.notes["system"] for c in run.candidates][::2] == [
        "You tutor.",
        "You cook.",
        "You sew.",
    ]
    assert {m["role"] for c in run.candidates for m in c.messages} == {"user", "assistant"}
    one = script()
    magpie(one, prompts=1, systems=["You tutor.", "You cook."])
    assert len(one.calls) == 2


@pytest.mark.parametrize(
    ("completion", "words"),
    [
        ("Who was Cleopatra?</user>She was a queen", "Who was Cleopatra?"),
        ("Who was Cleopatra?<|eot_id|><|start_header_id|>", "Who was Cleopatra?"),
        ("Who was Cleopatra?\n\nassistant\n\nShe was", "Who was Cleopatra?"),
        ("Who was Cleopatra?assistant\nShe was", "Who was Cleopatra?"),
        ("Who was Cleopatra? [/INST] She was", "Who was Cleopatra?"),
        ("  What does a shop assistant do? ", "What does a shop assistant do?"),
        ("Be my assistant", "Be my assistant"),
        ("</user>", ""),
    ],
)
def test_where_the_users_words_end(completion: str, words: str) -> None:
    assert clean(completion, "</user>") == words


@pytest.mark.parametrize(
    ("reply", "reject_reason"),
    [
        ("</user>So it is.", RejectReason.EMPTY),
        (Reply(finish="empty"), RejectReason.EMPTY),
        (Reply("Tell me of ships and", finish="truncated"), RejectReason.TRUNCATED),
        (Reply("no no no", finish="repetition"), RejectReason.REPEATS_ITSELF),
        ("Sort these words by length:", RejectReason.INCOMPLETE),
        ("Why?", RejectReason.TOO_SHORT),
        ("Name a river in France.", RejectReason.NOT_NEW),
    ],
)
def test_prompts_of_no_use_are_not_answered(reply: Any, reject_reason: RejectReason) -> None:
    engine = script(prompt=reply)
    run = magpie(engine)
    assert reject_reasons(run.candidates) == [reject_reason.value] * 5
    assert len(engine.calls) == 5
    answers = script(answer=Reply("It is", finish="truncated"))
    assert reject_reasons(magpie(answers).candidates) == ["truncated"] * 5


def test_copies_collapse_and_the_share_that_differs_is_told() -> None:
    again = ["Tell of the sea and its ships.", "How do bees find a garden?"]
    engine = script(prompt=lambda call: again[call.sample % 2])
    run = magpie(engine, prompts=6)
    assert reject_reasons(run.candidates) == [None, None, *["not_new"] * 4]
    assert run.tables["prompts"].to_dicts() == [
        {"system": "", "written": 6, "different": 2, "kept": 2}
    ]


def test_same_result_in_batches_and_again(tmp_path: Path) -> None:
    engine = script()
    magpie(engine)
    run = magpie(engine, prompts=8)
    # Asking for more goes on where it was.
    assert [c.prompt for c in run.candidates[:5]] == [c.prompt for c in magpie(script()).candidates]
    params = {"prompts": 6, "systems": ["You tutor.", "You cook."]}
    check_same("magpie", script, tmp_path, params=params)


def test_a_limit_ends_it_with_what_there_is() -> None:
    run = magpie(script(), limits=Limits(calls=3))
    assert run.candidates == []
    assert run.tables["prompts"].height == 0
    run = magpie(script(), limits=Limits(calls=7))
    assert reject_reasons(run.candidates) == [None, None]


def test_engines_without_a_template() -> None:
    bare = ScriptedEngine([])
    with pytest.raises(UserError, match="an engine that knows its model's chat template"):
        magpie(bare)

    class Base(TemplateEngine):
        def chat_prefix(self, system: str | None) -> ChatPrefix:
            raise UserError("no chat template")

    with pytest.raises(UserError, match="magpie: no chat template"):
        magpie(Base([]))


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    # It writes long answers: of these prompts, one or two have an answer that ends in time.
    run = keeps_some(
        "magpie", smollm, params={"prompts": 10, "prompt_tokens": 24, "max_tokens": 48}
    )
    assert run.tables["prompts"]["different"].to_list() == [len({c.prompt for c in run.candidates})]
