"""Where a user's turn begins and ends in chat templates, and special tokens as stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.llm.engines import transformers
from curate.llm.engines.openai import OpenAIEngine
from curate.llm.engines.parameters import OpenAIParams
from curate.llm.engines.prompts import chat_prefix_of, prompt_ids, stop_ids
from curate.llm.engines.transformers import TransformersEngine
from curate.llm.requests import Call, Sampling, raw
from curate.models.load import FALLBACK_TEMPLATE, load_tokenizer
from tests.conftest import CHATML

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    "<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n{% endfor %}"
)
DEFAULTED = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    + CHATML
)


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    import copy

    return copy.deepcopy(load_tokenizer(tiny))


@pytest.mark.parametrize(
    ("template", "system", "before", "after"),
    [
        (CHATML, None, "<|im_start|>user\n", "<|im_end|>"),
        (CHATML, "Hi.", "<|im_start|>system\nHi.<|im_end|>\n<|im_start|>user\n", "<|im_end|>"),
        (DEFAULTED, None, "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n", "<|im_end|>"),
        (LLAMA, None, "<|im_start|><|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        (GEMMA, None, "<|im_start|><start_of_turn>user\n", "<end_of_turn>"),
    ],
)  # fmt: skip
def test_prefixes(
    tokenizer: Any, template: str, system: str | None, before: str, after: str
) -> None:
    tokenizer.chat_template = template
    opening = chat_prefix_of(tokenizer, system)
    assert (opening.before, opening.after) == (before, after)


@pytest.mark.parametrize(
    ("template", "system", "message"),
    [
        (FALLBACK_TEMPLATE, None, "no chat template of its own"),
        (GEMMA, "Be brief.", "refuses the conversation: no system turns"),
        ("{{ messages[0]['content'] }}", None, "does not mark where"),
        ("{{ messages[0]['content'] | lower }} end", None, "does not mark where"),
    ],
)
def test_templates_that_cannot_be_used(
    tokenizer: Any, template: str, system: str | None, message: str
) -> None:
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=message):
        chat_prefix_of(tokenizer, system)


def test_an_opening_is_read_as_the_template_is(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    before = chat_prefix_of(tokenizer, None).before
    ids = prompt_ids(tokenizer, raw(before))
    whole = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert tokenizer(whole, add_special_tokens=False)["input_ids"][: len(ids)] == ids
    assert ids.count(tokenizer.bos_token_id) == 1


def test_special_tokens_as_stops(tokenizer: Any) -> None:
    end = tokenizer.eos_token_id
    assert stop_ids(tokenizer, ("\n", "<|im_end|>", "x")) == [end]
    assert stop_ids(tokenizer, ()) == []


def test_a_special_token_ends_an_answer(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine(tiny, {}, dtype="float32")
    sampling = Sampling(temperature=0, max_tokens=4, stop=("<end>",))
    call = Call(raw("Once there was", sampling=sampling))
    (whole,) = engine.complete([call])
    assert whole.completion_tokens == 4
    drawn = engine._tokenizer(whole.text, add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(transformers, "stop_ids", lambda tokenizer, stops: [drawn[0]])
    (ended,) = engine.complete([call])
    assert (ended.finish in ("ok", "empty"), ended.completion_tokens) == (True, 1)


def test_engines_know_their_template(tiny: Path) -> None:
    engine = TransformersEngine(tiny, {}, dtype="float32")
    assert engine.chat_prefix("Be brief.").after == "<|im_end|>"
    given = {"model": "m", "endpoints": [{"url": "http://localhost/v1"}]}
    with pytest.raises(UserError, match=r"name engine\.tokenizer"):
        OpenAIEngine(OpenAIParams.model_validate(given), {}).chat_prefix(None)
    named = OpenAIParams.model_validate(given | {"tokenizer": str(tiny)})
    assert OpenAIEngine(named, {}).chat_prefix(None).before == "<|im_start|>user\n"


def test_a_token_that_servers_put_first_is_left_out(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"model": "m", "endpoints": [{"url": "http://localhost/v1"}], "tokenizer": str(tiny)}
    engine = OpenAIEngine(OpenAIParams.model_validate(given), {})

    class BeginTokenTokenizer:
        """A tokenizer that opens every text with its begin token."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def __call__(self, text: str, **settings: Any) -> dict[str, list[int]]:
            return {"input_ids": [self._inner.bos_token_id]}

    monkeypatch.setattr(engine, "_tokenizer", BeginTokenTokenizer(engine._tokenizer))
    assert engine.chat_prefix(None).before == "user\n"
