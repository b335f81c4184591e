"""What the files of a recipe are read as: `curate check` shows it, so that no field goes astray unseen.

pool p/dolly.jsonl: JSON Lines; 3 records, 2 dolly (instruction, response); 2 rows, 1 rejected
    1 x missing_field, first at 3: response
    user: Which ferry leaves last? ...
    assistant: The Tern, at 21:45.
    to meta: category 100 %
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

import orjson
import polars as pl

from curate.core.jsontext import dump_json
from curate.core.rows import Message, turn_text
from curate.pool.entries import FilesOfEntry, HubIdentity, PoolEntries, files_of
from curate.pool.layouts.texts import texts_of
from curate.pool.layouts.unread import CLASS_FIELD
from curate.pool.parts import FilePart, entry_parts
from curate.pool.ranges import entry_steps
from curate.pool.recordrows import RecordBatch
from curate.pool.records import describe_container

# A name, hash or address is no text, however long.
ONE_WORD = re.compile(r"[!-~]*")
# A field whose texts are longer than this on average may be a part of the conversation.
LONG_TEXT = 20
DOUBTFUL_LABEL = (
    f"`{CLASS_FIELD}` is 0 or 1: if 0 marks a bad answer, write it as false, and such answers are "
    "refused"
)
# The end of a turn or text in chat templates; an answer in a row has none.
ENDING = r"((?:<\|\w+\|>|</s>|<eos>|<end_of_turn>|<｜end▁of▁sentence｜>)\s*)$"
# A warning is given of what so many of the rows have.
LEAST_SHARE = 0.1
# What may say whether an answer is a good one.
VERDICT_FIELDS = frozenset(
    f"{prefix}{word}"
    for prefix in ("", "is_")
    for word in ("correct", "good", "valid", "accepted", "desirable", "passed", "verified")
)
MAX_EXCERPT_CHARS, MAX_LISTED_FIELDS = 200, 12


@dataclass
class FileSummary:
    """What a file is read as: container, layouts, rejects, one row, and the fields that go to meta.

    hub: the data set of the hub that it is of.
    named: the fields that the recipe names.
    first: by reason, where the first reject is, and the field at fault.
    kept: how many rows have a field in meta that is not null.
    characters: how many characters the texts of such a field have, over all rows.
    labels: what the field `label` says there.
    endings: how many answers end in a mark of chat templates.
    denied: how many rows have false in a field that may say whether the answer is a good one.
    """

    role: str
    name: str
    container: str
    hub: HubIdentity | None = None
    named: Sequence[str] = ()
    layouts: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    example: list[Message] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    labels: set[str] = field(default_factory=set)
    endings: Counter[str] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)

    def add(self, batch: RecordBatch) -> None:
        """Count rows and rejects of the file."""
        self.layouts += batch.layouts
        for reject in batch.rejects:
            self.rejected[reject["reason"]] += 1
            self.first.setdefault(reject["reason"], f"{reject['position']:,}: {reject['field']}")
        self.rows += batch.rows.num_rows
        if batch.rows.num_rows and not self.example:
            self.example = batch.rows["messages"][0].as_py()
        turns = cast(pl.Series, pl.from_arrow(batch.rows["messages"]))
        ending = turns.list.last().struct.field("content").str.extract(ENDING)
        self.endings.update(dump_json(mark) for mark in ending.drop_nulls())
        for meta in batch.rows["meta"].to_pylist():
            for name, value in orjson.loads(meta).items():
                if value is None:
                    continue
                self.kept[name] += 1
                if name == CLASS_FIELD:
                    self.labels.add(str(value))
                self.denied[name] += name in VERDICT_FIELDS and str(value).lower() == "false"
                self.characters[name] += sum(map(len, _long_texts(value)))

    @property
    def warnings(self) -> list[str]:
        """Return a sentence for each field of long texts that reaches no turn, and for odd answers."""
        means = {name: self.characters[name] / count for name, count in self.kept.items()}
        doubts = [
            f"`{name}` is false in {count:,} rows: if it marks bad answers, leave them out by `select: "
            f'{{filter: "meta.{name} = true"}}`'
            for name, count in self.denied.items()
            if count
        ]
        doubts += [
            f"`{path}`, which `fields:` names, is in no record"
            for path in self.named
            if self.layouts and all(path not in fields for _, fields in self.layouts)
        ]
        doubts += [
            f"{count:,} answers end in {mark}, a mark of chat templates, which is trained on as a part "
            f"of them: `strip_end: {mark}` takes it off"
            for mark, count in self.endings.items()
            if count > LEAST_SHARE * self.rows
        ]
        if self.labels == {"0", "1"}:
            doubts.append(DOUBTFUL_LABEL)
        return doubts + [
            f"`{name}` (texts of {mean:,.0f} characters on average) reaches no turn and goes to meta; "
            "if it belongs to the conversation, name the turns with `fields:`"
            for name, mean in means.items()
            if mean > LONG_TEXT
        ]

    def lines(self) -> list[str]:
        """Return the summary in lines for a terminal."""
        records = sum(self.rejected.values()) + self.rows
        layouts = [
            f"{n:,} {name} ({', '.join(by)})" for (name, by), n in self.layouts.most_common()
        ]
        what = ", ".join([f"{records:,} records", *layouts])
        result = f"{self.rows:,} rows, {self.rejected.total():,} rejected"
        lines = [f"{self.role} {self.name}: {self.container}; {what}; {result}"]
        if self.hub:
            lines.append(f"    of {_describe_hub(self.hub)}")
        for reason, count in self.rejected.most_common():
            lines.append(f"    {count:,} x {reason}, first at {self.first[reason]}")
        lines += [f"    {turn['role']}: {_excerpt(turn_text(turn))}" for turn in self.example]
        if self.kept:
            shares = [
                f"{name} {n / self.rows:.0%}"
                for name, n in self.kept.most_common(MAX_LISTED_FIELDS)
            ]
            more = len(self.kept) - len(shares)
            lines.append(
                f"    to meta: {', '.join(shares)}" + (f" and {more} more" if more else "")
            )
        if any(name == "preference" for name, _ in self.layouts):
            lines.append(
                "    of a preference record the chosen answer is the row, the other its `rejected`"
            )
        return [*lines, *(f"    warning: {warning}" for warning in self.warnings)]


def _describe_hub(hub: HubIdentity) -> str:
    """Return data set, commit, configuration and split in words."""
    parts = {"commit": hub["commit"], "config": hub["config"], "split": hub["split"]}
    return ", ".join([hub["repo"], *(f"{name} {value}" for name, value in parts.items() if value)])


def _long_texts(value: Any) -> Iterator[str]:
    return (text for text in texts_of(value) if not ONE_WORD.fullmatch(text))


def _excerpt(content: str) -> str:
    text = " ".join(content.split())
    return text if len(text) <= MAX_EXCERPT_CHARS else f"{text[: MAX_EXCERPT_CHARS - 4]} ..."


def summarise_files(entries_by_role: Mapping[str, PoolEntries], seed: int) -> Iterator[FileSummary]:
    """Yield what each file of a recipe's inputs is read as, given the seed of samples.

    Raises:
        UserError: a file cannot be read.
    """
    for role, entries in entries_by_role.items():
        for files in entries.files:
            yield from _summarise_entry(role, files, seed)


def _summarise_entry(role: str, of_entry: FilesOfEntry, seed: int) -> Iterator[FileSummary]:
    entry, urls = of_entry.identity, of_entry.urls
    files = {file.name: file for file in files_of(entry, urls)}
    named = [path for path in (entry["fields"] or {}).values() if isinstance(path, str)]
    summary: FileSummary | None = None
    steps = entry_steps(of_entry)
    parts = chain.from_iterable(entry_parts(step.identity, step.urls, seed) for step in steps)
    for batch in map(FilePart.read, parts):
        name = f"{entry['source']}/{batch.file}"
        if summary is None or summary.name != name:
            if summary is not None:
                yield summary
            container = describe_container(files[batch.file])
            summary = FileSummary(role, name, container, entry.get("hub"), named)
        summary.add(batch)
    if summary is not None:
        yield summary
