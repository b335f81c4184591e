"""Prefect's API for one run: a process that lives no longer than the process that started it.

    python -P server.py        (started by local.py, in a folder of its own)

It listens on a free port of this machine alone and prints the port once it answers. Its standard
input is a pipe from the run: a line asks it to end, and the pipe's end means that the run is gone,
by whatever signal, so that nobody else will remove the folder.
"""

import gc
import os
import socket
import sys
import threading
from pathlib import Path

import uvicorn

# For requests under way: a run that waits no longer kills this process.
GRACE_SECONDS = 60


class RunServer(uvicorn.Server):
    """A server that prints its port once it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell the run where."""
        await super().startup(sockets)
        gc.freeze()
        gc.enable()
        if self.started and sockets:
            sys.stdout.write(f"{sockets[0].getsockname()[1]}\n")
            sys.stdout.flush()


def main() -> None:
    """Serve until the run ends."""
    # What a start imports and builds stays: to look for garbage in it takes a sixth of the time.
    gc.disable()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        "prefect.server.api.server:create_app",
        factory=True,
        lifespan="on",
        log_level="error",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = RunServer(config)
    threading.Thread(target=_watch, args=(server, Path.cwd()), daemon=True).start()
    server.run([listener])


def _watch(server: uvicorn.Server, folder: Path) -> None:
    if sys.stdin.readline():
        server.should_exit = True
        return
    # No thread of ours outlives the exec, so none writes into the folder while it is removed.
    os.execvp("rm", ["rm", "-rf", str(folder)])


if __name__ == "__main__":
    main()
