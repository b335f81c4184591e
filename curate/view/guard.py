"""What stands between a browser and the viewer: who may ask, how, and what the answer may load.

    http://127.0.0.1:8700/?token=3kV...     the address that `curate view` prints: sets the cookie
    http://127.0.0.1:8700/rows?fate=dropped without the cookie: 403

Any page that the reader has open, and any program of another user of this machine, can send requests
to a local port. So a request needs a Host of ours (a name that an attacker points to 127.0.0.1 is none),
no foreign Origin, and a token that only the terminal has shown. Pool text that gets past the templates
could still load nothing and run nothing: see CSP.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
METHODS = ("GET", "HEAD", "POST")
MOST_BODY_BYTES = 2**20


def new_token() -> str:
    """Return a secret that nobody guesses, for an address."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Guard:
    """An app that lets requests of the reader's own browser pass, and answers all others itself.

    Attributes:
        app: the viewer.
        token: what the first request must have in its query, and later ones in a cookie.
        port: where the viewer listens.
    """

    app: ASGIApp
    token: str
    port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, every answer with HEADERS."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            return
        answer = self._answer(Request(scope)) or self.app
        await answer(scope, receive, send_with_headers)

    @property
    def cookie(self) -> str:
        """Return the name of the cookie: cookies know no ports, and two viewers may be open."""
        return f"curate-view-{self.port}"

    def _answer(self, request: Request) -> Response | None:
        """Return a refusal, or the page that sets the cookie; None lets the request pass."""
        refusal = self._fault_of_place(request) or self._fault_of_body(request)
        if refusal is not None:
            return refusal
        token = request.query_params.get("token")
        if token is not None and request.method in ("GET", "HEAD") and self._is_token(token):
            return self._signed_in(request)
        if not self._is_token(self._cookie_of(request)):
            return PlainTextResponse(
                "This address needs the token: open the one that `curate view` printed.", 403
            )
        return None

    def _fault_of_place(self, request: Request) -> Response | None:
        """Refuse what does not come from a page of the viewer or from the address bar."""
        if request.method not in METHODS:
            return PlainTextResponse("The viewer knows GET and POST.", 405)
        hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        host = request.headers.get("host", "")
        if host not in hosts:
            return PlainTextResponse(f"The viewer is at 127.0.0.1:{self.port} alone.", 403)
        origin, site = (request.headers.get(name) for name in ("origin", "sec-fetch-site"))
        link = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        foreign = site not in (None, "same-origin", "none") and not link
        if foreign or origin not in (None, f"http://{host}"):
            return PlainTextResponse("Other sites may not ask the viewer for anything.", 403)
        if request.method == "POST" and origin is None and site != "same-origin":
            return PlainTextResponse("A change needs an Origin.", 403)
        return None

    def _fault_of_body(self, request: Request) -> Response | None:
        if request.method != "POST":
            return None
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return PlainTextResponse("A change is sent as application/json.", 415)
        length = request.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            return PlainTextResponse("A change is sent with its length.", 411)
        if int(length) > MOST_BODY_BYTES:
            return PlainTextResponse(f"A change has at most {MOST_BODY_BYTES:,} bytes.", 413)
        return None

    def _signed_in(self, request: Request) -> Response:
        """Return a page that leads on to the address without the token, and sets the cookie.

        A redirect would do, but for a link in a notebook: a browser keeps a strict cookie back from all
        requests of a redirect that another site began.
        """
        rest = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
        path = escape(_own_path(request.url.path) + (f"?{urlencode(rest)}" if rest else ""))
        page = HTMLResponse(
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>curate</title>'
            f'<link rel="icon" href="data:,">'
            f'<meta http-equiv="refresh" content="0;url={path}"></head>'
            f'<body><p><a href="{path}">Open the run</a></p></body></html>'
        )
        page.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
        return page

    def _cookie_of(self, request: Request) -> str:
        cookies: Mapping[str, str] = request.cookies
        return cookies.get(self.cookie, "")

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())


def _own_path(path: str) -> str:
    """Return a path that no browser takes for another server's address, as it does `//host`."""
    return "/" + path.replace("\\", "/").lstrip("/")
