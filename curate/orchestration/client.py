"""The client's side of Prefect's API: is it there, and has it got everything."""

import os
import re

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from curate.core.errors import UserError

CONNECT_SECONDS, DRAIN_SECONDS = 3.0, 5.0


def check_api() -> None:
    """Make sure, before any work, that a Prefect API answers at PREFECT_API_URL and lets us in.

    Raises:
        UserError: it does not.
    """
    url = os.environ["PREFECT_API_URL"]
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": CONNECT_SECONDS}) as client:
            client.read_flows(limit=1)
    except Exception as error:
        reason = str(error).partition(" - For more information")[0] or type(error).__name__
        reason = " ".join(reason.split())
        raise UserError(
            _without_password(
                f"PREFECT_API_URL={url}: no Prefect API there that lets us in ({reason})"
            )
            + "; start it, mend the variable (and PREFECT_API_AUTH_STRING or PREFECT_API_KEY, where "
            "it asks for them), or unset it to run without Prefect"
        ) from error


def drain() -> None:
    """Let Prefect send what it has in hand, but not for long."""
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=DRAIN_SECONDS)


def _without_password(text: str) -> str:
    """Return a text without the name and password of any URL in it."""
    return re.sub(r"//[^/\s]*@", "//", text)
