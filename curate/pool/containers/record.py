"""A raw record of a pool file, with its place."""

from typing import Any, NamedTuple

from curate.core.reasons import Reason

BEGINNING = 8_000


class Record(NamedTuple):
    """A raw record: its 1-based line, row or element number, and its bytes, value or fault.

    raw: JSON text that is still to be parsed, or that `value` was parsed from; empty in tables.
    too_long: there were more bytes than a record may have; `raw` is their beginning.
    part: name of the file within an archive.
    size: bytes that it takes up, about, where it has no `raw`.
    fault: why there is no value, and the field at fault.
    """

    position: int
    raw: bytes = b""
    value: Any = None
    parsed: bool = False
    too_long: bool = False
    part: str = ""
    size: int = 0
    fault: tuple[Reason, str] | None = None

    def file_name(self, name: str) -> str:
        """Return the name of the file that holds it, which may lie in an archive of this name."""
        return f"{name}/{self.part}" if self.part else name
