"""The viewer's server: on this machine alone, until Ctrl-C.

Viewing runs/quickstart at http://127.0.0.1:43817/?token=3kV... ; Ctrl-C ends it
"""

import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from curate.core.console import say
from curate.core.errors import UserError
from curate.view.guard import Guard, new_token

HOST = "127.0.0.1"
# Downloads that still run are cut off then.
GRACE_SECONDS = 2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ViewServer:
    """A server of one app in a thread: `start` and `stop` for notebooks, `serve` for a terminal."""

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        """Listen at a port of 127.0.0.1, any free one if 0.

        Raises:
            UserError: the port is taken.
        """
        self._socket = _listen(port)
        self.port = int(self._socket.getsockname()[1])
        self.token = new_token()
        config = uvicorn.Config(
            Guard(app, self.token, self.port),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        run = partial(self._server.run, sockets=[self._socket])
        self._thread = threading.Thread(target=run, name="viewer", daemon=True)

    def url(self, path: str = "/") -> str:
        """Return the address that signs a browser in."""
        return f"http://{HOST}:{self.port}{path}?token={self.token}"

    def start(self) -> None:
        """Answer from now on; requests that came before have waited."""
        self._thread.start()

    def stop(self) -> None:
        """End; an answer under way has GRACE_SECONDS."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def serve(self, title: str, path: str = "/", *, browser: bool) -> None:
        """Say the address, open it where there is a screen, and answer until Ctrl-C.

        Args:
            title: what is viewed.
            path: the page to begin with.
            browser: open it in the reader's browser.
        """
        self.start()
        say(f"Viewing {title} at {self.url(path)}", "Ctrl-C ends it")
        if browser and has_screen():
            threading.Thread(target=webbrowser.open, args=[self.url(path)], daemon=True).start()
        ended = threading.Event()
        with _signals_to(ended):
            # In pieces: a server that has fallen must not leave the terminal waiting.
            while self._thread.is_alive() and not ended.wait(1):
                pass
        self.stop()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"--port {port}: {error.strerror or error}; give another port, or none for any free one"
        ) from error
    listener.listen(128)
    return listener


def has_screen() -> bool:
    """Return whether a browser can open a window: one in a terminal would take the terminal over."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


@contextmanager
def _signals_to(event: threading.Event) -> Iterator[None]:
    """Set an event at Ctrl-C, kill and a closed terminal, which is how a viewer ends."""

    def end(number: int, frame: FrameType | None) -> None:
        event.set()

    # The command line's own handler would call that an interruption.
    wakeup = signal.set_wakeup_fd(-1)
    heeded = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
