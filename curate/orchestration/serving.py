"""A flow served on the user's Prefect server, which starts runs in the process that serves."""

import os
from typing import Any

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect.flows import Flow
from prefect.types.entrypoint import EntrypointType

from curate.core.console import say
from curate.core.errors import UserError
from curate.orchestration.client import check_api


def serve(flow: Flow[..., Any]) -> None:
    """Serve a flow until the process is ended; a server that is not there is told in one sentence."""
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
    # By its module, so that a run finds it from any folder, and in an installed package.
    flow.serve(name=flow.name, entrypoint_type=EntrypointType.MODULE_PATH)
