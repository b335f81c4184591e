"""Answers of language models in a file to take along: JSON lines, or a Parquet table.

    {"key": "3f...", "time": 1764500000.25, "completion": {"text": "Yes.", "finish": "ok", ...},
     "engine": "openai", "model": "gpt-5-mini"}

A Parquet table has the same columns, the completion as JSON, and text, finish, tokens and cost once more
in columns of their own. A question stands in neither: its key is a digest of it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl

from curate.core.bucket import is_bucket
from curate.core.errors import UserError
from curate.core.store import Store
from curate.core.tables import read_table
from curate.llm.cache import STORED
from curate.llm.cachefile import CacheFile, ModelUsage
from curate.llm.segments import SharedAnswer, answer_line, read_answer, shared_bytes
from curate.runs.housekeeping import COMPLETIONS, megabytes
from curate.runs.publish import temporary_name

SCHEMA = pl.Schema(
    {
        "key": pl.String,
        "time": pl.Float64,
        "engine": pl.String,
        "model": pl.String,
        "text": pl.String,
        "finish": pl.String,
        "prompt_tokens": pl.Int64,
        "completion_tokens": pl.Int64,
        "cost": pl.Float64,
        "completion": pl.String,
    }
)
READ = pl.Schema({name: SCHEMA[name] for name in ("key", "time", "completion", "engine", "model")})
PLAIN = ("text", "finish", "prompt_tokens", "completion_tokens", "cost")
SHARED = (
    "this is the file of this machine; the bucket, and machines that have taken answers from it, keep "
    "theirs"
)


def answers_path(store: Store) -> Path:
    """Return where a store has the answers of this machine."""
    return store.root / COMPLETIONS


def answer_usage(store: Store) -> list[ModelUsage]:
    """Return what the answers of each engine and model take on this machine."""
    with CacheFile(answers_path(store)) as file:
        return file.usage()


def usage_lines(usage: Sequence[ModelUsage]) -> Iterator[str]:
    """Yield a line for each engine and model, and one for all."""
    names = [f"{one.engine} {one.model}" for one in usage]
    width = max(map(len, names), default=0) + 2
    yield f"{'answers of':<{width}}{'answers':>12}{'MB':>12}  made"
    for name, one in zip(names, usage, strict=True):
        span = " to ".join(dict.fromkeys(map(_day, (one.oldest, one.newest))))
        yield f"{name:<{width}}{one.answers:>12,}{megabytes(one.bytes):>12}  {span}"
    number, size = (sum(getattr(one, n) for one in usage) for n in ("answers", "bytes"))
    yield f"{'all':<{width}}{number:>12,}{megabytes(size):>12}"


def bucket_line(store: Store) -> str | None:
    """Return what a store in a bucket has beside this machine's file; None for a folder."""
    if not is_bucket(store.address):
        return None
    return f"{megabytes(shared_bytes(store.address))} MB are in {store.address}; {SHARED}"


def write_answers(answers: Iterable[SharedAnswer], path: Path) -> int:
    """Write answers to a new file, whole or not at all; return how many.

    Raises:
        UserError: there is such a file, or its name ends in neither .jsonl nor .parquet.
    """
    write = _writer_of(path)
    if path.exists():
        raise UserError(f"{path} is there already; give a new file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        number = write(answers, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return number


def read_answers(path: Path) -> Iterator[SharedAnswer]:
    """Yield the answers of a file.

    Raises:
        UserError: there is none, or a line of it is no answer that a cache keeps.
    """
    _writer_of(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    read_lines = _table_lines if path.suffix == ".parquet" else _json_lines
    for number, line in enumerate(read_lines(path), 1):
        try:
            answer = read_answer(line)
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: it is no answer of a cache ({error})"
            ) from error
        if answer.completion is None or answer.completion["finish"] not in STORED:
            raise UserError(f"{path}, line {number}: there is no answer in it that a cache keeps")
        yield answer


def _writer_of(path: Path) -> Callable[[Iterable[SharedAnswer], Path], int]:
    with suppress(KeyError):
        return {".jsonl": _write_lines, ".parquet": _write_table}[path.suffix]
    raise UserError(f"{path}: name a file that ends in .jsonl or .parquet")


def _write_lines(answers: Iterable[SharedAnswer], path: Path) -> int:
    number = 0
    with path.open("wb") as file:
        for answer in answers:
            file.write(answer_line(answer))
            number += 1
    return number


def _write_table(answers: Iterable[SharedAnswer], path: Path) -> int:
    table = pl.DataFrame([_table_row(answer) for answer in answers], SCHEMA)
    table.write_parquet(path)
    return table.height


def _table_row(answer: SharedAnswer) -> dict[str, object]:
    completion = answer.completion or {}
    plain = {name: completion.get(name) for name in PLAIN}
    body = orjson.dumps(completion).decode()
    return {**vars(answer), **plain, "completion": body}


def _json_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _table_lines(path: Path) -> Iterator[bytes]:
    """Yield the rows of a table as lines of JSON."""
    try:
        table = read_table(path, list(READ)).match_to_schema(READ)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is no Parquet file of answers ({error})") from error
    for row in table.iter_rows(named=True):
        yield orjson.dumps(row | {"completion": orjson.Fragment(row["completion"] or "null")})


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).date().isoformat()
