"""The flows: a whole run, the rows of its generation alone, another proof of a finished run.

Run the first (`curate run --prefect`), serve one (`python -m flows.curation`) or deploy them
(`prefect deploy`). Their parameters are settings of a recipe, which Prefect shows as a form.
"""

from pathlib import Path
from typing import Annotated, Any

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect import flow
from pydantic import BeforeValidator

from curate.config.recipe import Config, recipe_model
from curate.core.bucket import open_store
from curate.orchestration.artifacts import publish_artifacts
from curate.orchestration.tasks import task_executor
from curate.pipeline.curation import run_curation
from curate.pipeline.generation import run_generation
from curate.pipeline.run import RunResult
from curate.pool.settings import ShortRowFile
from curate.proof.settings import ProofSettings
from curate.runs.folder import open_run
from curate.runs.proving import proof_recipe


def read_recipe(value: Any) -> Config:
    """Return a recipe as the flow is given it, by Python or by Prefect's API."""
    return value if isinstance(value, Config) else Config.model_validate(value)


# The form shows the methods that are there when the flow is loaded; more may be there at its call.
Recipe = Annotated[Config, BeforeValidator(read_recipe, json_schema_input_type=recipe_model())]


@flow(name="curation", flow_run_name="curate-{config.name}", log_prints=False)
def curation(
    config: Recipe, out: str | None = None, overwrite: bool = False, command: str | None = None
) -> dict[str, Any]:
    """Curate a pool by a recipe: evidence, selection, proof, report, training files.

    Args:
        config: the recipe, as in configs/*.yaml.
        out: the run folder; runs/NAME, or runs/NAME-2 ... beside runs of other recipes, if left empty.
        overwrite: replace the run of another recipe in that folder.
        command: what started the run, for its provenance.
    """
    return _run(config, out, overwrite=overwrite, command=command)


@flow(name="generation", flow_run_name="generate-{config.name}", log_prints=False)
def generation(config: Recipe) -> dict[str, Any]:
    """Let a language model generate the rows of a recipe and filter them; select and train nothing.

    A later run of the recipe finds these rows in the store.

    Args:
        config: the recipe, with `generate`.
    """
    with task_executor(config.run, open_store(config.store)) as execute_all:
        result = run_generation(config, execute_all)
    return {
        "folder": str(result.folder),
        "rows": result.rows,
        "candidates": result.candidates,
        "generated": result.lines,
    }


@flow(name="proof", flow_run_name="prove-{run}", log_prints=False)
def proof(
    run: str,
    prove: ProofSettings,
    eval: list[ShortRowFile] | None = None,
    out: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Prove the selection of a finished run against random draws, once more or for the first time.

    Rows, verdicts and scores come from the run's store; its files are looked for as its recipe names
    them, from the current folder.

    Args:
        run: the folder of the finished run.
        prove: settings of the proof, as in a recipe.
        eval: files of the eval set; those of the run's recipe, if left empty.
        out: the folder of the proven run; runs/NAME, or runs/NAME-2 ... if left empty.
        overwrite: replace the run of another recipe in that folder, such as the one that is proven.
    """
    return _run(proof_recipe(open_run(Path(run)), prove, eval), out, overwrite=overwrite)


def _run(
    config: Config, out: str | None, *, overwrite: bool, command: str | None = None
) -> dict[str, Any]:
    """Return what a run of a recipe came to, each of its steps a task."""
    folder = Path(out) if out else None
    with task_executor(config.run, open_store(config.store)) as execute_all:
        result = run_curation(config, folder, execute_all, overwrite=overwrite, command=command)
    publish_artifacts(result)
    return _summary(result)


def _summary(result: RunResult) -> dict[str, Any]:
    return {
        "run": str(result.folder),
        "report": str(result.report),
        "verdict": result.proof["verdict"] if result.proof else None,
        "sentence": result.proof["sentence"] if result.proof else None,
        "compared": result.compared,
        "generated": result.generated,
    }
