"""One server: sends a call, keeps to its rates and its wishes to be left alone, and hides its key."""

import asyncio
import contextlib
import email.utils
import ipaddress
import logging
import math
import os
import random
import ssl
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import orjson

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.llm.engines.bodies import (
    BYTES_A_TOKEN,
    BYTES_AN_ANSWER,
    BYTES_AN_ERROR,
    OversizedBody,
    UnknownEncoding,
    read_body,
)
from curate.llm.engines.congestion import CongestionWindow
from curate.llm.engines.parameters import EndpointParams, OpenAIParams
from curate.llm.engines.rates import Rate
from curate.llm.engines.redact import Redactor

LOG = logging.getLogger("curate")
# Another try may succeed: time-out, conflict, too early, too many; and all of the server's own faults.
PASSING = frozenset({408, 409, 425, 429})
REFUSALS = frozenset({401, 403, 404})
# The server has more calls than it takes at one time: too many, unavailable, overloaded.
OVERLOADED = frozenset({429, 503, 529})
MOST_DOUBLINGS = 64
QUOTA = "insufficient_quota"
# The codes by which servers say that this prompt, and no other, is against their policy.
POLICIES = frozenset({"content_filter", "content_policy_violation", "responsibleaipolicyviolation"})
# Status, headers and body.
ServerReply = tuple[int, httpx.Headers, bytes]


class EndpointError(Exception):
    """A call that got no answer.

    Attributes:
        kind: passing (another try may succeed), call (this call is never taken), filtered (its prompt
            is against the server's policy), or refused (the key, the model or the account is not good
            for it).
        again: whether to send the call once more now.
        wait: seconds that the server asks to wait.
        status: of the server's reply; 0 if there was none.
    """

    def __init__(
        self,
        sentence: str,
        *,
        kind: Literal["passing", "call", "filtered", "refused"] = "passing",
        again: bool | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.kind, self.wait, self.status = kind, wait, 0
        self.again = kind == "passing" if again is None else again


@dataclass(frozen=True)
class Payload:
    """What a request carries: its content type and its bytes."""

    kind: str
    content: bytes

    @classmethod
    def of(cls, body: Mapping[str, JSON]) -> "Payload":
        """Return a body as JSON."""
        return cls("application/json", orjson.dumps(body))


class Endpoint:
    """A server and the state of the dealings with it.

    Raises:
        UserError: the variable that should hold the key is not set, or holds none.
    """

    def __init__(self, params: EndpointParams, whole: OpenAIParams) -> None:
        self.params, self._whole = params, whole
        self._key = _read_key(params)
        self.redactor = Redactor(self._key, self.place)
        self._calls, self._tokens = Rate(params.calls_per_minute), Rate(params.tokens_per_minute)
        self.window = CongestionWindow(params.concurrency)
        self._quiet_until = 0.0
        self._refusals = 0
        self.answered = 0
        # Processes that share a server must not knock in step, so this is not the run's seed.
        self._jitter = random.Random(f"{os.getpid()} {params.url}")
        # Their lines quote what servers send, in which the key may stand.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def __repr__(self) -> str:
        return f"Endpoint({self.place})"

    @property
    def place(self) -> str:
        """Return the server's address as it may be shown."""
        parts = urlsplit(self.params.url)
        return (
            f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        )

    def connect(self) -> httpx.AsyncClient:
        """Return a connection, to be opened with `async with`; it takes one call after the other.

        One pool for all would look at every connection for every call. Nothing is packed, no cookie
        kept, no redirection followed: the key goes to this server and to no other.
        """
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return httpx.AsyncClient(
            headers={**headers, "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=self._whole.timeout,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            verify=_trusted_roots(),
            # No proxy can reach a server of this machine.
            trust_env=not _is_loopback(self.params.url),
        )

    async def wait_until_available(self) -> None:
        """Wait while the server wants to be left alone."""
        while (wait := self._quiet_until - time.monotonic()) > 0:
            # Not all at once afterwards.
            await asyncio.sleep(wait * (1 + 0.1 * self._jitter.random()))

    async def admit(self, tokens: float) -> list[float]:
        """Wait until the rates let a call of so many tokens pass; return the entry to settle."""
        await self._calls.take(1)
        return await self._tokens.take(tokens)

    def delay(self, sends: int) -> float:
        """Return seconds to wait after the n-th send: doubled each time, and half of it by chance."""
        doublings = min(sends - 1, MOST_DOUBLINGS)
        longest: float = min(self._whole.backoff * 2**doublings, self._whole.most_backoff)
        return longest * (0.5 + 0.5 * self._jitter.random())

    async def send(
        self,
        connection: httpx.AsyncClient,
        path: str,
        body: Mapping[str, JSON],
        max_tokens: int = 0,
    ) -> dict[str, Any]:
        """Return the server's JSON answer to a call of so many tokens at most.

        Raises:
            EndpointError: there is none.
        """
        limit = BYTES_AN_ANSWER + BYTES_A_TOKEN * max_tokens
        content = await self.exchange(connection, "POST", path, Payload.of(body), limit)
        return self.parse(content)

    async def exchange(
        self,
        connection: httpx.AsyncClient,
        method: str,
        path: str,
        payload: Payload | None,
        limit: int,
        *,
        timeout: float | None = None,
    ) -> bytes:
        """Return the body of the server's answer, which has so many bytes at most.

        Raises:
            EndpointError: there is none.
        """
        seconds = timeout or self._whole.timeout
        with self.window.flight() as sent_in:
            exchanged = _exchange(connection, method, f"{self.params.url}{path}", payload, limit)
            status, headers, content = await self._receive(exchanged, seconds)
            if not 200 <= status < 300:
                fault = self.fault_of(status, headers, content)
                if status in OVERLOADED and fault.kind == "passing":
                    self._shrink(sent_in, status)
                raise fault
            self._refusals = 0
            self.window.grow()
        return content

    async def _receive(
        self, exchanged: Coroutine[Any, Any, ServerReply], seconds: float
    ) -> ServerReply:
        """Return what a server answers within so many seconds.

        Raises:
            EndpointError: nothing, or nothing that can be read.
        """
        try:
            async with asyncio.timeout(seconds):
                return await exchanged
        except (TimeoutError, httpx.TimeoutException):
            raise EndpointError(f"{self.place}: no answer within {seconds:g} s") from None
        except httpx.ConnectError as error:
            self._knock_later()
            said = self.redactor.excerpt(str(error))
            raise EndpointError(f"{self.place}: no connection ({said})") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, ValueError) as error:
            # A ValueError is one of httpx's own, over headers that are none.
            raise EndpointError(
                f"{self.place}: the connection broke ({type(error).__name__})"
            ) from None
        except OversizedBody as error:
            raise EndpointError(f"{self.place}: {error}", kind="call") from None
        except UnknownEncoding as error:
            raise EndpointError(f"{self.place}: {error}") from None

    def parse(self, body: bytes) -> dict[str, Any]:
        """Return the JSON object that an answer is.

        Raises:
            EndpointError: it is none.
        """
        with contextlib.suppress(orjson.JSONDecodeError):
            reply = orjson.loads(body)
            if isinstance(reply, dict):
                self.answered += 1
                return reply
        said = self.redactor.excerpt(body.decode(errors="replace"), letters=80)
        raise EndpointError(f"{self.place}: the answer is no JSON object: {said!r}")

    def fault_of(self, status: int, headers: Mapping[str, str], body: bytes) -> EndpointError:
        """Return what a status that is no success means for the call."""
        fault = self._fault(status, headers, body)
        fault.status = status
        return fault

    def _fault(self, status: int, headers: Mapping[str, str], body: bytes) -> EndpointError:
        text = _error_text(body)
        sentence = f"{self.place}: HTTP {status} {self.redactor.excerpt(text)}".rstrip()
        if 400 <= status < 500 and _is_against_policy(body):
            self._refusals = 0
            return EndpointError(sentence, kind="filtered")
        if status in REFUSALS or QUOTA in text:
            return self._refusal(status, sentence)
        self._refusals = 0
        if 300 <= status < 400:
            more = "it redirects, and keys go to no other server: write its own address as url"
            return EndpointError(f"{sentence}; {more}", kind="call")
        if status not in PASSING and status < 500:
            return EndpointError(sentence, kind="call")
        wait = retry_after(headers)
        if wait is not None and wait > self._whole.patience:
            more = f"it asks to wait {wait:,.6g} s, longer than engine.patience"
            return EndpointError(f"{sentence}; {more}", again=False, wait=wait)
        if wait is not None:
            self._rest(wait)
        return EndpointError(sentence, wait=wait)

    def _shrink(self, sent_in: int, status: int) -> None:
        """Send less at one time to a server that has too much."""
        if self.window.shrink(sent_in) and sent_in == 0 and self.window.most > 1:
            LOG.info(
                "%s turns calls away (HTTP %s): at most %s under way from now on instead of %s, and "
                "more as it takes them", self.place, status, self.window.size, self.window.most,
            )  # fmt: skip

    def _refusal(self, status: int, sentence: str) -> EndpointError:
        """Return the fault of a call that another key, model or account is needed for.

        Where there are other servers they may take it, and this one is left alone for a while.
        """
        others = len(self._whole.endpoints) > 1
        if others:
            self._knock_later()
        if status in (401, 403):
            sentence = f"{sentence}: it refuses the key; {self._advice()}"
        else:
            sentence = f"{sentence}: check the server's url, engine.model and the account"
        return EndpointError(sentence, kind="refused", again=others)

    @property
    def away(self) -> bool:
        """Return whether it could not be reached, however long one waited."""
        return self._refusals >= self._whole.attempts

    def _knock_later(self) -> None:
        """Leave a server that is away alone for longer and longer, so that others take the calls."""
        # Calls that were under way together are one knock.
        if time.monotonic() >= self._quiet_until:
            self._refusals += 1
            self._rest(self.delay(self._refusals))

    def _rest(self, seconds: float) -> None:
        self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)

    def _advice(self) -> str:
        name = self.params.api_key_env
        return f"check the variable {name}" if name else "name the key's variable in api_key_env"


async def _exchange(
    connection: httpx.AsyncClient, method: str, url: str, payload: Payload | None, limit: int
) -> ServerReply:
    """Return status, headers and body; the body of an error is cut rather than refused."""
    headers = {} if payload is None else {"Content-Type": payload.kind}
    content = None if payload is None else payload.content
    async with connection.stream(method, url, content=content, headers=headers) as reply:
        if reply.is_success:
            return reply.status_code, reply.headers, await read_body(reply, limit)
        try:
            body = await read_body(reply, BYTES_AN_ERROR)
        except OversizedBody as error:
            body = error.body
        except UnknownEncoding as error:
            body = str(error).encode()
        return reply.status_code, reply.headers, body


def _error_text(body: bytes) -> str:
    """Return what an error says; JSON is written anew, so that no escape hides a key."""
    with contextlib.suppress(orjson.JSONDecodeError, TypeError):
        return orjson.dumps(orjson.loads(body)).decode()
    return body.decode(errors="replace")


def _is_against_policy(body: bytes) -> bool:
    """Return whether an error's code or type is one of content policies."""
    error: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        error = orjson.loads(body)
    if isinstance(error, dict):
        error = error.get("error")
    if not isinstance(error, dict):
        return False
    inner = error.get("innererror")
    named = [
        error.get("code"),
        error.get("type"),
        inner.get("code") if isinstance(inner, dict) else None,
    ]
    return any(isinstance(name, str) and name.lower() in POLICIES for name in named)


@cache
def _trusted_roots() -> ssl.SSLContext:
    """Return the certificates that servers are checked by; to read them takes as long as a call."""
    return httpx.create_ssl_context()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _read_key(params: EndpointParams) -> str | None:
    if params.api_key_env is None:
        return None
    name = params.api_key_env
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(
            f"the environment variable {name}, which should hold the key of "
            f"{params.url}, is not set; export it, or remove api_key_env for a server without keys"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(
            f"the environment variable {name}, which should hold the key of {params.url}, has blanks, "
            "line breaks or other letters than a key has; export the key alone"
        )
    return key


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: in milliseconds, in seconds, or as a date."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or value is None:
        return seconds
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    return None


def _seconds(text: str | None) -> float | None:
    """Return a header's number, 0 for a negative one; None where there is none."""
    with contextlib.suppress(ValueError, TypeError):
        number = float(text)  # type: ignore[arg-type]
        return None if math.isnan(number) else max(number, 0.0)
    return None
