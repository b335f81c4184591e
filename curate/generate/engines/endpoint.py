"""One server: sends a call, keeps to its rates and its wishes to be left alone, and hides its key."""

import asyncio
import contextlib
import email.utils
import os
import random
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from curate.errors import UserError
from curate.generate.engines.config import EndpointParams, OpenAIParams
from curate.generate.engines.rates import Rate

# Another try may succeed: time-out, conflict, too early, too many, and the server's own faults.
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
EXCERPT = 300


class Fault(Exception):
    """A call that got no answer.

    Attributes:
        again: whether another try makes sense.
        wait: seconds that the server asks to wait.
    """

    def __init__(self, sentence: str, *, again: bool = True, wait: float | None = None) -> None:
        super().__init__(sentence)
        self.again, self.wait = again, wait


class Endpoint:
    """A server and the state of the dealings with it.

    Raises:
        UserError: the variable that should hold the key is not set.
    """

    def __init__(self, params: EndpointParams, whole: OpenAIParams) -> None:
        self.params, self._whole = params, whole
        self._key = _read_key(params)
        self._calls, self._tokens = Rate(params.calls_per_minute), Rate(params.tokens_per_minute)
        self._quiet_until = 0.0
        self._refusals = 0
        self._trust: ssl.SSLContext | None = None
        # Processes that share a server must not knock in step, so this is not the run's seed.
        self._jitter = random.Random(f"{os.getpid()} {params.url}")

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

        One pool for all would look at every connection for every call.
        """
        if self._trust is None:
            self._trust = httpx.create_ssl_context()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        return httpx.AsyncClient(
            headers=headers, timeout=self._whole.timeout, limits=limits, verify=self._trust
        )

    async def ready(self) -> None:
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
        longest: float = min(self._whole.backoff * 2 ** (sends - 1), self._whole.most_backoff)
        return longest * (0.5 + 0.5 * self._jitter.random())

    async def send(
        self, connection: httpx.AsyncClient, path: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the server's JSON answer.

        Raises:
            Fault: there is none.
            UserError: the server will not serve anything as things are configured.
        """
        try:
            async with asyncio.timeout(self._whole.timeout):
                reply = await connection.post(
                    f"{self.params.url}{path}",
                    content=orjson.dumps(body),
                    headers={"Content-Type": "application/json"},
                )
        except (TimeoutError, httpx.TimeoutException):
            raise Fault(f"{self.place}: no answer within {self._whole.timeout:g} s") from None
        except httpx.ConnectError as error:
            self._knock_later()
            raise Fault(f"{self.place}: no connection ({error})") from None
        except httpx.HTTPError as error:
            raise Fault(f"{self.place}: the connection broke ({type(error).__name__})") from None
        self._refusals = 0
        return self._read(reply)

    def _read(self, reply: httpx.Response) -> dict[str, Any]:
        if reply.status_code == 200:
            with contextlib.suppress(orjson.JSONDecodeError):
                told = orjson.loads(reply.content)
                if isinstance(told, dict):
                    return told
            raise Fault(f"{self.place}: the answer is no JSON object")
        said = self._hide(reply.text[:EXCERPT])
        sentence = f"{self.place}: HTTP {reply.status_code} {said}".rstrip()
        if reply.status_code in (401, 403):
            raise UserError(
                f"{self.place} refuses the key (HTTP {reply.status_code}); {self._advice()}"
            )
        if reply.status_code == 404 or "insufficient_quota" in reply.text:
            raise UserError(f"{sentence}\nCheck engine.url, engine.model and the account.")
        if reply.status_code not in PASSING:
            raise Fault(sentence, again=False)
        wait = retry_after(reply.headers)
        if wait is not None and wait > self._whole.patience:
            raise Fault(f"{sentence}; it asks to wait {wait:,.0f} s, longer than engine.patience",
                        again=False)  # fmt: skip
        if wait is not None:
            self._rest(wait)
        raise Fault(sentence, wait=wait)

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

    def _hide(self, text: str) -> str:
        """Return what a server said without the key, which some repeat."""
        return text.replace(self._key, "[key]") if self._key else text

    def _advice(self) -> str:
        name = self.params.api_key_env
        return f"check the variable {name}" if name else "name the key's variable in api_key_env"


def _read_key(params: EndpointParams) -> str | None:
    if params.api_key_env is None:
        return None
    key = os.environ.get(params.api_key_env, "").strip()
    if not key:
        raise UserError(
            f"the environment variable {params.api_key_env}, which should hold the key of "
            f"{params.url}, is not set; export it, or remove api_key_env for a server without keys"
        )
    return key


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait: in milliseconds, in seconds, or as a date."""
    with contextlib.suppress(KeyError, ValueError):
        return max(float(headers["retry-after-ms"]) / 1000, 0.0)
    told = headers.get("retry-after")
    if told is None:
        return None
    with contextlib.suppress(ValueError):
        return max(float(told), 0.0)
    with contextlib.suppress(ValueError, TypeError):
        return max(email.utils.parsedate_to_datetime(told).timestamp() - time.time(), 0.0)
    return None
