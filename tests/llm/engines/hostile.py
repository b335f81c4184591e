"""What a server may send beside good answers: each by its name, as data for tests."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from tests.llm.engines.fakeserver import Act

FORMATS = "{0} {error} {} %s %d %(x)s {{7*7}} ${HOME} {%raw%} [bold]"
DEEP = "[" * 10_000 + "]" * 10_000
NESTED = "[" * 900 + "]" * 900
TERMINAL = "\x1b]0;owned\x07\x1b[2J\r\u202e"


def chat_reply(message: Any = None, finish: Any = "stop", **more: Any) -> str:
    """Return the body of an answer of which any part may be odd."""
    text = {"role": "assistant", "content": "fine"} if message is None else message
    return json.dumps({"choices": [{"index": 0, "message": text, "finish_reason": finish}]} | more)


def content(value: Any, finish: Any = "stop", **more: Any) -> str:
    return chat_reply({"role": "assistant", "content": value}, finish, **more)


def usage(prompt: Any, completion: Any) -> str:
    return content("fine", usage={"prompt_tokens": prompt, "completion_tokens": completion})


def status(code: int, body: str | bytes = "", **headers: str) -> Act:
    return Act(status=code, body=body, headers=headers)


# No answer comes, whatever is done.
FAILING: dict[str, Act] = {
    "json error": status(400, json.dumps({"error": {"message": FORMATS, "code": None}})),
    "server error": status(500, json.dumps({"error": FORMATS})),
    "html": status(502, "<html><script>alert(1)</script></html>"),
    "terminal": status(400, TERMINAL),
    "bad utf-8": status(400, b"\xff\xfe{}\x00"),
    "unauthorised": status(401, '{"error": "{key}"}'),
    "forbidden": status(403, "[]"),
    "not found": status(404, "null"),
    "quota": status(429, '{"error": {"code": "insufficient_quota", "message": "{0}"}}'),
    "teapot": status(418, "{" * 300),
    "odd status": status(799, "{}"),
    "no content": Act("raw", body=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": Act("raw", body=b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "redirect": status(307, "", Location="http://127.0.0.1:9/v1/{0}"),
    "switching": Act("raw", body=b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "deep error": status(400, DEEP),
    "nested error": status(400, NESTED),
    "empty": Act(body=""),
    "list": Act(body="[1, 2]"),
    "text": Act(body="hello {0}"),
    "deep": Act(body=DEEP),
    "deep choices": Act(body='{"choices": ' + NESTED + "}"),
    "infinite": Act(body='{"choices": [], "usage": {"prompt_tokens": 1e400}}'),
    "surrogate": Act(body='{"choices": [{"message": {"content": "\\ud800"}}]}'),
    "invalid utf-8": Act(body=b'{"choices": [{"message": {"content": "\xff"}}]}'),
    "no choices": Act(body='{"choices": []}'),
    "null choice": Act(body='{"choices": [null]}'),
    "choices of text": Act(body='{"choices": "text {0}"}'),
    "choices by name": Act(body='{"choices": {"0": {"message": {"content": "a"}}}}'),
    "message of text": Act(body=chat_reply("text")),
    "number": Act(body=content(7)),
    "object": Act(body=content({"a": "{0}"})),
    "error in 200": Act(body=json.dumps({"error": {"message": FORMATS}})),
    "cut": Act("cut"),
    "chunked garbage": Act("raw", body=b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "no http": Act("raw", body=b"\x00\x01 SSH-2.0 {0}\r\n\r\n"),
    "endless head": Act("raw", body=b"HTTP/1.1 200 X\r\n" + b"X-A: b\r\n" * 40_000),
    "lying length": Act("raw", body=b"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n{}"),
    "negative length": Act("raw", body=b"HTTP/1.1 200 X\r\nContent-Length: -5\r\n\r\n{}"),
    "endless body": Act("endless", body=b" " * 65_536),
    "slow drip": Act("drip", body=b" " * 64, seconds=0.05),
    "bomb": Act(
        body=gzip.compress(b" " * 2**25, 9), headers={"Content-Encoding": "gzip"}
    ),
    "no gzip": Act(body="{}", headers={"Content-Encoding": "gzip"}),
    "unknown packing": Act(body="{}", headers={"Content-Encoding": "br"}),
    "wait for ever": status(429, "", **{"Retry-After": "1e999"}),
    "wait for ever in ms": status(429, "", **{"Retry-After-Ms": "inf"}),
    "wait till 9999": status(503, "", **{"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    "no number to wait": status(503, "", **{"Retry-After": "nan"}),
    "negative wait": status(503, "", **{"Retry-After": "-1e9"}),
    "no date to wait": status(503, "", **{"Retry-After": "Mon, 99 Foo 0000 99:99:99 +9999"}),
}  # fmt: skip
# An answer comes whose finish is not "ok", or which is empty.
USELESS: dict[str, Act] = {
    "unknown reason": Act(body=content("fine", FORMATS)),
    "no reason": Act(body=content("fine", None)),
    "reason of a list": Act(body=content("fine", ["stop"])),
    "reason of a number": Act(body=content("fine", 1e300)),
    "tool call": Act(body=chat_reply({"content": None, "tool_calls": [{"id": "x"}]}, "tool_calls")),
    "null": Act(body=content(None)),
    "blank": Act(body=content(" \n ")),
    "no parts": Act(body=content([])),
    "parts without text": Act(body=content([{"type": "image"}, 7, None, {"text": 7}])),
    "filtered": Act(body=content("fine", "content_filter")),
    "withheld": Act(body=content("", "content_filter")),
    "policy": status(400, json.dumps({"error": {"code": "content_filter", "message": FORMATS}})),
    "policy of 403": status(403, json.dumps({"error": {"type": "content_policy_violation"}})),
    "inner policy": status(
        400,
        json.dumps({"error": {"code": 7, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    ),
    "refused": Act(body=chat_reply({"content": None, "refusal": FORMATS})),
    "far too long": Act(body=content("word " * 100_000)),
}
# A good answer, with something odd about it that is no fault of its text.
ODD: dict[str, Act] = {
    "plain": Act(body=content("fine")),
    "created": status(201, content("fine")),
    "parts": Act(body=content([{"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}])),
    "two choices": Act(
        body=json.dumps(
            {
                "choices": [
                    {"message": {"content": text}, "finish_reason": "stop"} for text in ("fine", "b")
                ]
            }
        )
    ),
    "packed": Act(
        body=gzip.compress(content("fine").encode()), headers={"Content-Encoding": "gzip"}
    ),
    "deflated": Act(
        body=zlib.compress(content("fine").encode()), headers={"Content-Encoding": "deflate"}
    ),
    "lying type": Act(body=content("fine"), headers={"Content-Type": "text/html; charset=utf-7"}),
    "cookies": Act(body=content("fine"), headers={"Set-Cookie": "a=" + "b" * 4_000}),
    "negative usage": Act(body=usage(-10**6, -10**6)),
    "huge usage": Act(body=usage(10**30, 10**30)),
    "usage beyond reason": Act(body=usage(5, 10**9)),
    "usage of text": Act(body=usage("10", "{0}")),
    "usage of truth": Act(body=usage(True, True)),
    "usage of floats": Act(body=usage(1.5, 0.1)),
    "usage of lists": Act(body=content("fine", usage=[1, 2])),
    "usage of nothing": Act(body=usage(0, 0)),
    "odd refusal": Act(body=chat_reply({"content": "fine", "refusal": {"a": 1}})),
    "odd logprobs": Act(body=content("fine").replace('"index"', '"logprobs": {"content": 7}, "index"')),
    "logprobs of text": Act(
        body=content("fine").replace(
            '"index"', '"logprobs": {"content": [{"logprob": "x"}, 7, {"logprob": 1e300}]}, "index"'
        )
    ),
    "list of logprobs": Act(body=content("fine").replace('"index"', '"logprobs": [1], "index"')),
}  # fmt: skip
