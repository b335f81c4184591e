"""Steps of a run as Prefect tasks, cached under the store's own key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect import task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from curate.core.store import Artifact, Computation, Store
from curate.pipeline.run import ExecuteAll

RECORDS = "prefect"


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


def task_executor(store: Store) -> ExecuteAll:
    """Return what makes the artifacts of a run, each by a task of its own, one after the other."""

    def execute(step: Computation) -> Artifact:
        named = make.with_options(task_run_name=step.name, result_storage=store.root / RECORDS)
        state = named(Work(step, store), return_state=True)
        result = state.result()
        return store.open(step, cached=result["cached"] or state.name == "Cached")

    def execute_all(steps: Sequence[Computation]) -> list[Artifact]:
        return [execute(step) for step in steps]

    return execute_all
