"""Length: the rows with the longest responses, a plain baseline that many methods fail to beat.

Zhao et al. 2024, "Long Is More for Alignment", arXiv:2402.04833: a model tuned on the 1,000 longest
responses of a pool is preferred to one tuned on sets chosen with far more effort. Cost: one pass of the
tokenizer.

Responses are counted as tokens of the base model in the assistant's text, template left out. At a
budget of tokens the longest rows are few: compare with other methods at equal tokens as well as at equal
rows. Longest first also finds repetition loops and pasted documents, and rows that a fine-tune cuts
off at its length limit; `shortest` is the control.
"""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.keyed import ModelSource
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.tables import rows_at_once
from curate.core.turntext import text_of_struct
from curate.models.control import text_ids
from curate.models.load import load_tokenizer

VERSION = 1
BATCH_ROWS = 2_000


@method
class LengthSelector(Selector):
    """Longest or shortest rows, in tokens of the base model."""

    version: ClassVar[int] = VERSION
    on_targets: ClassVar[str] = "worse than random draws on 7, better on 1"
    rank_params: ClassVar[tuple[str, ...]] = ("which", "order")

    method: Literal["length"] = "length"
    which: Literal["response", "row"] = Field(
        "response", description="row: prompt, template and response together"
    )
    order: Literal["longest", "shortest"] = Field("longest", description="which rows come first")

    def score_rows(self, run: ScoreRun) -> Table:
        """Count the tokens of responses; those of whole rows are counted in every run."""
        tokenizer = replace(run.base, identity={"tokenizer": run.base.identity["tokenizer"]})
        counted = run(responses, run.rows, run.kept, tokenizer)
        return run(scores, counted, run.tokens, self.which, self.order)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id."""
        sort_key = _preference(self.which, self.order)
        order = scores.select(pl.arg_sort_by(sort_key, "row_id", descending=[True, False]))
        return order.to_series().to_numpy().astype(np.int64)


@cached(version=VERSION, name="response-tokens", title="Count tokens of responses")
def responses(rows: Table, kept: Table, model: ModelSource) -> Counted[pl.DataFrame]:
    """Return row_id and response_tokens: all assistant turns of the kept rows."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    kept_rows = (
        rows.scan()
        .select("row_id", "messages")
        .join(kept.scan().select("row_id"), on="row_id", how="semi", maintain_order="left")
    )
    parts = []
    size = rows_at_once(rows.paths, BATCH_ROWS)
    for batch in kept_rows.collect_batches(chunk_size=size, maintain_order=True):
        turn = pl.col("messages").struct
        turns = (
            batch.explode("messages")
            .filter(turn.field("role") == "assistant")
            .select("row_id", text=text_of_struct())
        )
        ids = text_ids(tokenizer, turns["text"].to_list())
        counted = turns.select("row_id", response_tokens=pl.Series([len(i) for i in ids]))
        parts.append(counted.group_by("row_id", maintain_order=True).sum())
    frame = pl.concat(parts)
    return Counted(frame, {"tokens": int(frame["response_tokens"].sum())})


@cached(version=VERSION, name="score-length")
def scores(responses: Table, tokens: Table, which: str, order: str) -> pl.DataFrame:
    """Return row_id, score, nearest_id (null), response_tokens, row_tokens."""
    whole = tokens.read().rename({"tokens": "row_tokens"})
    counted = responses.read().join(whole, on="row_id", how="left", maintain_order="left")
    return counted.select(
        "row_id",
        score=_preference(which, order),
        nearest_id=pl.lit(None, dtype=pl.String),
        response_tokens="response_tokens",
        row_tokens="row_tokens",
    )


def _preference(which: str, order: str) -> pl.Expr:
    tokens = pl.col(f"{which}_tokens").cast(pl.Float64)
    return tokens if order == "longest" else -tokens
