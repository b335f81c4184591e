"""Index of eval prompts, looked up in rows: which pairs of a row and a prompt are leaks, and why."""

import polars as pl

from curate.core.reasons import Reason
from curate.overlap.coverage import SCHEMA, measure_pairs
from curate.overlap.prompts import index_prompts
from curate.overlap.search import PromptSearch, RowCounts

BATCH_ROWS = 4_096


class LeakIndex:
    """Index of eval prompts that is built once and looked up in several sets of rows."""

    def __init__(self, eval_rows: pl.DataFrame, *, ngram: int = 8) -> None:
        """Index eval examples: row_id and messages."""
        self._index = index_prompts(eval_rows, ngram)

    def count(self, rows: pl.LazyFrame) -> RowCounts:
        """Return how many rows hold each thing that is looked for of eval examples."""
        return self._search(rows).count()

    def find(
        self,
        rows: pl.LazyFrame,
        *,
        counts: RowCounts | None = None,
        threshold: float = 0.5,
        any_ngram: int | None = None,
    ) -> pl.DataFrame:
        """Return every (row, eval example) pair that leaks, with what they share.

        Args:
            rows: row_id and messages; all turns are searched.
            counts: how many rows of the pool hold what is looked for, as `count` has it with the same
                n-grams; without them the rows themselves are counted.
            threshold: share of the prompt's own words that shared n-grams must exceed.
            any_ngram: words in a shared run that is a leak by itself.

        Returns:
            row_id, eval_id, reason, coverage (0 to 1), span (longest run of words that both hold),
            sorted.
        """
        search = self._search(rows)
        pairs = measure_pairs(self._index, search.hits, counts or search.count())
        overlaps = pl.concat([SCHEMA.to_frame(), *pairs])
        return find_hits(overlaps.lazy(), threshold, any_ngram).sort("row_id", "eval_id")

    def _search(self, rows: pl.LazyFrame) -> PromptSearch:
        search = PromptSearch(self._index)
        lean = rows.select("row_id", "messages")
        for batch in lean.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            search.add(batch)
        return search


def leak_reason(threshold: float, any_ngram: int | None) -> pl.Expr:
    """Return why a pair is a leak, null if it is none."""
    enough = pl.col("coverage") > threshold
    long = pl.lit(False) if any_ngram is None else pl.col("run") >= any_ngram
    return (
        pl.when("whole")
        .then(pl.lit(Reason.LEAK_EXACT.value))
        .when(enough & pl.col("slot"))
        .then(pl.lit(Reason.LEAK_SLOT.value))
        .when(enough)
        .then(pl.lit(Reason.LEAK_NGRAM.value))
        .when(long)
        .then(pl.lit(Reason.LEAK_RUN.value))
    )


def find_hits(overlap_pairs: pl.LazyFrame, threshold: float, any_ngram: int | None) -> pl.DataFrame:
    """Return the pairs that are leaks, with the reason of each."""
    hits = overlap_pairs.with_columns(reason=leak_reason(threshold, any_ngram)).filter(
        pl.col("reason").is_not_null()
    )
    return hits.select("row_id", "eval_id", "reason", "coverage", "span").collect()
