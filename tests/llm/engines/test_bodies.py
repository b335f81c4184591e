"""Bodies of replies: read up to a limit, whatever is sent and however it is packed."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.llm.engines.bodies import OversizedBody, UnknownEncoding, read_body


class Parts(httpx.AsyncByteStream):
    """A stream of parts that counts what was taken of it."""

    def __init__(self, *parts: bytes, again: bool = False) -> None:
        self.parts, self.again, self.taken = parts, again, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            for part in self.parts:
                self.taken += len(part)
                yield part
            if not self.again:
                return


def read(stream: Parts, limit: int, packing: str = "") -> bytes:
    headers = {"Content-Encoding": packing} if packing else {}
    return asyncio.run(read_body(httpx.Response(200, headers=headers, stream=stream), limit))


@given(data=st.binary(max_size=200), limit=st.integers(0, 300), at=st.integers(0, 200))
@pytest.mark.parametrize("packing", ["", "identity", "gzip", "x-gzip", "deflate"])
def test_a_body_is_whole_or_too_long(packing: str, data: bytes, limit: int, at: int) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "x-gzip": gzip.compress,
        "deflate": zlib.compress,
    }
    sent = packers.get(packing, bytes)(data)
    stream = Parts(sent[:at], sent[at:])
    if max(len(data), len(sent)) <= limit:
        assert read(stream, limit, packing) == data
        return
    with pytest.raises(OversizedBody) as caught:
        read(stream, limit, packing)
    assert data.startswith(caught.value.body) and len(caught.value.body) <= limit


def test_a_body_without_end_is_left_at_the_limit() -> None:
    stream = Parts(b"x" * 1_000, again=True)
    with pytest.raises(OversizedBody, match="longer than 10,000 bytes"):
        read(stream, 10_000)
    assert stream.taken <= 11_000


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = Parts(gzip.compress(bytes(2**27), 9))
    tracemalloc.start()
    with pytest.raises(OversizedBody):
        read(bomb, 2**20, "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize("packing", ["br", "zstd", "gzip, gzip", "{0}"])
def test_a_packing_that_was_not_asked_for_is_told(packing: str) -> None:
    with pytest.raises(UnknownEncoding, match="not asked for"):
        read(Parts(b"{}"), 100, packing)


def test_what_only_says_that_it_is_packed_is_told() -> None:
    with pytest.raises(UnknownEncoding, match="says that it is gzip"):
        read(Parts(b"{}"), 100, "gzip")
