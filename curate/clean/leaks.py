"""Leaks: pool rows that hold an eval prompt, as a whole or in what is its own.

The rule begins with the one of Tulu 3 (Lambert et al. 2024, arXiv:2411.15124, section 3.2): a pool row
leaks an eval example when more than half of the prompt's words lie in 8-grams that both share. Words
are lower-cased runs of letters and digits, or single characters in scripts without spaces, so symbols
and punctuation play no part. Only the prompt's *own* words count: n-grams that many eval prompts or
many rows hold are a template and tell nothing (`curate.overlap.template`).

A prompt with few words of its own, a short question or a short slot in a template, leaks where almost
all of it is held: its sentences and lines, symbols included, in any order, or its slot from end to end.

Of a preference pair both answers are looked through, and if either leaks the row goes with both.

`any_ngram: 13` adds the rule of GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C): any shared
run of 13 words is a leak, if no part of it is template. `warn` lists paraphrases, and keeps them.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.clean.leaks_section import leaks_section
from curate.clean.overlaps import write_overlaps
from curate.clean.similar import write_similar
from curate.core.calls import Table
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import EVAL_SETS, Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.tables import TableFile
from curate.core.workload import Workload
from curate.overlap.index import find_hits, leak_reason

LOG = logging.getLogger("curate")
# Similar pairs are stored from here on, or from `warn` on where that is lower.
FLOOR = 0.5
OVERLAPS, TARGET_OVERLAPS = "overlaps", "target-overlaps"
WEIGHT = {Reason.LEAK_EXACT: 3, Reason.LEAK_NGRAM: 2, Reason.LEAK_SLOT: 2, Reason.LEAK_RUN: 1}


@method
class LeaksStage(Stage):
    """Drop pool rows that hold an eval prompt."""

    title: ClassVar[str] = "Eval leaks"
    reads_rejected: ClassVar[bool] = True
    version: ClassVar[int] = 6
    uses: ClassVar[tuple[str, ...]] = (*EVAL_SETS, "target")
    needs: ClassVar[tuple[str, ...]] = EVAL_SETS
    rethresholdable: ClassVar[tuple[str, ...]] = ("threshold", "any_ngram")
    keeps_out: ClassVar[str | None] = "eval prompts"

    method: Literal["leaks"] = "leaks"
    ngram: int = Field(8, gt=0, description="words of a run that a row must share to count")
    threshold: float = Field(
        0.5, ge=0, le=1, description="share of an eval prompt's own words that makes a leak"
    )
    any_ngram: int | None = Field(
        None,
        gt=0,
        description="a shared run of so many words is a leak too; 13 is GPT-3's rule",
        examples=[13],
    )
    warn: float | None = Field(
        None,
        gt=0,
        le=1,
        description="list rows that are as similar to an eval prompt (cosine)",
        examples=[0.9],
    )
    embedder: str | None = Field(
        None,
        description="sentence embedder of `warn`; models.embedder if not given",
        examples=["minilm"],
    )

    @model_validator(mode="after")
    def _check(self) -> "LeaksStage":
        if self.any_ngram is not None and self.any_ngram < self.ngram:
            raise ValueError(
                f"any_ngram {self.any_ngram} is below ngram {self.ngram}, and shared runs are only "
                "looked for from ngram words on: lower ngram as well"
            )
        if self.embedder is not None and self.warn is None:
            raise ValueError("embedder is given without warn, which alone needs one: give warn too")
        return self

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return what pool and target share with eval prompts, and the rows similar to these."""
        pool = replace(data, target=None)
        overlaps = run(write_overlaps, pool, self.ngram, OVERLAPS)
        tables = {OVERLAPS: Table(overlaps, OVERLAPS)}
        if data.target is not None:
            # What many pool rows hold tells as little in a target example.
            target = replace(pool, rows=data.target, evidence=())
            call = write_overlaps.call(target, self.ngram, TARGET_OVERLAPS, overlaps)
            stored = run.result(call.named(f"leaks-{TARGET_OVERLAPS}"))
            tables[TARGET_OVERLAPS] = Table(stored, TARGET_OVERLAPS)
            _warn_of_target(tables[TARGET_OVERLAPS], self)
        if self.warn is not None:
            embedder = run.embedder(self.embedder)
            similar = run(write_similar, pool, embedder, min(self.warn, FLOOR))
            tables["similar"] = Table(similar, "similar")
        return tables

    def cost(self, rows: int) -> Workload:
        """Return the embedding of all prompts, where rows like eval prompts are to be listed."""
        if self.warn is None:
            return Workload()
        return Workload(embedded_rows=rows, compare="prompt", embedder=self.embedder)

    def section(self, record: StageRecord) -> Section:
        """Return how much of each eval set the pool holds, and what only resembles it."""
        return leaks_section(record, self.warn)

    def decide(self, data: StageData) -> StageResult:
        """Drop every row with a hit; score is its largest coverage, duplicate_of the eval row behind it.

        Tables: hits and those of the target, rows that are only similar (warnings), figures of each set.
        """
        held_out = (data.eval, data.protected, data.watch)
        sets = [rows.select("row_id", "source") for rows in held_out if rows is not None]
        if not sets:
            raise ValueError("leaks needs an eval set")
        sources = pl.concat(sets).rename({"row_id": "eval_id", "source": "eval_source"})
        overlap_pairs = _scan_overlaps(data.prepared[OVERLAPS])
        evidence = _verdicts(data.rows.select("row_id"), overlap_pairs, self)
        tables = {"hits": _name_sets(_hits(overlap_pairs, self), sources)}
        if TARGET_OVERLAPS in data.prepared:
            target = _hits(_scan_overlaps(data.prepared[TARGET_OVERLAPS]), self)
            tables["target"] = _name_sets(target, sources)
        if self.warn is not None:
            near = data.prepared["similar"].scan().filter(pl.col("similarity") >= self.warn)
            dropped = evidence.filter(~pl.col("keep")).select("row_id")
            tables["warnings"] = near.join(
                dropped, on="row_id", how="anti", maintain_order="left"
            ).collect()
        tables["sets"] = _count_sets(sources, tables)
        return StageResult(evidence, tables)


def _warn_of_target(pairs: Table, params: LeaksStage) -> None:
    """Say so on every run, not only on the one that makes the tables."""
    hits = _hits(_scan_overlaps(pairs), params)
    if hits.height:
        row_id, eval_id = hits.row(0)[:2]
        LOG.warning(
            "leaks: eval prompts stand in %d of the %d target examples (%s holds %s), so a selection "
            "made for them would learn the test; replace those that evidence/leaks-target.parquet lists",
            hits["row_id"].n_unique(),
            pairs.artifact.counts["rows_in"],
            row_id,
            eval_id,
        )


def _scan_overlaps(pairs: TableFile) -> pl.LazyFrame:
    """Return a table of pairs; those of older runs know no slots, or no limit of their own."""
    table = pairs.scan()
    later = {"slot": pl.lit(False), "limit": pl.lit(None, pl.Float64)}
    columns = table.collect_schema()
    return table.with_columns(
        value.alias(name) for name, value in later.items() if name not in columns
    )


def _hits(overlap_pairs: pl.LazyFrame, params: LeaksStage) -> pl.DataFrame:
    return find_hits(overlap_pairs, params.threshold, params.any_ngram)


def _name_sets(hits: pl.DataFrame, sources: pl.DataFrame) -> pl.DataFrame:
    named = hits.join(sources, on="eval_id", how="left", maintain_order="left")
    return named.select("row_id", "eval_id", "eval_source", "reason", "coverage", "span")


def _verdicts(ids: pl.LazyFrame, overlap_pairs: pl.LazyFrame, params: LeaksStage) -> pl.LazyFrame:
    """Return the evidence: for each row the pair that says most, a leak before all others."""
    reason = leak_reason(params.threshold, params.any_ngram)
    weight = pl.col("reason").replace_strict(WEIGHT, default=0, return_dtype=pl.Int8)
    best = (
        overlap_pairs.select("row_id", "eval_id", "coverage", "limit", reason=reason)
        .collect()
        .sort(weight, "coverage", "eval_id", descending=[True, True, False])
        .unique("row_id", keep="first", maintain_order=True)
    )
    leaking = pl.col("reason").is_not_null()
    # What leaks by a run alone does so below the threshold, which then says nothing.
    by_run = (pl.col("reason") == Reason.LEAK_RUN.value).fill_null(value=False)
    return ids.join(best.lazy(), on="row_id", how="left", maintain_order="left").select(
        "row_id",
        "reason",
        keep=~leaking,
        score=pl.col("coverage").fill_null(0.0),
        # Of a prompt in a template more is asked for.
        threshold=pl.when(~by_run).then(pl.max_horizontal(pl.lit(params.threshold), "limit")),
        duplicate_of=pl.when(leaking).then("eval_id"),
    )


def _count_sets(sources: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return figures of each eval set, in order of appearance.

    source; examples; leaked: examples that some pool row leaks; share: of the examples (Tulu 3 calls a
    training set contaminated above 0.02); rows: pool rows with a leak of the set; warned: pool rows
    with a warning, null where none were asked for.
    """
    sets = sources.group_by("eval_source", maintain_order=True).agg(examples=pl.len())
    hits = (
        tables["hits"]
        .group_by("eval_source")
        .agg(leaked=pl.col("eval_id").n_unique(), rows=pl.col("row_id").n_unique())
    )
    counted = sets.join(hits, on="eval_source", how="left", maintain_order="left")
    warned = pl.lit(None, dtype=pl.UInt32)
    if "warnings" in tables:
        near = tables["warnings"].join(sources, on="eval_id", how="left")
        rows = near.group_by("eval_source").agg(warned=pl.col("row_id").n_unique())
        counted = counted.join(rows, on="eval_source", how="left", maintain_order="left")
        warned = pl.col("warned").fill_null(0)
    leaked = pl.col("leaked").fill_null(0)
    return counted.select(
        pl.col("eval_source").alias("source"),
        "examples",
        leaked,
        (leaked / pl.col("examples")).alias("share"),
        pl.col("rows").fill_null(0),
        warned.alias("warned"),
    )
