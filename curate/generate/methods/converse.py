"""Converse: rows go on for a few turns; the model plays the user, then answers.

    user     the talk so far is shown, and what its user says next is asked for
    refuse   a message that only thanks, speaks as the assistant, says an earlier turn again (ROUGE-L
             above 0.7) or is cut ends the talk before it (curate.generate.usertalk)
    answer   the talk is answered as it stands; an answer that is cut, refuses, goes round in circles or
             says an earlier one again ends the talk before its question
    filter   the whole talk, by the common filters

After Ding et al. 2023, "Enhancing Chat Language Models by Scaling High-quality Instructional
Conversations", arXiv:2305.14233 (UltraChat), in which one model plays the user and another one answers,
and Xu et al. 2023, "Baize", arXiv:2304.01196, in which one model writes both sides. Derived: one model
has both roles in calls of their own, and talks start from rows and not from topics. The refusals and
their reasons are ours.

A talk that ends early stays with the turns that it has, if there is one behind the start; what ended it
is on record with its reason. The row that it starts from is its parent and stays in the pool.

Calls: 2 a turn of a row. Pitfalls: the model asks what it can answer; a weak one asks the same again.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from curate.core.methods import method
from curate.core.rows import Message
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.generation import Generation, Name
from curate.generate.plain import ask_plainly
from curate.generate.sift import find_rejection
from curate.generate.starts import StartParams, choose_starts, count_starts
from curate.generate.usertalk import find_repeat, find_user_fault
from curate.generate.writing import NearFilters
from curate.llm.asking import shorten_middle
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, greedy, record, text, tokens_for
from curate.llm.structured import Answer

VERSION = 1
USER_LETTERS, TURN_LETTERS = 600, 2_400
USER_SCHEMA = record(message=text(USER_LETTERS))


@method
class ConverseGenerator(StartParams):
    """Rows that go on for a few turns, the model in the user's place and in the assistant's."""

    version: ClassVar[int] = VERSION

    method: Literal["converse"] = "converse"
    filters: NearFilters = NearFilters()
    turns: int = Field(2, ge=1, le=20, description="of the user behind the row's own, at most")
    temperature: float = Field(1.0, ge=0, description="of the user's messages; answers are greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(1_024, ge=8, description="of an answer; one that is cut ends its talk")

    def generate(self, run: Generation) -> None:
        """Let all talks go on turn by turn, and put them and what ended them on record."""
        talks = [
            Candidate(start.messages, run.method, (start.row_id,), notes={"turns": 0})
            for start in choose_starts(run, self)
        ]
        ended: list[Candidate] = []
        for turn in range(1, self.turns + 1):
            nexts = {draft.parents: draft for draft in self._continue(run, talks, turn)}
            for talk in talks:
                draft = nexts.get(talk.parents)
                if draft is None or draft.reject_reason is not None:
                    ended += [talk] if turn > 1 else []
                    ended += [draft] if draft is not None else []
            talks = [draft for draft in nexts.values() if draft.reject_reason is None]
        run.filter([*ended, *talks])

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        rows = count_starts(self, targets, pool_rows)
        return Workload(calls=2 * rows * self.turns, rows=rows, answer_tokens=self.max_tokens)

    def _continue(self, run: Generation, talks: Sequence[Candidate], turn: int) -> list[Candidate]:
        """Return the talks with one more message and its answer, or with the reason why not."""
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=tokens_for(USER_LETTERS),
            repeats=REPEATS,
        )

        def ask_user(talk: Candidate) -> Request:
            name: list[Name] = [*talk.parents, turn]
            return run.request("user", name, sampling, schema=USER_SCHEMA, talk=excerpt(talk))

        def ask_answer(talk: Candidate) -> Request:
            name: list[Name] = [*talk.parents, turn]
            return ask_plainly(run, "answer", name, talk.messages, greedy(self.max_tokens))

        def take_answer(talk: Candidate, answer: Answer) -> Candidate:
            return self._take_answer(run, talk, answer, turn)

        drafts = ask_each(run, "user", talks, ask_user, _take_user)
        return ask_each(run, "answer", drafts, ask_answer, take_answer)

    def _take_answer(
        self, run: Generation, talk: Candidate, answer: Answer, turn: int
    ) -> Candidate:
        """Return the talk with an answer, dropped if that would not do in a row of its own."""
        reply = Message(role="assistant", content=answer.text.strip())
        draft = replace(talk, messages=[*talk.messages, reply]).add_notes(turns=turn)
        alone = replace(draft, messages=pair(talk.messages[-1]["content"], reply["content"]))
        rejection = find_rejection(alone, self.filters, run.candidate_filter.leaks)
        rejection = rejection or find_repeat(reply["content"], talk.messages)
        return draft.drop(*rejection) if rejection else draft


def excerpt(talk: Candidate) -> list[Message]:
    """Return the turns of a talk as the model sees them that plays its user: long ones are shortened."""
    return [
        Message(
            role=turn["role"].capitalize(), content=shorten_middle(turn["content"], TURN_LETTERS)
        )
        for turn in talk.messages
        if turn["role"] in ("user", "assistant")
    ]


def _take_user(talk: Candidate, answer: Answer) -> Candidate:
    """Return the talk with a message of its user, dropped if that does not take it further."""
    words = answer.value["message"].strip()
    draft = replace(talk, messages=[*talk.messages, Message(role="user", content=words)])
    if cut := find_truncation(answer.value, USER_SCHEMA):
        return draft.drop(*cut)
    if not words:
        return draft.drop(RejectReason.EMPTY, "message")
    fault = find_user_fault(words, talk.messages)
    return draft.drop(*fault) if fault else draft
