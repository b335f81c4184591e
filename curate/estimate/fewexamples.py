"""How many eval examples the metric that decides a proof is of, and what is to be told of few."""

from collections.abc import Mapping

from curate.core.calls import Table
from curate.estimate.pairshare import count_pairs
from curate.proof.metrics import LM_EVAL, PAIR_ACCURACY, PAIR_LOSS, deciding_metric
from curate.proof.outcome import few_examples
from curate.proof.questions import count_questions, find_questions
from curate.proof.settings import ProofSettings
from curate.proof.written_metrics import written_examples

COLUMNS = ["row_id", "messages", "meta"]


def few_clause(prove: ProofSettings, eval_rows: Table, examples: Mapping[str, Table]) -> str:
    """Return that a verdict will be on few examples, as the end of a clause.

    Args:
        prove: the recipe's settings.
        eval_rows: what the verdict is measured on.
        examples: the recipe's sets of examples, the target among them.
    """
    count = _count_measured(prove, eval_rows, examples)
    few = "" if count is None else few_examples(count)
    return few and f"; {few[0].lower()}{few[1:]}"


def _count_measured(
    prove: ProofSettings, eval_rows: Table, examples: Mapping[str, Table]
) -> int | None:
    """Return None where it is not known: how many documents a task of lm-evaluation-harness has."""
    setting = prove.model_dump()["metric"]
    metric = deciding_metric(setting)
    if metric == LM_EVAL:
        return None
    if metric in (PAIR_LOSS, PAIR_ACCURACY):
        return count_pairs(eval_rows)
    if metric.needs is not None:
        target = examples["target"].read(COLUMNS) if "target" in examples else None
        counts = count_questions(find_questions(eval_rows.read(COLUMNS), target))
        return int(counts[metric.needs])
    return min(written_examples(setting) or eval_rows.height, eval_rows.height)
