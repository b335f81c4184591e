"""A raw corpus: documents in files, cut into passages of bounded length.

{"id": "tides", "title": "Tides", "text": "The moon pulls ..."}      a line of JSON Lines: one document
notes/tides.txt                                                      a plain text file: one document

A passage is named corpus/FILE:LINE for a record and corpus/FILE for a text file, with #2, #3 ... after
it from its second passage on. What a file is gets decided by its content: it is JSON if it opens with {
or [. Passages end where a sentence does, as long as that leaves them at least half full.

A share of the documents can be held out for an eval set (`held_out`). Which ones is drawn by a digest of
their texts under a seed: whatever a document is called, wherever it stands, its copies share its fate.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import orjson
import regex
from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from curate.core.errors import UserError, named_key
from curate.core.jsontext import JsonLimit
from curate.core.localfiles import changed
from curate.core.params import Params
from curate.pool.containers.jsonvalue import parse_record
from curate.pool.containers.magic import HEAD, Kind, check_supported, find_kind
from curate.pool.entries import find_source
from curate.pool.files import PoolFile, find_files, is_folder, is_read, open_checked, read_head
from curate.pool.hubaddress import parse_address
from curate.pool.records import BOM, LONGEST, Record, read_records
from curate.text.words import counted_spans

TEXT_SUFFIXES = (".txt", ".md", ".text")
TEXT_FIELDS = ("text", "content", "contents", "body", "document", "passage")
PREFIX = "corpus/"
# What the names of a document's second and further passages end in.
PASSAGE_END = r"#\d+$"
SENTENCE_END = regex.compile(r"[.!?。！？][\"'”’)\]]*$")
PEEKED = 4_096


@dataclass(frozen=True)
class Passage:
    """A piece of a document, with the name that lineage gives it."""

    passage_id: str
    text: str


class CorpusFiles(Params):
    """Where the documents of a corpus are: its path alone, or a data set of the hub with its split."""

    path: str = Field(
        description="file, folder or glob, URL of fsspec, or a data set of the Hugging Face Hub",
        examples=["docs/*.md", "s3://bucket/docs/", "owner/name"],
    )
    split: str | None = Field(None, description="split of a data set", examples=["train"])
    config: str | None = Field(None, description="configuration of a data set", examples=["en"])
    revision: str | None = Field(
        None, description="branch, tag or commit of a data set of the hub", examples=["v1.0"]
    )
    held_out: float = Field(
        0,
        ge=0,
        lt=1,
        description="share of the documents that make no rows: `curate evalset` writes from them",
        examples=[0.2],
    )
    held_out_seed: int = Field(0, ge=0, lt=2**63, description="by which these are drawn")
    # No key of a recipe: `curate evalset` alone reads the other part.
    part: SkipJsonSchema[Literal["kept", "held_out"]] = "kept"

    def reads(self, document: str) -> bool:
        """Return whether a document is of the part that is read."""
        if not self.held_out:
            return self.part == "kept"
        identity = orjson.dumps([self.held_out_seed, document])
        draw = int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "big") / 2**64
        return (draw < self.held_out) == (self.part == "held_out")

    @property
    def held_out_by(self) -> tuple[float, int]:
        """Return what determines which documents are held out."""
        return self.held_out, self.held_out_seed


Corpus = Annotated[
    CorpusFiles,
    BeforeValidator(
        lambda value: {"path": value} if isinstance(value, str) else value,
        json_schema_input_type=str | CorpusFiles,
    ),
]


def document_of(passage_id: str) -> str:
    """Return the name of the document that a passage is from."""
    return regex.sub(PASSAGE_END, "", passage_id)


def read_passages(
    corpus: CorpusFiles, words: int, digests: Mapping[str, str] | None = None
) -> list[Passage]:
    """Return the passages of all documents of a corpus, in order.

    Args:
        corpus: where they are; in folders, JSON Lines, JSON, .txt and .md files are read.
        words: the most that a passage may have.
        digests: what the files must still have, by their names.

    Raises:
        UserError: nothing is there, a record has no text, a file cannot be read or has changed.
    """
    files = find_corpus(corpus)
    if digests is not None:
        pinned = {file.name: file.digest for file in files if file.pinned}
        if [file.name for file in files] != list(digests) or not pinned.items() <= digests.items():
            raise changed(corpus.path)
        files = [replace(file, digest=digests[file.name]) for file in files]
    passages = [
        Passage(name if k == 0 else f"{name}#{k + 1}", text)
        for file in files
        for name, document in _documents(file)
        if corpus.reads(document)
        for k, text in enumerate(cut(document, words))
    ]
    if not passages and corpus.held_out:
        raise UserError(
            f"corpus: of {corpus.path} no document is {corpus.part.replace('_', ' ')} with "
            f"held_out: {corpus.held_out}; give another share, or a corpus of more documents"
        )
    if not passages:
        raise UserError(f"corpus: {corpus.path} has no text at all")
    return passages


def find_corpus(corpus: CorpusFiles, parameter: str = "corpus") -> list[PoolFile]:
    """Return the files of a corpus, sorted by name; what is wrong with it is said under a parameter.

    Raises:
        UserError: nothing is there, or a data set has several splits and none is named.
    """
    path, plain = corpus.path, not (corpus.split or corpus.config or corpus.revision)
    if not plain or parse_address(path) or not is_folder(path):
        with named_key(parameter):
            files, _ = find_source(path, corpus.split, corpus.config, corpus.revision)
        return list(files)
    files = [
        file
        for file in find_files(path.rstrip("/") + "/**")
        if is_read(file.name) or file.name.lower().endswith(TEXT_SUFFIXES)
    ]
    if not files:
        raise UserError(
            f"{parameter}: no file under {path} is one of records (JSON, Parquet ...) or ends in one of "
            f"{', '.join(TEXT_SUFFIXES)}"
        )
    return files


def _documents(file: PoolFile) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each document of a file."""
    head = read_head(file, PEEKED)
    opening = head.removeprefix(BOM).lstrip()[:1]
    check_supported(file.url, head[:HEAD])
    if find_kind(head) is Kind.TEXT and opening not in (b"{", b"["):
        yield f"{PREFIX}{file.name}", _read_text(file)
        return
    for record in read_records(file):
        where = f"{record.file_name(file.url)}:{record.position}"
        name = f"{PREFIX}{record.file_name(file.name)}:{record.position}"
        yield name, _text_of(_value(record, where), where)


def _read_text(file: PoolFile) -> str:
    with open_checked(file) as handle:
        data = handle.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise UserError(
                f"{file.url}: a document of the corpus has at most {LONGEST:,} bytes; split the file"
            )
    try:
        return data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{file.url}:{line}: the corpus is not UTF-8; convert the file, or leave it out"
        ) from error


def _value(record: Record, where: str) -> Any:
    if record.fault:
        raise UserError(f"{where}: the record cannot be read ({record.fault[1]})")
    if record.parsed:
        return record.value
    if record.too_long:
        raise UserError(f"{where}: a document of the corpus has at most {LONGEST:,} bytes")
    try:
        return parse_record(record.raw)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{where}: a line of the corpus is no JSON ({error.msg})") from error
    except JsonLimit as error:
        raise UserError(f"{where}: a line of the corpus cannot be read ({error})") from error


def _text_of(value: Any, where: str) -> str:
    """Return a record's text, its title before it."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise UserError(
            f"{where}: a document of the corpus is an object or a text, not {type(value).__name__}"
        )
    field = next((f for f in TEXT_FIELDS if isinstance(value.get(f), str)), None)
    if field is None:
        raise UserError(
            f"{where}: a document of the corpus has its text under one of "
            f"{', '.join(TEXT_FIELDS)}; this one's keys are {', '.join(list(value)[:12]) or 'none'}"
        )
    title = value.get("title")
    text: str = value[field]
    return f"{title.strip()}\n\n{text}" if isinstance(title, str) and title.strip() else text


def cut(text: str, words: int) -> list[str]:
    """Return a text in passages of at most so many words (`count_words`); what is between them is kept.

    A passage ends after its last whole sentence, or where it is full if that would leave it less than
    half full. Nothing is lost but the white space between passages.
    """
    spans = counted_spans(text)
    passages, start = [], 0
    while start < len(spans):
        stop = min(start + words, len(spans))
        if stop < len(spans):
            ends = (
                k
                for k in range(stop, start + words // 2, -1)
                if SENTENCE_END.search(text[slice(*spans[k - 1])])
            )
            stop = next(ends, stop)
        end = spans[stop][0] if stop < len(spans) else len(text)
        passages.append(text[spans[start][0] if start else 0 : end].strip())
        start = stop
    return passages
