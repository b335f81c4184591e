"""A run with a tiny language model, and its losses by the plainest computation that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from curate.core.keyed import ModelSource
from curate.core.ledger import kept_rows
from curate.core.methods import find_method
from curate.core.rows import Message
from curate.core.selector import Selector
from curate.models.load import ModelLocation, identify
from curate.models.tokens import count_tokens
from tests.conftest import RowsRun, row, stored_rows, stored_table

Messages = Sequence[Message]


@dataclass
class ModelRun(RowsRun):
    """A run over rows r000, r001, ... of which some are kept; target examples are t0, t1, ..."""

    folder: Path = Path()
    texts: Sequence[Messages] = ()
    kept_positions: Sequence[int] | None = None
    targets: Sequence[Messages] = ()
    dtype: str = "float32"

    def __post_init__(self) -> None:
        rows = [row(f"r{i:03}", messages) for i, messages in enumerate(self.texts)]
        self.rows = stored_rows(self.store, "pool", rows)
        if self.targets:
            examples = [row(f"t{i}", messages) for i, messages in enumerate(self.targets)]
            self.target = stored_rows(self.store, "target", examples)
        if self.kept_positions is None:
            self.kept = kept_rows(self, self.rows, [])
        else:
            ids = [f"r{i:03}" for i in self.kept_positions]
            table = pl.DataFrame({"row_id": ids, "position": list(self.kept_positions)})
            self.kept = stored_table(self.store, "kept", table)
        self.tokens = count_tokens(self, self.rows, self.kept)
        self.executed_steps.clear()

    @property
    def base(self) -> ModelSource:
        identity = identify(ModelLocation("m", "folder", self.folder), self.dtype)
        return ModelSource(identity, self.folder)


def selector_of(method: str, **settings: Any) -> Selector:
    """Return a selector with these settings."""
    return find_method(Selector, method).model_validate({"budget": {"rows": 1}, **settings})


def scored(run: ModelRun, method: str, **settings: Any) -> pl.DataFrame:
    """Return what a selector stores for a run."""
    return selector_of(method, **settings).score_rows(run).read()


def ranked(table: pl.DataFrame, method: str, **settings: Any) -> list[str]:
    """Return the row ids of a table of scores, best first."""
    order = selector_of(method, **settings).rank(table, 0)
    assert order.dtype == "int64"
    return table["row_id"].gather(order).to_list()


def chat_parts(messages: Messages) -> list[tuple[str, bool]]:
    """Return a conversation in ChatML, piece by piece: text, and whether it is a response."""
    parts = []
    for message in messages:
        is_response = message["role"] == "assistant"
        parts += [(f"<|im_start|>{message['role']}\n", False)]
        parts += [(f"{message['content']}<|im_end|>", is_response), ("\n", False)]
    return parts


def plain_tokens(tokenizer: Any, parts: Sequence[tuple[str, bool]]) -> tuple[list[int], list[bool]]:
    """Return the ids of pieces that are tokenised one by one, and which ids are of a response."""
    ids: list[int] = []
    is_response: list[bool] = []
    for text, response in parts:
        piece = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += piece
        is_response += [response] * len(piece)
    return ids, is_response


def plain_losses(model: Any, ids: Sequence[int]) -> list[float]:
    """Return the cross entropy of each token but the first, by hand, from one unpadded forward pass."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(ids)])).logits[0].float()
    losses = []
    for place, token in enumerate(ids[1:]):
        chances = torch.exp(logits[place].double() - logits[place].double().max())
        losses.append(-torch.log(chances[token] / chances.sum()).item())
    return losses


def plain_row(model: Any, tokenizer: Any, messages: Messages) -> dict[str, float]:
    """Return the sums and counts of a row's token losses: of the response, alone, and of all."""
    ids, is_response = plain_tokens(tokenizer, chat_parts(messages))
    losses = plain_losses(model, ids)
    response = [loss for loss, own in zip(losses, is_response[1:], strict=True) if own]
    totals = {
        "response_sum": sum(response), "response_tokens": len(response),
        "all_sum": sum(losses), "all_tokens": len(losses),
        "alone_sum": 0.0, "alone_tokens": 0,
    }  # fmt: skip
    for message in messages:
        if message["role"] == "assistant":
            ids, is_response = plain_tokens(tokenizer, chat_parts([message])[:2])
            own = plain_losses(model, ids)[-sum(is_response) :]
            totals["alone_sum"] += sum(own)
            totals["alone_tokens"] += len(own)
    return totals
