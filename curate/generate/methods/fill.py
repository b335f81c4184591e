"""Fill: rows for the combinations of attributes that a pool lacks most.

After the synthetic half of Delmas et al. 2023, "Relation Extraction in underexplored biomedical domains:
A diversity-optimised sampling and synthetic data generation approach", arXiv:2311.06364: greedy maximum
entropy chooses what is to be covered, and a model writes a text for what has none. Theirs writes
abstracts for chosen relations of organisms and chemicals; here it is rows for values of fields of the
records, and the prompts are ours.

    choose   the combinations of values that bring the pool nearest to an even mixture of each field and
             of their combinations, one after the other (curate.generate.combinations)
    write    a request for each, after rows of the pool as turns which together have its values
    label    the model says which values a request has, without being told; another one: it goes
    answer   with the same rows as turns before

`values` names values that no row has yet. The fields of a new row are in its record, so that `gme` and
`mixture` see it in its group (meta.FIELD).

Calls: 3 for each row that is tried, 2 with `verify: false`.

Pitfalls: a combination may make no sense, and then no request will have it: see the table `fill`. A
small model mislabels, which drops good rows. A field of more than 40 values is not asked for in `label`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import orjson
import polars as pl
from pydantic import Field, StringConstraints, model_validator

from curate.core.methods import method
from curate.core.rows import Message
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.combinations import PoolFields, name_combinations, read_fields
from curate.generate.drafts import ask_each, with_turns
from curate.generate.generation import Generation, Generator, SeedExample, read_examples
from curate.generate.plain import ask_plainly, system_of
from curate.generate.writing import with_prompt
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, characters_for, greedy, record, text, tokens_for
from curate.llm.structured import Answer
from curate.text.setcover import cover

VERSION = 2
# Rows of a value among which the shown ones are; values of a field that are listed.
ROWS_OF_VALUE, MOST_LISTED = 20, 40
# Names that rows and notes have themselves.
TAKEN = frozenset(("row_id", "meta", "fill"))
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$")]
FILL_SCHEMA = pl.Schema(
    {"values": pl.String(), "pool": pl.Int64(), "tried": pl.Int64(), "kept": pl.Int64()}
)


@method
class FillGenerator(Generator):
    """Rows for the combinations of attributes that the pool lacks most."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("pool",)

    method: Literal["fill"] = "fill"
    fields: list[FieldName] = Field(
        min_length=1,
        description="of the records, each with a value or a list of values",
        examples=[["topic", "level"]],
    )
    values: dict[str, list[str]] = Field(
        {},
        description="values of these fields that no row may have yet",
        examples=[{"level": ["expert"]}],
    )
    rows: int = Field(100, ge=1, description="tried, one for each combination that is chosen")
    shots: int = Field(3, ge=0, description="rows of the pool shown with each")
    verify: bool = Field(True, description="drop requests in which the model sees other values")
    temperature: float = Field(1.0, ge=0, description="of requests; labels and answers are greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(512, ge=64, description="of a request, and of an answer")

    @model_validator(mode="after")
    def _check(self) -> "FillGenerator":
        if len(set(self.fields)) < len(self.fields):
            raise ValueError("each field can be named once")
        if taken := sorted(TAKEN.intersection(self.fields)):
            raise ValueError(
                f"fields: {taken[0]!r} has another meaning here; rename it in the records"
            )
        if strange := sorted(set(self.values) - set(self.fields)):
            raise ValueError(f"values: {strange[0]!r} is none of the fields")
        return self

    def generate(self, run: Generation) -> None:
        """Choose combinations, write a request for each, label it blindly, and answer it."""
        pool_fields = read_fields(run.pool, self.fields, self.values)
        filling = Filling(run, self, pool_fields)
        drafts = filling.drafts()
        try:
            drafts = ask_each(run, "write", drafts, filling.ask_request, filling.take_request)
            drafts = run.candidate_filter.screen(drafts)
            if self.verify and filling.labelled:
                drafts = ask_each(run, "label", drafts, filling.ask_labels, filling.take_labels)
            run.filter(ask_each(run, "answer", drafts, filling.ask_answer, filling.take_answer))
        finally:
            run.tables["fill"] = filling.table(run.kept)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = self.rows * (3 if self.verify else 2)
        return Workload(calls=calls, answer_tokens=self.max_tokens, rows=self.rows)


class Filling:
    """The chosen combinations, the rows that are shown with each, and what is asked of them."""

    def __init__(self, run: Generation, params: FillGenerator, pool_fields: PoolFields) -> None:
        self.run, self.params, self.pool_fields = run, params, pool_fields
        self.planned = name_combinations(pool_fields, params.rows, run.rng("combinations"))
        self.prompt_schema = record(prompt=text(characters_for(params.max_tokens)))
        self.labelled = {
            field: names for field, names in pool_fields.values.items() if len(names) <= MOST_LISTED
        }
        rows = ExampleRows(run, pool_fields)
        self.shots = [rows.choose(values, params.shots, k) for k, values in enumerate(self.planned)]
        ids = sorted({row_id for row_ids in self.shots for row_id in row_ids})
        self.examples = {example.row_id: example for example in rows.read(ids)}
        self.system = system_of(list(self.examples.values())) if self.examples else None

    def drafts(self) -> list[Candidate]:
        """Return what is to be written: the values are in the notes, the rows shown are parents."""
        plans = zip(self.planned, self.shots, strict=True)
        return [
            Candidate([], self.run.method, tuple(row_ids), 1, {**values, "fill": k})
            for k, (values, row_ids) in enumerate(plans)
        ]

    def ask_request(self, draft: Candidate) -> Request:
        """Return the request for a request, after rows as if they had been written so."""
        sampling = Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            max_tokens=self.params.max_tokens,
            repeats=REPEATS,
        )
        request = self.run.request(
            "write",
            [draft.notes["fill"]],
            sampling,
            schema=self.prompt_schema,
            values=self._values(draft),
        )
        return with_turns(
            request, [turn for row_id in draft.parents for turn in self._written(row_id)]
        )

    def _values(self, draft: Candidate) -> dict[str, str]:
        values: dict[str, str] = self.planned[draft.notes["fill"]]
        return values

    def _written(self, row_id: str) -> list[Message]:
        """Return the turns in which a row's prompt would have been asked for and written."""
        (row,) = self.pool_fields.rows.filter(row_id=row_id).to_dicts()
        values = {field: ", ".join(row[field]) for field in self.params.fields if row[field]}
        request_turn = self.run.prompts["write"].fill(values=values)[-1]
        reply = orjson.dumps({"prompt": self.examples[row_id].prompt}).decode()
        return [request_turn, {"role": "assistant", "content": reply}]

    def take_request(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with what is asked."""
        return with_prompt(draft, answer.value, self.prompt_schema)

    def ask_labels(self, draft: Candidate) -> Request:
        """Return the question which values a request has, without those that it was written for."""
        names = {
            field: {"type": "string", "enum": list(values)}
            for field, values in self.labelled.items()
        }
        letters = sum(max(map(len, values)) + len(f) + 8 for f, values in self.labelled.items())
        return self.run.request(
            "label",
            [draft.notes["fill"]],
            greedy(tokens_for(letters)),
            schema=record(**names),
            request=draft.prompt,
            values=self.labelled,
        )

    def take_labels(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft, dropped if it has another value than it was written for."""
        values = self._values(draft)
        for field in self.labelled:
            if answer.value[field] != values[field]:
                detail = f"{field}: {answer.value[field]}, not {values[field]}"
                return draft.drop(RejectReason.OTHER_KIND, detail)
        return draft

    def ask_answer(self, draft: Candidate) -> Request:
        """Return the request for the answer, after the rows that were shown."""
        head: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        examples = [self.examples[row_id] for row_id in draft.parents]
        turns = [turn for one in examples for turn in pair(one.prompt, one.response)]
        sampling = greedy(self.params.max_tokens)
        conversation = [*head, *turns, *draft.messages]
        return ask_plainly(self.run, "answer", [draft.notes["fill"]], conversation, sampling)

    def take_answer(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with its answer."""
        return replace(draft, messages=pair(draft.prompt, answer.text.strip(), self.system))

    def table(self, kept: Sequence[Candidate]) -> pl.DataFrame:
        """Return each combination that was chosen, how many rows the pool has of it, tried and kept."""
        tried = Counter(_key(values) for values in self.planned)
        kept_rows = Counter(_key(self._values(candidate)) for candidate in kept)
        lines = [(key, self._pool_rows(key), tried[key], kept_rows[key]) for key in tried]
        return pl.DataFrame(lines, schema=FILL_SCHEMA, orient="row")

    def _pool_rows(self, values: str) -> int:
        has = [pl.col(field).list.contains(value) for field, value in orjson.loads(values).items()]
        return self.pool_fields.rows.filter(*has).height


def _key(values: Mapping[str, str]) -> str:
    return orjson.dumps(values).decode()


class ExampleRows:
    """Rows of the pool with one prompt and its response, by the values that they have."""

    def __init__(self, run: Generation, pool_fields: PoolFields) -> None:
        self.run = run
        roles = pl.col("messages").list.eval(pl.element().struct.field("role"))
        single = (roles.list.count_matches("user") == 1) & (roles.list.last() == "assistant")
        ids = run.pool.filter(single).select("row_id").collect()
        self.rows = pool_fields.rows.join(ids, on="row_id", how="semi", maintain_order="left")
        self.some: dict[tuple[str, str], pl.DataFrame] = {}

    def choose(self, values: Mapping[str, str], count: int, number: int) -> list[str]:
        """Return the ids of rows which together have these values, the one with most of them last."""
        if not count:
            return []
        rows = pl.concat([self._of(field, value) for field, value in values.items()])
        rows = rows.unique("row_id", maintain_order=True)
        rng = self.run.rng("shots", number)
        rows = rows[rng.permutation(rows.height)]
        has = [pl.col(field).list.contains(value) for field, value in values.items()]
        parts = rows.select(has).fill_null(value=False).to_numpy().astype(np.float32)
        order = cover(parts)[:count]
        return rows["row_id"].gather(order[::-1]).to_list()

    def _of(self, field: str, value: str) -> pl.DataFrame:
        """Return some rows with a value, drawn once."""
        if (field, value) not in self.some:
            rows = self.rows.filter(pl.col(field).list.contains(value))
            drawn = self.run.rng("rows", field, value).permutation(rows.height)[:ROWS_OF_VALUE]
            self.some[field, value] = rows[np.sort(drawn)]
        return self.some[field, value]

    def read(self, row_ids: Sequence[str]) -> list[SeedExample]:
        """Return rows of the pool by their ids."""
        rows = self.run.pool.filter(pl.col("row_id").is_in(pl.Series(row_ids).implode()))
        return read_examples(rows.collect().sort("row_id"))
