"""Rationales: the reasons that lead from a prompt to a label that is there, kept if they do lead to it.

Zelikman et al. 2022, "STaR: Bootstrapping Reasoning With Reasoning", arXiv:2203.14465, whose
rationalization gives a model the answer as a hint and has it write what leads there.

    reasons    the model is shown prompt and label, and writes the reasons up to the label
    cut        the statement of the label at their end goes; reasons that speak of a given answer, say
               which one is right before they end, or say nothing else, go (curate.generate.rationales)
    conclude   prompt and reasons are shown without the label; what follows must be the label

Labels are responses of a line of up to ten words with a value: an option, a number, a few words,
and with a `checker` what that can read. The row has its prompt, the reasons, and behind `announce` the
label.

Published is the hint. Ours: that the reasons alone must lead back. STaR keeps a hinted rationale if its
own last words are the hint, which a model that was given it hardly misses. Departures: it rationalizes
what the model cannot solve, here that is every row, since solutions without a hint are what `reject`
keeps; one round, nothing is trained between; the example in the prompt is ours.

Calls: 2 for each sample, 1 where the reasons give their label away.

Pitfalls: a model may solve the task anew in `conclude`, whatever the reasons say, so an easy task proves
little of them. Of a wrong label no good reasons lead back, or convincing ones do: look at what goes as
`unsupported`. A prompt that asks for the letter alone is not changed.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.answers.values import CHECKED_HOW, SPOKEN_WORDS, Check, find_form, same_value
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.rows import normalise
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each
from curate.generate.generation import (
    Generation,
    SeedExample,
    reject_reason_of,
    was_sent,
    with_reasoning,
)
from curate.generate.rationales import Label, cut_statement, find_giveaway
from curate.generate.sift import SamePromptFilters
from curate.generate.starts import StartParams, choose_starts, count_starts, system_of
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, greedy
from curate.llm.structured import Answer

LOG = logging.getLogger("curate")
VERSION = 2
CONCLUSION_TOKENS = 64
# What can be read off a text with reasons before it.
READ_IN_TEXT = frozenset(("number", "math", "choice"))
LABEL_SCHEMA = pl.Schema(
    {"row_id": pl.String(), "state": pl.String(), "samples": pl.Int64(), "kept": pl.Int64()}
)


@method
class RationaleGenerator(StartParams):
    """Reasons for labels that are there, which alone lead back to them."""

    version: ClassVar[int] = VERSION

    method: Literal["rationale"] = "rationale"
    filters: SamePromptFilters = SamePromptFilters()
    checker: Check = Field("auto", description=CHECKED_HOW)
    samples: int = Field(1, ge=1, description="rationales of each row; all that differ are kept")
    announce: str = Field(
        "The answer is",
        max_length=200,
        description="words between the reasons and the label; without any it stands alone",
    )
    temperature: float = Field(0.7, ge=0, description="of several samples; a single one is greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(1_024, ge=8, description="of a rationale")

    def generate(self, run: Generation) -> None:
        """Have reasons written for each label, and keep those from which it follows."""
        starts = choose_starts(run, self)
        labels = read_labels(starts, self.checker)
        if not labels:
            raise UserError(
                f"rationale: of {len(starts):,} rows none has a label for its response: an option, a "
                "number or a few words; choose other rows or another checker"
            )
        if others := len(starts) - len(labels):
            LOG.warning("rationale: %d rows have no label for their response", others)
        writing = Rationalization(run, self, [e for e in starts if e.row_id in labels], labels)
        try:
            drafts = writing.write()
            run.filter(
                ask_each(run, "conclude", drafts, writing.ask_conclusion, writing.take_conclusion)
            )
        finally:
            run.tables["labels"] = label_table(starts, labels, run)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        rationales = count_starts(self, targets, pool_rows) * self.samples
        return Workload(calls=2 * rationales, answer_tokens=self.max_tokens, rows=rationales)


def read_labels(starts: Sequence[SeedExample], checker: Check) -> dict[str, Label]:
    """Return the labels of the rows whose responses are one, by their row ids."""
    labels = {}
    for example in starts:
        answer = example.response.strip()
        form = find_form(answer, checker)
        if form is not None and "\n" not in answer and len(answer.split()) <= SPOKEN_WORDS:
            form = "number" if form == "final" else form
            labels[example.row_id] = Label(form, answer, example.prompt)
    return labels


class Rationalization:
    """What is asked for the rows with a label, and what becomes of the answers."""

    def __init__(
        self,
        run: Generation,
        params: RationaleGenerator,
        examples: Sequence[SeedExample],
        labels: Mapping[str, Label],
    ) -> None:
        self.run, self.params, self.labels = run, params, labels
        self.examples = {example.row_id: example for example in examples}

    def write(self) -> list[Candidate]:
        """Return a candidate for each rationale, dropped what gives its label away or is there."""
        requests = [self._ask_reasons(example) for example in self.examples.values()]
        answer_lists = self.run.ask("reasons", requests)
        return [
            candidate
            for example, answers in zip(self.examples.values(), answer_lists, strict=True)
            for candidate in self._candidates(example, answers)
        ]

    def _ask_reasons(self, example: SeedExample) -> Request:
        several = self.params.samples > 1
        sampling = Sampling(
            temperature=self.params.temperature if several else 0.0,
            top_p=self.params.top_p if several else 1.0,
            max_tokens=self.params.max_tokens,
            repeats=REPEATS,
            n=self.params.samples,
        )
        label = self.labels[example.row_id].answer
        return self.run.request(
            "reasons", [example.row_id], sampling, task=task_of(example), label=label
        )

    def _candidates(self, example: SeedExample, answers: Sequence[Answer]) -> list[Candidate]:
        """Return a row's rationales, dropped those that say what an earlier one says."""
        texts: set[str] = set()
        candidates = []
        for number, answer in enumerate(answers):
            if not was_sent(answer):
                continue
            candidate = self._take_reasons(example, number, answer)
            text = normalise(candidate.response).casefold()
            if candidate.reject_reason is None and text in texts:
                candidate = candidate.drop(RejectReason.NOT_NEW, "the same reasons again")
            texts.add(text)
            candidates.append(candidate)
        return candidates

    def _take_reasons(self, example: SeedExample, number: int, answer: Answer) -> Candidate:
        """Return the row of an example with its reasons and its label behind them."""
        label = self.labels[example.row_id]
        reasons = cut_statement(answer.text, label)
        # A label that is a sentence says itself that it is the answer.
        is_sentence = find_form(label.answer) in (None, "final")
        announce = "" if is_sentence else self.params.announce
        statement = f"{announce} {label.answer}".strip()
        turns = pair(example.prompt, f"{reasons}\n\n{statement}", system_of(example))
        notes = {"sample": number, "reasons": reasons}
        candidate = Candidate(turns, self.run.method, (example.row_id,), 1, notes)
        candidate = with_reasoning(candidate, "reasons", answer)
        if reason := reject_reason_of(answer):
            return candidate.drop(reason, answer.reason)
        if giveaway := find_giveaway(reasons, label):
            return candidate.drop(RejectReason.GIVES_LABEL, giveaway)
        if label.form in READ_IN_TEXT and not same_value(
            label.form, label.answer, candidate.response
        ):
            return candidate.drop(RejectReason.NO_ANSWER, "the label is not read off the row")
        return candidate

    def ask_conclusion(self, candidate: Candidate) -> Request:
        """Return the question what follows from the reasons; the label is no part of it."""
        (row_id,) = candidate.parents
        return self.run.request(
            "conclude",
            [row_id, candidate.notes["sample"]],
            greedy(CONCLUSION_TOKENS),
            task=task_of(self.examples[row_id]),
            reasons=candidate.notes["reasons"],
            form=self.labels[row_id].form,
        )

    def take_conclusion(self, candidate: Candidate, answer: Answer) -> Candidate:
        """Return the candidate, dropped if something else than its label follows."""
        (row_id,) = candidate.parents
        label = self.labels[row_id]
        conclusion = answer.text.strip()
        candidate = candidate.add_notes(conclusion=conclusion)
        same = same_value(label.form, label.answer, conclusion)
        if same is None:
            return candidate.drop(RejectReason.NO_ANSWER, f"they lead to {conclusion[:80]!r}")
        if not same:
            detail = f"they lead to {conclusion[:80]!r}, not {label.answer!r}"
            return candidate.drop(RejectReason.UNSUPPORTED, detail)
        return candidate


def task_of(example: SeedExample) -> str:
    """Return what is asked: the prompt, and before it what the system turn says."""
    return "\n\n".join(text for text in (system_of(example), example.prompt) if text)


def label_table(
    starts: Sequence[SeedExample], labels: Mapping[str, Label], run: Generation
) -> pl.DataFrame:
    """Return what became of each row: no label, unsent, dropped or kept."""
    samples = Counter(candidate.parents[0] for candidate in run.candidates)
    kept = Counter(candidate.parents[0] for candidate in run.kept)

    def state(row_id: str) -> str:
        if row_id not in labels:
            return "no label"
        return "kept" if kept[row_id] else "dropped" if samples[row_id] else "unsent"

    rows = [
        (one.row_id, state(one.row_id), samples[one.row_id], kept[one.row_id]) for one in starts
    ]
    return pl.DataFrame(rows, LABEL_SCHEMA, orient="row")
