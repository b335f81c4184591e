"""Rows of earlier training in a run: guarded, drawn, and mixed into what is exported.

Held-out rows are kept out by the stage `leaks`, repeated ones by `exact`, those that the chat template
of the base model refuses by its verdicts, as in the pool. Selected rows are not mixed in twice.
"""

from collections.abc import Iterator, Mapping

from curate.clean.exact import ExactStage
from curate.clean.leaks import LeaksStage
from curate.config.names import REHEARSAL
from curate.core.calls import Table
from curate.core.ledger import evidence_of, judge_rows
from curate.core.reasons import Reason
from curate.core.stage import APPENDED, EVAL_SETS, Stage
from curate.core.store import Artifact
from curate.models.refusals import NAME as TEMPLATE
from curate.models.refusals import judge_by_template
from curate.pipeline.run import Run, example_sets
from curate.pool.join import join_rows
from curate.pool.rehearsed import write_mixed
from curate.proof.rehearse import rehearse
from curate.proof.rehearsed_arms import BY_CHANCE, REHEARSED
from curate.proof.settings import ProofSettings

FINDING = "rehearsal"


def rehearse_rows(run: Run, selection: Artifact) -> None:
    """Draw the rows of earlier training that are mixed in, where the recipe wants that.

    Raises:
        UserError: no row may be drawn.
    """
    settings = run.config.rehearse
    if settings is None or run.prior is None:
        return
    run.part = REHEARSAL
    prior, evidence = run.prior, dict[str, Table]()
    if run.config.reads_base:
        prior = _judge_template(run, prior, evidence)
    held_out = {name: table for name, table in example_sets(run).items() if name in EVAL_SETS}
    for name, stage in _guards(run, held_out):
        evidence[name], _ = judge_rows(run, name, stage, prior, evidence, held_out)
    prove = run.config.prove or ProofSettings()
    rehearsal = rehearse(
        run, prior, list(evidence.values()), Table(selection, "ranking"), settings,
        prove.values["lora"], prove.base,
    )  # fmt: skip
    run.findings[FINDING] = rehearsal


def _judge_template(run: Run, prior: Table, evidence: dict[str, Table]) -> Table:
    """Note which rows the chat template refuses; return the rows, with those that replace some."""
    [verdicts] = judge_by_template(run, run.base, prior, {}, run.config.models.system)
    if "dropped" not in verdicts.counts:
        return prior
    evidence[f"{REHEARSAL}-{TEMPLATE}"] = evidence_of(verdicts)
    if Reason.SYSTEM_MERGED not in verdicts.counts["dropped"]:
        return prior
    return join_rows(run, prior, Table(verdicts, APPENDED), f"joined-{REHEARSAL}")


def _guards(run: Run, held_out: Mapping[str, Table]) -> Iterator[tuple[str, Stage]]:
    """Yield the stages that keep rows out; leaks are those of the recipe's own stage, if it has one."""
    yield f"{REHEARSAL}-exact", ExactStage()
    if held_out:
        own = [stage for stage in run.config.stages if isinstance(stage, LeaksStage)]
        yield f"{REHEARSAL}-leaks", own[0] if own else LeaksStage()


def export_rows(run: Run, selection: Artifact) -> Table:
    """Return the rows that are exported: the selection, and rehearsed rows between them."""
    selected = Table(selection, "selected")
    if FINDING not in run.findings:
        return selected
    return Table(run(write_mixed, selected, Table(run.findings[FINDING], "rehearsed")), "selected")


def rehearsed_tables(run: Run) -> dict[str, Table]:
    """Return the rows that arms of a proof are trained on beside the selection, by the arms' names."""
    if FINDING not in run.findings or run.config.rehearse is None:
        return {}
    rehearsal = run.findings[FINDING]
    tables = {REHEARSED: Table(rehearsal, "rehearsed"), BY_CHANCE: Table(rehearsal, "random")}
    return {arm: tables[arm] for arm in run.config.rehearse.arms}
