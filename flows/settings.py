"""Prefect's switches, set in one place and before Prefect is imported.

A variable that the user has set wins, so PREFECT_API_URL leads to a server of their own.
"""

import logging
import os
from pathlib import Path

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The first start of the local server migrates its database: 16 to 20 seconds on two cores.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "curate",
    "PREFECT_CLI_PROMPT": "false",
}


def apply() -> None:
    """Set every switch that the environment leaves open."""
    home = Path(os.environ.get("CURATE_CACHE", "~/.cache/curate")).expanduser() / "prefect"
    places = {"PREFECT_HOME": str(home), "PREFECT_MEMO_STORE_PATH": str(home / "memo_store.toml")}
    for name, value in {**DEFAULTS, **places}.items():
        os.environ.setdefault(name, value)
    # SQLite makes its file but not the folder around it.
    Path(os.environ["PREFECT_HOME"]).expanduser().mkdir(parents=True, exist_ok=True)


def quiet_console() -> None:
    """Keep Prefect's log off the terminal; its server still records it."""
    from prefect.logging.handlers import PrefectConsoleHandler

    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs", "curate"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.setLevel(logging.CRITICAL + 1)


apply()
