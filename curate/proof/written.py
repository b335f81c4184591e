"""Greedy answers of a model to some eval prompts: what it writes, beside what it scores.

written.parquet     eval_id, text (null where nothing can be written), tokens, cut

The loss follows the reference; here the model goes on from its own words, each time the likeliest, to
the end of its turn or to a limit: 1.5 times the longest reference of the examples, 256 tokens at most.
The examples are drawn from the eval set by seed; a smaller number of them is part of a larger one.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.core.calls import Counted, Table, cached
from curate.core.keyed import ModelSource
from curate.core.rows import Message, response_text
from curate.core.store import Artifact
from curate.core.turntext import CONVERSATION, conversations
from curate.core.wants import ONE_GPU
from curate.models.chat import IGNORED, build_example, prompt_tokens
from curate.models.control import text_ids
from curate.models.decoding import context_of, end_tokens, greedy_answers, text_of
from curate.models.finetune import load_measured
from curate.models.load import load_tokenizer
from curate.models.spans import template_faults

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VERSION = 1
COLUMNS = {"text": pl.String(), "tokens": pl.Int64(), "cut": pl.Boolean()}
ROOM = 1.5
MOST_TOKENS = 256


def draw_examples(rows: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """Return `count` rows drawn by seed, in their order; the draw of fewer is part of it."""
    drawn = np.random.default_rng([seed, 0x3711E]).permutation(rows.height)[:count]
    return rows[np.sort(drawn)]


@cached(version=VERSION, name="written", wants=ONE_GPU)
def written(
    eval: Artifact, examples: int, seed: int, model: ModelSource, tuned: Artifact | None = None
) -> Counted[pl.DataFrame]:
    """Return the greedy answers of a fine-tune, or the untuned model, to drawn eval examples.

    Args:
        eval: the eval set, as the model reads it.
        examples: how many of them are drawn; all where it has fewer.
        seed: of the draw.
        model: that is or was tuned.
        tuned: the fine-tune; None for the base model.
    """
    tokenizer = load_tokenizer(model.folder, model.trust)
    rows = Table(eval, "rows").read(["row_id", *CONVERSATION])
    drawn = draw_examples(rows, examples, seed)
    answers = answer_prompts(load_measured(tuned, model), tokenizer, conversations(drawn))
    columns = {name: [getattr(answer, name) for answer in answers] for name in COLUMNS}
    counts = {
        "rows_in": rows.height,
        "tokens": sum(answer.tokens for answer in answers),
        "cut": sum(answer.cut for answer in answers),
    }
    table = pl.DataFrame({"eval_id": drawn["row_id"], **columns}, schema_overrides=COLUMNS)
    return Counted(table, counts)


@dataclass(frozen=True)
class EvalAnswer:
    """A written text; None where the prompt is none to the model. cut: it met the limit."""

    text: str | None = None
    tokens: int = 0
    cut: bool = False


def answer_prompts(
    model: Any, tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]]
) -> list[EvalAnswer]:
    """Return the model's greedy answer in place of the last response of each row, in their order."""
    limit = longest_answer(tokenizer, rows)
    ends = end_tokens(model, tokenizer)
    prompts: dict[int, list[int]] = {}
    for number, messages in enumerate(rows):
        try:
            prompt = prompt_tokens(tokenizer, messages[:-1])
            ends |= _turn_ends(tokenizer, messages)
        except template_faults():
            continue
        if 0 < len(prompt) < context_of(model.config):
            prompts[number] = prompt
    limits = [min(limit, context_of(model.config) - len(prompt)) for prompt in prompts.values()]
    written = greedy_answers(model, list(prompts.values()), limits, ends)
    answers = [EvalAnswer()] * len(rows)
    for number, answer in zip(prompts, written, strict=True):
        text = text_of(tokenizer, answer.tokens, ends)
        answers[number] = EvalAnswer(text, len(answer.tokens), answer.cut)
    return answers


def longest_answer(tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]]) -> int:
    """Return how many tokens an answer to any of these rows may have."""
    lengths = [len(ids) for ids in text_ids(tokenizer, [response_text(row) for row in rows])]
    return min(math.ceil(ROOM * max(lengths, default=0)) + 1, MOST_TOKENS)


def _turn_ends(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> frozenset[int]:
    """Return the mark that the chat template writes behind a response, if that is a token of its own."""
    labels = build_example(tokenizer, messages, max_length=sys.maxsize).labels
    last = [token for token in labels if token != IGNORED][-1:]
    return frozenset(last) & frozenset(tokenizer.get_added_vocab().values())
