"""The embedded engine: answers do not depend on the batch, and end for the reason that they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from curate.core.errors import UserError
from curate.llm.ask import EngineClient
from curate.llm.engines import decoding
from curate.llm.engines.loading import load_engine
from curate.llm.engines.parameters import TransformersParams
from curate.llm.engines.prompts import prompt_ids
from curate.llm.engines.transformers import TransformersEngine
from curate.llm.requests import Call, Completion, Request, Sampling, chat, raw
from curate.models.load import load_causal, load_tokenizer
from curate.models.settings import ModelNames

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "topic": {"type": "string", "maxLength": 20},
        "level": {"enum": ["easy", "hard"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["topic", "level", "count"],
    "additionalProperties": False,
}
TEXTS = ["Hi", "What is 7 times 8?", "Übersetze: good morning 😀", "river " * 12, "Hi", "x"]


def load(folder: Path, **given: Any) -> TransformersEngine:
    params = TransformersParams(model=str(folder), dtype="float32", **given)
    engine = load_engine(params, ModelNames())
    assert isinstance(engine, TransformersEngine)
    return engine


@pytest.fixture(scope="module")
def engine(tiny: Path) -> Iterator[TransformersEngine]:
    engine = load(tiny)
    yield engine
    engine.close()


def mixed(**given: Any) -> list[Call]:
    """Return calls with chat and raw prompts of many lengths, cold and warm."""
    settings = {"max_tokens": 12, "logprobs": True} | given
    calls = []
    for k, text in enumerate(TEXTS):
        for temperature in (0.0, 0.8):
            sampling = Sampling(temperature=temperature, top_p=0.95, seed=k, **settings)
            calls += [Call(ask(text, sampling=sampling), s) for ask in (chat, raw) for s in (0, 1)]
    return calls


def same(one: Completion, other: Completion) -> bool:
    """Return whether completions are equal but for rounding."""
    assert one.logprobs is not None and other.logprobs is not None
    close = torch.allclose(torch.tensor(one.logprobs), torch.tensor(other.logprobs), atol=1e-4)
    return close and replace(one, logprobs=None) == replace(other, logprobs=None)


@pytest.mark.system
def test_answers_are_those_of_each_call_alone(engine: TransformersEngine) -> None:
    calls = mixed()
    together = engine.complete(calls)
    alone = [engine.complete([call])[0] for call in calls]
    backwards = engine.complete(calls[::-1])[::-1]
    for k in range(len(calls)):
        assert same(together[k], alone[k]) and same(together[k], backwards[k])
    warm = {c.text for c, call in zip(together, calls, strict=True) if call.sampling.temperature}
    assert len(warm) > 12


def test_greedy_answers_are_those_of_the_models_own_generate(
    tiny: Path, engine: TransformersEngine
) -> None:
    calls = greedy(*(chat(text) for text in TEXTS), max_tokens=12, logprobs=True)
    for call, done in zip(calls, engine.complete(calls), strict=True):
        ids = torch.tensor([prompt_ids(engine._tokenizer, call.request)])
        written = engine._model.generate(ids, do_sample=False, max_new_tokens=12, pad_token_id=0)
        assert done.completion_tokens == written.shape[1] - ids.shape[1]
        ends = [token for token in written[0, ids.shape[1] :].tolist() if token in engine._ends]
        text = engine._tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        assert done.text == (text[: -len(ends)] if ends == [2] else text)


def test_small_batches_give_the_same(tiny: Path, engine: TransformersEngine) -> None:
    calls = mixed()
    for one, other in zip(
        load(tiny, batch_tokens=60).complete(calls), engine.complete(calls), strict=True
    ):
        assert same(one, other)


def test_log_probabilities_are_those_of_a_forward_pass(
    tiny: Path, engine: TransformersEngine
) -> None:
    check_logprobs(tiny, engine, mixed(stop=("e",))[:12])


def check_logprobs(folder: Path, engine: TransformersEngine, calls: list[Call]) -> None:
    """Compare with a plain pass over prompt and answer."""
    model, tokenizer = load_causal(folder, "float32").eval(), load_tokenizer(folder)
    rows: list[decoding.DecodingRow] = []
    original = decoding.DecodingRow.completion

    def completion(row: decoding.DecodingRow, writer: decoding.DecodingModel) -> Completion:
        rows.append(row)
        return original(row, writer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding.DecodingRow, "completion", completion)
        engine.complete(calls)
    assert len(rows) == len(calls)
    for row in rows:
        prompt = prompt_ids(tokenizer, row.call.request)
        ids = torch.tensor([[*prompt, *row.drawn]])
        with torch.inference_mode():
            scores = model(input_ids=ids).logits[0].float().log_softmax(dim=1)
        expected = scores[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0]
        assert len(row.logprobs) == len(row.drawn) > 0
        assert torch.allclose(torch.tensor(row.logprobs), expected, atol=1e-3)


def test_chances_of_choices_are_those_of_a_forward_pass(
    tiny: Path, engine: TransformersEngine
) -> None:
    sampling = Sampling(temperature=0, max_tokens=1, choices=("e", "T"))
    call = Call(chat("Which letter?", sampling=sampling))
    (done, plain) = engine.complete([call, Call(chat("Which letter?", sampling=Sampling()))])
    model, tokenizer = load_causal(tiny, "float32").eval(), load_tokenizer(tiny)
    with torch.inference_mode():
        ids = torch.tensor([prompt_ids(tokenizer, call.request)])
        chances = model(input_ids=ids).logits[0, -1].float().softmax(dim=0)
    spelled = [{tokenizer.encode(w)[-1] for w in (word, f" {word}")} for word in ("e", "T")]
    expected = [float(chances[sorted(tokens)].sum()) for tokens in spelled]
    assert done.choice_logprobs is not None and plain.choice_logprobs is None
    assert torch.tensor(done.choice_logprobs).exp().tolist() == pytest.approx(expected, rel=1e-3)


def test_counts_and_finish_tell_how_it_ended(tiny: Path, engine: TransformersEngine) -> None:
    tokenizer = load_tokenizer(tiny)
    for call, done in zip(mixed(), engine.complete(mixed()), strict=True):
        assert done.prompt_tokens == len(prompt_ids(tokenizer, call.request))
        assert done.completion_tokens == len(done.logprobs or ())
        assert done.finish in ("ok", "truncated", "empty")
        assert (done.finish == "truncated") == (done.completion_tokens == 12) or done.finish == "ok"


def test_a_stop_string_ends_the_answer_before_it(engine: TransformersEngine) -> None:
    free = Call(raw("abc", sampling=Sampling(temperature=0.8, max_tokens=60, seed=1)))
    (long,) = engine.complete([free])
    stop = long.text[10:12]
    sampling = free.sampling.model_copy(update={"stop": ("never seen", stop)})
    (cut,) = engine.complete([Call(raw("abc", sampling=sampling))])
    assert cut.finish == "ok" and cut.text == long.text[: long.text.index(stop)]
    assert cut.completion_tokens < long.completion_tokens


def test_a_loop_is_ended(engine: TransformersEngine) -> None:
    # A random model that always takes the likeliest token soon says the same again and again.
    calls = greedy(*(raw(text) for text in ("abc", "x", "Hi", "river")), max_tokens=150, repeats=4)
    loops = [done for done in engine.complete(calls) if done.finish == "repetition"]
    assert loops and all(4 <= done.completion_tokens < 150 for done in loops)


def test_a_prefix_opens_the_answer(tiny: Path, engine: TransformersEngine) -> None:
    tokenizer = load_tokenizer(tiny)
    request = chat("Hi", prefix="Sure, ")
    text = tokenizer.decode(prompt_ids(tokenizer, request))
    assert text.endswith("<|im_start|>assistant\nSure, ")
    assert engine.count_prompt(request) == len(prompt_ids(tokenizer, request))


def test_raw_prompts_get_no_template(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    assert tokenizer.decode(prompt_ids(tokenizer, raw("abc"))) == "abc"
    written = raw("<|im_start|>user\n")
    assert prompt_ids(tokenizer, written)[0] == tokenizer.bos_token_id
    assert len(prompt_ids(tokenizer, written)) == 1 + len("user\n")


def test_a_schema_is_met_whenever_the_answer_is_whole(engine: TransformersEngine) -> None:
    # A random model is the worst case: every token is as likely as any other.
    calls = [
        Call(chat("Make JSON.", schema=SCHEMA, sampling=Sampling(max_tokens=tokens, seed=k)))
        for k, tokens in enumerate([20, 60, 90, 120, 150])
    ]
    free = Call(chat("Hi", sampling=Sampling(max_tokens=9)))
    done = engine.complete([*calls, free])
    assert any(c.finish == "ok" for c in done[:-1]) and done[0].finish == "truncated"
    for completion in done[:-1]:
        if completion.finish == "ok":
            Draft202012Validator(SCHEMA).validate(json.loads(completion.text))
        else:
            assert completion.finish == "truncated"
    assert same_text(done, [engine.complete([call])[0] for call in [*calls, free]])


def same_text(some: list[Completion], others: list[Completion]) -> bool:
    return [c.text for c in some] == [c.text for c in others]


def test_schemas_are_compiled_once_and_start_afresh(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(chat("JSON", schema=SCHEMA, sampling=Sampling(max_tokens=150, seed=3)))
    first = engine.complete([call])
    assert engine._grammars is not None
    monkeypatch.setattr(engine._grammars, "_compile", None)
    assert same_text(engine.complete([call, call]), first * 2)


def test_a_schema_that_cannot_be_enforced_is_named(engine: TransformersEngine) -> None:
    schema = {"type": "string", "pattern": "(?<=a)b"}
    with pytest.raises(UserError, match="cannot be enforced"):
        engine.complete([Call(chat("x", schema=schema))])


def test_a_prompt_beyond_the_context_fails_alone(engine: TransformersEngine) -> None:
    long = Call(raw("x" * 3_000))
    done = engine.complete([long, Call(raw("y", sampling=Sampling(max_tokens=3)))])
    assert done[0].finish == "failed" and "3,000 tokens" in done[0].error
    assert done[1].finish in ("ok", "truncated")
    near = Call(raw("x" * (engine._context - 2), sampling=Sampling(max_tokens=50)))
    (cut,) = engine.complete([near])
    assert cut.completion_tokens <= 2


def test_a_batch_that_does_not_fit_is_halved(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, sizes = mixed()[:12], []
    expected = engine.complete(calls)
    plain = decoding.decode

    def decode(writer: Any, rows: Any) -> None:
        sizes.append(len(rows))
        plain(writer, rows)
        if len(rows) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("curate.llm.engines.transformers.decode", decode)
    done = engine.complete(calls)
    assert all(same(one, other) for one, other in zip(done, expected, strict=True))
    assert sizes == [12, 6, 3, 3, 6, 3, 3]


def test_one_call_that_never_fits_fails_alone(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(writer: Any, rows: Any) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
        )

    monkeypatch.setattr("curate.llm.engines.transformers.decode", decode)
    done = engine.complete(mixed()[:3])
    assert [c.finish for c in done] == ["failed"] * 3 and "out of memory" in done[0].error

    def broken(writer: Any, rows: Any) -> None:
        raise RuntimeError("a size does not match")

    monkeypatch.setattr("curate.llm.engines.transformers.decode", broken)
    with pytest.raises(RuntimeError, match="size"):
        engine.complete(mixed()[:3])


def test_a_template_that_refuses_fails_alone(engine: TransformersEngine, tiny: Path) -> None:
    tokenizer = engine._tokenizer
    template = tokenizer.chat_template
    tokenizer.chat_template = "{{ raise_exception('no system turn') }}"
    try:
        done = engine.complete([Call(chat("Hi", system="Be brief."))])
    finally:
        tokenizer.chat_template = template
    assert done[0].finish == "failed" and "no system turn" in done[0].error


def test_the_identity_is_known_before_loading(tiny: Path, engine: TransformersEngine) -> None:
    identity = engine.identity()
    assert identity["engine"] == "transformers" and identity["dtype"] == "float32"
    assert {"weights", "tokenizer", "chat_template"} <= set(identity)
    assert str(tiny) not in json.dumps(identity)


@pytest.fixture(scope="module")
def real(smollm: Path) -> Iterator[TransformersEngine]:
    engine = load(smollm)
    yield engine
    engine.close()


def greedy(*requests: Request, **given: Any) -> list[Call]:
    sampling = Sampling(temperature=0, **given)
    return [Call(replace(request, sampling=sampling)) for request in requests]


@pytest.mark.model
def test_the_real_model_answers_alike_in_batches_and_alone(
    smollm: Path, real: TransformersEngine
) -> None:
    requests = [
        chat("Name three rivers."),
        chat("What is 2 + 2? Be brief."),
        raw("The capital of France is"),
    ]
    calls = greedy(*requests, max_tokens=10, logprobs=True)
    calls.append(Call(chat("Say hello.", sampling=Sampling(max_tokens=10, logprobs=True, seed=7))))
    together = real.complete(calls)
    assert all(same(real.complete([c])[0], t) for c, t in zip(calls, together, strict=True))
    assert "Paris" in together[2].text
    assert together[1].finish == "ok" and together[0].finish == "truncated"
    check_logprobs(smollm, real, calls[:3])


@pytest.mark.model
def test_the_real_model_stops_where_it_is_told(real: TransformersEngine) -> None:
    (done,) = real.complete(greedy(raw("1, 2, 3, 4,"), max_tokens=24, stop=(" 7",)))
    assert done.finish == "ok" and done.text == " 5, 6,"


@pytest.mark.model
def test_the_real_model_writes_json_by_a_schema(real: TransformersEngine) -> None:
    request = chat(
        "Write a quiz question as JSON with topic, level (easy or hard) and count.",
        schema=SCHEMA,
        sampling=Sampling(temperature=0.7, max_tokens=48, n=4),
    )
    client = EngineClient(real)
    (answers,) = client.ask([request], stage="test")
    assert any(a.ok for a in answers)
    for answer in answers:
        if answer.completion.finish == "ok":
            assert answer.ok
            Draft202012Validator(SCHEMA).validate(answer.value)
