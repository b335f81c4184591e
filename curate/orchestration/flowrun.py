"""A run as a Prefect flow, on the server that the environment names or else on a local one.

Prefect watches the run; the run does not need it. Where Prefect fails, the run goes on without it.
"""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.orchestration.engines import run_on_engine
from curate.orchestration.local import local_server
from curate.pipeline.curation import read_result
from curate.pipeline.run import RunResult
from curate.terminal import showing_progress

LOG = logging.getLogger("curate")


def run_flow(
    config: Config, out: Path | None, *, overwrite: bool = False, command: str | None = None
) -> RunResult:
    """Run a recipe to the end as a flow and write its run folder; see pipeline.curation.run_curation.

    Raises:
        UserError: an input or the config is at fault, Prefect is not installed, or no Prefect API is
            at PREFECT_API_URL.
    """
    if find_spec("prefect") is None:
        raise UserError(
            "a run as a flow (--prefect, PREFECT_API_URL) needs Prefect, which is not installed: "
            "pip install 'curate-data[prefect]'"
        )
    options = {"overwrite": overwrite, "command": command}
    try:
        if os.environ.get("PREFECT_API_URL"):
            return _call_flow(config, out, options, check=True)
        LOG.info("starting Prefect's local server, which takes some seconds")
        with local_server() as variables:
            os.environ.update(variables)
            return _call_flow(config, out, options, check=False)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        LOG.warning("Prefect failed (%s); the run goes on without it", reason)
        return run_on_engine(config, out, overwrite=overwrite, command=command)


def _call_flow(
    config: Config, out: Path | None, options: Mapping[str, Any], *, check: bool
) -> RunResult:
    # Prefect reads its settings when it is imported, so not before they are in the environment.
    from curate.orchestration.client import check_api, drained  # noqa: PLC0415
    from curate.orchestration.environment import quiet_console  # noqa: PLC0415
    from curate.orchestration.flows import curation  # noqa: PLC0415

    if check:
        check_api()
    quiet_console()
    with drained(), showing_progress(config.name):
        return read_result(Path(curation(config, str(out) if out else None, **options)["run"]))
