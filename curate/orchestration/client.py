"""The client's side of Prefect's API: is it there, and has it got everything."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from curate.core.errors import UserError

LOG = logging.getLogger("curate")
CONNECT_SECONDS, DRAIN_SECONDS = 10.0, 60.0
# For a server with which something went wrong.
BRIEF_SECONDS = 5.0


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


@contextmanager
def drained() -> Iterator[None]:
    """Let Prefect send at the end what it has in hand, but not for ever; tell if that is too long."""
    seconds = BRIEF_SECONDS
    try:
        yield
        seconds = DRAIN_SECONDS
    except UserError:
        seconds = DRAIN_SECONDS
        raise
    finally:
        logs, events = (one.drain_all(timeout=seconds) for one in (APILogWorker, EventsWorker))
        assert isinstance(logs, tuple) and isinstance(events, tuple)
        if seconds == DRAIN_SECONDS and logs[1] | events[1]:
            LOG.warning(
                "Prefect's server has not taken everything within %g s: its record of this run may lack "
                "the last lines and states",
                seconds,
            )


def _without_password(text: str) -> str:
    """Return a text without the name and password of any URL in it."""
    return re.sub(r"//[^/\s]*@", "//", text)
