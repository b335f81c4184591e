"""Instruction refinement: the same instruction, clearer, more exact, and a little harder.

After the augmentation models of Yue et al. 2024, "Building a Family of Data Augmentation Models for
Low-cost LLM Fine-tuning on the Cloud", arXiv:2412.04871, which distil this and two other functions
(see `expand`) into small models; the prompts are ours, and any model can be asked.

    refine   the instruction of a row
    judge    blind to which is the new one, in an order that is drawn: do both want the same, and which
             is clearer? If the old one is, or they differ in what they want, the new one goes
    answer   by the same model

Calls: 3 for each row, 2 without the judge, so 3 / yield for each kept row.

Departures: only JSON under a schema is taken, where the published code takes an answer without its tag
as a whole for the instruction; the order of the two is drawn. The row that was there stays in its pool,
so the judge's "the old one" costs nothing but the calls.
"""

from typing import ClassVar, Literal

from pydantic import Field

from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.drafts import ask_each
from curate.generate.generation import Generation
from curate.generate.novelty import RougeIndex, words_of
from curate.generate.starts import choose_starts, count_starts, system_of
from curate.generate.writing import NearFilters, WriteParams, answer_each, with_prompt
from curate.llm.requests import Request
from curate.llm.schemas import greedy, record, text, tokens_for
from curate.llm.structured import Answer

VERSION = 1
REASON_LETTERS = 200
LETTERS = ("A", "B")


@method
class RefineGenerator(WriteParams):
    """Instructions made clearer, more exact and a little harder."""

    version: ClassVar[int] = VERSION
    reads_responses: ClassVar[bool] = False

    method: Literal["refine"] = "refine"
    filters: NearFilters = NearFilters()
    judge: bool = Field(
        True,
        description="a blind comparison keeps the new instruction only where it is the clearer one",
    )

    def generate(self, run: Generation) -> None:
        """Refine each row's instruction, once."""
        starts = {example.row_id: example for example in choose_starts(run, self)}
        schema = self.prompt_schema

        def ask(draft: Candidate) -> Request:
            parent = starts[draft.parents[0]].prompt
            return run.request("refine", draft.parents, self.writing, schema=schema, parent=parent)

        def take(draft: Candidate, answer: Answer) -> Candidate:
            refinement = with_prompt(draft, answer.value, schema)
            same = words_of(refinement.prompt) == words_of(starts[draft.parents[0]].prompt)
            return (
                refinement.drop(RejectReason.NOT_EVOLVED, "it is as it was")
                if same and not refinement.reject_reason
                else refinement
            )

        def place(draft: Candidate) -> int:
            """Return whether the new one is A (0) or B (1)."""
            return int(run.rng("order", *draft.parents).integers(2))

        def ask_judge(draft: Candidate) -> Request:
            prompts = [draft.prompt, starts[draft.parents[0]].prompt]
            a, b = prompts if place(draft) == 0 else prompts[::-1]
            sampling = greedy(tokens_for(REASON_LETTERS + 60))
            return run.request("judge", draft.parents, sampling, schema=JUDGE_SCHEMA, a=a, b=b)

        def take_judgement(draft: Candidate, answer: Answer) -> Candidate:
            if not answer.value["same"]:
                return draft.drop(RejectReason.MEANING_CHANGED, answer.value["reason"])
            if answer.value["better"] != LETTERS[place(draft)]:
                return draft.drop(
                    RejectReason.LOW_GRADE, f"the old one is better: {answer.value['reason']}"
                )
            return draft

        drafts = [Candidate([], run.method, (row_id,)) for row_id in starts]
        drafts = ask_each(run, "refine", drafts, ask, take)
        drafts = run.candidate_filter.screen(
            drafts, RougeIndex([example.prompt for example in starts.values()])
        )
        if self.judge:
            drafts = ask_each(run, "judge", drafts, ask_judge, take_judgement)
        run.filter(
            answer_each(run, self, drafts, lambda draft: system_of(starts[draft.parents[0]]))
        )

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = count_starts(self, targets, pool_rows) * (3 if self.judge else 2)
        return Workload(calls=calls, answer_tokens=self.max_tokens)


JUDGE_SCHEMA = record(
    reason=text(REASON_LETTERS), same={"type": "boolean"}, better={"enum": list(LETTERS)}
)
