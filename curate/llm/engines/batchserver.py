"""The batch endpoints of a server that speaks OpenAI's protocol.

POST /files                multipart: purpose "batch", and a file of JSON lines, one a call
POST /batches              {"input_file_id", "endpoint": "/v1/chat/completions",
                            "completion_window": "24h", "metadata": {"curate": NAME}}
GET  /batches/ID           status, and at the end the ids of a file of answers and one of errors
GET  /files/ID/content     the lines, in any order
GET  /batches?limit=100    to find a batch whose id was lost on the way, by its metadata
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import orjson

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.llm.engines.endpoint import Endpoint, EndpointError, Payload
from curate.llm.engines.parameters import OpenAIParams

# A file of 200 MB may take its time.
FILE_SECONDS = 3_600.0
BYTES_AN_OBJECT, BYTES_A_LIST = 2**20, 2**24
MOST_FILE_BYTES = 2**32
UNDER_WAY = frozenset({"validating", "queued", "in_progress", "finalizing", "cancelling"})
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
BATCHES_A_PAGE = 100
# Batches of the last days stand on the first pages.
MOST_PAGES = 20
NAME = "curate"
T = TypeVar("T")


@dataclass(frozen=True)
class ServerBatch:
    """A batch as the server describes it: its files are there when it has ended."""

    id: str
    status: str
    output: str | None
    errors: str | None
    complaint: str
    done: int
    total: int

    @property
    def ended(self) -> bool:
        """Return whether nothing more will come."""
        return self.status in ENDED


class BatchServer:
    """The files and batches of a server. Every method fails as `retried` does.

    Args:
        endpoint: the server.
        connection: to it.
        params: of the engine, which has settings of batches.
    """

    def __init__(
        self, endpoint: Endpoint, connection: httpx.AsyncClient, params: OpenAIParams
    ) -> None:
        self.endpoint = endpoint
        self._connection, self._params = connection, params

    async def send(self, lines: bytes, path: str, name: str) -> ServerBatch:
        """Upload calls and have them answered by the endpoint of this path."""
        file_id = await self.retried(lambda: self._upload(lines, name))
        return await self.retried(
            lambda: self._create(file_id, path, name), lambda: self._find(name)
        )

    async def find(self, name: str) -> ServerBatch | None:
        """Return the batch that was sent under a name; None if there is none."""
        return await self.retried(lambda: self._find(name))

    async def read(self, batch_id: str, pause: float) -> ServerBatch | None:
        """Return how a batch stands; None if the server no longer has it."""
        path = f"/batches/{quote(batch_id, safe='')}"
        try:
            return await self.retried(lambda: self._batch("GET", path), pause=pause)
        except LostError:
            return None

    async def download(self, file_id: str, limit: int) -> bytes:
        """Return a file; empty if the server no longer has it."""
        path = f"/files/{quote(file_id, safe='')}/content"
        most = min(limit, MOST_FILE_BYTES)
        try:
            return await self.retried(
                lambda: self.endpoint.exchange(
                    self._connection, "GET", path, None, most, timeout=FILE_SECONDS
                )
            )
        except LostError:
            return b""

    async def retried(
        self,
        work: Callable[[], Awaitable[T]],
        look: Callable[[], Awaitable[T | None]] | None = None,
        *,
        pause: float = 0.0,
    ) -> T:
        """Return what a request brings, sent again after a passing fault.

        Args:
            work: sends it.
            look: finds what an earlier try has brought about, though its reply was lost.
            pause: least seconds between tries.

        Raises:
            LostError: there is no such thing on the server.
            UserError: it fails for good; batches that were sent stay on record.
        """
        tries = 1
        while True:
            try:
                earlier = await look() if look is not None and tries > 1 else None
                return earlier if earlier is not None else await work()
            except EndpointError as fault:
                if fault.status == 404:
                    raise LostError(
                        f"{fault}; has it batch endpoints at all? (engine.batch)"
                    ) from None
                if not fault.again or tries >= self._params.attempts:
                    raise UserError(f"{fault}. Batches that were sent stay on record") from None
                await asyncio.sleep(max(fault.wait or self.endpoint.delay(tries), pause))
                tries += 1

    async def _upload(self, lines: bytes, name: str) -> str:
        form = httpx.Request(
            "POST",
            "http://form",
            data={"purpose": "batch"},
            files={"file": (f"{NAME}-{name}.jsonl", lines, "application/jsonl")},
        )
        payload = Payload(form.headers["Content-Type"], form.read())
        reply = await self.endpoint.exchange(
            self._connection, "POST", "/files", payload, BYTES_AN_OBJECT, timeout=FILE_SECONDS
        )
        file_id = self.endpoint.parse(reply).get("id")
        if not isinstance(file_id, str):
            raise EndpointError(f"{self.endpoint.place}: it gives no id to an uploaded file")
        return file_id

    async def _create(self, file_id: str, path: str, name: str) -> ServerBatch:
        body: dict[str, JSON] = {
            "input_file_id": file_id,
            "endpoint": f"/v1{path}",
            "completion_window": "24h",
            "metadata": {NAME: name},
        }
        return await self._batch("POST", "/batches", body)

    async def _batch(
        self, method: str, path: str, body: dict[str, JSON] | None = None
    ) -> ServerBatch:
        payload = None if body is None else Payload.of(body)
        reply = await self.endpoint.exchange(
            self._connection, method, path, payload, BYTES_AN_OBJECT
        )
        return self._read(self.endpoint.parse(reply))

    async def _find(self, name: str) -> ServerBatch | None:
        after = ""
        for _ in range(MOST_PAGES):
            path = f"/batches?limit={BATCHES_A_PAGE}{after}"
            reply = await self.endpoint.exchange(self._connection, "GET", path, None, BYTES_A_LIST)
            page = self.endpoint.parse(reply)
            listed = page.get("data")
            batches = [b for b in listed if isinstance(b, dict)] if isinstance(listed, list) else []
            for batch in batches:
                metadata = batch.get("metadata")
                if isinstance(metadata, dict) and metadata.get(NAME) == name:
                    return self._read(batch)
            if not page.get("has_more") or not batches:
                break
            after = f"&after={quote(str(batches[-1].get('id')), safe='')}"
        return None

    def _read(self, batch: dict[str, Any]) -> ServerBatch:
        """Return a batch as it is described; all that stands there is data."""
        batch_id, status = batch.get("id"), batch.get("status")
        if not isinstance(batch_id, str) or status not in UNDER_WAY | ENDED:
            said = self.endpoint.redactor.excerpt(json_text(batch).decode(), letters=200)
            raise EndpointError(f"{self.endpoint.place}: that is no batch: {said}", kind="call")
        counts = batch.get("request_counts")
        done, total = (_count(counts, name) for name in ("completed", "total"))
        complaint = ""
        if batch.get("errors"):
            complaint = self.endpoint.redactor.excerpt(json_text(batch["errors"]).decode())
        output, errors = (_text(batch.get(f"{kind}_file_id")) for kind in ("output", "error"))
        return ServerBatch(batch_id, status, output, errors, complaint, done, total)


class LostError(UserError):
    """The server has no such file or batch, or no such endpoint."""


def json_text(value: JSON) -> bytes:
    """Return what a server has sent as JSON again, for a sentence."""
    with suppress(TypeError):
        return orjson.dumps(value)
    return b"JSON nested too deep to be shown"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(counts: Any, name: str) -> int:
    with suppress(TypeError, KeyError, ValueError):
        return int(counts[name])
    return 0
