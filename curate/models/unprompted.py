"""Responses without the conversation before them, as IFD and the gain of a prompt read them.

Only the header that opens an assistant's turn in the chat template stands in front (after the model's
opening token, if its template has one). The very same tokens are predicted as with the prompt, the first
one included; several assistant turns are read one by one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.core.errors import UserError
from curate.core.rows import Message
from curate.core.workload import PassHead
from curate.models.chat import IGNORED, TokenizedExample, refusal, render, render_prompt
from curate.models.forward import forward

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RESPONSE: tuple[PassHead, ...] = ("response",)


def sum_alone(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[TokenizedExample],
    batch_tokens: int,
) -> tuple[pl.DataFrame, int]:
    """Return alone_sum and alone_tokens of rows, in their order, and how many tokens were read.

    Raises:
        UserError: the model has nothing that could stand before a response's first token.
    """
    pieces = alone_pieces(tokenizer, rows)
    examples = [piece for _, piece in pieces]
    losses = forward(model, examples, RESPONSE, batch_tokens, entropies=False).table
    owners = np.array([row for row, _ in pieces], dtype=np.int64)
    sums, counts = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    np.add.at(sums, owners, losses["response_sum"].to_numpy())
    np.add.at(counts, owners, losses["response_tokens"].to_numpy())
    table = pl.DataFrame({"alone_sum": sums, "alone_tokens": counts})
    return table, sum(len(piece.ids) for piece in examples)


def alone_pieces(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[TokenizedExample]
) -> list[tuple[int, TokenizedExample]]:
    """Return row number and example of every response on its own, behind the header of its turn.

    Tokens are taken from the rendered row as they are, by their labels: the text is neither searched
    nor tokenised again, so a response that repeats its prompt and a token that spans the header's end
    do no harm.

    Raises:
        UserError: the model has nothing that could stand before a response's first token.
    """
    header = assistant_header(tokenizer)
    pieces = []
    for number, row in enumerate(rows):
        for start, stop in _labelled_runs(row.labels):
            # The first token of a row that opens with a response is predicted in neither pass.
            before = _before_response(tokenizer, header, row.ids[:start]) or row.ids[:1]
            response = row.ids[max(start, 1) : stop]
            labels = [*[IGNORED] * len(before), *response]
            pieces.append((number, TokenizedExample([*before, *response], labels)))
    return pieces


def _before_response(
    tokenizer: "PreTrainedTokenizerBase", header: Sequence[int], context: Sequence[int]
) -> list[int]:
    """Return what is left before a response without its conversation: opening token and header."""
    if not context:
        return []
    kept = _matching_start(header, context)
    opening = tokenizer.bos_token_id
    if opening is not None and context[0] == opening and kept[:1] != [opening]:
        kept = [opening, *kept]
    if kept:
        return kept
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return [token]
    raise UserError(
        "the model has no assistant header and no begin or end token, so the first token of a "
        "response on its own cannot be predicted; choose another model for ifd"
    )


def assistant_header(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens with which the chat template opens an assistant's turn; there may be none."""
    question: list[Message] = [{"role": "user", "content": "?"}]
    if refusal(tokenizer, question) is not None:
        return []
    prompt, opening = render(tokenizer, question), render_prompt(tokenizer, question)
    ids: list[int] = tokenizer(opening[len(prompt) :], add_special_tokens=False)["input_ids"]
    return ids if opening.startswith(prompt) else []


def _matching_start(header: Sequence[int], before: Sequence[int]) -> list[int]:
    """Return the longest start of the header that stands at the end of what comes before.

    The whole header, save where the response's first token has swallowed its last line break.
    """
    for size in range(len(header), 0, -1):
        if list(header[:size]) == list(before[-size:]):
            return list(header[:size])
    return []


def _labelled_runs(labels: Sequence[int]) -> list[tuple[int, int]]:
    labelled = np.array([0, *(label != IGNORED for label in labels), 0], dtype=np.int8)
    edges = np.flatnonzero(np.diff(labelled))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
