"""Steps as Prefect's tasks: a list of more than its server bears is one task."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from curate.core.store import Store
from curate.orchestration.tasks import MOST_TASKS
from tests.orchestration import hazards
from tests.orchestration.workplace import REPO, environment

pytestmark = pytest.mark.system
# One list of a flow on each engine; printed are the flow's tasks, and what came of them in their order.
FLOW = """
import json, sys
from pathlib import Path

def main(on, folder, many):
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.context import get_run_context
    from curate.config.running import RunSettings
    from curate.core.store import Store
    from curate.orchestration.tasks import task_executor
    from tests.orchestration import hazards

    @flow
    def steps():
        settings = RunSettings.model_validate({"on": on, "workers": 2})
        with task_executor(settings, Store(Path(folder))) as execute_all:
            artifacts = list(execute_all([hazards.number.call(n) for n in range(many)]))
        return get_run_context().flow_run.id, [artifact.key for artifact in artifacts]

    run, keys = steps()
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run]}))
    states = [(task.name, task.state_name) for task in tasks]
    print("RESULT", json.dumps({"on": on, "keys": keys, "tasks": states}))

if __name__ == "__main__":
    for on in sys.argv[3:]:
        main(on, f"{sys.argv[1]}-{on}", int(sys.argv[2]))
"""


def test_a_list_of_more_than_200_steps_is_one_task(api: Mapping[str, str], tmp_path: Path) -> None:
    many, script, engines = MOST_TASKS + 50, tmp_path / "flow.py", ["threads", "ray", "dask"]
    script.write_text(FLOW)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "store"), str(many), *engines],
        cwd=REPO, env={**environment(), **api}, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    results = [json.loads(line.removeprefix("RESULT ")) for line in lines]
    assert [result["on"] for result in results] == engines
    calls = [hazards.number.call(value) for value in range(many)]
    for result in results:
        assert result["tasks"] == [["test-number (250)", "Completed"]]
        assert result["keys"] == [call.key for call in calls]
        store = Store(tmp_path / f"store-{result['on']}")
        artifacts = [store.find(call) for call in calls]
        tables = [pl.read_parquet(one.file("number.parquet")) for one in artifacts if one]
        assert [table["value"].item() for table in tables] == list(range(many))
