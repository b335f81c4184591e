"""An OpenAI-compatible server on localhost that misbehaves as it is told, and counts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Act:
    """What the server does with a request.

    kind: answer (200 with `body`, or an answer made from the request), cut (half an answer, then the
    connection ends), slow (nothing for `seconds`), raw (`body` is all that is sent, head included),
    drip (a byte every `seconds`), endless (`body` again and again).
    """

    kind: str = "answer"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | None = None
    seconds: float = 0.0


Plan = Callable[[dict[str, Any], int], Act]


def question(body: Mapping[str, Any]) -> str:
    """Return the last turn or the raw prompt."""
    return str(body["prompt"] if "prompt" in body else body["messages"][-1]["content"])


def reply(
    body: Mapping[str, Any],
    text: str | None = None,
    finish: str = "stop",
    *,
    usage: bool = True,
    refusal: str | None = None,
) -> str:
    """Return the body of a good answer."""
    answer = f"answer to {question(body)}" if text is None else text
    if "prompt" in body:
        choice: dict[str, Any] = {"text": answer, "logprobs": {"token_logprobs": [-0.5, -1.5]}}
    else:
        logprobs = {"content": [{"token": "a", "logprob": -0.25}]} if body.get("logprobs") else None
        message = {"role": "assistant", "content": answer, "refusal": refusal}
        choice = {"message": message, "logprobs": logprobs}
    counts = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choices = [choice | {"index": 0, "finish_reason": finish}]
    return json.dumps({"choices": choices} | ({"usage": counts} if usage else {}))


class FakeServer:
    """Serves in a thread of its own until closed.

    Args:
        plan: what to do with a request, by its body and its number.
        delay: seconds before each good answer.
    """

    def __init__(self, plan: Plan | None = None, delay: float = 0.0) -> None:
        self.plan = plan or (lambda body, number: Act())
        self.delay = delay
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.answered: Counter[str] = Counter()
        self.acts: Counter[Act] = Counter()
        self.under_way = self.most_under_way = 0

    def __enter__(self) -> FakeServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._server.close()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append(headers)
        self.paths.append(head[0].split()[1])
        self.times.append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            act = self.plan(body, number)
            self.acts[act] += 1
            return await self._act(act, body, reader, writer)
        finally:
            self.under_way -= 1

    async def _act(
        self,
        act: Act,
        body: Mapping[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        wait = act.seconds if act.kind == "slow" else self.delay * (act.status == 200)
        if wait and not await _patient(reader, wait):
            return False
        reply_body = act.body if act.body is not None else reply(body)
        reply_body = (
            reply_body.encode(errors="surrogatepass") if isinstance(reply_body, str) else reply_body
        )
        if act.kind in ("raw", "drip", "endless"):
            await _misbehave(act, reply_body, writer)
            return False
        lines = [f"HTTP/1.1 {act.status} X", f"Content-Length: {len(reply_body)}",
                 *(f"{name}: {value}" for name, value in act.headers.items()), "", ""]  # fmt: skip
        if act.kind == "cut":
            reply_body = reply_body[: len(reply_body) // 2]
        if act.kind == "answer" and act.status == 200 and act.body is None:
            # From here on it is paid for.
            self.answered[key(body)] += 1
        writer.write("\r\n".join(lines).encode() + reply_body)
        await writer.drain()
        return act.kind == "answer"


async def _misbehave(act: Act, body: bytes, writer: asyncio.StreamWriter) -> None:
    if act.kind == "raw":
        writer.write(body)
        await writer.drain()
        return
    writer.write(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n")
    while True:
        for part in (
            [body] if act.kind == "endless" else [body[i : i + 1] for i in range(len(body))]
        ):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(act.seconds)


async def _patient(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait; return whether the client is still there."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


def key(body: Mapping[str, Any]) -> str:
    """Return what tells a paid answer from others: the whole request."""
    return json.dumps(body, sort_keys=True)
