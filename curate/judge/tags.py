"""Tags: what each row's user asks for, in open words of a language model, brought to common names.

    - {method: tags, engine: {...}}
    select: {method: instag, budget: {rows: 500}}                          most tags first, all of them
    select: {method: mixture, by: tags.tag, budget: {rows: 500}}           or any other method by groups

Published (Lu et al. 2023, "#InsTag", arXiv:2308.07074): ChatGPT tags the intentions and meanings of each
query; tags are normalised by frequency (those of fewer than 20 queries go), by rule (case, special
characters, stems), by meaning (PhraseBERT and DBSCAN) and by association (FP-growth: tags that nearly
always come together are one). The number of a query's tags is its complexity.

Ours: one request a row, whose user turns are tagged together, tags without explanations. Rule and
meaning come before frequency (curate.judge.tagnames), so that rare spellings count for what they mean,
and the floor is 2 rows (`least`), for pools of thousands of rows instead of hundreds of thousands. Left
out: stems, which the embedder brings together for the most part, and association.

Columns: `tags`, divided by "; ", so that conditions can read them (`tags.tags LIKE '%python%'`); `tag`,
the one of them that most rows have; `score`, their number. A row whose answer was of no use has null in
all of them. No row is dropped.

Cost: a call a row; `least` moves without one. Pitfalls: small models repeat the example's tags or the
request's words; a model that tags at length makes every row complex. The number of tags of a row says
little before the names are common: look at the table in the report first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.cut import CutParams, cut_rows
from curate.core.keyed import EngineSource
from curate.core.methods import method
from curate.core.numerals import counted, number, percent
from curate.core.reasons import Reason
from curate.core.rows import Message, prompt_text
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.section import DataTable, Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.workload import Workload
from curate.judge.tagnames import tag_names
from curate.llm.asking import ask_all, llm_counts, open_client, shorten_middle
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.prompts import MethodPrompts, Prompt, PromptFiles
from curate.llm.requests import Request, chat
from curate.llm.schemas import array, greedy, record, text, tokens_for

VERSION = 1
METHOD = "tags"
BATCH_ROWS = 10_000
MOST_TAGS, TAG_LETTERS = 12, 40
SCHEMA = record(tags=array(text(TAG_LETTERS), MOST_TAGS))
# Between the tags of a row: no name of a tag has it.
DIVIDER = "; "
FREQUENT = 20
ANSWERS = pl.Schema({"row_id": pl.String(), "tags": pl.List(pl.String()), "why": pl.String()})


@method
class TagsStage(Stage):
    """Tag what each row's user asks for."""

    title: ClassVar[str] = "Tags"
    version: ClassVar[int] = 1
    rethresholdable: ClassVar[tuple[str, ...]] = ("least",)
    does: ClassVar[str] = "tags rows"

    method: Literal["tags"] = "tags"
    engine: EngineParams = TransformersParams()
    least: int = Field(2, ge=1, description="rows that a tag must have, or it is none")
    merge: float = Field(
        0.9, gt=0, le=1, description="cosine from which two tags are one; 1 merges none"
    )
    embedder: str | None = Field(
        None, description="models.embedder if not given", examples=["minilm"]
    )
    prompts: str | None = Field(
        None, description="folder whose tags/tag.j2 comes before ours", examples=["prompts/"]
    )

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return what the engine wrote, and the names of the tags."""
        folder = Path(self.prompts) if self.prompts else None
        answers = run(
            write_tags,
            data,
            engine=run.engine(self.engine),
            prompts=MethodPrompts(METHOD, folder).files(),
        )
        return {
            "answers": answers,
            "names": run(tag_names, answers, run.embedder(self.embedder), self.merge),
        }

    def decide(self, data: StageData) -> StageResult:
        """Return the tags of each row that enough rows have."""
        tags = frequent_tags(data.prepared["names"].read(), self.least)
        joined = (
            data.prepared["answers"]
            .read(["row_id", "why"])
            .join(tags, on="row_id", how="left", maintain_order="left")
            .with_columns(pl.col("score").fill_null(0.0), pl.col("tags").fill_null(""))
            .with_columns(
                pl.when(pl.col("why").is_null()).then(pl.col(name)).alias(name)
                for name in ("score", "tags", "tag")
            )
            .drop("why")
        )
        verdicts = cut_rows(data, joined, CutParams(), Reason.LOW_GRADE)
        columns = joined.drop("score")
        return StageResult(verdicts.join(columns, on="row_id", how="left", maintain_order="left"))

    def section(self, record: StageRecord) -> Section | None:
        """Return how many tags rows have, and the most frequent ones."""
        evidence = record.evidence().select("row_id", "tags").drop_nulls().collect()
        each = evidence.select(tag=pl.col("tags").str.split(DIVIDER).explode())
        counts = each.filter(pl.col("tag") != "").group_by("tag").len()
        ordered = counts.sort("len", "tag", descending=[True, False])
        lead = (
            f"A language model tagged what users ask for: {number(counts.height)} tags of at least "
            f"{counted(self.least, 'row')} each. A row's score is the number of its tags.",
        )
        lines = tuple(
            (tag, number(rows), percent(rows / evidence.height))
            for tag, rows in ordered.head(FREQUENT).iter_rows()
        )
        extras = (DataTable(("Tag", "#Rows", "#Share"), lines),) if lines else ()
        return scored_section(record, lead=lead, extras=extras)

    def cost(self, rows: int) -> Workload:
        """Return a call a row."""
        return Workload(calls=rows)


@cached(version=VERSION, name="tags-written", title="Ask for tags", wants=engine_wants)
def write_tags(
    data: StageInputs, engine: EngineSource, prompts: PromptFiles
) -> Counted[pl.DataFrame]:
    """Return row_id, the tags as they were written, and why there are none.

    Raises:
        UserError: the engine no longer answers.
    """
    prompt = prompts.open()["tag"]
    parts = [ANSWERS.to_frame()]
    with open_client(engine) as client:
        for batch in data.survivor_batches(["row_id", "messages"], BATCH_ROWS):
            requests = [_request(messages, prompt) for messages in batch["messages"].to_list()]
            answers = [answer for (answer,) in ask_all(client, requests, METHOD)]
            lines = {
                "row_id": batch["row_id"],
                "tags": [answer.value["tags"] if answer.ok else None for answer in answers],
                "why": [None if answer.ok else answer.reason for answer in answers],
            }
            parts.append(pl.DataFrame(lines, schema=ANSWERS))
        spent = llm_counts(client)
    table = pl.concat(parts)
    return Counted(table, {"untagged": table["tags"].null_count(), "llm": spent})


def _request(messages: list[Message], prompt: Prompt) -> Request:
    turns = prompt.fill(prompt=shorten_middle(prompt_text(messages)))
    sampling = greedy(tokens_for(MOST_TAGS * TAG_LETTERS // 2))
    return chat(turns, sampling=sampling, schema=SCHEMA)


def frequent_tags(names: pl.DataFrame, least: int) -> pl.DataFrame:
    """Return row_id, score, tags and tag of the rows that have a tag of at least so many rows.

    Args:
        names: row_id and tag, each once.
        least: how many.
    """
    rows = pl.len().over("tag")
    ordered = names.with_columns(rows=rows).filter(pl.col("rows") >= least)
    most = pl.col("tag").sort_by(["rows", "tag"], descending=[True, False]).first()
    return ordered.group_by("row_id", maintain_order=True).agg(
        score=pl.len().cast(pl.Float64),
        tags=pl.col("tag").str.join(DIVIDER),
        tag=most,
    )
