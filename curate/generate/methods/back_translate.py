"""Back-translation: what may have been asked, for responses that are there.

Li et al. 2023, "Self-Alignment with Instruction Backtranslation", arXiv:2308.06259.

    instruct   a response of the pool is shown, after some target examples the other way round, and the
               request that it would answer is asked for
    grade      the pair from 1 to 5, the reason first; pairs below the least grade go

Responses are of pool rows with one user turn and one answer, drawn among those whose length the filters
let in; they stay as they are to the letter. The prompt that each had is not shown: where the new one is
as good as that, the filters drop it as nothing new.

Calls: (1 + votes) / yield for each kept row.

Departures: no model is trained for the way back, the target examples stand in for it; one iteration; a
grade is an integer by a schema, never read out of prose. Requests that quote more than 30 % of the
response's runs of eight words go before they are graded.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import ClassVar, Literal

import orjson
import polars as pl
from pydantic import Field

from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.rows import Message
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each, find_truncation, mark_of, with_turns
from curate.generate.generation import Generation, reject_reason_of, was_sent
from curate.generate.novelty import words_of
from curate.generate.shots import Shots, ShotSettings
from curate.generate.sift import Filters
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, characters_for, record, text, tokens_for
from curate.llm.structured import Answer
from curate.text.words import word_counts

VERSION = 1
INSTRUCT = "instruct"
HIGHEST_GRADE, REASON_LETTERS = 5, 200
RUN, MOST_QUOTED = 8, 0.3
# Graders that vote have to differ.
VOTING_TEMPERATURE = 0.7


class BackTranslateFilters(Filters):
    """What is asked of every generated row."""

    response_words: tuple[int, int] = Field((50, 1_500), description="least and most")
    # A row is near to the one whose response it has, whatever the prompts.
    cosine: float = Field(1.0, gt=0, le=1, description="rows nearer than this are not new")


@method
class BackTranslateGenerator(ShotSettings):
    """Requests for responses of the pool, graded."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("pool",)

    method: Literal["back_translate"] = "back_translate"
    filters: BackTranslateFilters = BackTranslateFilters()
    rows: int = Field(200, ge=1, description="responses of the pool to start from")
    shots: int = Field(3, ge=0, description="target examples shown, if there are any")
    min_grade: float = Field(5, ge=1, le=HIGHEST_GRADE, description="1: nothing is graded")
    votes: int = Field(1, ge=1, le=20, description="grades of a pair, of which the mean counts")
    temperature: float = Field(0.7, ge=0, description="of requests")
    top_p: TopP = 0.9
    max_tokens: int = Field(256, ge=64, description="of a request")

    def generate(self, run: Generation) -> None:
        """Draw responses, have a request written for each, and grade the pairs."""
        back = BackTranslation(run, self, draw_rows(run, self))
        drafts = ask_each(run, "instruct", back.drafts(), back.ask_request, back.take_request)
        run.filter(back.grade(run.candidate_filter.screen(drafts)))

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        votes = 0 if self.min_grade == 1 else self.votes
        calls = min(self.rows, pool_rows) * (1 + votes)
        return Workload(calls=calls, answer_tokens=self.max_tokens)


def draw_rows(run: Generation, params: BackTranslateGenerator) -> dict[str, str]:
    """Return row ids and responses of rows with one user turn and one answer of a length let in.

    Raises:
        UserError: there is none.
    """
    least, most = params.filters.response_words
    roles = pl.col("messages").list.eval(pl.element().struct.field("role"))
    answer = pl.col("messages").list.last().struct.field("content")
    words = word_counts(answer)
    fitting = run.pool.filter(
        roles.list.count_matches("user") == 1,
        roles.list.count_matches("assistant") == 1,
        roles.list.count_matches("tool") == 0,
        words.is_between(least, most),
    )
    ids = sorted(fitting.select("row_id").collect()["row_id"].to_list())
    if not ids:
        raise UserError(
            f"back_translate: no row of the pool has one user turn and an answer of {least:,} to "
            f"{most:,} words (filters.response_words)"
        )
    drawn = [ids[i] for i in run.rng("rows").permutation(len(ids))[: params.rows]]
    rows = run.pool.filter(pl.col("row_id").is_in(drawn)).select("row_id", response=answer)
    responses = dict(rows.collect().iter_rows())
    return {row_id: responses[row_id] for row_id in drawn}


class BackTranslation:
    """The stages of the method over the responses that were drawn."""

    def __init__(
        self, run: Generation, params: BackTranslateGenerator, responses: dict[str, str]
    ) -> None:
        self.run, self.params, self.responses = run, params, responses
        self.target = {example.row_id: example for example in run.target}
        self.shots = Shots(run, params.shots_by, run.target, lambda example: example.response)
        self.schema = record(request=text(characters_for(params.max_tokens)))

    def drafts(self) -> list[Candidate]:
        """Return a draft for each response; with the target examples it is shown with."""
        return [self._draft(row_id) for row_id in self.responses]

    def _draft(self, row_id: str) -> Candidate:
        rng = self.run.rng("shots", row_id)
        shots = self.shots.choose(self.params.shots, rng, self.responses[row_id])
        return Candidate([], self.run.method, (row_id, *(example.row_id for example in shots)))

    def ask_request(self, draft: Candidate) -> Request:
        """Return the request for what may have been asked; examples come as turns before it."""
        request = self.run.request(
            INSTRUCT,
            draft.parents[:1],
            Sampling(
                temperature=self.params.temperature,
                top_p=self.params.top_p,
                max_tokens=self.params.max_tokens,
                repeats=REPEATS,
            ),
            schema=self.schema,
            **_response_slots(self.responses[draft.parents[0]]),
        )
        return with_turns(
            request, [turn for shot in draft.parents[1:] for turn in self._shot(shot)]
        )

    def _shot(self, row_id: str) -> list[Message]:
        """Return a target example as a response that was shown and a request that was guessed."""
        example = self.target[row_id]
        request_turn = self.run.prompts[INSTRUCT].fill(**_response_slots(example.response))[-1]
        guessed = orjson.dumps({"request": example.prompt}).decode()
        return [request_turn, {"role": "assistant", "content": guessed}]

    def take_request(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft as a pair, dropped if the request gives the response away."""
        response = self.responses[draft.parents[0]]
        words = answer.value["request"].strip()
        translation = replace(draft, messages=pair(words, response))
        rejection = find_truncation(answer.value, self.schema)
        share = quoted(words, response)
        if rejection is None and share > MOST_QUOTED:
            rejection = RejectReason.COPIES_PROMPT, f"the prompt quotes {share:.0%} of the response"
        return translation.drop(*rejection) if rejection else translation

    def grade(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts with their grades, those graded too low dropped."""
        if self.params.min_grade == 1:
            return list(drafts)
        pending = [draft for draft in drafts if draft.reject_reason is None]
        answers = self.run.ask("grade", [self._ask_grade(draft) for draft in pending])
        graded_by_parent = {
            d.parents[0]: self._take_grades(d, a) for d, a in zip(pending, answers, strict=True)
        }
        graded = [
            draft if draft.reject_reason else graded_by_parent[draft.parents[0]] for draft in drafts
        ]
        return [draft for draft in graded if draft is not None]

    def _ask_grade(self, draft: Candidate) -> Request:
        votes = self.params.votes
        sampling = Sampling(
            temperature=0 if votes == 1 else VOTING_TEMPERATURE,
            max_tokens=tokens_for(REASON_LETTERS + 30),
            repeats=REPEATS,
            n=votes,
        )
        return self.run.request(
            "grade",
            draft.parents[:1],
            sampling,
            schema=GRADE_SCHEMA,
            request=draft.prompt,
            response=draft.response,
            mark=f"--- {mark_of(draft.prompt, draft.response)} ---",
        )

    def _take_grades(self, draft: Candidate, answers: Sequence[Answer]) -> Candidate | None:
        """Return the draft with the mean of its grades; None where a limit left all or some out."""
        if not all(was_sent(answer) for answer in answers):
            return None
        failed = next((answer for answer in answers if not answer.ok), None)
        if failed is not None and (reason := reject_reason_of(failed)):
            return draft.drop(reason, failed.reason)
        mean = fmean(answer.value["grade"] for answer in answers)
        notes = {"grade": round(mean, 3), "reason": answers[0].value["reason"]}
        translation = draft.add_notes(**notes)
        if mean < self.params.min_grade:
            return translation.drop(RejectReason.LOW_GRADE, f"{mean:.4g} of {HIGHEST_GRADE}")
        return translation


def _response_slots(response: str) -> dict[str, str]:
    return {"mark": f"--- {mark_of(response)} ---", "response": response}


def quoted(prompt: str, response: str) -> float:
    """Return the share of a response's runs of eight words that a prompt holds."""
    prompt_runs, response_runs = (
        {tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}
        for words in (words_of(prompt), words_of(response))
    )
    return len(prompt_runs & response_runs) / len(response_runs) if response_runs else 0.0


GRADE_SCHEMA = record(
    reason=text(REASON_LETTERS),
    grade={"type": "integer", "minimum": 1, "maximum": HIGHEST_GRADE},
)
