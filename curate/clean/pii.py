"""Personal data in rows: email and IP addresses, phone, card and account numbers, SSN, keys, tokens.

Found by their form and, where the form has one, by its checksum (curate.clean.heuristics.personal). All
turns are searched, and those of a rejected answer. `mask` puts the name of its kind in the place of each
("write to [EMAIL]") in a new row whose parent is the old one; the old one is dropped, and names it in
duplicate_of.

What has no form is not found: street addresses, dates of birth, words about someone's health. Names of
people are with `names: en_core_web_sm`, a pipeline of spaCy's that you install together with
presidio-analyzer; it takes 5 ms a turn or more, and misses names and takes other words for some. So a
pool without hits is not a pool without personal data.

The score is the number of pieces. Beside the verdicts, found.parquet tells where each stands and of
which kind it is, not what it says. Cost: 0.04 to 0.13 ms a row.

Pitfalls: what is printed for all to see (a hotline, an office) has the form of what is private. Numbers
without + are phone numbers only in the North American form or after a word such as phone, and with
`regions: [DE]` those of Germany's plan as well (0.1 ms a row and region more). Rows that a mask makes
equal are duplicates: put `exact` behind.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from curate.clean.heuristics.people import PersonName, check_names
from curate.clean.heuristics.personal import (
    FORMS,
    KINDS,
    Detector,
    FormKind,
    Kind,
    Span,
    find_personal,
    mask,
)
from curate.clean.heuristics.phones import InternationalPhone, RegionalPhone, unknown_regions
from curate.clean.heuristics_section import pii_section
from curate.core.calls import Table, cached_files
from curate.core.derived_rows import derive_rows, derived_id
from curate.core.jsontext import dump_json, parse_json
from curate.core.methods import method
from curate.core.preferences import with_rejected
from curate.core.reasons import Reason
from curate.core.rows import SCHEMA, Message, turn_text
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import APPENDED, Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts
from curate.core.tableparts import SurvivorPart, concatenated, survivor_parts
from curate.core.turntext import plain_messages, text_of_turn

VERSION = 7
SPAN_TABLE = "found"
SPAN_SCHEMA = pl.Schema(
    {"row_id": pl.String, "turn": pl.Int32, "kind": pl.String, "start": pl.Int32, "end": pl.Int32}
)
BATCH_ROWS = 8_192


@method
class PiiStage(Stage):
    """Find personal data by its form, and mask it or drop its rows."""

    title: ClassVar[str] = "Personal data"
    reads_rejected: ClassVar[bool] = True
    version: ClassVar[int] = 3
    keeps_out: ClassVar[str | None] = "personal data"

    method: Literal["pii"] = "pii"
    find: list[FormKind] = Field(list(KINDS), min_length=1, description="what is looked for")
    regions: list[str] = Field(
        [],
        description="ISO 3166 codes, e.g. [DE, US], whose national phone numbers are found bare",
        examples=[["DE", "US"]],
    )
    names: str | None = Field(
        None,
        description="a spaCy pipeline (package or folder) that finds names of people, through "
        "presidio-analyzer",
        examples=["en_core_web_sm"],
    )
    action: Literal["flag", "mask", "drop"] = Field(
        "mask",
        description="mask makes a new row of each that holds some; flag keeps them as they are",
    )

    @field_validator("regions", mode="before")
    @classmethod
    def _check_regions(cls, regions: Any) -> Any:
        """Take YAML's `no` for Norway, and refuse what is no region."""
        if not isinstance(regions, list):
            return regions
        codes = ["NO" if code is False else code for code in regions]
        unknown = unknown_regions(codes)
        if unknown:
            raise ValueError(
                f"{', '.join(map(str, unknown))}: no region with phone numbers; write ISO 3166 codes, "
                "e.g. [DE, US]"
            )
        return codes

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return where personal data stands, and the masked rows if they are wanted."""
        find, regions = sorted(set(self.find)), sorted(set(self.regions))
        names = [self.names, check_names(self.names)] if self.names else None
        parts = run.map(write_spans, survivor_parts(data), find, regions, names)
        spans = concatenated(run, [Table(part, SPAN_TABLE) for part in parts])
        if self.action != "mask":
            return {SPAN_TABLE: spans}
        return {SPAN_TABLE: spans, APPENDED: Table(run(write_masked, data, spans), APPENDED)}

    def section(self, record: StageRecord) -> Section:
        """Return how many rows hold each kind of personal data."""
        return pii_section(record, self.action)

    def decide(self, data: StageData) -> StageResult:
        """Judge rows by what was found; score is the number of pieces, duplicate_of the masked row.

        The evidence has a column for each kind besides: how many pieces of it. Table counts: kind, found
        (pieces) and rows. Table details: how many of which kind a row holds.
        """
        spans = data.prepared[SPAN_TABLE].read()
        kinds: list[Kind] = [kind for kind in KINDS if kind in self.find]
        kinds += ["name"] if self.names else []
        each = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in kinds]
        hits = spans.group_by("row_id").agg(pl.len().cast(pl.Float64).alias("score"), *each)
        masked = self.action == "mask"
        names = [derived_id(row_id, "pii") if masked else None for row_id in hits["row_id"]]
        named = hits.with_columns(duplicate_of=pl.Series(names, dtype=pl.String))
        row_hits = data.rows.select("row_id").join(
            named.lazy(), on="row_id", how="left", maintain_order="left"
        )
        is_dropped = pl.col("score").is_not_null() & (self.action != "flag")
        reason = Reason.MASKED if masked else Reason.PERSONAL_DATA
        evidence = row_hits.select(
            "row_id",
            keep=~is_dropped,
            reason=pl.when(is_dropped).then(pl.lit(reason.value)),
            score=pl.col("score").fill_null(0.0),
            threshold=pl.lit(None, dtype=pl.Float64),
            duplicate_of="duplicate_of",
            **{str(kind): pl.col(kind).fill_null(0) for kind in kinds},
        )
        return StageResult(evidence, {"counts": _count(spans, kinds), "details": _details(spans)})

    def check(self) -> None:
        """Fail if the finder of names is not installed.

        Raises:
            UserError: it is not; what to install.
        """
        if self.names:
            check_names(self.names)


def _details(spans: pl.DataFrame) -> pl.DataFrame:
    """Return row_id and detail, e.g. "email 2, phone 1", of each row that holds some."""
    counted = spans.group_by("row_id", "kind").len().sort("row_id", "kind")
    each = pl.format("{} {}", pl.col("kind").str.replace_all("_", " "), "len")
    return counted.group_by("row_id", maintain_order=True).agg(detail=each.str.join(", "))


def _count(spans: pl.DataFrame, kinds: list[Kind]) -> pl.DataFrame:
    counted = spans.group_by("kind").agg(
        found=pl.len().cast(pl.Int64), rows=pl.col("row_id").n_unique().cast(pl.Int64)
    )
    named = pl.DataFrame({"kind": kinds}, schema={"kind": pl.String})
    return named.join(counted, on="kind", how="left", maintain_order="left").fill_null(0)


@cached_files(version=VERSION, name="pii-found", title="Look for personal data")
def write_spans(
    out: Path,
    rows: SurvivorPart,
    find: Sequence[FormKind],
    regions: Sequence[str],
    names: Sequence[str] | None = None,
) -> Counts:
    """Write found.parquet: row_id, turn, kind, start and end in characters, in the order of rows.

    The turns of a rejected answer are counted on from those of the row.

    `names` are the pipeline that finds names of people, and its version.
    """
    detectors = detectors_of(find, regions, names[0] if names else None)
    count = pieces = 0
    arrow = SPAN_SCHEMA.to_frame().to_arrow().schema
    with pq.ParquetWriter(out / f"{SPAN_TABLE}.parquet", arrow, compression="zstd") as writer:
        for batch in rows.batches(["row_id", "messages", "rejected"], BATCH_ROWS):
            count += batch.height
            spans = find_pii(with_rejected(batch), detectors)
            pieces += spans.height
            writer.write_table(spans.to_arrow().cast(arrow))
    return {"rows_in": count, "rows_out": pieces, "found": pieces}


def find_pii(rows: pl.DataFrame, detectors: Sequence[Detector] | None = None) -> pl.DataFrame:
    """Return where personal data stands in rows with row_id and messages (SPAN_SCHEMA).

    Args:
        rows: row_id, messages.
        detectors: of the kinds that are looked for; of all that have a form if None.
    """
    detectors = detectors_of(KINDS) if detectors is None else detectors
    texts = rows.select(whole=pl.col("messages").list.eval(text_of_turn()).list.join("\n"))
    flags = texts.select(
        pl.col("whole").str.contains(detector.hint).alias(str(i))
        for i, detector in enumerate(detectors)
    )
    hinted = flags.select(pl.any_horizontal(pl.all())).to_series()
    lines = [
        (row_id, turn, span.kind, span.start, span.end)
        for (row_id, messages), some in zip(
            rows.filter(hinted).select("row_id", "messages").iter_rows(),
            flags.filter(hinted).iter_rows(),
            strict=True,
        )
        for turn, message in enumerate(messages)
        for span in find_personal(turn_text(message), itertools.compress(detectors, some))
    ]
    return pl.DataFrame(lines, schema=SPAN_SCHEMA, orient="row")


def detectors_of(
    find: Collection[Kind], regions: Sequence[str] = (), names: str | None = None
) -> list[Detector]:
    """Return what finds some kinds of data, phone numbers of regions and names of people besides."""
    forms = [form for form in FORMS if form.kind in find]
    others = [form for form in forms if form.kind != "phone"]
    phones: list[Detector] = [form for form in forms if form.kind == "phone"]
    if "phone" in find:
        # The surer one first: a form knows where a number looks American, not where it begins.
        phones = [InternationalPhone(), *phones, *map(RegionalPhone, regions)]
    return [*others, *phones, *([PersonName(names)] if names else [])]


@cached_files(version=VERSION, name="pii-masked", title="Mask personal data")
def write_masked(out: Path, data: StageInputs, spans: Table) -> Counts:
    """Write made.parquet: for each row that holds personal data one in which it is masked."""
    places = spans.read()
    ids = places.select("row_id").unique().lazy()
    rows = data.survivors().join(ids, on="row_id", how="semi", maintain_order="left").collect()
    masked_rows = _masked_rows(rows, places)
    pq.write_table(masked_rows.to_arrow().cast(SCHEMA), out / f"{APPENDED}.parquet")
    return {"rows_in": rows.height, "rows_out": masked_rows.height}


def _masked_rows(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Return the new rows; of a pair both answers are masked."""
    turns = list(_masked(with_rejected(rows), spans))
    sizes = rows["messages"].list.len().to_list()
    messages = [own[:size] for own, size in zip(turns, sizes, strict=True)]
    rejected = [own[size:] or None for own, size in zip(turns, sizes, strict=True)]
    masked_rows = derive_rows(rows, messages, "pii")
    return masked_rows.with_columns(
        rejected=pl.Series(rejected, dtype=masked_rows.schema["rejected"])
    )


def _masked(rows: pl.DataFrame, spans: pl.DataFrame) -> Iterator[list[Message]]:
    spans_by_turn: dict[tuple[str, int], list[Span]] = {}
    for row_id, turn, *place in spans.iter_rows():
        spans_by_turn.setdefault((row_id, turn), []).append(Span(*place))
    for row_id, messages in rows.select("row_id", "messages").iter_rows():
        yield [
            mask_turn(message, spans_by_turn.get((row_id, i), []))
            for i, message in enumerate(plain_messages(messages))
        ]


def mask_turn(message: Message, spans: Sequence[Span]) -> Message:
    """Return a turn with the name of its kind in the place of each span of its text.

    In the arguments of a call, whose JSON stays whole, it is in the place of the text or number that
    holds the span.
    """
    masked: Message = {**message}
    at = 0
    if reasoning := message.get("reasoning"):
        masked["reasoning"], at = _mask_part(reasoning, spans, at)
    if message["content"]:
        masked["content"], at = _mask_part(message["content"], spans, at)
    if calls := message.get("tool_calls"):
        text = turn_text(message)
        pieces = [(text[s.start : s.end], s.kind) for s in spans if s.start >= at]
        masked["tool_calls"] = [
            {
                **call,
                "arguments": dump_json(
                    _mask_values(parse_json(call["arguments"].encode()), pieces)
                ),
            }
            for call in calls
        ]
    return masked


def _mask_part(text: str, spans: Sequence[Span], at: int) -> tuple[str, int]:
    """Return a part of a turn's text, which begins at a place, masked, and where the next one begins."""
    end = at + len(text)
    own = [Span(s.kind, s.start - at, s.end - at) for s in spans if at <= s.start < end]
    return mask(text, own), end + 1


def _mask_arguments(arguments: str, pieces: Sequence[tuple[str, Kind]]) -> str:
    return dump_json(_mask_values(parse_json(arguments.encode()), pieces))


def _mask_values(value: Any, pieces: Sequence[tuple[str, Kind]]) -> Any:
    if isinstance(value, dict):
        return {key: _mask_values(inner, pieces) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mask_values(inner, pieces) for inner in value]
    text = str(value)
    for piece, kind in pieces:
        text = text.replace(piece, f"[{kind.upper()}]")
    return value if text == str(value) else text
