"""Rewrite: terse responses become full ones in a style that a file describes; the answer stays.

    rewrite   prompt, response and style file are shown; the response is asked for in full
    value     the answer of both is the same by a checker, or by rules where there is none to check
              (curate.generate.responsevalue)
    compare   old and new response, blind, in both orders (curate.llm.compare), weighed by accuracy and
              by the style; a rewrite stays if it is the better one with more than `confidence`

After Fan et al. 2024, "Reformatted Alignment", arXiv:2402.12219 (ReAlign), which has a model reformat
the responses of existing rows under written criteria. Theirs are criteria for 46 kinds of tasks, with a
classifier that tells the kind and evidence from the web; here it is one file of the user's, and no
evidence. The check of the value and the comparison are ours.

The prompt stays to the letter; the source row is the only parent and stays in the pool. The table `rows`
says of each row that was started from how its answer was compared, and what became of it.

Calls: 1 for each row, and 2 (samples + 2) more for each rewrite with the same value.

Pitfalls: judges like long responses, so let `confidence` be 0.8 with a weak one; of an open text the
rules see what is lost and not what is made up. A model of 135M parameters prefers next to chance.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.core.errors import UserError
from curate.core.localfiles import read_text
from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.comparison import compare_responses, comparison_calls, comparison_tokens
from curate.generate.drafts import ask_each
from curate.generate.generation import Generation, SeedExample
from curate.generate.responsevalue import (
    Checker,
    Rejection,
    find_value_change,
    find_value_form,
)
from curate.generate.sift import AnyScriptFilters, PromptFragments
from curate.generate.starts import StartParams, choose_starts, count_starts, system_of
from curate.llm.asking import question_text
from curate.llm.compare import AnswerPair, PreferenceScore
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS
from curate.llm.structured import Answer
from curate.text.words import count_words

VERSION = 1
ROW_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "answer": pl.String(),
        "words": pl.Int64(),
        "new_words": pl.Int64(),
        "confidence": pl.Float64(),
        "state": pl.String(),
        "detail": pl.String(),
    }
)


@method
class RewriteGenerator(StartParams):
    """Terse responses written out in full, in the style of a file, with the answer that they had."""

    version: ClassVar[int] = VERSION
    reads: ClassVar[tuple[str, ...]] = ("style",)

    method: Literal["rewrite"] = "rewrite"
    filters: AnyScriptFilters = AnyScriptFilters()
    style: str = Field(
        description="text file that says how a response is to be written", examples=["style.md"]
    )
    terse: int = Field(60, ge=1, description="words; rows with longer responses are passed over")
    checker: Checker = Field(
        "auto", description="how answers are compared; auto: by what the response is"
    )
    samples: int = Field(1, ge=1, description="judgements drawn in each order of a comparison")
    confidence: float = Field(
        0.5, ge=0, lt=1, description="a rewrite is kept if it is better with more confidence"
    )
    temperature: float = Field(0.7, ge=0, description="of rewrites")
    top_p: TopP = 0.95
    max_tokens: int = Field(1_024, ge=8, description="of a rewrite; one that is cut is lost")

    def check(self) -> None:
        """Fail if the style file cannot be read or is empty.

        Raises:
            UserError: says which one.
        """
        read_style(self.style)

    def generate(self, run: Generation) -> None:
        """Rewrite each row's response, once, and keep what is preferred and answers the same."""
        style = read_style(self.style, next(iter(run.digests.get("style", {}).values()), None))
        rewriting = Rewriting(run, self, style)
        try:
            drafts = ask_each(
                run, "rewrite", rewriting.drafts(), rewriting.ask_rewrite, rewriting.take_rewrite
            )
            run.record(rewriting.compare(run.candidate_filter.filter(drafts)))
        finally:
            run.tables["rows"] = rewriting.table()

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        rows = count_starts(self, targets, pool_rows)
        calls = rows * (1 + comparison_calls(self.samples))
        written = rows * (self.max_tokens + comparison_tokens(self.samples))
        return Workload(
            calls=calls, answer_tokens=self.max_tokens, written_tokens=written, rows=rows
        )


def read_style(path: str, digest: str | None = None) -> str:
    """Return the text of a style file.

    Raises:
        UserError: the file cannot be read, has another digest or is empty.
    """
    style = read_text(Path(path), "the style file", digest=digest).strip()
    if not style:
        raise UserError(f"style: {path} is empty; let it say how a response is to be written")
    return style


class Rewriting:
    """The stages of the method over the rows that it starts from."""

    def __init__(self, run: Generation, params: RewriteGenerator, style: str) -> None:
        self.run, self.params, self.style = run, params, style
        starts = choose_starts(run, params, most_words=params.terse)
        self.starts = {example.row_id: example for example in starts}
        self.forms = {
            example.row_id: find_value_form(example.response, params.checker) for example in starts
        }
        self.style_fragments = PromptFragments([style])

    def drafts(self) -> list[Candidate]:
        """Return a draft for each row; the form of its answer is in the notes."""
        return [
            Candidate([], self.run.method, (row_id,), 1, {"answer": self.forms[row_id]})
            for row_id in self.starts
        ]

    def ask_rewrite(self, draft: Candidate) -> Request:
        """Return the request for the response in full."""
        source = self._source(draft)
        sampling = Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            max_tokens=self.params.max_tokens,
            repeats=REPEATS,
        )
        return self.run.request(
            "rewrite",
            draft.parents,
            sampling,
            style=self.style,
            question=question_text(source.messages),
            response=source.response,
            answer=draft.notes["answer"],
        )

    def take_rewrite(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with its response, dropped if that is no longer or answers otherwise."""
        source, text = self._source(draft), answer.text.strip()
        rewrite = replace(draft, messages=pair(source.prompt, text, system_of(source)))
        rejection = self._find_rejection(source, text)
        return rewrite.drop(*rejection) if rejection else rewrite

    def _find_rejection(self, source: SeedExample, text: str) -> Rejection | None:
        words = count_words(text)
        if words <= count_words(source.response):
            return RejectReason.NOT_EVOLVED, f"{words} words, no more than before"
        if leak := self.style_fragments.find(text):
            return RejectReason.PROMPT_LEAK, f"style: {leak}"
        return find_value_change(source.response, text, self.forms[source.row_id])

    def compare(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts as a blind comparison leaves them, without what a limit left open."""
        pending = [draft for draft in drafts if draft.reject_reason is None]
        pairs = [
            AnswerPair(question_text(source.messages), source.response, draft.response)
            for draft in pending
            for source in [self._source(draft)]
        ]
        preferences = iter(
            compare_responses(
                self.run, "compare", pairs, samples=self.params.samples, criteria=self.style
            )
        )
        results = []
        for draft in drafts:
            if draft.reject_reason is not None:
                results.append(draft)
            elif (preference := next(preferences)) is not None:
                results.append(self._decide(draft, preference))
        return results

    def _decide(self, draft: Candidate, preference: PreferenceScore) -> Candidate:
        confidence = preference.confidence
        if confidence is None:
            return draft.drop(RejectReason.LOW_GRADE, "no usable judgement in one of the orders")
        decided = draft.add_notes(confidence=round(confidence, 4), reason=preference.reason)
        if confidence > self.params.confidence:
            return decided
        return decided.drop(RejectReason.LOW_GRADE, f"better with a confidence of {confidence:.2f}")

    def _source(self, draft: Candidate) -> SeedExample:
        return self.starts[draft.parents[0]]

    def table(self) -> pl.DataFrame:
        """Return what became of each row: kept, the reason why its rewrite went, or unsent."""
        by_parent = {candidate.parents[0]: candidate for candidate in self.run.candidates}
        lines = [self._line(example, by_parent.get(row_id))
                 for row_id, example in self.starts.items()]  # fmt: skip
        return pl.DataFrame(lines, schema=ROW_SCHEMA, orient="row")

    def _line(self, source: SeedExample, rewrite: Candidate | None) -> tuple[object, ...]:
        head = source.row_id, self.forms[source.row_id], count_words(source.response)
        if rewrite is None:
            return (*head, None, None, "unsent", "")
        reason = rewrite.reject_reason
        words = count_words(rewrite.response)
        state = "kept" if reason is None else reason.value
        return (*head, words, rewrite.notes.get("confidence"), state, rewrite.detail)
