"""A run as a Prefect flow, on the server that the environment names or else on a local one.

Prefect watches the run; the run does not need it. Where Prefect fails, the run goes on without it.
"""

import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

from curate.config import Config
from curate.errors import UserError
from curate.run import RunResult, read_result
from curate.terminal import run_with_progress
from flows.local import local_server

LOG = logging.getLogger("curate")
CONNECT_SECONDS, DRAIN_SECONDS = 5.0, 5.0


def run_flow(
    config: Config, out: Path | None, *, overwrite: bool = False, command: str | None = None
) -> RunResult:
    """Run a recipe to the end as a flow and write its run folder; see curate.run.run_curation.

    Raises:
        UserError: an input or the config is at fault, or no Prefect API is at PREFECT_API_URL.
    """
    try:
        if os.environ.get("PREFECT_API_URL"):
            check_api()
            return _call_flow(config, out, overwrite, command)
        LOG.info("starting Prefect's local server, which takes some seconds")
        with local_server() as variables:
            os.environ.update(variables)
            return _call_flow(config, out, overwrite, command)
    except UserError:
        raise
    except Exception as error:
        LOG.warning("Prefect failed (%s); the run goes on without it", _one_line(error))
        return run_with_progress(config, out, overwrite=overwrite, command=command)


def _call_flow(config: Config, out: Path | None, overwrite: bool, command: str | None) -> RunResult:
    import flows.settings
    from flows.curation import curation

    flows.settings.quiet_console()
    try:
        folder = None if out is None else str(out)
        return read_result(Path(curation(config, folder, overwrite, command)["run"]))
    finally:
        _drain()


def _drain() -> None:
    """Let Prefect send what it has in hand, but not for long."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=DRAIN_SECONDS)


def check_api() -> None:
    """Make sure, before any work, that a Prefect API answers at PREFECT_API_URL and lets us in.

    Raises:
        UserError: it does not.
    """
    url = _without_password(os.environ["PREFECT_API_URL"])
    try:
        from prefect.client.orchestration import get_client

        import flows.settings  # noqa: F401

        with get_client(sync_client=True, httpx_settings={"timeout": CONNECT_SECONDS}) as client:
            client.read_flows(limit=1)
    except Exception as error:
        raise UserError(
            f"PREFECT_API_URL={url}: no Prefect API there that lets us in ({_one_line(error)}); start "
            "it, mend the variable (and PREFECT_API_AUTH_STRING or PREFECT_API_KEY, where it asks "
            "for them), or unset it to run without Prefect"
        ) from error


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
