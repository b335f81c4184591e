"""What the model knows: each row's answer is asked of it many times, and how often it is right counts.

Gekhman et al. 2024, "Does Fine-Tuning LLMs on New Knowledge Encourage Hallucinations?",
arXiv:2405.05904 (SliCK). With P0 the share of greedy answers that are right, over several few-shot
prompts, and PT that of samples at temperature 0.5:

    highly_known   P0 = 1              weakly_known   P0 = 0 and PT > 0
    maybe_known    0 < P0 < 1          unknown        P0 = 0 and PT = 0

Published: 10 prompts of 4 shots, 16 samples each, which is 170 answers a row; here 4 and 4. Samples are
only drawn where P0 = 0, which changes no category. No right answer among n samples bounds PT by 3/n at
95 % (rule of three): 0.019 as published, 0.19 here. Fewer prompts call more rows unknown.

Only rows that can be compared count: numbers, choices, short answers, announced final numbers
(curate.answers.values), or one checker for all; `aliases` in a row's meta are right as well. Other rows
have no category and stay. An answer that names nothing comparable is neither right nor wrong: it is left
out of the shares and counted (`not_comparable`). Score: P0; `knowledge.category` can be named in a
selection's conditions and shares. A stage has one use, or none but this:

    cap: {unknown: 0.1}    at most so large a share of the kept rows with a category; those with the
                           highest PT stay; ties, as all unknown rows are, go by content hash
    refusal: unknown       unknown rows get a refusal as their response, as new rows; R-Tuning, Zhang et
    refusal: unsure        al. 2024, arXiv:2311.09677. Or every row a further turn that says whether the
                           model knew, which is that half of its greedy answers or more are right
    refusal: uncertain     the same by the entropy of five samples, which asks no gold answer whether
                           they are right: curate.judge.uncertainty
    rehearse: true         S3FT, Gupta et al. 2025, arXiv:2502.08130: see curate.judge.rehearsal; with a
                           `judge` rows with open answers too (curate.judge.openrehearsal)

Findings of the paper: each unknown row that the model comes to fit adds hallucination, a training set of
maybe_known alone is best, and early stopping undoes most of the harm. So stop early where many stay.

Cost a row: `sets` calls, and `sets` x (1 + `samples`) where none is right, each with `shots` examples
before it. Pitfalls: a wrong gold answer looks unknown, and so does a prompt that the model does not
understand; the engine should be the model that is to be tuned (the default). Departures: exemplars are
drawn leave-one-out from the pool itself (curate.judge.probes); R-Tuning's questions and words are our
own, and its match is by value where the authors look for a substring, by which "A" is nearly always
known.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.answers.values import CHECKED_HOW, Check, warn_not_comparable
from curate.core.calls import Table, cached_files
from curate.core.keyed import EngineSource
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import APPENDED, Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts
from curate.core.workload import Workload
from curate.judge.knowledge_section import knowledge_section
from curate.judge.openrehearsal import EQUIVALENT
from curate.judge.probes import Exemplars, ProbeAnswers, ask_probes, probes_of
from curate.judge.rehearsal import PROMPTS, knowledge_prompts, write_appended
from curate.judge.uncertainty import SAMPLES
from curate.llm.asking import llm_counts, open_client
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams

VERSION = 3
CATEGORIES = ("highly_known", "maybe_known", "weakly_known", "unknown")
COLUMNS = ["row_id", "messages", "content_hash", "source", "origin", "meta", "method"]
ALL_PROMPTS = (*PROMPTS, EQUIVALENT)
OPEN_CALLS = 6
# Rows that are asked about at a time.
BATCH_ROWS = 2_000
NOT_CHECKED = "its response is no short answer that could be compared"
KNOWLEDGE_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "content_hash": pl.String(),
        "form": pl.String(),
        "category": pl.String(),
        "greedy": pl.Int64(),
        "greedy_right": pl.Int64(),
        "sampled": pl.Int64(),
        "sampled_right": pl.Int64(),
        "not_comparable": pl.Int64(),
        "bound": pl.Float64(),
        "why": pl.String(),
    }
)
ANSWER_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "set": pl.Int64(),
        "sample": pl.Int64(),
        "text": pl.String(),
        "right": pl.Boolean(),
    }
)


@method
class KnowledgeStage(Stage):
    """Sort rows by what the model knows, and cap, relabel or rehearse them."""

    title: ClassVar[str] = "What the model knows"
    version: ClassVar[int] = 2

    method: Literal["knowledge"] = "knowledge"
    engine: EngineParams = TransformersParams()
    sets: int = Field(4, ge=1, description="few-shot prompts a row; 10 as published")
    shots: int = Field(4, ge=0, description="examples in each")
    samples: int = Field(
        4, ge=1, description="of each prompt where no greedy answer is right; 16 as published"
    )
    max_tokens: int = Field(128, ge=1, description="of an answer; one that is cut is wrong")
    checker: Check = Field("auto", description=CHECKED_HOW)
    cap: dict[Literal["unknown", "weakly_known"], Annotated[float, Field(ge=0, le=1)]] = Field(
        {},
        description="largest share of a category among the kept rows that have one",
        examples=[{"unknown": 0.1}],
    )
    refusal: Literal["unsure", "uncertain", "unknown"] | None = Field(
        None,
        description="new rows: unknown ones refuse, or all say whether the model is sure, by its right "
        "answers or (uncertain) by how alike its samples are",
    )
    rehearse: bool = Field(
        False, description="new rows: the model's own right answer replaces the response"
    )
    judge: EngineParams | None = Field(
        None,
        description="with rehearse: says whether an answer without a value to compare says what the "
        "response says; rows with such responses stay as they are if not given",
        examples=[{"kind": "transformers"}],
    )
    prompts: str | None = Field(
        None,
        description="folder whose knowledge/refusals.j2, ... come before ours",
        examples=["prompts/"],
    )

    @model_validator(mode="after")
    def _check_use(self) -> "KnowledgeStage":
        uses = [name for name in ("cap", "refusal", "rehearse") if getattr(self, name)]
        if len(uses) > 1:
            raise ValueError(
                f"{' and '.join(uses)} are given, but a stage has one use: add a second knowledge "
                "stage behind this one, whose answers cost nothing more"
            )
        if self.judge is not None and not self.rehearse:
            raise ValueError(
                "judge says which answers may be rehearsed: give `rehearse: true` with it"
            )
        return self

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return what the model answered and the categories; with a use that makes rows also these."""
        engine = run.engine(self.engine)
        settings = self.model_dump(include={"sets", "shots", "samples", "max_tokens", "checker"})
        stored = run(write_knowledge, data, engine=engine, seed=run.seed, **settings)
        tables = {name: Table(stored, name) for name in ("answers", "known")}
        use = "rehearse" if self.rehearse else self.refusal
        if use is None:
            return tables
        judge = None if self.judge is None else run.engine(self.judge)
        appended = run(
            write_appended,
            data,
            stored,
            use=use,
            engine=engine,
            prompts=knowledge_prompts(self.prompts).files(
                *(PROMPTS if judge is None else ALL_PROMPTS)
            ),
            checker=self.checker,
            max_tokens=self.max_tokens,
            seed=run.seed,
            judge=judge,
        )
        names = (APPENDED, "routes", *([] if judge is None else ["judgements"]))
        return tables | {name: Table(appended, name) for name in names}

    def decide(self, data: StageData) -> StageResult:
        """Drop what is beyond a cap, or a new row replaces; score is P0, null without a category."""
        table = data.prepared["known"].read()
        if "routes" in data.prepared:
            routes = data.prepared["routes"].read().select("row_id", duplicate_of="new_id")
            table = table.join(routes, on="row_id", how="left", maintain_order="left")
            is_dropped = pl.col("duplicate_of").is_not_null()
            reason = Reason.REHEARSED if self.rehearse else Reason.RELABELLED
        else:
            dropped = beyond_caps(table, self.cap)
            table = table.with_columns(duplicate_of=pl.lit(None, dtype=pl.String))
            is_dropped = pl.col("row_id").is_in(dropped.implode())
            reason = Reason.UNKNOWN_TO_MODEL
        return StageResult(
            table.select(
                "row_id",
                keep=~is_dropped,
                reason=pl.when(is_dropped).then(pl.lit(reason.value)),
                score=pl.when(pl.col("category").is_not_null()).then(
                    pl.col("greedy_right") / pl.col("greedy")
                ),
                threshold=pl.lit(None, dtype=pl.Float64),
                duplicate_of="duplicate_of",
                category="category",
            )
        )

    def section(self, record: StageRecord) -> Section | None:
        """Return the categories, what the rows became, and some that the model does not know."""
        questions = (self.sets, self.shots, self.samples)
        return knowledge_section(
            record, questions, self.cap, CATEGORIES, judged=self.judge is not None
        )

    def cost(self, rows: int) -> Workload:
        """Return the calls if no greedy answer were right, and every rehearsal needed a paraphrase."""
        more = 2 if self.rehearse else SAMPLES if self.refusal == "uncertain" else 0
        calls = self.sets * (1 + self.samples) + more
        # A row has either a value to compare or two answers to judge, each in both orders.
        return Workload(calls=rows * (calls if self.judge is None else max(calls, OPEN_CALLS)))


@cached_files(
    version=VERSION,
    name="knowledge-answers",
    title="Ask the model what it knows",
    wants=engine_wants,
)
def write_knowledge(
    out: Path,
    data: StageInputs,
    engine: EngineSource,
    seed: int,
    sets: int,
    shots: int,
    samples: int,
    max_tokens: int,
    checker: Check,
) -> Counts:
    """Write known.parquet, a line a row, and answers.parquet, a line an answer."""
    exemplars = Exemplars(seed, sets, shots)
    for batch in data.survivor_batches(COLUMNS, BATCH_ROWS):
        for probe in probes_of(batch.to_dicts(), checker):
            exemplars.add(probe)
    tables, answers = [KNOWLEDGE_SCHEMA.to_frame()], [ANSWER_SCHEMA.to_frame()]
    with open_client(engine) as client:
        for batch in data.survivor_batches(COLUMNS, BATCH_ROWS):
            probe_answers = ask_probes(
                client,
                probes_of(batch.to_dicts(), checker),
                exemplars,
                samples=samples,
                max_tokens=max_tokens,
                seed=seed,
            )
            tables.append(knowledge_table(batch, probe_answers))
            lines = [line for one in probe_answers for line in one.lines()]
            answers.append(pl.DataFrame(lines, schema=ANSWER_SCHEMA))
        spent = llm_counts(client)
    table = pl.concat(tables)
    table.write_parquet(out / "known.parquet")
    pl.concat(answers).write_parquet(out / "answers.parquet")
    return {**_category_counts(table), "llm": spent}


def _category_counts(table: pl.DataFrame) -> Counts:
    """Return how many rows each category has, and say how many answers could not be compared."""
    unread = int(table["not_comparable"].sum())
    answered = int(table["greedy"].sum()) + int(table["sampled"].sum()) + unread
    warn_not_comparable("knowledge", unread, answered)
    categories = dict(table.group_by("category").len().drop_nulls().iter_rows())
    return {
        "rows_in": table.height,
        "rows_out": table.height,
        "categories": {name: categories.get(name, 0) for name in CATEGORIES},
        "not_comparable": unread,
    }


def knowledge_table(rows: pl.DataFrame, probe_answers: Sequence[ProbeAnswers]) -> pl.DataFrame:
    """Return a line for each row (KNOWLEDGE_SCHEMA); rows that were not asked about have no category."""
    lines_by_row = {one.probe.row_id: _category_line(one) for one in probe_answers}
    lines = [
        {
            "row_id": row_id,
            "content_hash": digest,
            **lines_by_row.get(row_id, {"greedy": 0, "greedy_right": 0, "sampled": 0, "sampled_right": 0,
                                 "not_comparable": 0, "why": NOT_CHECKED}),
        }
        for row_id, digest in rows.select("row_id", "content_hash").iter_rows()
    ]  # fmt: skip
    return pl.DataFrame(lines, schema=KNOWLEDGE_SCHEMA)


def _category_line(one: ProbeAnswers) -> dict[str, Any]:
    greedy, unread = _comparable(one, one.greedy)
    sampled, more = _comparable(one, [text for texts in one.sampled for text in texts])
    category = category_of(greedy, sampled)
    unread += more
    why = (
        f"{unread} of its answers cannot be compared" if unread else f"no answer came: {one.fault}"
    )
    return {
        "form": one.probe.form,
        "category": category,
        "greedy": len(greedy),
        "greedy_right": sum(greedy),
        "sampled": len(sampled),
        "sampled_right": sum(sampled),
        "not_comparable": unread,
        "bound": bound_of(len(sampled)) if category == "unknown" else None,
        "why": None if category else why,
    }


def _comparable(one: ProbeAnswers, texts: Sequence[str | None]) -> tuple[list[bool], int]:
    """Return whether each answer is right of those that can be compared, and how many cannot."""
    verdicts = one.compared(texts)
    return [right for right in verdicts if right is not None], verdicts.count(None)


def category_of(greedy: Sequence[bool], sampled: Sequence[bool]) -> str | None:
    """Return the category by which greedy answers and which samples are right.

    Samples play no part where a greedy answer is right. None if too little came to tell.
    """
    if any(greedy):
        return "highly_known" if all(greedy) else "maybe_known"
    if not greedy:
        return None
    if any(sampled):
        return "weakly_known"
    return "unknown" if sampled else None


def bound_of(samples: int) -> float:
    """Return the 95 % upper bound of a share of which no hit was seen (rule of three)."""
    return min(3 / samples, 1.0)


def beyond_caps(table: pl.DataFrame, caps: Mapping[Any, float]) -> pl.Series:
    """Return the ids of the rows that exceed the share which their category may have.

    Shares are of the rows that stay and have a category; rows without one count neither way.
    """
    sizes = dict(table.group_by("category").len().drop_nulls().iter_rows())
    room_by_category = room_of(sizes, caps)
    order = [pl.col("sampled_right") / pl.col("sampled"), pl.col("content_hash"), pl.col("row_id")]
    ranked = table.filter(pl.col("category").is_in(list(room_by_category))).sort(
        order, descending=[True, False, False], maintain_order=True
    )
    place = pl.int_range(pl.len()).over("category")
    room = pl.col("category").replace_strict(room_by_category, return_dtype=pl.Int64, default=None)
    return ranked.filter(place >= room)["row_id"]


def room_of(sizes: Mapping[str, int], caps: Mapping[Any, float]) -> dict[str, int]:
    """Return how many rows of each capped category may stay: as many as the caps allow together."""
    others = sum(size for name, size in sizes.items() if name not in caps)
    total = sum(sizes.values())
    for _ in count():
        # A share such as 0.1 of 30 rows is a little more or less than 3 in binary.
        room = {n: min(sizes.get(n, 0), int(share * total + 1e-9)) for n, share in caps.items()}
        if others + sum(room.values()) == total:
            return room
        total = others + sum(room.values())
    raise AssertionError("the total falls until it is reached")
