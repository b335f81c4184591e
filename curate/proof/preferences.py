"""A proof by preference pairs: which rows are trained on, and what a model makes of held-out pairs.

    pair-ranking        the ranking's rows that are pairs, with the tokens of both answers
    pair-likelihoods    log p of chosen and rejected answers to the eval set's prompts, a line a pair
    pair-measure        what a model reaches, and pair_loss and pair_accuracy

Fine-tunes learn by direct preference optimisation (curate.models.dpo). The measure is the same on pairs
that none of them has seen: its loss, and whether the chosen answer has the higher implicit reward
(Rafailov et al. 2023, section 4, arXiv:2305.18290), as TRL's DPOTrainer has both. Ours: the untuned
model gives both answers the same reward, and such a tie counts half, where TRL counts it as wrong.

Selection and controls are of pairs alone: rows without a rejected answer have nothing to teach, and with
them in a control the proof would show no more than that a selection has pairs.
"""

import logging
from math import log
from typing import Any

import numpy as np
import polars as pl

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.preferences import is_pair
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts
from curate.core.tables import rows_at_once
from curate.core.wants import ONE_GPU
from curate.models.chat import refusal, tokenise
from curate.models.dpo import answer_likelihoods, preference_losses
from curate.models.finetune import load_measured
from curate.models.load import load_tokenizer, template_source
from curate.models.preferences import PAIR, Preference, build_pairs, preferences_of
from curate.proof.values import ProofValues

LOG = logging.getLogger("curate")
VERSION = 2
BATCH_ROWS = 2_000


def pair_ranking(run: ScoreRun, ranking: Table, prove: ProofValues, name: str) -> Table:
    """Return what of a selection's ranking a proof trains on, as `ranking_learned`.

    Raises:
        UserError: no selected row is a pair.
    """
    learned = ranking_learned(run, ranking, prove)
    if "beta" not in prove:
        return learned
    counts = learned.artifact.counts
    if not counts["selected_pairs"]:
        raise UserError(
            f"prove.objective: {name}: none of the {counts['selected']:,} selected rows has a rejected "
            "answer, so there is nothing that dpo could learn: select from preference pairs, or leave "
            "the objective out"
        )
    if sentence := _unpaired_sentence(counts):
        LOG.warning("proof: %s: %s", name, sentence)
    return learned


def ranking_learned(run: ScoreRun, ranking: Table, prove: ProofValues) -> Table:
    """Return what of a ranking a proof trains on: all of it, or with `objective: dpo` its pairs."""
    if "beta" not in prove:
        return ranking
    limit = prove["lora"]["max_length"]
    return run(ranked_pairs, ranking, run.rows, template_source(run.base), limit)


@cached(version=VERSION, name="pair-ranking")
def ranked_pairs(
    ranking: Table, rows: Table, model: ModelSource, max_length: int
) -> Counted[pl.DataFrame]:
    """Return the ranking's rows that are pairs; their tokens are those of both conversations.

    Args:
        ranking: of a selection.
        rows: of the pool.
        model: whose tokens are counted.
        max_length: tokens of a conversation that are trained on.
    """
    tokenizer, table = load_tokenizer(model.folder, model.trust), ranking.read()
    ranked = table.lazy().select("row_id")
    pairs = (
        rows.scan()
        .filter(is_pair())
        .select("row_id", *PAIR)
        .join(ranked, on="row_id", how="semi", maintain_order="left")
    )
    counted = [pl.DataFrame(schema={"row_id": pl.String, "tokens": pl.Int64})]
    size = rows_at_once(rows.paths, BATCH_ROWS)
    for batch in pairs.collect_batches(chunk_size=size, maintain_order=True):
        tokens = [_tokens(tokenizer, pair, max_length) for pair in preferences_of(batch)]
        counted.append(batch.select("row_id", tokens=pl.Series(tokens, dtype=pl.Int64)))
    paired = table.drop("tokens").join(pl.concat(counted), on="row_id", maintain_order="left")
    selected, chosen = (int(part["selected"].sum()) for part in (table, paired))
    counts = {"rows_in": table.height, "rows_out": paired.height}
    return Counted(
        paired.select(table.columns), {**counts, "selected": selected, "selected_pairs": chosen}
    )


def _tokens(tokenizer: Any, pair: Preference | None, max_length: int) -> int:
    """Return the tokens of both conversations; a rejected one that the template refuses has none."""
    assert pair is not None, "rows without a rejected answer are left out"
    sides = [pair.chosen]
    if refusal(tokenizer, pair.rejected) is None:
        sides.append(pair.rejected)
    return sum(map(len, tokenise(tokenizer, sides, max_length)))


@cached(version=VERSION, name="pair-likelihoods", wants=ONE_GPU)
def likelihoods(
    eval: Artifact, max_length: int, model: ModelSource, tuned: Artifact | None = None
) -> pl.DataFrame:
    """Return eval_id, chosen, rejected: log p of both answers; null where these are no pair."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    rows = Table(eval, "rows").read(["row_id", *PAIR])
    pairs = build_pairs(tokenizer, preferences_of(rows), max_length, judges=model.judges)
    numbers = answer_likelihoods(load_measured(tuned, model), pairs)
    columns = {"chosen": numbers[:, 0], "rejected": numbers[:, 1]}
    table = pl.DataFrame({"eval_id": rows["row_id"], **columns})
    labelled = pl.Series([pair.labelled for pair in pairs], dtype=pl.Boolean)
    return table.with_columns(pl.when(labelled).then(pl.col(name)) for name in columns)


@cached(version=VERSION, name="pair-measure")
def results(measured: Table, tuned: Table, base: Table, beta: float) -> pl.DataFrame:
    """Return what a model reaches, and pair_loss and pair_accuracy, null where there is no pair.

    Args:
        measured: what it reaches on each eval example.
        tuned: likelihoods of both answers under the model.
        base: the same under the untuned one.
        beta: of the loss.
    """
    gain = _margins(tuned) - _margins(base)
    numbers = gain.to_numpy()
    losses = preference_losses(np.nan_to_num(numbers), beta)
    accuracy = (np.sign(np.nan_to_num(numbers)) + 1) / 2
    pairs = pl.DataFrame(
        {"eval_id": tuned.read()["eval_id"], "pair_loss": losses, "pair_accuracy": accuracy}
    ).filter(gain.is_not_null())
    return measured.read().join(pairs, on="eval_id", how="left", maintain_order="left")


def _margins(table: Table) -> pl.Series:
    return table.read().select(pl.col("chosen") - pl.col("rejected")).to_series()


def describe_pairs(prove: ProofValues, counts: Counts) -> dict[str, Any]:
    """Return what proof.json says of a proof by pairs.

    Args:
        prove: the recipe's settings.
        counts: of the ranking, as `ranked_pairs` gives them.
    """
    sentence = (
        f"Fine-tunes learn pairs by DPO (beta {prove['beta']:g}); the loss of a held-out pair is "
        f"{log(2):.3f} where a model prefers neither answer more than before, and lower where the "
        "chosen one has gained on the rejected one."
    )
    unpaired = _unpaired_sentence(counts)
    return {
        "beta": prove["beta"],
        "selected": counts["selected"],
        "pairs": counts["selected_pairs"],
        "sentence": f"{sentence} {unpaired}" if unpaired else sentence,
    }


def _unpaired_sentence(counts: Counts) -> str:
    """Return how many selected rows are no pairs; nothing where all are."""
    unpaired = counts["selected"] - counts["selected_pairs"]
    if not unpaired:
        return ""
    return (
        f"{unpaired:,} of {counts['selected']:,} selected rows have no rejected answer and are not "
        "trained on; random draws are of pairs too."
    )
