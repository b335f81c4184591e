"""Prefect's API on this machine for one run: started with it, gone with it, closed to all others."""

import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from curate.core.errors import UserError
from curate.core.scratch import temporary_folder
from curate.orchestration.history import (
    DATABASE,
    copy_history,
    history_stamp,
    keep_history,
    set_aside,
)

LOG = logging.getLogger("curate")
SERVER = Path(__file__).with_name("server.py")
# For busy machines; alone a server starts in 10 and ends in 2.
START_SECONDS, STOP_SECONDS = 900, 120
# Of an answer: a server that has died is not waited for, since nobody listens on its port.
REQUEST_SECONDS = "180"


@contextmanager
def local_server() -> Iterator[dict[str, str]]:
    """Run a server and yield the variables that lead a client to it.

    The database of past runs is the body's to use. After an exception that is not the user's to mend it
    stays as it was, without this run.

    Raises:
        OSError: the server does not start.
    """
    auth = f"curate:{secrets.token_hex(16)}"
    with temporary_folder() as folder:
        before = history_stamp()
        server, port = _start_on_history(folder, auth)
        orderly = False
        try:
            yield {
                "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
                "PREFECT_API_AUTH_STRING": auth,
                "PREFECT_API_REQUEST_TIMEOUT": os.environ.get("PREFECT_API_REQUEST_TIMEOUT")
                or REQUEST_SECONDS,
            }
            orderly = True
        except UserError:
            orderly = True
            raise
        finally:
            if orderly:
                _stop(server)
                keep_history(folder, before)
            else:
                _kill(server)


def _start_on_history(folder: Path, auth: str) -> tuple[subprocess.Popen[str], int]:
    """Return a server that knows past runs, if it starts with their database, and its port."""
    copied = copy_history(folder)
    try:
        return _start(folder, auth)
    except TimeoutError:
        raise
    except OSError as error:
        if not copied:
            raise
        (folder / DATABASE).unlink()
        started = _start(folder, auth)
        set_aside(f"with it {error}")
        return started


def _start(folder: Path, auth: str) -> tuple[subprocess.Popen[str], int]:
    """Return a server that answers, and its port."""
    log = folder / "server.log"
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, "-P", str(SERVER)],
            cwd=folder,
            env=_environment(folder, auth),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    assert server.stdout is not None
    slow = threading.Timer(START_SECONDS, server.kill)
    slow.daemon = True
    slow.start()
    port = server.stdout.readline().strip()
    slow.cancel()
    if port:
        return server, int(port)
    with suppress(subprocess.TimeoutExpired):
        server.communicate(timeout=STOP_SECONDS)
    _kill(server)
    if server.returncode < 0:
        raise TimeoutError(f"Prefect's local server was killed, or slower than {START_SECONDS} s")
    lines = log.read_text(errors="replace").strip().splitlines()
    raise OSError(
        f"Prefect's local server did not start ({lines[-1] if lines else 'no reason told'})"
    )


def _stop(server: subprocess.Popen[str]) -> None:
    """Let a server write what it has in hand, but not for ever; tell where it has not done so."""
    with suppress(OSError, subprocess.TimeoutExpired):
        server.communicate("stop\n", timeout=STOP_SECONDS)
    if server.poll() != 0:
        LOG.warning(
            "Prefect's local server was killed, or did not end within %g s: its record of this run may "
            "lack the end",
            STOP_SECONDS,
        )
    _kill(server)


def _kill(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()


def _environment(folder: Path, auth: str) -> Mapping[str, str]:
    """Return the server's environment: of Prefect's switches none but ours."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith("PREFECT_")}
    return kept | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": os.devnull,
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / DATABASE}",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "",
        "PREFECT_UI_ENABLED": "false",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
