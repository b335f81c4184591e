"""Responses to new prompts in the form of those of the example that they come from, its seed.

A few target examples, last the seed, are the turns before a free answer, or are told with a request for
options to choose from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from curate.generate.candidates import Candidate, pair
from curate.generate.choices import (
    LONGEST,
    AnswerMode,
    check_form,
    form_of,
    options_schema,
    with_options,
)
from curate.generate.drafts import ask_each, with_turns
from curate.generate.generation import Generation, SeedExample
from curate.generate.shots import Shots, ShotsBy
from curate.generate.starts import system_of
from curate.llm.requests import Request
from curate.llm.schemas import greedy, record, tokens_for
from curate.llm.structured import Answer


@dataclass(frozen=True)
class SeedAnswers:
    """What asks for responses by the prompts `answer` and `options` of a method.

    seed_of: the example that a draft comes from; name_of: what tells it from all others; mode: what a
    response is; shots: how many target examples are shown, and shots_by how they are chosen beside the
    seed; max_tokens: of a free answer.
    """

    run: Generation
    seed_of: Callable[[Candidate], SeedExample]
    name_of: Callable[[Candidate], tuple[str, ...]]
    mode: AnswerMode
    shots: int
    max_tokens: int
    shots_by: ShotsBy = "random"

    @cached_property
    def _choice(self) -> Shots:
        return Shots(self.run, self.shots_by, self.run.target)

    def write(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts with their responses."""
        if self.mode == "choice":
            return ask_each(self.run, "options", drafts, self._ask_options, self._take_options)
        return ask_each(self.run, "answer", drafts, self._ask_answer, self._take_answer)

    def _ask_answer(self, draft: Candidate) -> Request:
        request = self.run.request(
            "answer",
            self.name_of(draft),
            greedy(self.max_tokens),
            system=system_of(self.seed_of(draft)) or "",
            exercise=draft.prompt,
        )
        shots = self._shots(draft)
        return with_turns(request, [t for shot in shots for t in pair(shot.prompt, shot.response)])

    def _take_answer(self, draft: Candidate, answer: Answer) -> Candidate:
        turns = pair(draft.prompt, answer.text.strip(), system_of(self.seed_of(draft)))
        return check_form(replace(draft, messages=turns), self.mode)

    def _ask_options(self, draft: Candidate) -> Request:
        seed = self.seed_of(draft)
        schema = record(**options_schema(form_of(seed.prompt, seed.response)))
        wrong = schema["properties"]["wrong"]["maxItems"]
        return self.run.request(
            "options",
            self.name_of(draft),
            greedy(tokens_for((wrong + 1) * (LONGEST + 6))),
            schema=schema,
            examples=self._shots(draft),
            exercise=draft.prompt,
            wrong=wrong,
        )

    def _take_options(self, draft: Candidate, answer: Answer) -> Candidate:
        seed = self.seed_of(draft)
        form = form_of(seed.prompt, seed.response)
        rng = self.run.rng("options", *self.name_of(draft))
        return with_options(draft, draft.prompt, answer.value, form, rng, system_of(seed))

    def _shots(self, draft: Candidate) -> list[SeedExample]:
        """Return the target examples that are shown with an answer: others, and last the seed.

        Those that are drawn come in the order of the target, others with the best one last.
        """
        seed = self.seed_of(draft)
        rng = self.run.rng("shots", *self.name_of(draft))
        others = self._choice.choose(max(self.shots - 1, 0), rng, draft.prompt, beside=seed)
        if self.shots_by == "random":
            places = {example.row_id: place for place, example in enumerate(self.run.target)}
            others.sort(key=lambda example: places[example.row_id])
        return [*others, seed] if self.shots else []
