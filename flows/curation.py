"""The curation flow: every step of a run as a Prefect task, cached under the store's own key.

Run it (`curate run --prefect`), serve it (`python -m flows.curation`) or deploy it (`prefect
deploy`); its parameters are the recipe, which Prefect shows as a form.
"""

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import flows.settings  # noqa: F401  # isort: skip  (must come before prefect)

from prefect import flow, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from pydantic import BeforeValidator

from curate.config.recipe import Config, recipe_model
from curate.core.console import say
from curate.core.errors import UserError
from curate.core.store import Artifact, Computation, Store, digest_of
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from flows.api import check_api

LOG = logging.getLogger("curate")
RECORDS = "prefect"


def read_recipe(value: Any) -> Config:
    """Return a recipe as the flow is given it, by Python or by Prefect's API."""
    return value if isinstance(value, Config) else Config.model_validate(value)


# The form shows the methods that are there when the flow is loaded; more may be there at its call.
Recipe = Annotated[Config, BeforeValidator(read_recipe, json_schema_input_type=recipe_model())]


@dataclass
class StoreKey(CachePolicy):
    """Prefect may reuse a result if, and only if, the store holds the whole artifact behind it."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return the step's key; forget Prefect's record where the artifact is gone or damaged."""
        work: Work = inputs["work"]
        key = work.step.key
        if work.store.find(work.step) is None:
            (work.store.root / RECORDS / key).unlink(missing_ok=True)
        return key


class Work:
    """A step and its store, opaque to Prefect, which would otherwise walk through every input."""

    __slots__ = ("step", "store")

    def __init__(self, step: Computation, store: Store) -> None:
        self.step = step
        self.store = store


@task(cache_policy=StoreKey(), persist_result=True, result_serializer="json")
def make(work: Work) -> dict[str, Any]:
    """Make a step's artifact or find it; return its key and counts, never its contents."""
    artifact = work.store.ensure(work.step)
    return {
        "name": artifact.name,
        "key": artifact.key,
        "path": str(artifact.path),
        "counts": artifact.counts,
        "cached": artifact.cached,
    }


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
    store = Store(Path(config.store))

    def execute(step: Computation) -> Artifact:
        named = make.with_options(task_run_name=step.name, result_storage=store.root / RECORDS)
        state = named(Work(step, store), return_state=True)
        result = state.result()
        return store.open(step, cached=result["cached"] or state.name == "Cached")

    def execute_all(steps: Sequence[Computation]) -> list[Artifact]:
        return [execute(step) for step in steps]

    folder = Path(out) if out else None
    result = run_curation(config, folder, execute_all, overwrite=overwrite, command=command)
    try:
        publish(result)
    except Exception as error:
        # The work is done; what shows it is not worth failing for.
        LOG.warning("Prefect does not show the run's artifacts: %s", error)
    return {
        "run": str(result.folder),
        "report": str(result.report),
        "verdict": result.proof["verdict"] if result.proof else None,
        "sentence": result.proof["sentence"] if result.proof else None,
        "compared": result.compared,
        "generated": result.generated,
    }


def publish(result: RunResult) -> None:
    """Show the funnel, the verdict and the report in Prefect's UI."""
    name = artifact_key(result.manifest["name"])
    columns = ("stage", "rows_in", "rows_out", "rejected", "dropped", "seconds", "cached")
    create_table_artifact(
        key=f"{name}-funnel",
        table=[{k: str(s.get(k, "")) for k in columns} for s in result.manifest["stages"]],
        description="Rows in and out of every stage",
    )
    sentence = result.proof["sentence"] if result.proof else "No proof was asked for."
    create_markdown_artifact(
        key=f"{name}-verdict", markdown=sentence, description="Does the selection beat random?"
    )
    create_link_artifact(
        key=f"{name}-report", link=result.report.resolve().as_uri(), link_text="Report"
    )


def artifact_key(name: str) -> str:
    """Return a run's name in the letters that Prefect takes, told apart from others by a digest."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if name.isascii() and plain else f"{plain}-{digest_of(name)[:8]}".lstrip("-")


def main() -> None:
    """Serve the flow on the user's Prefect server."""
    try:
        if not os.environ.get("PREFECT_API_URL"):
            raise UserError(
                "the flow is served on a Prefect server of yours: start one (prefect server start) "
                "and set PREFECT_API_URL to it, e.g. http://127.0.0.1:4200/api"
            )
        check_api()
    except UserError as error:
        say(f"Error: {error}", err=True)
        raise SystemExit(2) from error
    curation.serve(name="curation")


if __name__ == "__main__":
    main()
