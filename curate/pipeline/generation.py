"""The generation of a recipe alone: its rows, filtered, and nothing after them."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.core.errors import UserError
from curate.generate.outcome import outcome_line, outcomes_of
from curate.pipeline.curation import append_generated, read_inputs
from curate.pipeline.run import ExecuteAll, Run


@dataclass(frozen=True)
class GenerationResult:
    """Where generated rows lie, and what each method came to.

    folder: in the store; rows.parquet has the rows, candidates.parquet all that was generated with the
        reason why one was rejected, bill.json what it cost.
    rows: how many there are.
    candidates: of which they are what the filters accepted.
    lines: a sentence for each method.
    """

    folder: Path
    rows: int
    candidates: int
    lines: list[str]


def run_generation(config: Config, execute_all: ExecuteAll) -> GenerationResult:
    """Generate a recipe's rows and filter them; a run of the recipe finds them in its store.

    Raises:
        UserError: the recipe generates nothing, an input is at fault, or nothing at all was accepted.
    """
    if config.generate is None:
        raise UserError("the recipe generates no rows: it has no `generate`")
    run = Run(config, open_store(config.store), execute_all)
    read_inputs(run)
    append_generated(run)
    assert run.generated is not None
    bill = orjson.loads(run.generated.file("bill.json").read_bytes())
    outcomes = outcomes_of(bill, [params.method for params in config.generate.methods])
    return GenerationResult(
        run.generated.path,
        rows=sum(outcome.kept for outcome in outcomes),
        candidates=sum(outcome.generated for outcome in outcomes),
        lines=[outcome_line(outcome) for outcome in outcomes],
    )
