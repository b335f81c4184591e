"""What a big file is cut into: ranges of its lines or row groups, each known by its bytes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LineRange:
    """Whole lines of a file: the digest of their bytes, where these are, and the first one's number."""

    digest: str
    start: int
    bytes: int
    first: int


@dataclass(frozen=True)
class GroupRange:
    """Row groups of a Parquet file that follow one another.

    digest: of their bytes.
    footer: of what the footer says of them and of how they are read.
    group: number of the first one, from 0.
    count: how many they are.
    first: number of their first row in the file, from 1.
    """

    digest: str
    footer: str
    group: int
    count: int
    first: int
