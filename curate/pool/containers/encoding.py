"""Text in UTF-16, as UTF-8."""

import codecs
import io
from typing import IO, Any

from curate.core.errors import UserError

BLOCK = 2**18


class Utf8Reader(io.RawIOBase):
    """A stream of UTF-16 with a byte order mark, read as UTF-8 without one."""

    def __init__(self, place: str, stream: IO[bytes]) -> None:
        self._place, self._stream = place, stream
        self._decoder = codecs.getincrementaldecoder("utf-16")()
        self._encoded, self._at, self._read = b"", 0, 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes of UTF-8.

        Raises:
            UserError: what is there is no UTF-16.
        """
        while self._at == len(self._encoded):
            data = self._stream.read(BLOCK)
            held = len(self._decoder.getstate()[0])
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                byte = self._read - held + error.start
                raise UserError(
                    f"{self._place}: the text is no UTF-16, as its first bytes say, at byte {byte:,} "
                    f"({error.reason}); write it as UTF-8"
                ) from error
            self._read += len(data)
            self._encoded, self._at = text.encode(), 0
            if not data:
                break
        part = self._encoded[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
