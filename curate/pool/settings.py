"""The recipe's parts that name files of rows: path, fields, source, target."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import regex
from pydantic import BeforeValidator, Field, field_validator, model_validator

from curate.core.names import check_name
from curate.core.params import Params


class FieldMap(Params):
    """Names of upstream fields, for records in no known layout: body.messages, answers.text[0]."""

    messages: str | None = Field(
        None, description="field with the list of turns", examples=["body.messages"]
    )
    prompt: str | None = Field(None, description="field with what is asked", examples=["query"])
    context: str | None = Field(
        None, description="field whose text stands below the prompt", examples=["passage"]
    )
    response: str | None = Field(
        None, description="field with the answer", examples=["answers.text[0]"]
    )
    system: str | None = Field(
        None, description="field with the system turn", examples=["instructions"]
    )
    origin: str | None = Field(
        None, description="field that names the task or part that a row is of", examples=["topic"]
    )
    roles: dict[str, Literal["system", "user", "assistant", "tool"]] | None = Field(
        None,
        description="what the names of roles mean, beside the usual ones: {humain: user}",
        examples=[{"humain": "user"}],
    )

    @model_validator(mode="after")
    def _check(self) -> "FieldMap":
        turns = (self.messages, self.prompt, self.response, self.context, self.system)
        if not (self.messages or (self.prompt and self.response)):
            if any(turns) or not (self.roles or self.origin):
                raise ValueError("name `messages`, or both `prompt` and `response`")
        elif self.messages and (self.prompt or self.response or self.context):
            raise ValueError("name `messages`, or `prompt` and `response`, not both")
        return self


class FieldNames(TypedDict, total=False):
    """A FieldMap as a key of a cached call has it."""

    messages: str | None
    prompt: str | None
    context: str | None
    response: str | None
    system: str | None
    origin: str | None
    roles: Mapping[str, str] | None


class RowFile(Params):
    """Where rows come from: a file, glob or folder of JSON, Parquet, Arrow, CSV, plain or packed."""

    path: str = Field(description="file, glob, folder, or URL of fsspec", examples=["data/*.jsonl"])
    source: str | None = Field(
        None, description="name of these rows in ids and reports", examples=["forum"]
    )
    fields: FieldMap | None = Field(
        None,
        description="for records in no known format",
        examples=[{"prompt": "query", "response": "reply"}],
    )
    strip_end: str | None = Field(
        None, description="marker cut off the end of responses", examples=["<|endoftext|>"]
    )
    sample: int | None = Field(
        None, gt=0, description="take this many records, drawn by the seed", examples=[3000]
    )
    split: str | None = Field(
        None,
        min_length=1,
        description="the split to read, of a data set with several, e.g. train",
        examples=["train"],
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, value: str | None) -> str | None:
        return None if value is None else check_name(value)

    @property
    def source_name(self) -> str:
        """Return the name given, or one made from the path."""
        if self.source:
            return self.source
        fixed = re.split(r"[*?\[]", self.path)[0].rstrip("/")
        words = regex.split(r"[^\p{L}\p{N}\p{M}_-]+", Path(fixed).name.split(".")[0])
        return unicodedata.normalize("NFC", "-".join(words).strip("-")) or "pool"


def as_file(value: Any) -> Any:
    """Return a file of which the recipe has nothing but the path, written out."""
    return {"path": value} if isinstance(value, str) else value


def as_list(value: Any) -> Any:
    """Return a list where the recipe has its one entry."""
    return [value] if isinstance(value, str | Mapping) else value


ShortRowFile = Annotated[RowFile, BeforeValidator(as_file, json_schema_input_type=RowFile | str)]


class Target(RowFile):
    """A few examples of the wanted skill, and the held-out eval set that only the proof reads."""

    source: str | None = Field("target", description="name of these rows in ids and reports")
    eval: Annotated[
        Annotated[list[ShortRowFile], Field(min_length=1)] | None,
        BeforeValidator(as_list, json_schema_input_type=list[RowFile | str] | RowFile | str | None),
        Field(
            description="one file, or several that make up one eval set",
            examples=[[{"path": "eval.jsonl"}]],
        ),
    ] = None

    @property
    def eval_files(self) -> list[RowFile]:
        """Return the files of the eval set, each with its source; a single one is named eval."""
        files = self.eval or []
        name = "eval" if len(files) == 1 else None
        return [file.model_copy(update={"source": file.source or name}) for file in files]
