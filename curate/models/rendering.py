"""Rows as the base model reads them: one text each, in its chat template."""

from typing import TYPE_CHECKING

import polars as pl

from curate.core.calls import Table, cached
from curate.core.keyed import ModelSource
from curate.core.turntext import CONVERSATION, conversations
from curate.models.chat import refusal, render
from curate.models.load import load_tokenizer
from curate.models.templateturns import with_placed_reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@cached(version=2, name="rendered-rows")
def rendered_rows(rows: Table, model: ModelSource) -> pl.DataFrame:
    """Return row_id and text of each row."""
    return render_rows(load_tokenizer(model.folder, model.trust), rows.read())


def render_rows(tokenizer: "PreTrainedTokenizerBase", rows: pl.DataFrame) -> pl.DataFrame:
    """Return row_id and text of each row, null for one that the template refuses."""
    texts = [
        None
        if refusal(tokenizer, messages) is not None
        else render(tokenizer, with_placed_reasoning(tokenizer, messages))
        for messages in conversations(rows.select(CONVERSATION))
    ]
    return pl.DataFrame(
        {"row_id": rows["row_id"], "text": texts}, {"row_id": pl.String, "text": pl.String}
    )
