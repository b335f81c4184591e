"""The held-out sets of a proof against what it asks of them: told before any row is scored.

Whether an eval or a watch set can be measured by its metric, and whether a watch set is one of its own,
follow from the rows alone.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from curate.core.calls import Table
from curate.core.errors import UserError, named_key
from curate.core.preferences import is_pair
from curate.core.rows import prompt_text, response_text
from curate.models.load import find_model
from curate.proof.functions import KEY, load_function
from curate.proof.harness import read_tasks
from curate.proof.metrics import deciding_metric
from curate.proof.questions import check_measurable, count_questions, find_questions
from curate.proof.settings import ProofSettings
from curate.proof.values import WatchSetValues
from curate.proof.watch_sets import check_set, metric_key, written_setting
from curate.proof.written import draw_examples
from curate.proof.written_metrics import check_metric, written_examples

LOG = logging.getLogger("curate")
HELD_OUT = {"eval": "target.eval", "watch": "prove.watch"}


def check_proof(
    prove: ProofSettings, read: Mapping[str, Table], seed: int, *, makes_pairs: bool = True
) -> None:
    """Check the model, tasks and held-out sets of a recipe's proof.

    Args:
        prove: the recipe's settings.
        read: its inputs.
        seed: of the run.
        makes_pairs: whether the run may make pairs of its own.

    Raises:
        UserError: there is no such model or task, there are no pairs to learn or to measure by, or as
            check_inputs.
    """
    if prove.base is not None:
        with named_key("prove.base"):
            find_model(prove.base)
    if prove.tasks:
        read_tasks(prove.tasks)
    sets = [watched.judged_by for watched in prove.watch]
    check_inputs(prove.model_dump()["metric"], sets, read, seed)
    if "target" in read and not prove.allow_leaks:
        _check_no_target(read)
    if prove.by_pairs:
        _check_pairs(read["eval"].read(["row_id", "rejected"]))
        if not makes_pairs and not read["pool"].scan().select(is_pair().any()).collect().item():
            raise UserError(
                f"prove.objective: none of the {read['pool'].height:,} rows of the pool has a rejected "
                "answer, so there is nothing that dpo could learn: give preference pairs, make some, or "
                "leave the objective out"
            )


def _check_no_target(read: Mapping[str, Table]) -> None:
    """Check that no held-out set has examples of the target: a proof is refused for such, at its end."""
    target = read["target"].scan().select("content_hash")
    for name, key in HELD_OUT.items():
        if name not in read:
            continue
        common = read[name].scan().join(target, on="content_hash", how="semi").collect().height
        if common:
            raise UserError(
                f"{key}: {common:,} of {read[name].height:,} examples are examples of the target too, "
                "by which rows are chosen, so a good score would show memory, not skill: give examples "
                "that the target does not have, or set prove.allow_leaks: true"
            )


def _check_pairs(eval_rows: pl.DataFrame) -> None:
    """Check that an eval set has pairs, and tell how many of its examples are none."""
    unpaired = eval_rows.filter(~is_pair())
    if unpaired.height == eval_rows.height:
        raise UserError(
            f"target.eval: none of the {eval_rows.height:,} examples has a rejected answer, and with "
            "`prove.objective: dpo` models are measured on held-out preference pairs: give a set of "
            "pairs, or leave the objective out"
        )
    if unpaired.height:
        LOG.warning(
            "target.eval: %d of %d examples have no rejected answer (the first is %s) and count for "
            "nothing in the loss and accuracy of pairs",
            unpaired.height,
            eval_rows.height,
            unpaired["row_id"][0],
        )


def check_inputs(
    metric: Any, sets: Sequence[WatchSetValues], read: Mapping[str, Table], seed: int
) -> None:
    """Check that a proof can measure its eval set and each of its watch sets.

    Args:
        metric: the recipe's `prove.metric`.
        sets: source, margin and metric of the watch sets.
        read: eval, and target and watch if there are some.
        seed: of the run, by which examples to answer are drawn.

    Raises:
        UserError: naming the key and the set of the first that cannot be measured.
    """
    tables = {name: read[name].read() for name in ("eval", "target", "watch") if name in read}
    for name, key in HELD_OUT.items():
        if name in tables:
            _check_answers(key, tables[name])
    deciding = deciding_metric(metric)
    if deciding.needs is not None:
        questions = find_questions(tables["eval"], tables.get("target"))
        check_measurable(deciding, count_questions(questions))
    _check_written(metric, tables["eval"], seed)
    for number, watched in enumerate(sets):
        rows = tables["watch"].filter(source=watched["source"])
        _check_apart(number, watched["source"], rows, tables["eval"])
        check_set(number, watched, rows)
        _check_written(
            written_setting(watched["metric"], rows.height), rows, seed, metric_key(number)
        )


def _check_answers(key: str, rows: pl.DataFrame) -> None:
    """Check that all examples of a set end with an answer."""
    last_roles = rows["messages"].list.last().struct.field("role")
    alone = rows.filter(last_roles != "assistant")
    if alone.height:
        raise UserError(
            f"{key}: {alone.height:,} of {rows.height:,} examples are prompts without an answer (the "
            f"first is {alone['row_id'][0]}), and a proof measures by answers: give a set that has "
            "them; `protected:` takes prompts alone, for the leak check"
        )


def _check_written(setting: Any, rows: pl.DataFrame, seed: int, key: str = KEY) -> None:
    """Check a metric of written answers; a function is tried on one reference in place of an answer."""
    drawn = draw_examples(rows, written_examples(setting), seed)
    check_metric(setting, drawn, key)
    if isinstance(setting, Mapping) and "function" in setting:
        row = drawn.row(0, named=True)
        prompt, reference = prompt_text(row["messages"]), response_text(row["messages"])
        load_function(setting["function"], key=key).score(row["row_id"], prompt, reference, row)


def _check_apart(number: int, source: str, rows: pl.DataFrame, eval_rows: pl.DataFrame) -> None:
    """Check that a watch set holds no eval example: its verdict would repeat that of the proof."""
    common = rows.join(eval_rows, on="content_hash", how="semi").height
    if common:
        raise UserError(
            f"prove.watch.{number}: {common:,} of the {rows.height:,} examples of the set {source!r} "
            "are examples of target.eval too; watch rows that the eval set does not have"
        )
