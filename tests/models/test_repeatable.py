"""Language models give the same bits on any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.models.repeatable import GRAIN, STEP, padding_to_steps, pin_arithmetic


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@given(st.integers(1, 10_000_000), st.integers(1, 200))
def test_every_thread_gets_whole_vectors(elements: int, threads: int) -> None:
    padded = elements + padding_to_steps(elements, threads)
    pieces = max(min(threads, -(-padded // GRAIN)), 1)
    assert padded % STEP == 0
    assert padded % pieces == 0
    assert padded // pieces % STEP == 0
    assert padded - elements <= 2 * STEP * threads


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 129, 520), (100_003,), (7,), (2, 64, 1536)])
@pytest.mark.usefixtures("threads")
def test_values_and_gradients_are_the_same_on_any_number_of_threads(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(shape, generator=generator).to(dtype)
    pull = torch.randn(shape, generator=generator).to(dtype)
    model = torch.nn.Sequential(torch.nn.SiLU())
    pin_arithmetic(model)
    results = []
    for count in (1, 2, 3, 5):
        torch.set_num_threads(count)
        entered = states.clone().requires_grad_()
        left = model(entered)
        left.backward(pull)
        assert entered.grad is not None
        results.append(torch.stack([left.detach(), entered.grad]))
    assert all(torch.equal(result, results[0]) for result in results)
    torch.testing.assert_close(results[0][0], torch.nn.functional.silu(states))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 11, 15, 16, 40])
@pytest.mark.parametrize("width", [64, 520])
@pytest.mark.usefixtures("threads")
def test_products_of_few_rows_are_the_same_on_any_number_of_threads(rows: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(width, 258)
    model = torch.nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(258, width, generator=generator))
    pin_arithmetic(model)
    states = torch.randn(rows, width, generator=generator)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        entered = states.clone().requires_grad_()
        left = model(entered)
        left.square().sum(dim=1).sum().backward()
        assert entered.grad is not None
        results.append([left.detach(), entered.grad])
    for left, gradient in results[1:]:
        assert torch.equal(left, results[0][0])
        assert torch.equal(gradient, results[0][1])
    plain = torch.nn.functional.linear(states, layer.weight, layer.bias)
    torch.testing.assert_close(results[0][0], plain, rtol=1e-4, atol=1e-4)


def test_models_whose_activation_is_silu_are_pinned_wherever_it_stands() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1)  # fmt: skip
    model = LlamaForCausalLM(config)
    names = set(model.state_dict())
    pin_arithmetic(model)
    kinds = {type(layer.mlp.act_fn).__name__ for layer in model.model.layers}
    assert kinds == {"WholeVectors"}
    assert not any(type(module) is torch.nn.Linear for module in model.modules())
    assert set(model.state_dict()) == names
