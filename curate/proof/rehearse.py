"""Rehearsal: rows of earlier training to mix into the selection, so that tuning forgets less of them.

mix-cd (Bai, Yeh, Hsieh, Taly 2025, NAACL findings, arXiv:2402.08096). Published: a row of collateral
damage is one that the base gets right and the tuned model wrong; rows lie in bins by the base's loss
and what else is known of them; each bin's rate of damage is estimated from a part of it, and among the
rows that the base gets right each bin gives in proportion to its rate.

Departures. They estimate the rates many times while they train, from the rows just mixed in; here they
are estimated once (curate.proof.damage), from probe rows that a fine-tune on the selection alone reads:
the first one of the proof, which is made once for both. The probe takes as many rows from each bin as
far as it has them. Bins are thirds of the base's loss times origins. A text without a value is right
before, and wrong after where its loss is higher by more than 0.1 nats a token (ours).

`random` draws from all rows, by no model; in the proof of mix-cd as many such rows are an arm.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from curate.core.calls import Counted, Table, cached, cached_files
from curate.core.errors import UserError
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts
from curate.models.finetune import finetune
from curate.models.lora_values import LoraValues
from curate.models.training import training_rows
from curate.proof.damage import PROBE_SEED, take_turns
from curate.proof.prior_readings import base_state, read_rows
from curate.proof.rehearsal_draw import DamageProbe, write_rehearsal
from curate.proof.rehearse_settings import RehearseSettings
from curate.proof.training import FIXED_SEED, tuned_model

LOG = logging.getLogger("curate")
VERSION = 1
KEY = "rehearse.from"
IN_SELECTION = "in_selection"


def rehearse(
    run: ScoreRun,
    prior: Table,
    evidence: Sequence[Table],
    selection: Table,
    settings: RehearseSettings,
    lora: LoraValues,
    base: str | None,
) -> Artifact:
    """Return the artifact with the rows that are mixed into a selection, and why (rehearsal_draw).

    Args:
        run: the run.
        prior: the rows to draw from.
        evidence: verdicts of the stages that keep some of them out.
        selection: the ranking.
        settings: of the recipe.
        lora: of the fine-tune on the selection.
        base: name of the model that is tuned; the run's base if None.

    Raises:
        UserError: no row may be drawn.
    """
    chosen = selection.read(["row_id", "selected"]).filter("selected")["row_id"].to_list()
    budget = max(1, round(settings.share * len(chosen)))
    free = run(allowed, prior, evidence, run.rows, selection)
    if not free.artifact.counts["rows_out"]:
        raise UserError(f"{KEY}: none of {prior.height:,} rows may be rehearsed: {_why(free)}")
    probe = None
    if settings.finds_damage:
        probe = _probe(run, prior, free, chosen, settings.probe, lora, base)
    rehearsal = run(write_rehearsal, prior, free, budget, run.seed, probe)
    for sentence in rehearsal_sentences(rehearsal):
        LOG.info("rehearse: %s", sentence)
    return rehearsal


def _probe(
    run: ScoreRun,
    prior: Table,
    free: Table,
    chosen: Sequence[str],
    count: int,
    lora: LoraValues,
    base: str | None,
) -> DamageProbe:
    """Return what the base makes of all rows, and a fine-tune on the selection of some."""
    model, limit = tuned_model(run, base), lora["max_length"]
    state = run(base_state, prior, read_rows(run, prior, model, limit))
    probe = Table(run(write_probe, prior, state, free, count, run.seed), "rows")
    if not probe.height:
        raise UserError(f"{KEY}: {_no_probe(state, free, limit)}; `method: random` draws from all")
    # The first fine-tune of a proof of this selection: it is made once.
    seed = [run.seed, 0, FIXED_SEED]
    tuned = run(finetune, training_rows([run.rows], chosen), lora, seed, model)
    after = read_rows(run, probe, model, limit, tuned)
    return DamageProbe(state, probe, after.losses, after.answers)


def _no_probe(state: Table, free: Table, limit: int) -> str:
    """Return why none of the rows that may be rehearsed can be forgotten."""
    ids = free.scan().filter(pl.col("reason").is_null())
    rows = state.scan().join(ids, on="row_id", how="semi").collect()
    if rows["right"].null_count() == rows.height:
        return (
            f"the base reads no response token of {rows.height:,} rows within prove.lora.max_length of "
            f"{limit:,} tokens; raise it"
        )
    return f"the base gets none of {rows.height:,} rows right, so that it can forget none"


def _why(free: Table) -> str:
    counts = free.read().drop_nulls("reason").group_by("reason").len().sort("reason")
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.iter_rows())


def rehearsal_sentences(rehearsal: Artifact) -> list[str]:
    """Return what is to be said of a rehearsal."""
    counts = rehearsal.counts
    sentences = [f"{counts['rows_out']:,} of {counts['rows_in']:,} rows are mixed in"]
    if counts["rows_out"] < counts["budget"]:
        sentences[0] += f", fewer than the {counts['budget']:,} of the budget: there are no more"
    if counts["probed"]:
        sentences.append(
            f"of {counts['probed']:,} probe rows that the base gets right, the model tuned on the "
            f"selection gets {counts['wrong']:,} wrong"
        )
    return sentences


@cached(version=VERSION, name="rehearse-allowed")
def allowed(
    prior: Table, evidence: Sequence[Table], rows: Table, selection: Table
) -> Counted[pl.DataFrame]:
    """Return row_id and reason, null for rows that may be rehearsed.

    Args:
        prior: the rows.
        evidence: verdicts of the stages that keep rows out.
        rows: the pool.
        selection: its ranking; a selected row is trained on anyway.
    """
    chosen = selection.scan().filter("selected").select("row_id")
    hashes = rows.scan().join(chosen, on="row_id", how="semi").select("content_hash").unique()
    table = prior.scan().select("row_id", "content_hash").collect()
    for i, one in enumerate(evidence):
        dropped = one.read().filter(~pl.col("keep"))
        reasons = dropped.select("row_id", pl.col("reason").alias(f"reason{i}"))
        table = table.join(reasons, on="row_id", how="left", maintain_order="left")
    reason = pl.coalesce(
        *(f"reason{i}" for i in range(len(evidence))),
        pl.when(pl.col("content_hash").is_in(hashes.collect()["content_hash"].implode())).then(
            pl.lit(IN_SELECTION)
        ),
    )
    frame = table.select("row_id", reason=reason)
    return Counted(frame, {"rows_in": frame.height, "rows_out": frame["reason"].null_count()})


@cached_files(version=VERSION, name="rehearse-probe")
def write_probe(
    out: Path, prior: Table, state: Table, allowed: Table, count: int, seed: int
) -> Counts:
    """Write rows.parquet: rows that the base gets right, as many from each bin as far as it has them."""
    free = allowed.read().filter(pl.col("reason").is_null())
    right = state.read().filter("right").join(free, on="row_id", how="semi", maintain_order="left")
    drawn = right[take_turns(right["bin"], count, np.random.default_rng([seed, PROBE_SEED]))]
    rows = prior.read().join(drawn, on="row_id", how="semi", maintain_order="left")
    rows.write_parquet(out / "rows.parquet")
    return {"rows_in": right.height, "rows_out": rows.height}
