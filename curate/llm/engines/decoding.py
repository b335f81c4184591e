"""Decoding a batch with a transformers model, each row as if it were alone.

A row draws from its own generator by inverting the distribution function over the vocabulary, one
uniform number a token, so neither the other rows nor the order of the batch decide what it draws. What
remains of the batch is rounding: in float32 it moves logits by about 1e-5, which changes a token only
where two are that close; in bfloat16 by about 1e-1, and greedy answers can differ from a lone row's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.core.lazy import lazy_module
from curate.llm.engines.grammar import Grammars
from curate.llm.requests import LOOP_TOKENS, Call, Completion, Finish, failed
from curate.models.decoding import DecodingBatch, text_of

if TYPE_CHECKING:
    import torch
    from llguidance import LLMatcher
    from transformers import PreTrainedTokenizerBase
else:
    torch = lazy_module("torch")

HEAD = 512


@dataclass(frozen=True)
class DecodingModel:
    """A model and what is needed to write with it; ends are the tokens that end an answer."""

    model: Any
    tokenizer: "PreTrainedTokenizerBase"
    ends: frozenset[int]
    grammars: Grammars | None


@dataclass
class DecodingRow:
    """One call under way: its prompt, how many tokens it may draw, and those it has drawn.

    `ends` are tokens that end this answer beside those that end all.
    """

    call: Call
    prompt: Sequence[int]
    limit: int
    matcher: "LLMatcher | None" = None
    ends: frozenset[int] = frozenset()
    drawn: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    choice_logprobs: tuple[float, ...] | None = None
    text: str | None = None
    finish: Finish | None = None
    error: str = ""

    def __post_init__(self) -> None:
        self.random = self.call.generator()

    def completion(self, writer: DecodingModel) -> Completion:
        """Return the finished row as a completion."""
        if self.finish == "failed":
            return failed(self.error)
        text = decode_text(writer, self.drawn) if self.text is None else self.text
        return Completion(
            text=text,
            finish="empty" if self.finish == "ok" and not text.strip() else self.finish or "failed",
            prompt_tokens=len(self.prompt),
            completion_tokens=len(self.drawn),
            logprobs=tuple(self.logprobs) if self.call.sampling.logprobs else None,
            choice_logprobs=self.choice_logprobs,
        )


def decode(writer: DecodingModel, rows: Sequence[DecodingRow]) -> None:
    """Write all rows to their ends, in place.

    Rows with the same prompt share its first pass; finished rows leave the batch.
    """
    with torch.inference_mode():
        batch = DecodingBatch(writer.model, [row.prompt for row in rows])
        running = list(rows)
        while running:
            for row, scores in zip(running, batch.logits.cpu(), strict=True):
                _write_token(writer, row, scores)
            unfinished = [k for k, row in enumerate(running) if row.finish is None]
            running = [running[k] for k in unfinished]
            if running:
                batch.advance(unfinished, [row.drawn[-1] for row in running])


def _write_token(writer: DecodingModel, row: DecodingRow, logits: "torch.Tensor") -> None:
    """Draw the row's next token from logits [V] and see whether the row ends with it."""
    allowed = logits
    if row.matcher is not None and writer.grammars is not None:
        mask = writer.grammars.allowed(row.matcher)
        if not mask.any():
            row.finish, row.error = "failed", "the schema allows no token of the model here"
            return
        allowed = logits.clone()
        allowed[~mask] = -np.inf
    token = _draw(allowed, row)
    if row.call.sampling.choices and not row.drawn:
        row.choice_logprobs = _choice_logprobs(writer, row.call.sampling.choices, logits)
    row.drawn.append(token)
    if row.call.sampling.logprobs:
        row.logprobs.append(float(logits[token] - logits.logsumexp(dim=0)))
    _finish(writer, row, token)


def _choice_logprobs(
    writer: DecodingModel, choices: Sequence[str], logits: "torch.Tensor"
) -> tuple[float, ...]:
    """Return the log-probability of each word as one token, with or without a space before it."""
    tokenizer = writer.tokenizer
    whole = logits.logsumexp(dim=0)
    chances = []
    for word in choices:
        # Some tokenizers write the space as a token of its own, and the word last.
        spelled = [tokenizer.encode(w, add_special_tokens=False)[-1] for w in (word, f" {word}")]
        chances.append(float(logits[sorted(set(spelled))].logsumexp(dim=0) - whole))
    return tuple(chances)


def _draw(logits: "torch.Tensor", row: DecodingRow) -> int:
    sampling = row.call.sampling
    if sampling.temperature == 0:
        return int(logits.argmax())
    weights = (logits.double() / sampling.temperature).softmax(dim=0)
    if sampling.top_k or sampling.top_p < 1:
        weights = keep_likely(weights, sampling.top_k, sampling.top_p)
    mass = weights.cumsum(dim=0).numpy()
    # The first token whose cumulative mass is above the number: never one of weight 0.
    token = int(np.searchsorted(mass, row.random.random() * mass[-1], side="right"))
    return token if token < len(mass) else int(weights.argmax())


def keep_likely(weights: "torch.Tensor", top_k: int, top_p: float) -> "torch.Tensor":
    """Return weights [V] with 0 for all but the likeliest: first top_k of them, then top_p of the mass.

    The token that crosses top_p is kept, so one always is.
    """
    ranked, order = _rank(weights, top_k, top_p)
    ranked = ranked / (ranked.sum() if top_k else weights.sum())
    ranked = torch.where(ranked.cumsum(dim=0) - ranked < top_p, ranked, 0.0)
    return torch.zeros_like(weights).scatter(0, order, ranked)


def _rank(weights: "torch.Tensor", top_k: int, top_p: float) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the top_k largest weights and their places; of all weights, only as many as top_p needs."""
    if top_k:
        ranked, order = weights.topk(min(top_k, len(weights)))
        return ranked, order
    # To sort a whole vocabulary takes a tenth of a token's time, and the head is nearly always enough.
    ranked, order = weights.topk(min(HEAD, len(weights)))
    if ranked.sum() >= top_p * weights.sum():
        return ranked, order
    ranked, order = weights.sort(descending=True, stable=True)
    return ranked, order


def _finish(writer: DecodingModel, row: DecodingRow, token: int) -> None:
    sampling = row.call.sampling
    if token in writer.ends or token in row.ends:
        row.finish = "ok"
        return
    if row.matcher is not None:
        row.matcher.consume_token(token)
        if row.matcher.is_error():
            row.finish, row.error = "failed", f"the schema: {row.matcher.get_error()}"
            return
    row.text = _cut_at_stop(writer, row)
    closed = row.matcher is not None and row.matcher.is_stopped()
    if row.text is not None or closed:
        row.finish = "ok"
    elif sampling.repeats and is_loop(row.drawn, sampling.repeats):
        row.finish = "repetition"
    elif len(row.drawn) >= row.limit:
        row.finish = "truncated"


def _cut_at_stop(writer: DecodingModel, row: DecodingRow) -> str | None:
    """Return the text before the first stop string, None if there is none yet."""
    stops = row.call.sampling.stop
    if not stops:
        return None
    # Every token holds a byte at least, so a stop string that ends here begins in this tail.
    tail = decode_text(writer, row.drawn[-max(len(stop.encode()) for stop in stops) - 4 :])
    if not any(stop in tail for stop in stops):
        return None
    text = decode_text(writer, row.drawn)
    places = [text.find(stop) for stop in stops if stop in text]
    return text[: min(places)] if places else None


def is_loop(tokens: Sequence[int], repeats: int) -> bool:
    """Return whether the tokens end with a pattern of up to LOOP_TOKENS that comes `repeats` times."""
    for size in range(1, min(LOOP_TOKENS, len(tokens) // repeats) + 1):
        span = tokens[-size * repeats :]
        if span[:-size] == span[size:]:
            return True
    return False


def decode_text(writer: DecodingModel, tokens: Sequence[int]) -> str:
    """Return the text of drawn tokens without special ones."""
    return text_of(writer.tokenizer, tokens, writer.ends)
