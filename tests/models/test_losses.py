"""Losses: those of a plain forward pass over each row alone, whatever the batch, block or model."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Store
from curate.core.workload import PassHead
from curate.models import blocks, lm, losses
from curate.models import forward as forward_module
from curate.models.chat import IGNORED, TokenizedExample, build_example
from curate.models.forward import CERTAINTY, forward
from curate.models.head import split_model
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora import attach_adapter, save_adapter
from curate.models.lora_values import LoraValues
from curate.models.losses import mean_loss, named_model, read_losses
from curate.models.passes import alone_pass, pass_of, pool_pass
from curate.models.training import train_lora
from curate.models.unprompted import alone_pieces, sum_alone
from tests.conftest import Computed, turns, write_tiny_model
from tests.selectors.lossruns import ModelRun, plain_losses, plain_row

LONG = 10_000
TEXTS: list[Any] = [
    turns("Hi", "Hello."),
    turns("What is 7 times 8?", "7 times 8 is 56."),
    turns("Say it again: yes. yes.", "yes."),
    turns("Übersetze: good morning", "Guten Morgen! 😀\n\n"),
    turns("Tell me about rivers. " * 8, "They flow to the sea. " * 6),
    turns("Hi", "Hello.", "And now?", "Now 42.", "Bye", "Good bye!"),
    [{"role": "system", "content": "Be brief."}, *turns("Why?", "So.")],
    turns("yes", "yes"),
]
WHATS: list[losses.LossKind] = ["response", "all", "alone"]


def model_of(folder: Path, dtype: str = "float32") -> Any:
    return load_causal(folder, dtype).eval()


def examples(folder: Path, max_length: int = LONG) -> list[TokenizedExample]:
    tokenizer = load_tokenizer(folder)
    return [build_example(tokenizer, messages, max_length) for messages in TEXTS]


def measured(folder: Path, model: Any, rows: list[TokenizedExample]) -> pl.DataFrame:
    """Return all columns of rows, the two ways of getting response losses compared."""
    tokenizer = load_tokenizer(folder)
    several = forward(model, rows, ["all"], lm.BATCH_TOKENS).table
    again = forward(model, rows, ["response"], lm.BATCH_TOKENS).table
    np.testing.assert_allclose(again.to_numpy(), several[again.columns].to_numpy(), rtol=1e-4)
    alone, _ = sum_alone(model, tokenizer, rows, lm.BATCH_TOKENS)
    return pl.concat([several.drop(CERTAINTY), alone], how="horizontal")


def all_losses(model: Any, rows: list[TokenizedExample]) -> pl.DataFrame:
    return forward(model, rows, ["all"], lm.BATCH_TOKENS, entropies=False).table


def assert_same(got: pl.DataFrame, expected: pl.DataFrame, tolerance: float = 1e-4) -> None:
    assert sorted(got.columns) == sorted(expected.columns)
    for name in got.columns:
        if name.endswith("_tokens"):
            assert got[name].to_list() == expected[name].to_list(), name
        else:
            np.testing.assert_allclose(got[name], expected[name], rtol=tolerance, err_msg=name)


# --- values -------------------------------------------------------------------------------------


def test_losses_are_those_of_a_plain_pass_over_each_row_alone(tiny: Path) -> None:
    model, tokenizer = model_of(tiny), load_tokenizer(tiny)
    expected = pl.DataFrame([plain_row(model, tokenizer, messages) for messages in TEXTS])
    assert_same(measured(tiny, model, examples(tiny)), expected)


@pytest.mark.parametrize(("batch", "head"), [(1, 256), (64, 1), (300, 7), (100_000, 100_000)])
def test_batches_padding_and_the_cut_of_the_head_change_nothing(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, batch: int, head: int
) -> None:
    model, rows = model_of(tiny), examples(tiny)
    expected = measured(tiny, model, rows)
    monkeypatch.setattr(lm, "BATCH_TOKENS", batch)
    monkeypatch.setattr(forward_module, "HEAD_TOKENS", head)
    assert_same(measured(tiny, model, rows), expected)


def test_losses_follow_their_rows_in_any_order(tiny: Path) -> None:
    model, rows = model_of(tiny), examples(tiny)
    order = random.Random(1).sample(range(len(rows)), len(rows))
    assert_same(measured(tiny, model, [rows[i] for i in order]), measured(tiny, model, rows)[order])


@pytest.mark.parametrize("length", [1, 2, 20, 30, 45, 120])
def test_cut_rows_count_the_response_tokens_that_are_left_in_both_passes(
    tiny: Path, length: int
) -> None:
    model, whole = model_of(tiny), examples(tiny)
    table = measured(tiny, model, examples(tiny, length))
    left = [sum(label != IGNORED for label in row.labels[:length]) for row in whole]
    assert table["response_tokens"].to_list() == table["alone_tokens"].to_list() == left
    assert table["all_tokens"].to_list() == [min(length, len(row.ids)) - 1 for row in whole]
    means = mean_loss(table, "response").to_list()
    assert [mean is None for mean in means] == [count == 0 for count in left]
    for row, mean, count in zip(whole, means, left, strict=True):
        if mean is not None:
            token_losses = plain_losses(model, row.ids[:length])
            own = [
                x for x, y in zip(token_losses, row.labels[1:length], strict=True) if y != IGNORED
            ]
            assert mean == pytest.approx(sum(own) / count, rel=1e-4)


def test_losses_of_a_bfloat16_model_are_float32(tiny: Path) -> None:
    """Rounded to bfloat16 a loss of 5 would be a multiple of 1/32."""
    model = model_of(tiny, "bfloat16")
    [row] = examples(tiny)[1:2]
    table = all_losses(model, [row])
    expected = plain_losses(model, row.ids)
    assert table["all_sum"][0] == pytest.approx(sum(expected), rel=1e-3)
    one = TokenizedExample(row.ids[:2], [IGNORED, row.ids[1]])
    assert (all_losses(model, [one])["response_sum"][0] * 32) % 1 != 0


def test_the_head_runs_before_wanted_tokens_only_and_for_few_at_a_time(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = model_of(tiny), examples(tiny)
    seen: list[tuple[int, ...]] = []
    model.get_output_embeddings().register_forward_hook(
        lambda module, given, logits: seen.append(tuple(logits.shape))
    )
    monkeypatch.setattr(forward_module, "HEAD_TOKENS", 32)
    head: PassHead
    for head in ("response", "all"):
        seen.clear()
        table = forward(model, rows, (head,), lm.BATCH_TOKENS).table
        sizes = [shape[0] for shape in seen if len(shape) == 2]
        assert len(seen) == len(sizes) + 2, "besides, the comparison with the whole model, twice"
        assert max(sizes) == 32
        assert sum(sizes) == table[f"{head}_tokens"].sum()


def test_a_model_that_caps_its_logits_is_run_as_a_whole(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    monkeypatch.setattr(forward_module, "HEAD_TOKENS", 16)
    folder = Path(shutil.copytree(tiny, tmp_path / "gemma"))
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.5}
    vocabulary = len(load_tokenizer(folder))
    for cap in (2.0, None):
        config = Gemma2Config(
            vocab_size=vocabulary, final_logit_softcapping=cap, **size, **heads, pad_token_id=0
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            Gemma2ForCausalLM(config).save_pretrained(folder)
        model = model_of(folder)
        assert (split_model(model).head is None) == (cap is not None)
        expected = [plain_row(model, load_tokenizer(folder), messages) for messages in TEXTS]
        assert_same(measured(folder, model, examples(folder)), pl.DataFrame(expected))


# --- the response alone -------------------------------------------------------------------------


def alone_texts(folder: Path, messages: Any) -> list[tuple[str, str]]:
    """Return what stands before each response on its own, and the response."""
    tokenizer = load_tokenizer(folder)
    row = build_example(tokenizer, messages, LONG)
    texts = []
    for _, piece in alone_pieces(tokenizer, [row]):
        start = next(i for i, label in enumerate(piece.labels) if label != IGNORED)
        assert piece.labels[start:] == piece.ids[start:]
        texts.append((tokenizer.decode(piece.ids[:start]), tokenizer.decode(piece.ids[start:])))
    return texts


def test_alone_each_response_stands_behind_the_header_of_its_turn(tiny: Path) -> None:
    header = "<|im_start|>assistant\n"
    assert alone_texts(tiny, TEXTS[2]) == [(header, "yes.<|im_end|>")]
    assert alone_texts(tiny, TEXTS[5]) == [
        (header, f"{text}<|im_end|>") for text in ("Hello.", "Now 42.", "Good bye!")
    ]


def test_without_a_prompt_the_response_is_as_likely_alone(tiny: Path) -> None:
    tokenizer, model = load_tokenizer(tiny), model_of(tiny)
    messages: Any = [{"role": "assistant", "content": "Once upon a time"}]
    table = measured(tiny, model, [build_example(tokenizer, messages, LONG)])
    assert table["response_sum"][0] == pytest.approx(table["alone_sum"][0], rel=1e-6)


def with_template(tiny: Path, folder: Path, template: str) -> Path:
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_the_opening_token_of_a_template_stays_in_front(tiny: Path, tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    folder = with_template(tiny, tmp_path / "m", template)
    several = alone_texts(folder, turns("a", "b", "c", "d"))
    assert several == [("<|im_start|>[assistant]", f"{x}<|im_end|>") for x in "bd"]


def test_a_template_without_headers_leaves_the_begin_token(tiny: Path, tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST]{{ m['content'] }}[/INST]"
        "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    folder = with_template(tiny, tmp_path / "m", template)
    assert alone_texts(folder, turns("a", "b")) == [("<|im_start|>", "b<|im_end|>")]
    tokenizer = load_tokenizer(folder)
    row = build_example(tokenizer, turns("a", "b"), LONG)
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(UserError, match="no assistant header and no begin or end token"):
        alone_pieces(tokenizer, [row])


def test_a_row_that_opens_with_a_response_predicts_its_first_token_in_neither_pass(
    tiny: Path, tmp_path: Path
) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    folder = with_template(tiny, tmp_path / "m", template)
    messages: Any = [{"role": "assistant", "content": "abc"}, *turns("d", "ef")]
    assert alone_texts(folder, messages) == [
        ("a", "bc<|im_end|>"),
        ("<|im_start|>", "ef<|im_end|>"),
    ]
    row = build_example(load_tokenizer(folder), messages, LONG)
    table = measured(folder, model_of(folder), [row])
    assert table["response_tokens"].to_list() == table["alone_tokens"].to_list() == [6]


@pytest.mark.model
def test_the_real_tokenizer_may_join_the_header_and_the_response(smollm: Path) -> None:
    """The first token of the response is then longer, and the header in front of it shorter."""
    messages: Any = turns("a", "\n\nstarts with breaks")
    [(header, response)] = alone_texts(smollm, messages)
    assert header + response == "<|im_start|>assistant\n\n\nstarts with breaks<|im_end|>"
    assert alone_texts(smollm, turns("a", "b")) == [("<|im_start|>assistant\n", "b<|im_end|>")]


@pytest.mark.model
def test_the_real_models_losses_do_not_depend_on_batches_or_padding(smollm: Path) -> None:
    model, rows = model_of(smollm), examples(smollm, 60)[2:6]
    table = measured(smollm, model, rows)
    for row, measures in zip(rows, table.iter_rows(named=True), strict=True):
        token_losses = plain_losses(model, row.ids)
        assert measures["all_sum"] == pytest.approx(sum(token_losses), rel=1e-4)
        own = [x for x, label in zip(token_losses, row.labels[1:], strict=True) if label != IGNORED]
        assert measures["response_sum"] == pytest.approx(sum(own), rel=1e-4)
    assert table["alone_tokens"].to_list() == table["response_tokens"].to_list()


# --- LoRA weights beside the model --------------------------------------------------------------

LORA: LoraValues = {
    "rank": 4, "alpha": 8, "epochs": 2, "batch_rows": 4, "learning_rate": 1e-2, "max_length": LONG,
}  # fmt: skip


@pytest.fixture(scope="module")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapter") / "adapter.safetensors"
    model = model_of(tiny)
    train_lora(model, examples(tiny), LORA, [0])
    save_adapter(model, path, rank=4, alpha=8)
    return path


def test_a_saved_adapter_makes_the_tuned_model_again(tiny: Path, adapter: Path) -> None:
    tuned, again = model_of(tiny), model_of(tiny)
    train_lora(tuned, examples(tiny), LORA, [0])
    attach_adapter(again, adapter)
    rows = examples(tiny)
    expected = all_losses(tuned, rows)
    assert all_losses(again, rows).equals(expected)
    base = all_losses(model_of(tiny), rows)
    assert (base["response_sum"] > expected["response_sum"]).all(), "it was trained on them"


def test_the_same_adapter_is_the_same_file(tiny: Path, tmp_path: Path, adapter: Path) -> None:
    model = model_of(tiny)
    attach_adapter(model, adapter)
    copies = {adapter.read_bytes()}
    for i in range(8):
        save_adapter(model, tmp_path / f"{i}.safetensors", rank=4, alpha=8)
        copies.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(copies) == 1


def test_the_adapter_of_another_model_is_refused(tiny: Path, tmp_path: Path, adapter: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(tiny)
    config.num_hidden_layers = 1
    with pytest.raises(ValueError, match="adapters differ"):
        attach_adapter(LlamaForCausalLM(config), adapter)


# --- blocks -------------------------------------------------------------------------------------


def keys(
    run: ModelRun, model: ModelSource, what: losses.LossKind = "response", max_length: int = 64
) -> list[str]:
    """Return the keys of the blocks of losses, which are not computed."""
    run.skipped, run.calls = ["losses", "losses-alone"], []
    blocks_of_run(run, model, what, max_length)
    return run.keys("losses-alone" if what == "alone" else "losses")


def blocks_of_run(
    run: ModelRun, model: ModelSource, what: losses.LossKind, max_length: int
) -> list[Artifact]:
    """Return the blocks of the losses of kept rows."""
    if what == "alone":
        return alone_pass(run, model, max_length, run.kept)
    if model != run.base:
        return pass_of(run, model, max_length).blocks
    return pool_pass(run, what, max_length).blocks


def losses_of_run(run: ModelRun, what: losses.LossKind, adapter: Artifact | None = None) -> Any:
    if adapter is None:
        blocks = blocks_of_run(run, run.base, what, LONG)
    else:
        blocks = pass_of(run, run.base, LONG, adapter).blocks
    return read_losses(blocks, run.kept, run.kept)


@pytest.mark.parametrize("what", WHATS)
def test_blocks_hold_the_losses_of_kept_rows_in_pool_order(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch, what: losses.LossKind
) -> None:
    monkeypatch.setattr(blocks, "SMALLEST_BLOCK", 3)
    kept = [0, 1, 4, 5, 6]
    run = ModelRun(store, folder=tiny, texts=TEXTS, kept_positions=kept)
    model, tokenizer = model_of(tiny), load_tokenizer(tiny)
    expected = pl.DataFrame([plain_row(model, tokenizer, TEXTS[i]) for i in kept])
    got = losses_of_run(run, what).drop(CERTAINTY, strict=False)
    assert_same(got, expected.select(got.columns))
    name = "losses-alone" if what == "alone" else "losses"
    assert [step for step in run.executed_steps if step != "kept"] == [name] * 3
    losses_of_run(run, what)
    assert [step for step in run.executed_steps if step != "kept"] == [name] * 3


def test_an_adapter_changes_losses_and_keys(store: Store, tiny: Path, adapter: Path) -> None:
    def write(out: Path) -> dict[str, Any]:
        shutil.copy(adapter, out / "adapter.safetensors")
        return {}

    run = ModelRun(store, folder=tiny, texts=TEXTS)
    artifact = store.ensure(Computed("tuned", write, "adapter"))
    before, after = (
        losses_of_run(run, "response", adapter_artifact) for adapter_artifact in (None, artifact)
    )
    assert (before["response_sum"] > after["response_sum"]).all()
    assert losses_of_run(run, "response").equals(before)


def test_keys_follow_texts_model_and_settings(
    store: Store, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    model = run.base
    inside = ModelRun(
        store, folder=tiny, texts=[turns("q", "a"), *TEXTS], kept_positions=range(1, 9)
    )
    assert keys(inside, model) == keys(run, model), "positions and ids are no part of a loss"
    other = named_model(run, str(write_tiny_model(tmp_path / "other", seed=1)))
    assert other.folder == tmp_path / "other"
    edited = ModelRun(store, folder=tiny, texts=[*TEXTS[:-1], turns("yes", "no")])
    half = ModelRun(store, folder=tiny, texts=TEXTS, dtype="bfloat16")
    block_keys = [
        keys(run, model), keys(run, other), keys(edited, model), keys(half, half.base),
        keys(run, model, what="all"), keys(run, model, what="alone"),
        keys(run, model, max_length=65),
    ]  # fmt: skip
    monkeypatch.setattr(lm, "BATCH_TOKENS", 1_024)
    block_keys.append(keys(run, model))
    monkeypatch.setattr(losses.write_losses, "version", 99)
    block_keys.append(keys(run, model))
    assert len({key for [key] in block_keys}) == 9


def test_an_edited_row_changes_its_own_block_only(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SMALLEST_BLOCK", 4)
    run = ModelRun(store, folder=tiny, texts=TEXTS)
    edited = ModelRun(store, folder=tiny, texts=[*TEXTS[:-1], turns("yes", "no")])
    before, after = keys(run, run.base), keys(edited, run.base)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]


def test_a_loss_that_is_not_finite_stops_the_run(store: Store, tiny: Path, tmp_path: Path) -> None:
    model = model_of(tiny)
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(float("nan"))
    folder = Path(shutil.copytree(tiny, tmp_path / "broken"))
    model.save_pretrained(folder)
    run = ModelRun(store, folder=folder, texts=TEXTS)
    with pytest.raises(FloatingPointError, match=r"not finite; try models\.dtype: float32"):
        losses_of_run(run, "response")


def test_an_unknown_model_is_a_user_error(store: Store, tiny: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        named_model(ModelRun(store, folder=tiny, texts=TEXTS), "nowhere")
