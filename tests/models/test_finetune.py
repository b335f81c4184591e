"""The fine-tune: the right loss, the right seed, and nothing touched but the adapters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curate.core.calls import StoreRunner, Table
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Store
from curate.models.chat import IGNORED, TokenizedExample, build_example
from curate.models.evaluation import evaluate, response_losses
from curate.models.finetune import finetune
from curate.models.head import split_model
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora import add_adapters
from curate.models.lora_values import LoraValues
from curate.models.training import (
    accumulate_gradients,
    read_messages,
    train_lora,
    training_rows,
)
from tests.conftest import row, stored_rows, turns

LORA: LoraValues = {
    "rank": 4, "alpha": 8, "epochs": 3, "learning_rate": 5e-3, "batch_rows": 2, "max_length": 96,
}  # fmt: skip
TEXTS = [
    ("Name a colour.", "Red."),
    ("2 + 2?", "4"),
    ("Name a river, please.", "The Danube is a river."),
    ("Hi", "Hello."),
    ("Say a.", "a"),
    ("Spell cat.", "c, a, t"),
]


def examples(folder: Path, texts: Sequence[tuple[str, ...]] = TEXTS) -> list[TokenizedExample]:
    tokenizer = load_tokenizer(folder)
    return [build_example(tokenizer, turns(*t), LORA["max_length"]) for t in texts]


def unlabelled(length: int = 20) -> TokenizedExample:
    return TokenizedExample(list(range(length)), [IGNORED] * length)


def model_of(folder: Path) -> Any:
    return load_causal(folder, "float32").eval()


def huggingface_loss(model: Any, example: TokenizedExample) -> float:
    """Return the loss that transformers itself computes from labels."""
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([example.ids]), labels=torch.tensor([example.labels]))
    return float(output.loss)


# --- losses -------------------------------------------------------------------------------------


def test_the_loss_of_a_row_is_the_one_that_transformers_computes(tiny: Path) -> None:
    model = model_of(tiny)
    several = examples(tiny, [*TEXTS, ("a", "b", "c", "d", "e", "f")])
    for example in several:
        losses, _, _ = response_losses(split_model(model), [example])
        assert losses.mean().item() == pytest.approx(huggingface_loss(model, example), abs=1e-5)


def test_losses_in_a_batch_are_those_of_single_rows(tiny: Path) -> None:
    model, several = model_of(tiny), examples(tiny)
    losses, right, rows = response_losses(split_model(model), several)
    assert len(losses) == len(right) == len(rows)
    for k, example in enumerate(several):
        alone, alone_right, _ = response_losses(split_model(model), [example])
        torch.testing.assert_close(losses[rows == k], alone, atol=1e-5, rtol=1e-5)
        assert torch.equal(right[rows == k], alone_right)
        assert int((rows == k).sum()) == sum(t != IGNORED for t in example.labels)


def test_evaluating_gives_each_example_its_own_loss_in_order(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, several = model_of(tiny), [*examples(tiny), unlabelled()]
    expected = [huggingface_loss(model, e) for e in several[:-1]]
    for limit in (1, 100, 10_000):
        monkeypatch.setattr("curate.models.evaluation.BATCH_TOKENS", limit)
        table = evaluate(model, several)
        assert table["loss"][:-1].to_list() == pytest.approx(expected, abs=1e-5)
        assert table["response_tokens"].to_list() == [
            sum(t != IGNORED for t in e.labels) for e in several
        ]
    assert table["loss"][-1] is None
    assert table["exact"][-1] is False


def generate(model: Any, prompt: list[int], count: int, end: int | None = None) -> list[int]:
    with torch.inference_mode():
        written = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=count,
            eos_token_id=end,
            pad_token_id=0,
        )
    ids: list[int] = written[0, len(prompt) :].tolist()
    return ids


def answered(prompt: list[int], response: list[int]) -> TokenizedExample:
    return TokenizedExample([*prompt, *response], [*[IGNORED] * len(prompt), *response])


def altered(example: TokenizedExample, place: int) -> TokenizedExample:
    """Return the example with one token of its response changed."""
    ids, labels = list(example.ids), list(example.labels)
    at = [i for i, label in enumerate(labels) if label != IGNORED][place]
    ids[at] = labels[at] = (ids[at] + 1) % 200
    return TokenizedExample(ids, labels)


def test_exact_means_that_greedy_decoding_writes_the_response(tiny: Path) -> None:
    model, rng = model_of(tiny), random.Random(0)
    prompts = [[rng.randrange(256) for _ in range(rng.randrange(2, 30))] for _ in range(8)]
    written = [answered(p, generate(model, p, 6)) for p in prompts]
    assert evaluate(model, written)["exact"].to_list() == [True] * 8
    for place in (0, 3, 5):
        wrong = [altered(example, place) for example in written]
        assert evaluate(model, wrong)["exact"].to_list() == [False] * 8


@pytest.mark.model
def test_exact_is_greedy_generation_with_the_real_model(smollm: Path) -> None:
    """References are what the model writes, so all are exact; with one token changed, none is."""
    tokenizer, model = load_tokenizer(smollm), model_of(smollm)
    questions = [
        "What is 2 + 2? Answer with the number only.",
        "What is the capital of France? One word.",
        "Name one colour.",
    ]
    finished = []
    for question in questions:
        prompt = tokenizer.apply_chat_template(turns(question), add_generation_prompt=True)
        written = generate(model, prompt["input_ids"], 12, tokenizer.eos_token_id)
        text = tokenizer.decode(written, skip_special_tokens=True)
        example = build_example(tokenizer, turns(question, text), 512)
        # What is cut off, or written in other tokens than its text has, is no reference.
        if [label for label in example.labels if label != IGNORED] == written:
            finished.append(example)
    assert len(finished) >= 3, "too few short answers to test with"
    assert evaluate(model, finished)["exact"].to_list() == [True] * len(finished)
    for place in (0, -1):
        wrong = [altered(example, place) for example in finished]
        assert evaluate(model, wrong)["exact"].to_list() == [False] * len(finished)


# --- training -----------------------------------------------------------------------------------


def adapters(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}


def tune(
    folder: Path, several: Sequence[TokenizedExample], seed: Sequence[int] = (0, 0), **lora: Any
) -> tuple[Any, list[float]]:
    model = load_causal(folder, "float32")
    settings: Any = {**LORA, **lora}
    return model, train_lora(model, several, settings, seed)


def test_the_loss_falls_when_few_rows_are_learned_by_heart(tiny: Path) -> None:
    several = examples(tiny)
    before = evaluate(model_of(tiny), several)["loss"].mean()
    model, losses = tune(tiny, several, epochs=15, learning_rate=2e-2, rank=8, alpha=16)
    assert len(losses) == 15 * 3
    after = evaluate(model, several)["loss"].mean()
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])
    assert after < 0.5 * before  # type: ignore[operator]


def test_the_first_loss_is_the_untuned_models(tiny: Path) -> None:
    """B starts at zero, so before the first update the tuned model is the base model."""
    several = examples(tiny)
    _, losses = tune(tiny, several, epochs=1, batch_rows=len(several))
    alone = evaluate(model_of(tiny), several)
    tokens = alone["response_tokens"]
    assert losses == pytest.approx([sum(alone["loss"] * tokens) / sum(tokens)], abs=1e-4)


def test_the_same_seed_gives_the_same_adapters_and_another_seed_does_not(tiny: Path) -> None:
    several = examples(tiny)
    (one, losses), (two, again) = tune(tiny, several), tune(tiny, several)
    assert losses == again
    assert all(torch.equal(a, b) for a, b in zip(
        adapters(one).values(), adapters(two).values(), strict=True
    ))  # fmt: skip
    other, _ = tune(tiny, several, (0, 1))
    assert not all(torch.equal(adapters(other)[n], a) for n, a in adapters(one).items())


@pytest.mark.parametrize("limit", [1, 60])
def test_cutting_a_batch_into_parts_changes_no_step(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    several = [*examples(tiny), unlabelled()]
    whole, losses = tune(tiny, several, batch_rows=len(several))
    monkeypatch.setattr("curate.models.training.TRAINING_TOKENS", limit)
    monkeypatch.setattr("curate.models.training.HEAD_TOKENS", 3)
    parts, again = tune(tiny, several, batch_rows=len(several))
    assert again == pytest.approx(losses, rel=1e-4)
    for name, weight in adapters(whole).items():
        assert torch.allclose(adapters(parts)[name], weight, atol=1e-4), name


def test_the_gradient_is_that_of_the_loss_of_the_whole_batch(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a plain backward pass of transformers' own logits, row by row, without padding."""
    monkeypatch.setattr("curate.models.training.TRAINING_TOKENS", 60)
    monkeypatch.setattr("curate.models.training.HEAD_TOKENS", 3)
    several = [*examples(tiny), unlabelled()]
    model = add_adapters(load_causal(tiny, "float32"), LORA, "all-linear", [0]).train()
    loss = accumulate_gradients(split_model(model), several)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    sums, count = torch.tensor(0.0), 0
    for example in several:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0, :-1]
        labels = torch.tensor(example.labels[1:])
        sums = sums + torch.nn.functional.cross_entropy(
            logits, labels, ignore_index=IGNORED, reduction="sum"
        )
        count += int((labels != IGNORED).sum())
    torch.autograd.backward(sums / count)
    assert loss == pytest.approx((sums / count).item(), rel=1e-5)
    assert gradients.keys() == {n for n, p in model.named_parameters() if "lora_" in n}
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(gradients[name], weight.grad, atol=1e-6, rtol=1e-4)


# What torch says of a hook in the layer where gradients end.
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_part_that_memory_is_too_small_for_is_halved_and_counted_once(
    tiny: Path, where: str
) -> None:
    """It fails in the last layer that it comes to, when others have their gradients."""
    several = examples(tiny)

    def gradients(most: int) -> tuple[float | None, dict[str, torch.Tensor], list[int]]:
        model = add_adapters(load_causal(tiny, "float32"), LORA, "all-linear", [0]).train()
        layers, sizes = model.get_base_model().model.layers, []

        def check(_: Any, tensors: Any, *__: Any) -> None:
            sizes.append(len(tensors[0]))
            if sizes[-1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        split = split_model(model)
        if where == "forward":
            layers[-1].register_forward_pre_hook(check)
        else:
            layers[0].register_full_backward_pre_hook(check)
        loss = accumulate_gradients(split, several)
        return loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, sizes

    loss, whole, _ = gradients(len(several))
    again, halved, sizes = gradients(1)
    assert max(sizes) > 1
    assert again == pytest.approx(loss, rel=1e-6)
    for name, gradient in whole.items():
        torch.testing.assert_close(halved[name], gradient, atol=1e-6, rtol=1e-4)


def test_training_makes_logits_of_few_response_tokens_at_a_time(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.models.training.HEAD_TOKENS", 4)
    model = add_adapters(load_causal(tiny, "float32"), LORA, "all-linear", [0]).train()
    split, sizes = split_model(model), []
    model.get_output_embeddings().register_forward_hook(
        lambda module, given, logits: sizes.append(logits.shape[0])
    )
    accumulate_gradients(split, examples(tiny))
    assert max(sizes) == 4
    assert sum(sizes) == sum(t != IGNORED for e in examples(tiny) for t in e.labels)


def test_only_adapters_are_changed(tiny: Path) -> None:
    before = dict(load_causal(tiny, "float32").named_parameters())
    model, _ = tune(tiny, examples(tiny))
    after = {
        n.replace(".base_layer", ""): p for n, p in model.named_parameters() if "lora_" not in n
    }
    assert set(after) == set(before)
    assert all(torch.equal(after[n], p) for n, p in before.items())
    assert not any("lm_head" in n or "embed" in n for n in adapters(model))
    assert any(p.abs().max() > 0 for n, p in adapters(model).items() if "lora_B" in n)


def test_arms_of_one_seed_start_from_equal_adapters_whatever_the_global_generator(
    tiny: Path,
) -> None:
    """At a vanishing learning rate the adapters stay as drawn; rows and global seeds differ."""
    drawn = []
    for number, several in enumerate((examples(tiny), examples(tiny)[2:4])):
        torch.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002
        model, _ = tune(tiny, several, (5, 1), epochs=1, learning_rate=1e-30)
        drawn.append({n: p for n, p in adapters(model).items() if "lora_A" in n})
    assert drawn[0].keys() == drawn[1].keys()
    assert all(torch.equal(drawn[1][n], p) for n, p in drawn[0].items())
    values = torch.cat([p.flatten() * p.shape[1] ** 0.5 for p in drawn[0].values()])
    assert values.abs().max() <= 1
    assert values.mean().abs() < 0.05
    assert values.std() == pytest.approx(3**-0.5, rel=0.05)


def test_rows_without_a_label_within_the_limit_are_passed_over(tiny: Path) -> None:
    several = examples(tiny)[:2]
    _, none = tune(tiny, [unlabelled(), unlabelled(3)])
    assert none == []
    _, mixed = tune(tiny, [*several, unlabelled()], epochs=2, batch_rows=1)
    assert len(mixed) == 4
    assert all(np.isfinite(mixed))


def test_a_loss_that_is_not_finite_stops_the_training(tiny: Path) -> None:
    model = load_causal(tiny, "float32")
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"step 1 is not finite; lower prove\.lora\.learn"):
        train_lora(model, examples(tiny), LORA, [0, 0])


# --- the step -----------------------------------------------------------------------------------


def pool(store: Store) -> Table:
    return stored_rows(store, "pool", [row(f"r{i}", turns(*t)) for i, t in enumerate(TEXTS)])


def tuned(store: Store, folder: Path, ids: Sequence[str], seed: Sequence[int] = (0, 0)) -> Artifact:
    rows = training_rows([pool(store)], ids)
    model = ModelSource({"dtype": "float32"}, folder)
    return StoreRunner(store)(finetune, rows, LORA, seed, model)


def test_a_fine_tune_keeps_its_adapter_and_counts_its_steps(store: Store, tiny: Path) -> None:
    artifact = tuned(store, tiny, ["r0", "r3", "r5"])
    assert set(artifact.files) == {"adapter.safetensors"}
    assert artifact.counts["steps"] == LORA["epochs"] * 2
    assert artifact.counts["rows_in"] == 3
    assert artifact.counts["tokens"] == sum(len(examples(tiny)[i].ids) for i in (0, 3, 5))


def test_the_same_step_gives_the_same_bytes_in_another_store(tmp_path: Path, tiny: Path) -> None:
    artifacts = [tuned(Store(tmp_path / name), tiny, ["r1", "r4"]) for name in ("a", "b")]
    assert artifacts[0].digest == artifacts[1].digest
    assert artifacts[0].counts == artifacts[1].counts


def test_the_key_follows_texts_and_their_order_not_ids(store: Store, tiny: Path) -> None:
    keys = [
        tuned(store, tiny, ids, seed).key
        for ids, seed in (
            (["r0"], (0, 0)), (["r0"], (0, 1)), (["r1"], (0, 0)), (["r0", "r1"], (0, 0)),
            (["r1", "r0"], (0, 0)),
        )
    ]  # fmt: skip
    assert len(set(keys)) == 5


def test_messages_come_in_the_order_of_the_ids(store: Store) -> None:
    rows, order = pool(store), [4, 0, 5, 2]
    assert read_messages([rows], [f"r{i}" for i in order]) == [turns(*TEXTS[i]) for i in order]
    assert read_messages([rows], []) == []
