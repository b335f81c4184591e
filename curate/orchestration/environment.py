"""Prefect's switches, set in one place; Prefect is first imported here, so import this before it.

Only the environment counts, and a variable that the user has set wins. Prefect by itself also reads
`.env`, `prefect.toml` and `pyproject.toml` of the current folder, and profiles: files that could
send a recipe to somebody else's server.
"""

import contextlib
import logging
import os
import sys
import tempfile
from pathlib import Path

from curate.orchestration.history import prefect_folder

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "curate",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLI_PROMPT": "false",
    # A server that has gone must not hold up a run, which does not need it: 5 retries take minutes.
    "PREFECT_CLIENT_MAX_RETRIES": "1",
    "PREFECT_API_REQUEST_TIMEOUT": "20",
}
LOOPBACK = "127.0.0.1,localhost,::1"


def apply() -> None:
    """Set every switch that the environment leaves open, and import Prefect with them."""
    home = Path(os.environ.get("PREFECT_HOME") or prefect_folder()).expanduser().resolve()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["PREFECT_HOME"] = str(home)
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    bypass_proxies()
    if "prefect" not in sys.modules:
        os.environ.pop("PREFECT_PROFILE", None)
        os.environ["PREFECT_PROFILES_PATH"] = os.devnull
        with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
            import prefect.context  # noqa: F401, PLC0415  (reads the settings, once)


def bypass_proxies() -> None:
    """Reach servers on this machine without a proxy, whatever else the user has excluded."""
    excluded = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    hosts = f"{excluded},{LOOPBACK}" if excluded else LOOPBACK
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = hosts


def quiet_console() -> None:
    """Keep Prefect's log off the terminal; its server still records it."""
    # Else a server that has gone is told of with every line that it does not take.
    logging.raiseExceptions = False

    for name in ("", *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            of_prefect = type(handler).__module__ == "prefect.logging.handlers"
            if of_prefect and isinstance(handler, logging.StreamHandler):
                handler.setLevel(logging.CRITICAL + 1)


apply()
