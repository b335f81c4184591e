"""What a file is, by its first bytes: a container that is read, or one that is refused by name."""

import re
from enum import StrEnum

from curate.core.errors import UserError

# The name of a tar archive's format stands 257 bytes behind its start.
HEAD = 512


class Kind(StrEnum):
    """Container of bytes, told by its magic bytes; all else is text."""

    GZIP = "gzip"
    ZSTD = "zstd"
    BZ2 = "bz2"
    XZ = "xz"
    ZIP = "zip"
    PARQUET = "Parquet"
    ARROW_FILE = "Arrow"
    ARROW_STREAM = "Arrow stream"
    UTF_16 = "UTF-16"
    TEXT = "text"


SIGNATURES = (
    (Kind.GZIP, rb"\x1f\x8b"),
    (Kind.ZSTD, rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    (Kind.BZ2, rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    (Kind.XZ, rb"\xfd7zXZ\x00"),
    (Kind.ZIP, rb"PK\x03\x04|PK\x05\x06"),
    (Kind.PARQUET, rb"PAR1"),
    (Kind.ARROW_FILE, rb"ARROW1"),
    (Kind.ARROW_STREAM, rb"\xff\xff\xff\xff"),
    (Kind.UTF_16, rb"\xff\xfe|\xfe\xff"),
)
CONVERT = "convert it to JSON Lines, Parquet or CSV"
UNPACK = "unpack it, and give the folder"
# A letter, sign or line end of ASCII, as UTF-16 writes it.
NARROW = rb"[\t\n\r -~]"
REFUSED = (
    (
        rb"(?:%s\x00){4}|(?:\x00%s){4}" % (NARROW, NARROW),
        "UTF-16 text without a byte order mark",
        "convert it: iconv -f utf-16le -t utf-8 (or utf-16be)",
    ),
    (rb".{257}ustar", "a tar archive", UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (rb"\x04\x22\x4d\x18", "an lz4 file", "unpack it: lz4 -d"),
    (rb"PARE", "an encrypted Parquet file", "decrypt it"),
    (rb"FEA1", "a Feather file of version 1", "write it as Parquet or Feather 2"),
    (rb"Obj\x01", "an Avro file", CONVERT),
    (rb"SQLite format 3\x00", "an SQLite database", CONVERT),
    (rb"\x89HDF\r\n", "an HDF5 file", CONVERT),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office file", "save the sheet as CSV"),
    (rb"%PDF-", "a PDF file", CONVERT),
    (rb"\x80[\x02-\x05][\x95c}\]]", "a Python pickle, which could run code", CONVERT),
    (rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff", "UTF-32 text", "convert it: iconv -f utf-32 -t utf-8"),
    (
        rb"version https://git-lfs\.github\.com/",
        "a Git LFS pointer, and not the data",
        "fetch that: git lfs pull",
    ),
    (
        rb"(?i:\s*<(?:!doctype html|html)\b)",
        "a web page, and not data",
        "look at it in a browser: the download may have been refused",
    ),
)


def find_kind(head: bytes) -> Kind:
    """Return what opens with these bytes."""
    return next((kind for kind, sign in SIGNATURES if re.match(sign, head)), Kind.TEXT)


def check_supported(place: str, head: bytes) -> None:
    """Refuse what opens with the bytes of a format that is not read.

    Raises:
        UserError: it does; the format is named.
    """
    for sign, name, remedy in REFUSED:
        if re.match(sign, head, re.S):
            raise UserError(f"{place}: the file is {name}; {remedy}")
