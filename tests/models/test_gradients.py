"""Gradients by example: hooks against plain backward passes, Adam's direction against its formula."""

from __future__ import annotations

import math
import random
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from curate.core.errors import UserError
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.gradients import (
    AdamDirection,
    example_gradients,
    has_response,
    lora_layers,
)
from curate.models.load import load_causal

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]
Gradients = dict[str, torch.Tensor]


def adapted(model: Any, rank: int = 4, **more: Any) -> Any:
    """Return a model with adapters that are not at their start, where A has no gradient."""
    config = LoraConfig(**{"r": rank, "lora_alpha": 4 * rank, "target_modules": TARGETS, **more})
    tuned = get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(0)
    for name, weight in tuned.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    return tuned


def sample(prompt: int, response: int, seed: int) -> TokenizedExample:
    rng = random.Random(seed)
    ids = [rng.randrange(256) for _ in range(prompt + response)]
    return TokenizedExample(ids, [IGNORED] * prompt + ids[prompt:])


BATCH = [sample(p, r, i) for i, (p, r) in enumerate([(3, 9), (20, 2), (2, 1), (7, 30), (12, 12)])]
# Two turns: labels with a gap.
GAPPED = TokenizedExample(
    list(range(30)), [*[IGNORED] * 5, *range(5, 10), *[IGNORED] * 12, *range(22, 30)]
)


def hooked(model: Any, batch: Sequence[TokenizedExample]) -> Gradients:
    gradients: Gradients = {}
    example_gradients(model, batch, gradients.__setitem__)
    return gradients


def plain(model: Any, example: TokenizedExample) -> Gradients:
    """Return the gradients of the loss that transformers itself computes, one row at a time."""
    model.zero_grad()
    output = model(input_ids=torch.tensor([example.ids]), labels=torch.tensor([example.labels]))
    output.loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def distance(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return adapted(load_causal(tiny, "float32"))


# --- gradients ------------------------------------------------------------------------------------


def test_gradients_of_a_batch_are_those_of_single_backward_passes(model: Any) -> None:
    batch = [*BATCH, GAPPED]
    gradients = hooked(model, batch)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert gradients.keys() == trained.keys()
    for number, example in enumerate(batch):
        for name, expected in plain(model, example).items():
            assert gradients[name].shape == (len(batch), *trained[name].shape)
            assert distance(gradients[name][number], expected) < 1e-4, name


def test_company_and_padding_change_no_gradient(model: Any) -> None:
    together = hooked(model, BATCH)
    for number, example in enumerate(BATCH):
        for some in ([example], [sample(60, 3, 9), example, sample(2, 2, 8)]):
            alone = hooked(model, some)
            place = some.index(example)
            for name, gradient in together.items():
                assert distance(alone[name][place], gradient[number]) < 1e-4, name


def test_the_sum_over_a_batch_is_the_gradient_of_the_summed_losses(model: Any) -> None:
    gradients = hooked(model, BATCH)
    total: Gradients = {}
    for example in BATCH:
        for name, gradient in plain(model, example).items():
            total[name] = total.get(name, 0) + gradient
    for name, gradient in gradients.items():
        assert distance(gradient.sum(dim=0), total[name]) < 1e-5, name


def test_a_gradient_is_the_slope_of_the_loss(tiny: Path) -> None:
    """Differences at a few coordinates of each kind of matrix, with the cross entropy by hand."""
    tuned = adapted(load_causal(tiny, "float32")).double()
    example, step = BATCH[0], 1e-2
    gradients = hooked(tuned, [example])

    def loss() -> float:
        with torch.inference_mode():
            logits = tuned(input_ids=torch.tensor([example.ids])).logits[0]
        chances = [logits[t].softmax(-1)[example.ids[t + 1]].log() for t in range(2, 11)]
        return -float(sum(chances)) / len(chances)

    for name, weight in tuned.named_parameters():
        if "lora_" in name and "layers.1" in name:
            for at in ((0, 0), (1, 2)):
                start = weight.data[at].item()
                weight.data[at] = start + step
                above = loss()
                weight.data[at] = start - step
                slope = (above - loss()) / (2 * step)
                weight.data[at] = start
                assert gradients[name][0][at].item() == pytest.approx(slope, rel=0.02, abs=1e-4), (
                    name
                )


def test_rank_stabilised_scaling_is_part_of_the_gradient(tiny: Path) -> None:
    tuned = adapted(load_causal(tiny, "float32"), rank=16, use_rslora=True)
    gradients = hooked(tuned, BATCH[:2])
    for name, expected in plain(tuned, BATCH[1]).items():
        assert distance(gradients[name][1], expected) < 1e-4


def test_dropout_is_off_and_every_call_gives_the_same(tiny: Path) -> None:
    tuned = adapted(load_causal(tiny, "float32"), lora_dropout=0.5)
    one, two = hooked(tuned, BATCH), hooked(tuned, BATCH)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_nothing_of_the_model_is_changed_and_no_hook_stays(model: Any) -> None:
    before = {n: (p.clone(), p.requires_grad) for n, p in model.named_parameters()}
    model.zero_grad()
    hooked(model, BATCH)
    with pytest.raises(ZeroDivisionError):
        example_gradients(model, BATCH, lambda *_: 1 / 0)  # type: ignore[arg-type]
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name][0])
        assert weight.requires_grad == before[name][1]
        assert weight.grad is None
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_logits_are_computed_where_a_response_token_follows_and_nowhere_else(model: Any) -> None:
    seen: list[torch.Size] = []
    head = model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _, args, __: seen.append(args[0].shape))
    try:
        hooked(model, [*BATCH, GAPPED])
    finally:
        handle.remove()
    labels = sum(t != IGNORED for e in [*BATCH, GAPPED] for t in e.labels[1:])
    assert seen == [torch.Size([1, labels, 64])]


@pytest.mark.parametrize("rows", [1, 7])
def test_the_head_in_pieces_gives_the_same(
    model: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    whole = hooked(model, BATCH)
    monkeypatch.setattr("curate.models.gradients.HEAD_ROWS", rows)
    pieces = hooked(model, BATCH)
    assert all(torch.allclose(whole[n], pieces[n], atol=1e-6) for n in whole)


def most_alive(layers: int, tmp_path: Path) -> int:
    """Return the most bytes of gradients that were there at the same time, in a model of many layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=32, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=2,
    )  # fmt: skip
    tuned = adapted(LlamaForCausalLM(config))
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def take(name: str, gradient: torch.Tensor) -> None:
        nonlocal most
        alive.add(gradient)
        most = max(most, sum(g.numel() * g.element_size() for g in list(alive)))

    example_gradients(tuned, BATCH, take)
    return most


def test_memory_for_gradients_does_not_grow_with_layers(tmp_path: Path) -> None:
    largest = len(BATCH) * 4 * 32 * 4
    assert most_alive(2, tmp_path) == most_alive(12, tmp_path) == largest


def test_in_bfloat16_gradients_are_float32_and_point_the_same_way(tiny: Path) -> None:
    exact = hooked(adapted(load_causal(tiny, "float32")), BATCH)
    rough = hooked(adapted(load_causal(tiny, "bfloat16")), BATCH)
    for number in range(len(BATCH)):
        one, two = (torch.cat([g[n][number].flatten() for n in exact]) for g in (exact, rough))
        assert two.dtype == torch.float32
        assert torch.cosine_similarity(one, two, dim=0) > 0.99


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([IGNORED, IGNORED], False), ([1, IGNORED], False), ([IGNORED, 2], True), ([], False)],
)
def test_a_first_token_is_nothing_to_predict(labels: list[int], expected: bool) -> None:
    assert has_response(TokenizedExample([1, 2][: len(labels)], labels)) is expected


# --- adapters that are refused --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed:UserWarning")
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_dora": True}, "q_proj"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"target_modules": [*TARGETS, "embed_tokens"]}, "embed_tokens"),
        ({"target_modules": [*TARGETS, "lm_head"]}, "vocabulary head"),
        ({"bias": "all", "lora_bias": True}, "lora_B.default.bias"),
        ({"trainable_token_indices": [1, 2]}, "token"),
    ],
)
def test_adapters_that_hooks_cannot_follow_are_refused(
    tiny: Path, settings: dict[str, Any], named: str
) -> None:
    tuned = adapted(load_causal(tiny, "float32"), **settings)
    with pytest.raises(UserError, match="only one plain LoRA adapter on linear layers") as error:
        lora_layers(tuned)
    assert named in str(error.value)


def test_two_adapters_at_once_and_none_are_refused(tiny: Path) -> None:
    tuned = adapted(load_causal(tiny, "float32"))
    tuned.add_adapter("second", LoraConfig(r=2, target_modules=TARGETS))
    tuned.base_model.set_adapter(["default", "second"])
    with pytest.raises(UserError, match="only one plain LoRA"):
        lora_layers(tuned)
    with pytest.raises(UserError, match="a model without adapters or"):
        lora_layers(load_causal(tiny, "float32").requires_grad_(False))


def test_a_merged_adapter_is_refused(tiny: Path) -> None:
    tuned = adapted(load_causal(tiny, "float32"))
    tuned.merge_adapter()
    with pytest.raises(UserError, match="only one plain LoRA"):
        lora_layers(tuned)


def test_a_layer_that_is_used_twice_in_a_pass_is_refused(tiny: Path) -> None:
    tuned = adapted(load_causal(tiny, "float32"))
    layers = tuned.get_base_model().model.layers
    layers[1].self_attn.o_proj = layers[0].self_attn.o_proj
    with pytest.raises(UserError, match="used more than once"):
        hooked(tuned, BATCH)


# --- Adam's direction -----------------------------------------------------------------------------


def scalar_direction(g: float, m: float, v: float, steps: int, mode: str) -> float:
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    if mode == "less_code":
        return m / math.sqrt(v + 1e-8)
    t = steps + 1
    return (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize("mode", ["less_code", "adamw"])
@pytest.mark.parametrize("size", [1e-7, 1e-4, 1.0])
def test_the_direction_is_that_of_the_formula(mode: str, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    g, m = (size * torch.randn(3, 5, generator=generator) for _ in range(2))
    v = size * size * torch.rand(3, 5, generator=generator) * 1e-3
    kept = [t.clone() for t in (g, m, v)]
    got = AdamDirection({"w": m[0:1]}, {"w": v[0:1]}, 7, mode)("w", g.unsqueeze(1))
    assert all(torch.equal(a, b) for a, b in zip((g, m, v), kept, strict=True))
    for i in range(3):
        for j in range(5):
            expected = scalar_direction(g[i, j].item(), m[0, j].item(), v[0, j].item(), 7, mode)
            assert got[i, 0, j].item() == pytest.approx(expected, rel=1e-4)


def test_adamw_mode_is_the_step_that_torch_would_take() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(4, 3))
    optimizer = torch.optim.AdamW([weight], lr=1.0, weight_decay=0.0)
    for _ in range(5):
        weight.grad = torch.randn(4, 3, generator=generator)
        optimizer.step()
    state = {k: v.clone() for k, v in optimizer.state[weight].items()}
    start, gradient = weight.detach().clone(), torch.randn(4, 3, generator=generator)
    direction = AdamDirection({"w": state["exp_avg"]}, {"w": state["exp_avg_sq"]}, 5, "adamw")
    weight.grad = gradient
    optimizer.step()
    step = start - weight.detach()
    torch.testing.assert_close(direction("w", gradient.unsqueeze(0))[0], step, rtol=1e-5, atol=1e-6)


def test_small_second_moments_make_the_published_direction_a_shifted_plain_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    g, m = (1e-6 * torch.randn(1, 50, generator=generator) for _ in range(2))
    v = torch.full((1, 50), 1e-13)
    code = AdamDirection({"w": m}, {"w": v}, 9, "less_code")
    torch.testing.assert_close(code("w", g), 1e4 * (0.9 * m + 0.1 * g), rtol=1e-4, atol=0)
    assert (code.adaptive, code.seen) == (0, 50)
    adam = AdamDirection({"w": m}, {"w": v}, 9, "adamw")
    ratio = adam("w", g) / (0.9 * m + 0.1 * g)
    assert ratio.std() / ratio.mean() > 1e-3


def test_the_share_of_coordinates_with_a_second_moment_above_epsilon_is_counted() -> None:
    v = torch.tensor([[1e-9, 1e-7, 2e-8, 0.0]])
    direction = AdamDirection({"w": torch.zeros(1, 4)}, {"w": v}, 0, "less_code")
    direction("w", torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]).unsqueeze(1))
    assert (direction.adaptive, direction.seen) == (5, 8)
