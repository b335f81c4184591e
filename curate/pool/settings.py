"""The recipe's parts that name files of rows: path, fields, source, target."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
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
    tools: str | None = Field(
        None,
        description="field with the schemas of functions that may be called",
        examples=["functions"],
    )
    rejected: str | None = Field(
        None,
        description="field with the turns of an answer that was not preferred",
        examples=["worse"],
    )
    origin: str | None = Field(
        None, description="field that names the task or part that a row is of", examples=["topic"]
    )
    roles: dict[str, Literal["system", "user", "assistant", "tool"]] | None = Field(
        None,
        description="what the names of roles mean, beside the usual ones: {humain: user}",
        examples=[{"humain": "user"}],
    )

    @property
    def names_turns(self) -> bool:
        """Return whether it names the fields of turns, and not the origin or roles alone."""
        return bool(self.messages or self.prompt)

    @model_validator(mode="after")
    def _check(self) -> "FieldMap":
        turns = (self.messages, self.prompt, self.response, self.context, self.system)
        if not (self.messages or self.prompt):
            if any(turns) or not (self.roles or self.origin):
                raise ValueError("name `messages`, or both `prompt` and `response`")
        elif self.messages and (self.prompt or self.response or self.context):
            raise ValueError("name `messages`, or `prompt` and `response`, not both")
        return self


def as_list(value: Any) -> Any:
    """Return a list where the recipe has its one entry."""
    return [value] if isinstance(value, str | Mapping) else value


def label_key(value: Any) -> str:
    """Return how a label's value is written: 1, 1.0 and "1" are the same, and so are true and "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _as_labels(value: Any) -> Any:
    """Return names by values as they are written; a list names 0, 1, 2 ..."""
    if isinstance(value, list):
        return {str(i): name for i, name in enumerate(value)}
    return (
        {label_key(key): name for key, name in value.items()} if isinstance(value, dict) else value
    )


LabelNames = Annotated[
    dict[str, str],
    BeforeValidator(_as_labels, json_schema_input_type=dict[str, str] | list[str]),
]


class FieldNames(TypedDict, total=False):
    """A FieldMap as a key of a cached call has it."""

    messages: str | None
    prompt: str | None
    context: str | None
    response: str | None
    system: str | None
    tools: str | None
    rejected: str | None
    origin: str | None
    roles: Mapping[str, str] | None


class TemplateSource(TypedDict):
    """Templates as a key of a cached call has them: their texts, names of labels, and the seed.

    labels: by field, the name of each value written as text.
    seed: of which of several templates a record gets.
    """

    texts: Sequence[str]
    labels: Mapping[str, Mapping[str, str]]
    seed: int


class RowFile(Params):
    """Where rows come from: a file, glob or folder of JSON, Parquet, Arrow, CSV, plain or packed."""

    path: str = Field(
        description="file, glob or folder, URL of fsspec, or a data set of the Hugging Face Hub",
        examples=["data/*.jsonl", "owner/name", "s3://bucket/pool/"],
    )
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
    config: str | None = Field(
        None,
        min_length=1,
        description="the configuration to read, of a data set with several",
        examples=["en"],
    )
    revision: str | None = Field(
        None,
        min_length=1,
        description="branch, tag or commit of a data set of the hub; its main branch if none",
        examples=["main"],
    )

    license: str | None = Field(
        None,
        min_length=1,
        description="licence of these rows, as SPDX writes it; the card of the training files tells it",
        examples=["apache-2.0", "CC-BY-4.0"],
    )
    template: Annotated[
        Annotated[list[str], Field(min_length=1)] | None,
        BeforeValidator(as_list, json_schema_input_type=list[str] | str | None),
        Field(
            description="Jinja files that write a record's fields out as prompt ||| response; of "
            "several each record gets one, drawn by the seed",
            examples=[["review.j2"]],
        ),
    ] = None
    labels: dict[str, LabelNames] | None = Field(
        None,
        description="by field, names of its values for the template",
        examples=[{"label": {"0": "negative", "1": "positive"}}],
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, value: str | None) -> str | None:
        return None if value is None else check_name(value)

    @model_validator(mode="after")
    def _check_template(self) -> "RowFile":
        if self.labels and not self.template:
            raise ValueError("`labels` are for a `template`, which is not there")
        if self.template and self.fields and self.fields.names_turns:
            raise ValueError("give `template`, or name the turns with `fields`, not both")
        return self

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
