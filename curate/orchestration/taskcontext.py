"""The context of a flow run as workers of a cluster get it with each task: without recipe and code.

Prefect sends the flow along by value, and Dask pickles what it sends several times over: with the models
of a whole recipe this takes a second a task.
"""

from contextlib import AbstractContextManager

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect import Flow
from prefect.context import FlowRunContext


def steps() -> None:
    """Stand for the function of a flow where only its steps are computed; nobody calls it."""


def lean_context() -> AbstractContextManager[object]:
    """Return the context of the flow that runs, to be entered while its tasks are submitted."""
    context = FlowRunContext.get()
    assert context is not None and context.flow is not None, "tasks are submitted by a flow"
    flow = Flow(steps, name=context.flow.name)
    return context.model_copy(update={"flow": flow, "parameters": {}})
