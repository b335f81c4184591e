"""Decoding in batches with a language model: prompts padded on the left, one cache of keys and values.

Every row is written as if it were alone: padding is masked, positions count from its own first token,
and rows that are finished leave the batch. What remains of the batch is rounding: in float32 it moves
logits by about 1e-5, which changes a token only where two are that close.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module
from curate.models.batches import in_batches

if TYPE_CHECKING:
    import torch
    import transformers
    from transformers import PreTrainedTokenizerBase
else:
    torch = lazy_module("torch")
    transformers = lazy_module("transformers")

# Of a batch, padding and room for the answers included.
BATCH_TOKENS = 8_192


class DecodingBatch:
    """Rows that are being written, and the model's state after their last tokens.

    `logits` [B, V], float32, are those of each row's next token. Rows with the same prompt share its
    first pass.

    Args:
        model: a causal language model.
        prompts: token ids of each row.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        unique = list(dict.fromkeys(map(tuple, prompts)))
        longest = max(map(len, unique))
        ids = torch.zeros((len(unique), longest), dtype=torch.long)
        self._mask = torch.zeros((len(unique), longest), dtype=torch.long)
        for k, prompt in enumerate(unique):
            ids[k, longest - len(prompt) :] = torch.tensor(prompt)
            self._mask[k, longest - len(prompt) :] = 1
        self._cache = transformers.DynamicCache(config=model.config)
        self.logits = self._forward(ids, (self._mask.cumsum(dim=1) - 1).clamp(min=0))
        place = {prompt: k for k, prompt in enumerate(unique)}
        self._select([place[tuple(prompt)] for prompt in prompts])

    def advance(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        """Keep these rows of the batch, in this order, and run the model over a token of each."""
        self._select(rows)
        last = torch.tensor(tokens).unsqueeze(1)
        positions = self._mask.sum(dim=1, keepdim=True)
        self._mask = torch.cat([self._mask, torch.ones_like(last)], dim=1)
        self.logits = self._forward(last, positions)

    def _select(self, places: Sequence[int]) -> None:
        """Keep these rows of the model's state, in this order; a place may come several times."""
        if list(places) == list(range(len(self._mask))):
            return
        index = torch.tensor(places)
        self._mask, self.logits = self._mask[index], self.logits[index.to(self.logits.device)]
        self._cache.reorder_cache(index.to(self._model.device))

    def _forward(self, ids: "torch.Tensor", positions: "torch.Tensor") -> "torch.Tensor":
        """Return the logits [B, V], float32, that follow ids [B, T] at these positions [B, T]."""
        device = self._model.device
        out = self._model(
            input_ids=ids.to(device),
            attention_mask=self._mask.to(device),
            position_ids=positions.to(device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits


@dataclass(frozen=True)
class GreedyAnswer:
    """The likeliest tokens after a prompt, its end marker included; cut says that it has none."""

    tokens: list[int]
    cut: bool


def greedy_answers(
    model: Any, prompts: Sequence[Sequence[int]], limits: Sequence[int], ends: frozenset[int]
) -> list[GreedyAnswer]:
    """Return what greedy decoding writes after each prompt, in their order.

    Args:
        model: a causal language model.
        prompts: token ids, one at least each.
        limits: how many tokens each may be answered with, one at least.
        ends: tokens that end an answer.
    """
    answers: dict[int, GreedyAnswer] = {}
    sizes = [len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)]

    def work(batch: list[int], _: int) -> None:
        tokens: dict[int, list[int]] = {i: [] for i in batch}
        state, running = DecodingBatch(model, [prompts[i] for i in batch]), batch
        while running:
            for i, token in zip(running, state.logits.argmax(dim=1).tolist(), strict=True):
                tokens[i].append(token)
            ended = {i: tokens[i][-1] in ends for i in running}
            kept = [k for k, i in enumerate(running) if not ended[i] and len(tokens[i]) < limits[i]]
            answers.update({i: GreedyAnswer(tokens[i], not ended[i]) for i in running})
            running = [running[k] for k in kept]
            if running:
                state.advance(kept, [tokens[i][-1] for i in running])

    with torch.inference_mode():
        in_batches(sizes, BATCH_TOKENS, work)
    return [answers[i] for i in range(len(prompts))]


def text_of(
    tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[int], ends: frozenset[int]
) -> str:
    """Return the text of written tokens without special ones and those that end an answer."""
    text = tokenizer.decode(
        [token for token in tokens if token not in ends],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return str(text)


def context_of(config: Any) -> int:
    """Return how many tokens a model can read and write together."""
    text = config.get_text_config(decoder=True)
    return int(getattr(text, "max_position_embeddings", None) or 2**20)


def end_tokens(model: Any, tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Return the tokens that end an answer, by the model's generation settings and its tokenizer."""
    listed = getattr(model.generation_config, "eos_token_id", None)
    ends = listed if isinstance(listed, list) else [listed]
    return frozenset(int(token) for token in [*ends, tokenizer.eos_token_id] if token is not None)
