"""Quantiles: a brief fine-tune on each part of the order. Do rows that rank higher train a better model?

    quantiles.json            parts, their losses, Spearman's correlation, a sentence
    quantiles.parquet         arm (quantile-1 the best-ranked), seed, eval_id, metrics
    quantiles-rows.parquet    arm, seed, row_id, tokens: what each was trained on

Published: "A Critical Look at Targeted Instruction Selection" (arXiv:2602.14696) cuts the order of all
rows into ten equal parts, trains on the first 500 rows of each, and correlates the number of a part with
the loss. No control is needed: if the order means nothing, the sets are exchangeable.

Ours: rows are drawn from a part, not its first ones. The first rows of a part are its best end, so that
they say nothing of the rest of it, and those of the first part are the selection, which the verdict is
on already. A draw stands for the whole part, and each seed draws anew, so that the mean over seeds rests
on more rows than one set. Seeds are pairs across parts: the same places within each part, and the same
training seed. A fine-tune has as many rows as the selection, or a whole part where that is smaller; it
may have another number of tokens, which is told. Rows without a score have no place in the order.

A part's rows may hold prompts of the eval or a watch set: then nothing is trained, unless `allow_leaks`.
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from curate.core.calls import Counted, Table, cached, cached_files
from curate.core.numerals import counted
from curate.core.orderparts import cut_order
from curate.core.store import Artifact, Counts, write_json
from curate.proof.contamination import leaks_into
from curate.proof.curve import LEAST_ROWS
from curate.proof.described import PartValues
from curate.proof.design import ProofDesign
from curate.proof.metrics import deciding_metric
from curate.proof.results import (
    BASE,
    TrainedModels,
    arm_names,
    gather_results,
    scored_examples,
    tuned_name,
)
from curate.proof.training import FineTunes, Training
from curate.proof.trend import QuantileDesign, describe_quantiles, part_arm, part_name
from curate.proof.values import row_tokens

LOG = logging.getLogger("curate")
VERSION = 2
FILE, TABLE, ROWS = "quantiles.json", "quantiles.parquet", "quantiles-rows.parquet"


def prove_quantiles(
    training: Training,
    selection: Table,
    held_out: tuple[Table, Table | None],
    models: TrainedModels,
    design: ProofDesign,
) -> Artifact:
    """Train on each part of the order, and return the artifact of what they reach.

    Args:
        training: that of the proof.
        selection: the ranking.
        held_out: the eval set and the watch sets, as they were given.
        models: of the proof, the untuned one among them.
        design: of the proof.
    """
    run, parts = training.run, design.prove["quantiles"]
    assert parts is not None, "quantiles are asked for"
    limit, runs = row_tokens(design.prove), design.prove["seeds"]
    drawn = run(quantile_arms, selection, parts, runs, run.seed, limit)
    rows, reason = drawn.artifact.counts["rows_out"] // (parts * runs), ""
    if rows < LEAST_ROWS:
        reason = (
            f"a fine-tune would have {counted(rows, 'row')}, as many as the selection or all of one of "
            f"{parts} parts of the order, and at least {LEAST_ROWS} are needed"
        )
    elif leaking := _leaking(training, drawn, held_out, design):
        holds = (
            "row of the parts holds a prompt" if leaking == 1 else "rows of the parts hold prompts"
        )
        reason = (
            f"{leaking} {holds} of the eval or a watch set; add the stage {{method: leaks}}, or set "
            "prove.allow_leaks: true"
        )
    calls = {} if reason else quantile_calls(training, drawn.read())
    LOG.info(
        "proof: %d more fine-tunes on parts of the order", len({c.key for c in calls.values()})
    )
    models |= training.tune(calls)
    results = {name: models.results[name] for name in [BASE, *calls]}
    quantiles = QuantileDesign(parts, runs, rows, reason, design.prove["metric"])
    artifact = run(write_quantiles, drawn, selection, results, quantiles)
    LOG.info("proof: quantiles: %s", artifact.counts["sentence"])
    return artifact


def _leaking(
    training: Training, drawn: Table, held_out: tuple[Table, Table | None], design: ProofDesign
) -> int:
    """Return how many rows of the parts hold prompts of held-out sets; none where that is allowed."""
    leaks = leaks_into(training.run, drawn, held_out, "quantiles-leaks", design.prove)
    return 0 if design.prove["allow_leaks"] else leaks["row_id"].n_unique()


@cached(version=VERSION, name="quantile-arms")
def quantile_arms(
    selection: Table, parts: int, runs: int, seed: int, max_length: int
) -> Counted[pl.DataFrame]:
    """Return arm, seed, row_id, rank and tokens of rows drawn from each part of the order.

    Args:
        selection: the ranking.
        parts: how many.
        runs: fine-tunes of each.
        seed: of the run.
        max_length: tokens of a row that are trained on.
    """
    ranking = selection.read().with_columns(pl.col("tokens").clip(upper_bound=max_length))
    drawn = draw_parts(ranking, parts, runs, seed)
    return Counted(drawn, {"rows_in": ranking.height, "rows_out": drawn.height})


def draw_parts(ranking: pl.DataFrame, parts: int, runs: int, seed: int) -> pl.DataFrame:
    """Return rows drawn from each part of the order: as many as are selected, or a whole part.

    The draw of a number is the same places of every part, so that parts are told apart by rank alone.

    Args:
        ranking: row_id, rank, selected, tokens.
        parts: how many.
        runs: draws of each part.
        seed: of the run.
    """
    cut = cut_order(ranking, parts).with_columns(
        place=pl.int_range(pl.len(), dtype=pl.Int64).over("part")
    )
    smallest = cut.height // parts
    count = min(int(ranking["selected"].sum()), smallest)
    draws = []
    for number in range(runs):
        rng = np.random.default_rng([seed, number, 0x0DE5])
        places = np.sort(rng.permutation(smallest)[:count])
        rows = cut.filter(pl.col("place").is_in(pl.Series(places).implode()))
        draws.append(
            rows.select("part", "rank", "row_id", "tokens", arm=part_arm(), seed=pl.lit(number))
        )
    columns = ["arm", "seed", "row_id", "rank", "tokens"]
    return pl.concat(draws).sort("part", "seed", "rank").select(columns)


def quantile_calls(training: Training, drawn: pl.DataFrame) -> FineTunes:
    """Return the fine-tunes on parts by name, with the seeds of random draws of the same numbers."""
    calls = {}
    for (arm, seed), rows in drawn.group_by("arm", "seed", maintain_order=True):
        number = int(str(seed))
        name = tuned_name(str(arm), number)
        calls[name] = training.call(training.pool_rows(rows["row_id"]), number, drawn=True)
    return calls


@cached_files(version=VERSION, name="quantiles-proof")
def write_quantiles(
    out: Path,
    drawn: Table,
    selection: Table,
    results: Mapping[str, Table],
    design: QuantileDesign,
) -> Counts:
    """Write quantiles.parquet (arm, seed, eval_id, metrics), quantiles-rows.parquet, quantiles.json.

    Args:
        out: the folder.
        drawn: the rows of the parts that are trained on.
        selection: the ranking.
        results: of the untuned model and of the models of the parts, if there are any.
        design: what is trained.
    """
    shutil.copyfile(drawn.path, out / ROWS)
    names = {part_name(n): design.runs for n in range(1, design.parts + 1) if len(results) > 1}
    gathered = gather_results(results, arm_names(names))
    gathered.write_parquet(out / TABLE)
    cut = cut_order(selection.read(), design.parts)
    # Of fewer rows than parts there are no parts.
    parts = describe_parts(cut, drawn.read()) if cut.height >= design.parts else []
    metric = deciding_metric(design.metric)
    quantiles = describe_quantiles(scored_examples(gathered), parts, metric, design)
    write_json(out / FILE, quantiles)
    return {"rows_out": gathered.height, "sentence": quantiles["sentence"]}


def describe_parts(cut: pl.DataFrame, drawn: pl.DataFrame) -> list[PartValues]:
    """Return each part of the order, with rows and mean tokens of its fine-tunes."""
    ranks = cut.group_by("part").agg(
        first_rank=pl.col("rank").min(), last_rank=pl.col("rank").max()
    )
    sums = drawn.group_by("arm", "seed").agg(rows=pl.len(), tokens=pl.col("tokens").sum())
    means = sums.group_by("arm").agg(pl.col("rows").max(), pl.col("tokens").mean())
    parts = ranks.with_columns(arm=part_arm()).join(means, on="arm", how="left").sort("part")
    lines = parts.select("part", "first_rank", "last_rank", "rows", "tokens").rows()
    return [
        {"part": part, "first_rank": first, "last_rank": last, "rows": rows, "tokens": tokens}
        for part, first, last, rows, tokens in lines
    ]


def copy_quantiles(quantiles: Artifact, out: Path) -> Any:
    """Put the tables beside a proof, and return what proof.json says of the parts of the order."""
    for name in (TABLE, ROWS):
        shutil.copyfile(quantiles.file(name), out / name)
    return orjson.loads(quantiles.file(FILE).read_bytes())
