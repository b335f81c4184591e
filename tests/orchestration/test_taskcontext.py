"""What of a flow goes to a worker of a cluster with each task."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from distributed.protocol.pickle import dumps

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, serialize_context
from prefect.results import ResultStore
from prefect.task_runners import ThreadPoolTaskRunner

from curate.config.recipe import Config
from curate.core.store import Store
from curate.orchestration.flows import curation
from curate.orchestration.tasks import TaskSubmitter
from tests.orchestration import hazards

pytestmark = pytest.mark.system


class RecordingRunner:
    """A runner of tasks that keeps what Prefect would send with each, as its own runners ask for it."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def submit(self, task: object, parameters: object, dependencies: object) -> SimpleNamespace:
        self.sent.append(serialize_context())
        return SimpleNamespace(task_run_id=uuid4())


def test_a_task_takes_neither_the_recipe_nor_its_models_along(tmp_path: Path) -> None:
    recipe = Config.model_validate(
        {
            "name": "r",
            "pool": [{"path": "p"}],
            "select": {"method": "random", "budget": {"rows": 1}},
        }
    )
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="curate-r")
    context = FlowRunContext(
        client=SyncPrefectClient("http://127.0.0.1:9/api"), flow=curation, flow_run=run,
        task_runner=ThreadPoolTaskRunner(), result_store=ResultStore(), parameters={"config": recipe},
    )  # fmt: skip
    runner = RecordingRunner()
    submitter = TaskSubmitter(Store(tmp_path), runner, lambda step: nullcontext())  # type: ignore[arg-type]
    with context:
        whole = dumps(serialize_context())
        submitter([hazards.number.call(1)])
    (sent,) = runner.sent
    lean = dumps(sent)
    assert b"curate.config" in whole
    assert b"curate.config" not in lean
    assert 10 * len(lean) < len(whole)
    assert sent["flow_run_context"]["flow_run"]["id"] == run.id
    assert sent["flow_run_context"]["flow"].name == "curation"
