"""The body of a server's reply, in bounds: so many bytes, packed or not, and then no more.

A server may send without end, and a few packed bytes may stand for gigabytes. So packing is not asked
for, and what comes packed all the same is unpacked up to the limit.
"""

import zlib

import httpx

# An honest answer of n tokens has its text, reasoning and log-probabilities within this.
BYTES_AN_ANSWER, BYTES_A_TOKEN = 2**20, 4_096
BYTES_AN_ERROR = 2**16
# zlib tells gzip and zlib streams apart by itself.
EITHER = 32 + zlib.MAX_WBITS


class OversizedBody(Exception):
    """The body goes on beyond the limit; what came up to there is in it."""

    def __init__(self, body: bytes, limit: int) -> None:
        super().__init__(f"the answer is longer than {limit:,} bytes")
        self.body = body


class UnknownEncoding(Exception):
    """The body is packed in a way that was not asked for and is not known."""


async def read_body(reply: httpx.Response, limit: int) -> bytes:
    """Return the whole body of a reply that is being streamed.

    Raises:
        OversizedBody: it has more bytes than the limit, packed or not.
        UnknownEncoding: it is packed in a way that is not known, or damaged.
    """
    parts, size = [], 0
    async for part in reply.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > limit:
            break
    return _unpack(b"".join(parts), reply.headers.get("content-encoding", ""), limit)


def _unpack(body: bytes, packing: str, limit: int) -> bytes:
    name = packing.strip().lower()
    if name in ("gzip", "x-gzip", "deflate"):
        try:
            # One byte more than may be, to see whether there is more.
            plain = zlib.decompressobj(wbits=EITHER).decompress(body, limit + 1)
        except zlib.error as error:
            raise UnknownEncoding(f"the answer says that it is {name}, and is not") from error
    elif name in ("", "identity"):
        plain = body
    else:
        raise UnknownEncoding("the answer is packed in a way that was not asked for")
    if len(plain) > limit or len(body) > limit:
        raise OversizedBody(plain[:limit], limit)
    return plain
