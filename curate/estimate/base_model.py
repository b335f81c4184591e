"""How fast the base model reads, and how long rows are to it: a speed test and a sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.lazy import lazy_module
from curate.core.turntext import CONVERSATION, conversations
from curate.core.workload import ResponseLimit, Workload
from curate.estimate.pace import Range, mean_of_sample, measure_pace
from curate.models.acceptance import accepted_messages
from curate.models.chat import tokenise
from curate.models.load import (
    choose_dtype,
    device,
    find_model,
    load_tokenizer,
    prepare,
)
from curate.models.unread import MethodTokenizers, unread_sentences
from curate.models.weights import adaptable_model, load_trunk, shared_model

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

SAMPLE_ROWS = 500
# Batches of short, middle and long rows, each of about so many tokens.
PROBE_SHARES, PROBE_TOKENS, PROBE_LENGTH = (0.1, 0.5, 0.9), 512, 512
PROBE_SECONDS = 1.5
TOKEN_LETTERS = 4


def forward_pace(name: str, dtype: str, lengths: Sequence[int], trust: bool = False) -> Range:
    """Return seconds a token of the model's forward pass without its vocabulary head.

    Args:
        name: of the model.
        dtype: in which it computes.
        lengths: of rows, in tokens; batches are as long as short, middle and long ones.
        trust: run code that comes with the model.
    """
    model = load_trunk(prepare(find_model(name)), choose_dtype(dtype), trust)

    def work(ids: torch.Tensor) -> None:
        model(input_ids=ids, use_cache=False).last_hidden_state.sum().item()

    batches = []
    for length in np.quantile(lengths, PROBE_SHARES).astype(int).clip(1, PROBE_LENGTH):
        shape = (max(PROBE_TOKENS // length, 1), length)
        ids = torch.randint(0, model.config.vocab_size, shape).to(device())
        batches.append((float(ids.numel()), partial(work, ids)))
    with torch.inference_mode():
        batches[0][1]()
        return measure_pace(batches, seconds=PROBE_SECONDS)


@dataclass
class BaseModel:
    """The base model as far as an estimate needs it: how fast it reads, how long rows are to it."""

    config: Config
    inputs: Mapping[str, Table]
    lengths: dict[str, list[int]] = field(default_factory=dict)
    passes: set[int | None] = field(default_factory=set)

    @cached_property
    def pace(self) -> Range:
        """Return seconds a token of a forward pass, measured at the first use."""
        models = self.config.models
        lengths = self._lengths("pool")
        return forward_pace(models.base, models.dtype, lengths, models.trust_remote_code)

    @cached_property
    def load(self) -> float:
        """Return seconds to set the model up for a fine-tune or its measurement.

        The weights are read once and shared by all of them, so that takes little.
        """
        models = self.config.models
        folder, dtype = prepare(find_model(models.base)), choose_dtype(models.dtype)
        shared_model(folder, dtype, models.trust_remote_code)
        started = perf_counter()
        adaptable_model(folder, dtype, models.trust_remote_code)
        return perf_counter() - started

    def seconds(self, tokens: Range) -> Range:
        """Return how long it takes to read so many tokens; none take no time and no model."""
        return tokens * self.pace if tokens.high else Range()

    def read_tokens(self, work: Workload, rows: int) -> Range:
        """Return how many tokens of so many rows a method has it read.

        A pass over whole rows that a method before has made counts once.
        """
        shared = bool(work.heads) and work.max_length in self.passes
        self.passes |= {work.max_length} if work.heads else set()
        read = work.read_rows - shared * rows
        return self.mean_tokens("pool", work.max_length) * read if read > 0 else Range()

    def mean_tokens(self, name: str, most: int | None = None) -> Range:
        """Return the mean length of the rows of an input, cut at `most`, from a sample of them."""
        lengths = self._lengths(name)
        if not lengths:
            return Range()
        cut = [length if most is None else min(length, most) for length in lengths]
        return mean_of_sample(cut, self.inputs[name].height)

    def unread(self, name: str, limit: ResponseLimit | None) -> list[str]:
        """Return what is to be told of the rows of an input that a method cannot score."""
        if limit is None:
            return []
        base, own = (self._tokenizer(model) for model in (self.config.models.base, limit.model))
        tokenizers = MethodTokenizers(base, self.config.models.system, own)
        return unread_sentences(self.inputs[name].paths, tokenizers, limit)

    def _tokenizer(self, model: str | None) -> Any:
        trust = self.config.models.trust_remote_code
        return load_tokenizer(prepare(find_model(model)), trust) if model else None

    def _lengths(self, name: str) -> list[int]:
        if name not in self.lengths:
            self.lengths[name] = _sample_lengths(self.inputs[name], self.config)
        return self.lengths[name]


def _sample_lengths(rows: Table, config: Config) -> list[int]:
    tokenizer = load_tokenizer(
        prepare(find_model(config.models.base)), config.models.trust_remote_code
    )
    frame = rows.read(CONVERSATION)
    sample = conversations(frame.sample(min(SAMPLE_ROWS, frame.height), seed=0))
    read = [accepted_messages(tokenizer, messages, config.models.system) for messages in sample]
    taken = [messages for messages in read if messages is not None]
    return [len(ids) for ids in tokenise(tokenizer, taken, None)] or [0]
