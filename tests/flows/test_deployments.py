"""prefect.yaml: every deployment names a flow that loads, with parameters that are valid."""

from typing import Any

import pytest
import yaml

from tests.orchestration.workplace import REPO

DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((REPO / "prefect.yaml").read_text())[
    "deployments"
]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: str(one["name"]))
def test_a_deployment_names_a_flow_that_takes_its_parameters(deployment: dict[str, Any]) -> None:
    # Of two processes that run tests, one at least needs none of Prefect.
    from prefect.flows import Flow, load_flow_from_entrypoint
    from prefect.utilities.callables import get_parameter_defaults

    flow: Flow[..., Any] = load_flow_from_entrypoint(str(REPO / deployment["entrypoint"]))
    assert flow.name == deployment["name"]
    flow.validate_parameters(get_parameter_defaults(flow.fn) | deployment["parameters"])


def test_there_is_a_deployment_of_every_entry_point() -> None:
    entry_points = {path.stem for path in (REPO / "flows").glob("*.py")} - {"__init__"}
    assert entry_points == {deployment["name"] for deployment in DEPLOYMENTS}
