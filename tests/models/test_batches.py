"""Batches of similar length, and those that memory is too small for."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.models.batches import batches_by_length, device_tokens, in_batches
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.decoding import greedy_answers
from curate.models.evaluation import evaluate
from curate.models.forward import forward
from curate.models.lm import encode
from curate.models.load import load_causal
from curate.models.weights import load_trunk

# Of very different lengths, so that padding is not the same in two batches.
LENGTHS = [3, 60, 7, 31, 5, 44, 18, 9, 26, 12, 57, 4]
ROWS = [[(7 * i + 3 * n) % 250 for i in range(n)] for n in LENGTHS]
EXAMPLES = [TokenizedExample(row, [IGNORED, IGNORED, *row[2:]]) for row in ROWS]


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_batches_hold_every_row_once_within_the_token_limit(lengths: list[int], limit: int) -> None:
    batches = list(batches_by_length(lengths, limit))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        widest = max(lengths[i] for i in batch)
        assert len(batch) * widest <= limit or len(batch) == 1
        assert lengths[batch[-1]] == widest


@given(st.lists(st.integers(1, 60), min_size=2, max_size=40), st.integers(60, 300))
def test_no_batch_could_take_the_first_row_of_the_next(lengths: list[int], limit: int) -> None:
    batches = list(batches_by_length(lengths, limit))
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > limit


@contextmanager
def memory_for(model: Any, rows: int) -> Iterator[list[int]]:
    """A model that runs out of memory with more rows than these; yields the rows of each call."""
    calls: list[int] = []

    def enter(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
        calls.append(len(kwargs["input_ids"]))
        if calls[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    handle = model.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def trunk_vectors(model: Any) -> NDArray[Any]:
    return encode(model.base_model, ROWS, 2_048)


def token_losses(model: Any) -> NDArray[Any]:
    return forward(model, EXAMPLES, ["all"], 2_048).table.to_numpy()


def pass_vectors(model: Any) -> NDArray[Any]:
    vectors = forward(model, EXAMPLES, ("response", "vectors"), 2_048).vectors
    assert vectors is not None
    return vectors


def eval_losses(model: Any) -> NDArray[Any]:
    return evaluate(model, EXAMPLES)["loss"].to_numpy()


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("measure", [trunk_vectors, token_losses, pass_vectors, eval_losses])
def test_a_batch_that_memory_is_too_small_for_is_halved_and_changes_no_more_than_rounding(
    tiny: Path, measure: Callable[[Any], NDArray[Any]], dtype: str, rows: int
) -> None:
    model = load_causal(tiny, dtype).eval()
    whole = measure(model)
    with memory_for(model.base_model, rows) as calls:
        halved = measure(model)
    assert max(calls) == len(ROWS)
    assert sum(n for n in calls if n <= rows) >= len(ROWS)
    # A product of fewer rows may be computed by another kernel, which rounds its sums otherwise.
    rounding = 1e-5 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(halved, whole, rtol=rounding, atol=rounding)


def test_answers_whose_cache_does_not_fit_are_written_in_halves(tiny: Path) -> None:
    """Memory ends after a few tokens here, when some answers have begun."""
    model = load_causal(tiny, "float32").eval()
    limits = [9] * len(ROWS)
    expected = greedy_answers(model, ROWS, limits, frozenset())
    calls: list[int] = []

    def enter(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
        rows, tokens = kwargs["attention_mask"].shape
        calls.append(rows)
        if rows * tokens > 200:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    handle = model.base_model.register_forward_pre_hook(enter, with_kwargs=True)
    answers = greedy_answers(model, ROWS, limits, frozenset())
    handle.remove()
    assert max(calls) > min(calls)
    assert answers == expected


def test_a_size_that_did_not_fit_is_not_tried_again(tiny: Path) -> None:
    model = load_trunk(tiny, "float32")
    rows = [[1, 2, 3]] * 64
    with memory_for(model, 4) as calls:
        encode(model, rows, 48)
    assert calls == [16, 8, *[4] * 16]


@pytest.mark.system
def test_memory_that_really_ends_is_told_from_other_faults(tiny: Path) -> None:
    model = load_trunk(tiny, "float32")
    rows = [[i % 250 for i in range(k, k + 64)] for k in range(1_000)]
    expected = encode(model, rows, 64 * 100)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20, hard))
    try:
        got = encode(model, rows, 64 * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_row_that_memory_is_too_small_for_is_one_sentence(tiny: Path) -> None:
    model = load_trunk(tiny, "float32")
    with memory_for(model, 0), pytest.raises(UserError, match="single row of 60 tokens; lower"):
        encode(model, ROWS, 2_048)


def test_another_fault_of_the_device_is_not_taken_for_memory() -> None:
    def work(batch: list[int], padded: int) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        in_batches([1, 2], 10, work)


def test_a_gpu_takes_more_tokens_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_tokens(2_048) == 2_048
    monkeypatch.setattr("curate.models.batches.device", lambda: "cuda")
    assert device_tokens(2_048) == 16_384
