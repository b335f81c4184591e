"""Verdicts on rows, without a selection: duplicates, rows that leak eval prompts, rows that fail a rule.

curate.dedup(rows, fuzzy=0.8).kept
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.api.rows import (
    Pool,
    Rows,
    RowSource,
    examples_of,
    holds_records,
    pool_of,
    record_numbers,
)
from curate.api.session import (
    STORE,
    changed_recipe,
    recipe_of,
    started_run,
    written_settings,
)
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.tables import read_table
from curate.core.turntext import plain_messages
from curate.pipeline.run import Run
from curate.pool.settings import FieldMap, RowFile

COLUMNS = ("row_id", "reason", "score", "threshold", "duplicate_of")


@dataclass(frozen=True)
class Verdicts:
    """What stages found: which rows they keep, which they drop and why.

    Attributes:
        dropped: row_id, stage, reason, score, threshold, duplicate_of of the others.
        indices: the numbers, from 0, of the kept records in what the rows were given as; of paths, the
            numbers of the kept among the rows that were read.
    """

    dropped: pl.DataFrame
    indices: list[int]
    _run: Run
    _recipe: Config
    _by_record: bool

    @cached_property
    def kept(self) -> Rows:
        """Return the rows that every stage keeps, written to a file that a further function can read."""
        rows, positions = self._run.rows, self._run.kept.read(["position"])["position"]
        frame = rows.read()[positions]
        rejects = read_table(rows.artifact.file("rejects.parquet"))
        return Rows(frame, rejects, _pool_of_kept(frame, self._recipe.store))

    @property
    def pairs(self) -> pl.DataFrame:
        """Return the pairs of similar rows that the last stage with such pairs compared.

        Raises:
            UserError: no stage compares rows with each other.
        """
        for prepared in reversed(self._run.prepared.values()):
            if "pairs" in prepared:
                return prepared["pairs"].read()
        raise UserError("none of the stages compares rows by similarity: there are no pairs")

    def rethreshold(self, threshold: float) -> Verdicts:
        """Return the verdicts with another threshold of the last stage, from what is stored.

        Raises:
            UserError: the last stage has none.
        """
        if not self._recipe.stages or "threshold" not in self._recipe.stages[-1].rethresholdable:
            raise UserError("the last stage has no threshold that can be moved")
        *first, last = self._recipe.stages
        stages = [*first, {**written_settings(last), "threshold": threshold}]
        return judge(changed_recipe(self._recipe, stages=stages), self._by_record)

    def __repr__(self) -> str:
        reasons = self.dropped.group_by("reason").len().sort("len", descending=True).iter_rows()
        why = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
        return (
            f"{self._run.kept.height:,} rows kept, {self.dropped.height:,} dropped"
            + f" ({why})" * bool(why)
        )

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.dropped._repr_html_()}"


def dedup(
    rows: RowSource,
    *,
    exact: bool = True,
    fuzzy: float | None = 0.7,
    semantic: float | None = None,
    store: str | Path = STORE,
) -> Verdicts:
    """Return which rows are left without duplicates.

    Args:
        rows: see `read`.
        exact: drop rows whose text another row has.
        fuzzy: drop rows that share so much of their n-grams with a kept row (Jaccard similarity).
        semantic: drop rows that are so near to a kept row (cosine of sentence embeddings).
        store: folder of stored results.
    """
    stages: list[dict[str, Any]] = [{"method": "exact"}] if exact else []
    stages += [{"method": "fuzzy", "threshold": fuzzy}] if fuzzy is not None else []
    stages += [{"method": "semantic", "threshold": semantic}] if semantic is not None else []
    return _judge_source(rows, stages, store)


def leaks(
    rows: RowSource, eval: RowSource, *, store: str | Path = STORE, **settings: Any
) -> Verdicts:
    """Return which rows hold no prompt of an eval set.

    Args:
        rows: see `read`.
        eval: the eval set, as rows; answers are not needed.
        store: folder of stored results.
        settings: of the stage `leaks`, such as threshold=0.6.
    """
    held_out = examples_of(eval, store, "eval")
    stages = [{"method": "leaks", **settings}]
    return _judge_source(rows, stages, store, protected=held_out)


def rules(rows: RowSource, *, store: str | Path = STORE, **settings: Any) -> Verdicts:
    """Return which rows fail no rule (encoding, markup, placeholder, length, refusal ...).

    Args:
        rows: see `read`.
        store: folder of stored results.
        settings: of the stage `rules`, such as markup=False.
    """
    return _judge_source(rows, [{"method": "rules", **settings}], store)


def _judge_source(
    rows: RowSource, stages: list[dict[str, Any]], store: str | Path, **examples: list[RowFile]
) -> Verdicts:
    """Return the verdicts of stages on rows, given example sets by their names in a recipe."""
    pool = pool_of(rows, store).settings
    return judge(recipe_of(store, **pool, stages=stages, **examples), holds_records(rows))


def judge(recipe: Config, by_record: bool) -> Verdicts:
    """Return the verdicts of a recipe's stages on its pool, by the numbers of records or of rows."""
    run = started_run(recipe)
    kept = run.kept.read(["row_id", "position"])
    indices = record_numbers(kept["row_id"]) if by_record else kept["position"].to_list()
    return Verdicts(_dropped(run), indices, run, recipe, by_record)


def _pool_of_kept(frame: pl.DataFrame, store: str) -> Pool:
    """Return what a recipe names to read kept rows again.

    Upstream fields stay where they were; row_id is one more, the id of the row that was read first.
    """
    records = [
        {
            "row_id": row["row_id"],
            **orjson.loads(row["meta"]),
            "messages": plain_messages(row["messages"]),
            "tools": row["tools"],
            "rejected": row["rejected"],
            "origin": row["origin"],
        }
        for row in frame.iter_rows(named=True)
    ]
    fields = FieldMap(messages="messages", tools="tools", rejected="rejected", origin="origin")
    return pool_of(records, store, name="kept", layout={"fields": fields})


def _dropped(run: Run) -> pl.DataFrame:
    parts = [
        verdicts.scan().filter(~pl.col("keep")).select(*COLUMNS, stage=pl.lit(name)).collect()
        for name, verdicts in run.evidence.items()
    ]
    schema = {"row_id": pl.String, "reason": pl.String, "stage": pl.String}
    return pl.concat([pl.DataFrame(schema=schema), *parts], how="diagonal_relaxed")
