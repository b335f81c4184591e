"""Calls in batches: files of many, at half the price, which a server answers within a day.

    {"custom_id": KEY, "method": "POST", "url": "/v1/chat/completions", "body": {...}}        a call
    {"custom_id": KEY, "response": {"status_code": 200, "body": {...}}, "error": null}        its answer
    {"custom_id": KEY, "response": null, "error": {"code": "batch_expired", ...}}             has none

KEY is that of the answer in the cache, so an answer is the same whether it came alone or in a batch, and
a batch is known again by whoever asks any of its calls (curate.llm.engines.batchrecords). Calls without
an answer (the batch has expired, the server has failed) are sent once more together, when all batches
have ended. Half the price: https://platform.openai.com/docs/guides/batch, and alike elsewhere.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.llm.cache import key_of
from curate.llm.engines.batchrecords import BatchRecord, BatchRecords
from curate.llm.engines.batchserver import BatchServer, LostError, ServerBatch, json_text
from curate.llm.engines.bodies import BYTES_A_TOKEN, BYTES_AN_ERROR
from curate.llm.engines.endpoint import EndpointError
from curate.llm.engines.engine import EngineCallbacks
from curate.llm.engines.parameters import BatchParams, OpenAIParams, Structured
from curate.llm.engines.replies import body_of
from curate.llm.requests import UNSENT, Call, Completion, failed, filtered

LOG = logging.getLogger("curate")
CANCELLED = "batch_cancelled"
ReplyReader = Callable[[Mapping[str, JSON], Call], Completion]


@dataclass
class BatchLine:
    """A call as a line of a file, and how often it has been sent."""

    key: str
    call: Call
    path: str
    line: bytes
    sends: int = 0

    @classmethod
    def of(
        cls, call: Call, identity: Mapping[str, JSON], params: OpenAIParams, structured: Structured
    ) -> "BatchLine":
        """Return a call as the line of a batch to an engine of this identity."""
        key, (path, body) = key_of(identity, call), body_of(call, params, structured)
        line = {"custom_id": key, "method": "POST", "url": f"/v1{path}", "body": body}
        return cls(key, call, path, orjson.dumps(line) + b"\n")


class BatchDispatcher:
    """A list of calls on its way through batches of a server.

    Args:
        server: answers them.
        records: of batches that are on their way.
        params: of the engine, which has settings of batches.
        read: makes a completion of a reply, or raises EndpointError.
    """

    def __init__(
        self, server: BatchServer, records: BatchRecords, params: OpenAIParams, read: ReplyReader
    ) -> None:
        self._server, self._records, self._read = server, records, read
        self._settings, self._attempts = params.batch or BatchParams(), params.attempts
        self._place = server.endpoint.place
        self._refusal: str | None = None
        self._answered = False

    async def run(self, lines: Sequence[BatchLine], callbacks: EngineCallbacks) -> list[Completion]:
        """Return a completion for each line, whose keys differ; what has come is told at once.

        Raises:
            UserError: the server fails for good, refuses a batch, or refuses every call.
        """
        self._lines = {line.key: line for line in lines}
        self._positions = {line.key: position for position, line in enumerate(lines)}
        self._completions, self._callbacks = [UNSENT] * len(lines), callbacks
        batches = await self._resume()
        under_way = {key for record in batches for key in record.keys}
        again = [line for line in lines if line.key not in under_way]
        while batches or again:
            batches += await self._send(again)
            batches, again = [], await self._collect(batches)
        if self._refusal is not None and not self._answered:
            raise UserError(self._refusal)
        return self._completions

    async def _resume(self) -> list[BatchRecord]:
        """Return the batches that an earlier run has sent with any of these calls."""
        resumed, keys_seen = list[BatchRecord](), set[str]()
        for record in self._records.pending(self._place, self._lines):
            batch_id = record.id or await self._lost_id(record)
            if batch_id is None:
                self._records.forget(record)
                continue
            if record.id is None:
                record = self._records.name(record, batch_id)
            LOG.info("%s: batch %s of an earlier run goes on", self._place, batch_id)
            keys = [key for key in record.keys if key in self._lines and key not in keys_seen]
            keys_seen.update(keys)
            resumed.append(replace(record, keys=list(filter(self._reserve, keys))))
        return resumed

    async def _lost_id(self, record: BatchRecord) -> str | None:
        """Return the id of a batch whose sender was killed before it learned that; None if unsent."""
        try:
            batch = await self._server.find(record.name)
        except LostError:
            return None
        return None if batch is None else batch.id

    def _reserve(self, key: str) -> bool:
        line = self._lines[key]
        if not self._callbacks.reserve_call():
            if line.sends:
                self._settle(line, failed("a limit was reached before it could be sent once more"))
            return False
        line.sends += 1
        return True

    async def _send(self, lines: Sequence[BatchLine]) -> list[BatchRecord]:
        """Send calls in as many batches as they take; return those."""
        batches: list[BatchRecord] = []
        for part in self._parts([line for line in lines if self._reserve(line.key)]):
            most_bytes = sum(_most_bytes(line.call) for line in part)
            record = self._records.open(self._place, [line.key for line in part], most_bytes)
            content = b"".join(line.line for line in part)
            batch = await self._server.send(content, part[0].path, record.name)
            batches.append(self._records.name(record, batch.id))
            LOG.info(
                "%s: batch %s with %s calls is on its way; a run that ends before it does goes on "
                "with it the next time", self._place, batch.id, f"{len(part):,}",
            )  # fmt: skip
        return batches

    def _parts(self, lines: Sequence[BatchLine]) -> Iterator[list[BatchLine]]:
        """Yield the calls of one batch each: of one path, and within the limits of a file."""
        most = self._settings.megabytes * 1e6
        for path in dict.fromkeys(line.path for line in lines):
            part, size = list[BatchLine](), 0
            for line in (line for line in lines if line.path == path):
                full = len(part) >= self._settings.requests or size + len(line.line) > most
                if part and full:
                    yield part
                    part, size = [], 0
                part.append(line)
                size += len(line.line)
            if part:
                yield part

    async def _collect(self, records: Sequence[BatchRecord]) -> list[BatchLine]:
        """Wait for batches and tell what is in them; return the calls that are to be sent again."""
        again: list[BatchLine] = []
        left, states = list(records), dict[str, tuple[str, int]]()
        while left:
            for record in list(left):
                batch = await self._server.read(record.id or "", self._settings.poll)
                if batch is not None and not batch.ended:
                    self._note(batch, states)
                    continue
                left.remove(record)
                again += await self._take(record, batch)
            if left:
                await asyncio.sleep(self._settings.poll)
        self._records.tidy()
        return again

    def _note(self, batch: ServerBatch, states: dict[str, tuple[str, int]]) -> None:
        if states.get(batch.id) != (batch.status, batch.done):
            states[batch.id] = (batch.status, batch.done)
            LOG.info(
                "%s: batch %s: %s, %s of %s calls are done",
                self._place, batch.id, batch.status, f"{batch.done:,}", f"{batch.total:,}",
            )  # fmt: skip

    async def _take(self, record: BatchRecord, batch: ServerBatch | None) -> list[BatchLine]:
        """Tell what has come in a batch that has ended; return the calls that are to be sent again."""
        if batch is None:
            LOG.warning("%s no longer has batch %s: it is sent anew", self._place, record.id)
        elif batch.status == "failed":
            self._records.forget(record)
            raise UserError(
                f"{self._place}: batch {batch.id} was refused as a whole: "
                f"{batch.complaint or 'it does not say why'}. Other batches stay on record"
            )
        open_lines = {key: self._lines[key] for key in record.keys}
        again: list[BatchLine] = []
        for file_id in (batch.output, batch.errors) if batch is not None else ():
            if file_id is not None:
                content = await self._server.download(file_id, record.most_bytes)
                again += self._take_file(content, open_lines)
        for line in open_lines.values():
            self._records.settle(line.key)
            fault = EndpointError(f"{self._place}: a batch ended without it ({_status(batch)})")
            fault.again = _status(batch) != "cancelled"
            again += filter(None, [self._give_up(line, fault)])
        return again

    def _take_file(self, content: bytes, open_lines: dict[str, BatchLine]) -> Iterator[BatchLine]:
        """Tell what stands in a file, and close its lines; yield those to send again."""
        for text in content.splitlines():
            answer = _object(text)
            # In any order; what another run has asked stays for it.
            line = open_lines.pop(str(answer.get("custom_id")), None)
            if line is not None:
                again = self._answer(line, answer)
                self._records.settle(line.key)
                if again is not None:
                    yield again

    def _answer(self, line: BatchLine, answer: dict[str, Any]) -> BatchLine | None:
        """Tell what a line of a batch says of a call; return the call if it is to be sent again."""
        try:
            completion = self._completion(line, answer)
        except EndpointError as fault:
            return self._give_up(line, fault)
        self._answered = True
        self._settle(line, completion)
        return None

    def _completion(self, line: BatchLine, answer: dict[str, Any]) -> Completion:
        response = answer.get("response")
        if not isinstance(response, dict):
            error = answer.get("error")
            said = self._server.endpoint.redactor.excerpt(json_text(error).decode())
            fault = EndpointError(f"{self._place}: {said}")
            fault.again = not (isinstance(error, dict) and error.get("code") == CANCELLED)
            raise fault
        status, body = response.get("status_code"), response.get("body")
        if not isinstance(status, int) or not 200 <= status < 300:
            code = status if isinstance(status, int) else 500
            raise self._server.endpoint.fault_of(code, {}, json_text(body))
        return self._read(body if isinstance(body, dict) else {}, line.call)

    def _give_up(self, line: BatchLine, fault: EndpointError) -> BatchLine | None:
        """Return a call without an answer if it may be sent again; else tell that it has failed."""
        if fault.again and line.sends < self._attempts:
            LOG.debug("%s; sent again", fault)
            return line
        if fault.kind == "filtered":
            self._answered = True
            self._settle(line, filtered(str(fault), line.sends))
            return None
        if fault.kind == "refused":
            self._refusal = self._refusal or str(fault)
        times = f" (sent {line.sends} times)" if line.sends > 1 else ""
        rejected = fault.kind == "call"
        self._settle(line, failed(f"{fault}{times}", line.sends, rejected=rejected))
        return None

    def _settle(self, line: BatchLine, completion: Completion) -> None:
        completion = replace(completion, sends=line.sends)
        self._completions[self._positions[line.key]] = completion
        self._callbacks.on_completion(self._positions[line.key], completion)


def _status(batch: ServerBatch | None) -> str:
    return "it is gone" if batch is None else batch.status


def _most_bytes(call: Call) -> int:
    """Return how long a line of a file may be at most, an honest answer of that many tokens in it."""
    return BYTES_AN_ERROR + BYTES_A_TOKEN * call.sampling.max_tokens


def _object(text: bytes) -> dict[str, Any]:
    """Return a line of a file; without anything in it if it is none."""
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return line if isinstance(line, dict) else {}
