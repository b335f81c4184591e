"""What Prefect's API says of a run, asked as Prefect's own pages ask it."""

import base64
import urllib.request
from collections.abc import Mapping
from typing import Any

import orjson


def read_api(variables: Mapping[str, str], path: str, body: object) -> list[dict[str, Any]]:
    """Return what the server that these variables lead to answers, a list of records."""
    basic = base64.b64encode(variables["PREFECT_API_AUTH_STRING"].encode()).decode()
    request = urllib.request.Request(
        f"{variables['PREFECT_API_URL']}/{path}",
        data=orjson.dumps(body),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {basic}"},
    )
    # No proxy stands before a server of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=600) as answer:
        records = orjson.loads(answer.read())
    assert isinstance(records, list)
    return records


def flow_run_ids(variables: Mapping[str, str]) -> set[str]:
    """Return the ids of all flow runs."""
    return {run["id"] for run in read_api(variables, "flow_runs/filter", {})}


def steps_before(variables: Mapping[str, str], flow_run: str) -> dict[str, set[str]]:
    """Return the steps that each step of a flow run, told by its id, is shown to be made of."""
    tasks = read_api(variables, "task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
    names = {task["id"]: task["name"] for task in tasks}
    return {
        task["name"]: {names[one["id"]] for one in task["task_inputs"].get("job", [])}
        for task in tasks
    }
