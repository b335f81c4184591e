"""A model behind one or several servers that speak OpenAI's protocol.

Each server has as many workers as calls may be under way there, fewer of them at work while it turns
calls away (curate.llm.engines.congestion); all take from one queue, so a faster server does more. A call
that got no answer goes back into the queue, and any server may take it. Every sample is a call of its
own with its own seed, so each is stored as soon as it comes.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.llm.engines.batch import BatchDispatcher, BatchLine
from curate.llm.engines.batchrecords import BatchRecords
from curate.llm.engines.batchserver import BatchServer
from curate.llm.engines.endpoint import Endpoint, EndpointError
from curate.llm.engines.engine import NO_CALLBACKS, ChatPrefix, EngineCallbacks
from curate.llm.engines.parameters import OpenAIParams, Structured
from curate.llm.engines.prompts import chat_prefix_of
from curate.llm.engines.replies import body_of, read_reply
from curate.llm.requests import (
    UNSENT,
    Call,
    Completion,
    Request,
    Sampling,
    chat,
    failed,
    filtered,
)
from curate.llm.structured import judge
from curate.models.control import text_ids
from curate.models.load import find_model, load_tokenizer, prepare

LOG = logging.getLogger("curate")
# English has about four characters a token; other languages and code have fewer.
CHARACTERS_A_TOKEN = 3.5
TOKENS_A_MESSAGE = 4
# No model would write this key unless it is made to.
PROBE_SCHEMA: Mapping[str, JSON] = {
    "type": "object",
    "properties": {"probe_k7": {"type": "string", "enum": ["yes"]}},
    "required": ["probe_k7"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class ServerConnection:
    """A connection to a server, for one call at a time."""

    endpoint: Endpoint
    connection: httpx.AsyncClient


@dataclass
class _QueuedCall:
    """A call and how often it has been sent."""

    position: int
    call: Call
    sends: int = 0


class OpenAIEngine:
    """Completes calls on servers.

    Args:
        params: of the engine.
        identity: what curate.llm.engines.loading.identify_engine says of it.
        batches: the file that has batches on record; None to know of none once the process ends.

    Raises:
        UserError: a variable that should hold a key is not set.
    """

    def __init__(
        self, params: OpenAIParams, identity: dict[str, Any], batches: Path | None = None
    ) -> None:
        self._params, self._identity = params, identity
        self._records = BatchRecords(batches) if params.batch is not None else None
        self._endpoints = [Endpoint(endpoint, params) for endpoint in params.endpoints]
        self._structured: Structured | None = (
            None if params.structured == "auto" else params.structured
        )
        self._tokenizer = _load_tokenizer(params.tokenizer) if params.tokenizer else None

    @property
    def exact(self) -> bool:
        """Return whether tokens are counted by the model's own tokenizer."""
        return self._tokenizer is not None

    @property
    def structured(self) -> str | None:
        """Return how the servers are asked for JSON; None as long as that was not needed."""
        return self._structured

    def identity(self) -> dict[str, Any]:
        """Return what can change an answer: neither addresses nor keys."""
        return dict(self._identity)

    def count_tokens(self, text: str) -> int:
        """Return a text's tokens, by the tokenizer if one is named, else by its length."""
        if self._tokenizer is not None:
            return len(text_ids(self._tokenizer, [text])[0])
        return round(len(text.encode()) / CHARACTERS_A_TOKEN)

    def count_prompt(self, request: Request) -> int:
        """Return the prompt's tokens; turns are counted with what separates them."""
        if request.prompt is not None:
            return self.count_tokens(request.prompt)
        texts = [message["content"] for message in request.messages]
        return sum(TOKENS_A_MESSAGE + self.count_tokens(text) for text in texts) + TOKENS_A_MESSAGE

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of so many tokens, as calls are sent: one by one, or in batches."""
        share = 1.0 if self._params.batch is None else self._params.batch.price
        return share * self._live_cost(prompt_tokens, completion_tokens)

    def _live_cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        prices = self._params.prices
        return (prompt_tokens * prices.prompt + completion_tokens * prices.completion) / 1e6

    def chat_prefix(self, system: str | None) -> ChatPrefix:
        """Return what the model's chat template writes around the words of the first user turn.

        Without the token that opens every text: servers put it before raw prompts themselves.

        Raises:
            UserError: no tokenizer is named, or its chat template cannot be used so.
        """
        if self._tokenizer is None:
            raise UserError("the model's chat template is not known here: name engine.tokenizer")
        prefix = chat_prefix_of(self._tokenizer, system)
        first = self._tokenizer("")["input_ids"][:1]
        if first and first[0] == self._tokenizer.bos_token_id:
            before = prefix.before.removeprefix(str(self._tokenizer.bos_token))
            return replace(prefix, before=before)
        return prefix

    def close(self) -> None:
        """Close the record of batches; connections live as long as a list of calls."""
        if self._records is not None:
            self._records.close()

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        """Return one completion a call, in their order; see curate.llm.engines.engine."""
        return _run(self._complete(calls, callbacks))

    async def _complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks
    ) -> list[Completion]:
        if self._structured is None and any(call.request.schema is not None for call in calls):
            self._structured = await self._probe(callbacks)
        if self._records is not None:
            return await self._complete_in_batches(calls, callbacks, self._records)
        dispatch = self._dispatch(calls, callbacks, self._structured or "none")
        completions = await dispatch.run()
        # A server that refuses one row and answers others means that row; else it means the recipe.
        if dispatch.refusal and not any(endpoint.answered for endpoint in self._endpoints):
            raise UserError(dispatch.refusal)
        return completions

    async def _complete_in_batches(
        self, calls: Sequence[Call], callbacks: EngineCallbacks, records: BatchRecords
    ) -> list[Completion]:
        (endpoint,) = self._endpoints
        way = self._structured or "none"
        lines = [BatchLine.of(call, self._identity, self._params, way) for call in calls]
        async with endpoint.connect() as connection:
            server = BatchServer(endpoint, connection, self._params)
            batches = BatchDispatcher(server, records, self._params, self._read_in_batch)
            return await batches.run(lines, callbacks)

    def _read_in_batch(self, reply: Mapping[str, JSON], call: Call) -> Completion:
        completion = self._read(reply, call, self._endpoints[0])
        cost = self.cost(completion.prompt_tokens, completion.completion_tokens)
        return replace(completion, cost=cost)

    def _dispatch(
        self, calls: Sequence[Call], callbacks: EngineCallbacks, structured: Structured
    ) -> "_Dispatcher":
        return _Dispatcher(self, self._endpoints, calls, callbacks, structured)

    async def _probe(self, callbacks: EngineCallbacks) -> Structured | None:
        """Return how the servers can be asked for JSON, found by asking; None if nobody answers.

        An answer alone proves nothing: servers pass over what they do not know. It must also fit.
        """
        sampling = Sampling(max_tokens=64, temperature=0)
        call = Call(chat("Say hello in JSON.", sampling=sampling, schema=PROBE_SCHEMA))
        ways: list[Structured] = ["json_schema", "json_object"]
        for way in ways:
            (completion,) = await self._dispatch([call], _ProbeCallbacks(callbacks), way).run()
            unreached = completion.finish == "failed" and completion.sends >= self.attempts
            if unreached or completion.finish == "unsent":
                return None
            if way == "json_schema" and judge(call, completion).ok:
                return way
            if way == "json_object" and completion.finish == "ok" and _is_object(completion.text):
                return way
        return "none"

    async def attempt(
        self, line: ServerConnection, call: Call, structured: Structured
    ) -> Completion:
        """Return what one server makes of a call, sent once; Fault if it makes nothing."""
        path, body = body_of(call, self._params, structured)
        reply = await line.endpoint.send(line.connection, path, body, call.sampling.max_tokens)
        completion = self._read(reply, call, line.endpoint)
        cost = self._live_cost(completion.prompt_tokens, completion.completion_tokens)
        return replace(completion, cost=cost)

    def _read(self, reply: Mapping[str, JSON], call: Call, endpoint: Endpoint) -> Completion:
        """Return a server's reply as a completion, its cost not yet set."""
        prompt_tokens = self.count_prompt(call.request)
        try:
            return read_reply(reply, call, self.count_tokens, prompt_tokens, endpoint.redactor)
        except EndpointError as fault:
            raise EndpointError(f"{endpoint.place}: {fault}") from None

    @property
    def attempts(self) -> int:
        """Return how often a call is sent at most."""
        return self._params.attempts


class _ProbeCallbacks:
    """Counts a probe as spent beside the calls."""

    def __init__(self, callbacks: EngineCallbacks) -> None:
        self._callbacks = callbacks

    def reserve_call(self) -> bool:
        return self._callbacks.reserve_call()

    def on_completion(self, position: int, completion: Completion) -> None:
        self._callbacks.on_probe(completion)

    def on_probe(self, completion: Completion) -> None:
        self._callbacks.on_probe(completion)


class _Dispatcher:
    """A list of calls on its way through the servers."""

    def __init__(
        self,
        engine: OpenAIEngine,
        endpoints: Sequence[Endpoint],
        calls: Sequence[Call],
        callbacks: EngineCallbacks,
        structured: Structured,
    ) -> None:
        self._engine, self._endpoints, self._callbacks = engine, endpoints, callbacks
        self._structured: Structured = structured
        self._completions = [UNSENT] * len(calls)
        self._queue: asyncio.Queue[_QueuedCall] = asyncio.Queue()
        for position, call in enumerate(calls):
            self._queue.put_nowait(_QueuedCall(position, call))
        self._left = len(calls)
        self._refused: list[str] = []
        self._done = asyncio.Event()

    @property
    def refusal(self) -> str | None:
        """Return why every call that was sent was refused; None if one was not."""
        sent = sum(completion.finish != "unsent" for completion in self._completions)
        return self._refused[0] if self._refused and len(self._refused) == sent else None

    async def run(self) -> list[Completion]:
        """Return the completions when all calls are settled.

        Raises:
            UserError: no server can be reached.
        """
        if not self._left:
            return []
        workers = [
            asyncio.create_task(self._work(endpoint))
            for endpoint in self._endpoints
            for _ in range(min(endpoint.params.concurrency, self._left))
        ]
        waiting = asyncio.create_task(self._done.wait())
        try:
            finished, _ = await asyncio.wait(
                [waiting, *workers], return_when=asyncio.FIRST_COMPLETED
            )
            for task in finished:
                task.result()
        finally:
            for task in (waiting, *workers):
                task.cancel()
            await asyncio.gather(waiting, *workers, return_exceptions=True)
        return self._completions

    async def _work(self, endpoint: Endpoint) -> None:
        """Take calls until cancelled."""
        async with endpoint.connect() as connection:
            line = ServerConnection(endpoint, connection)
            while True:
                await endpoint.wait_until_available()
                async with endpoint.window.slot():
                    work = await self._queue.get()
                    await endpoint.wait_until_available()
                    if endpoint.window.exceeded:
                        # The server has turned calls away while this one came out of the queue.
                        self._queue.put_nowait(work)
                        continue
                    await self._send(line, work)

    async def _send(self, line: ServerConnection, work: _QueuedCall) -> None:
        request, sampling = work.call.request, work.call.sampling
        expected = self._engine.count_prompt(request) + sampling.max_tokens
        entry = await line.endpoint.admit(expected)
        if not self._callbacks.reserve_call():
            self._settle(work, failed_or_unsent(work), notify=work.sends > 0)
            return
        work.sends += 1
        try:
            completion = await self._engine.attempt(line, work.call, self._structured)
        except EndpointError as fault:
            self._again(line.endpoint, work, fault)
            return
        # What was reserved for a longer answer is free for others.
        entry[1] = completion.prompt_tokens + completion.completion_tokens
        self._settle(work, replace(completion, sends=work.sends))

    def _again(self, endpoint: Endpoint, work: _QueuedCall, fault: EndpointError) -> None:
        """Put a call that got no answer back into the queue, or give it up."""
        if all(server.away for server in self._endpoints):
            raise UserError(
                f"no server can be reached; the last one: {fault}. Check engine.endpoints and whether "
                "the server runs; answers that came are kept"
            )
        if not fault.again or work.sends >= self._engine.attempts:
            tried = f" (sent {work.sends} times)" if work.sends > 1 else ""
            self._refused += [str(fault)] if fault.kind == "refused" else []
            if fault.kind == "filtered":
                self._settle(work, filtered(str(fault), work.sends))
                return
            rejected = fault.kind == "call"
            self._settle(work, failed(f"{fault}{tried}", work.sends, rejected=rejected))
            return
        # After a wish to wait, the whole server is left alone; the call itself may go elsewhere.
        delay = 0.0 if fault.wait is not None else endpoint.delay(work.sends)
        LOG.debug("%s; sent again", fault)
        asyncio.get_running_loop().call_later(delay, self._queue.put_nowait, work)

    def _settle(self, work: _QueuedCall, completion: Completion, *, notify: bool = True) -> None:
        self._completions[work.position] = completion
        if notify:
            self._callbacks.on_completion(work.position, completion)
        self._left -= 1
        if not self._left:
            self._done.set()


def failed_or_unsent(work: _QueuedCall) -> Completion:
    """Return the completion of a call that may not be sent, or not once more."""
    if not work.sends:
        return UNSENT
    return failed("a limit was reached before it could be sent once more", sends=work.sends)


def _run(work: Coroutine[Any, Any, list[Completion]]) -> list[Completion]:
    """Run a coroutine to its end, also where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _load_tokenizer(name: str) -> Any:
    try:
        return load_tokenizer(prepare(find_model(name)))
    except UserError as error:
        raise UserError(f"engine.tokenizer: {error}") from error
