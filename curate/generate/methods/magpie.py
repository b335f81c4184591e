"""Magpie: an aligned model, shown where a user's turn begins and nothing else, writes that turn.

Xu et al. 2024, "Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing",
arXiv:2406.08464.

    prompts   what the chat template puts before a user's first word is sent as a raw prompt, and the
              model goes on from there until it would end the turn
    answer    each prompt as it stands, greedily

What a model writes so is what it was trained on, spread as its training was. `systems` steers it: a
system turn of the template then says whom the user talks to, and is left out of the row.

Each system's prompts, and what share of them differ, are kept for the report.

Calls: 2 / yield for each kept row, with next to no prompt tokens: the cheapest of all methods.

Departures from the authors' code: the template is the model's own, found by rendering a word that
occurs nowhere and cutting there, not a list of strings; the turn ends at the template's end of turn, by
its token, where theirs also stops at the word "assistant", which cuts prompts that speak of one; only a
role that stands where a turn would begin cuts; prompts that are near to another are dropped before they
are answered. Their tags of quality and difficulty, and the choice of the longest answers, are stages
and selection here. Some turns only; no markup is suppressed while writing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import polars as pl
import regex
from pydantic import Field

from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.rows import normalise
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.generation import Generation, Generator, reject_reason_of, was_sent
from curate.generate.plain import answer_prompts
from curate.generate.sift import MARKUP
from curate.llm.engines.engine import ChatPrefix
from curate.llm.requests import Sampling, TopP, raw
from curate.llm.schemas import REPEATS
from curate.llm.structured import Answer

VERSION = 1
# A role at the head of a line, or glued to the end of a sentence, with nothing behind it.
ROLE = regex.compile(
    r"(?:^|(?<=[\p{P}\p{S}]))[ \t]*(?:assistant|user|system|model)[ \t]*:?[ \t]*$",
    regex.M | regex.I,
)


@method
class MagpieGenerator(Generator):
    """Prompts that an aligned model writes from its chat template alone, and its answers."""

    version: ClassVar[int] = VERSION

    method: Literal["magpie"] = "magpie"
    prompts: int = Field(200, ge=1, description="to write")
    systems: list[str] = Field(
        [],
        description="system turns that steer; they share the prompts",
        examples=[["You are a tutor of mathematics."]],
    )
    one_line: bool = Field(True, description="a prompt ends with its first line")
    temperature: float = Field(1.0, ge=0, description="of prompts; answers are greedy")
    top_p: TopP = 1.0
    prompt_tokens: int = Field(256, ge=16, description="of a prompt")
    max_tokens: int = Field(1_024, ge=16, description="of an answer")

    def generate(self, run: Generation) -> None:
        """Have all prompts written, drop those of no use, and have the rest answered."""
        drafts = run.candidate_filter.screen(write_prompts(run, self))
        try:
            run.filter(answer_prompts(run, drafts, _name, max_tokens=self.max_tokens))
        finally:
            run.tables["prompts"] = prompts_table(run.candidates)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = 2 * self.prompts
        return Workload(calls=calls, answer_tokens=self.max_tokens)


def write_prompts(run: Generation, params: MagpieGenerator) -> list[Candidate]:
    """Return what the model writes in the place of a user, of each system turn in order.

    Raises:
        UserError: the engine does not know the model's chat template, or there is none.
    """
    systems = list(dict.fromkeys(params.systems)) or [""]
    prefixes = [chat_prefix_of(run, system) for system in systems]
    counts = [len(range(i, params.prompts, len(systems))) for i in range(len(systems))]
    prompt_batches = zip(prefixes, systems, counts, strict=True)
    requests = [
        raw(prefix.before, sampling=_sampling(run, params, prefix, system, count))
        for prefix, system, count in prompt_batches
        if count
    ]
    drafts = []
    for number, answers in enumerate(run.ask("prompts", requests)):
        for place, answer in enumerate(answers):
            notes = {"system": systems[number], "number": number, "sample": place}
            draft = Candidate([], run.method, notes=notes)
            if was_sent(answer):
                drafts.append(_take(draft, answer, prefixes[number].after))
    return drafts


def chat_prefix_of(run: Generation, system: str) -> ChatPrefix:
    """Return how a conversation with this system turn opens."""
    find = getattr(run.client.engine, "chat_prefix", None)
    if find is None:
        raise UserError("magpie needs an engine that knows its model's chat template")
    try:
        prefix: ChatPrefix = find(system or None)
    except UserError as error:
        raise UserError(f"magpie: {error}") from error
    return prefix


def _sampling(
    run: Generation, params: MagpieGenerator, prefix: ChatPrefix, system: str, count: int
) -> Sampling:
    return Sampling(
        temperature=params.temperature,
        top_p=params.top_p,
        max_tokens=params.prompt_tokens,
        stop=(prefix.after, "\n") if params.one_line else (prefix.after,),
        repeats=REPEATS,
        seed=run.seed_of("prompts", system),
        n=count,
    )


def _take(draft: Candidate, answer: Answer, end: str) -> Candidate:
    words = clean(answer.text, end)
    user_prompt = replace(draft, messages=[{"role": "user", "content": words}])
    reason = reject_reason_of(answer)
    if reason:
        return user_prompt.drop(reason, answer.reason)
    if words.endswith(":"):
        return user_prompt.drop(RejectReason.INCOMPLETE, "it ends with a colon")
    return user_prompt


def clean(words: str, end: str) -> str:
    """Return a user's words up to where the turn ends, if the model went on beyond."""
    words = words.split(end)[0]
    cuts = [match.start() for find in (MARKUP, ROLE) if (match := find.search(words))]
    return words[: min(cuts, default=len(words))].strip()


def prompts_table(candidates: Sequence[Candidate]) -> pl.DataFrame:
    """Return for each system turn how many prompts were written, differ, and were kept."""
    rows = []
    for system in dict.fromkeys(c.notes["system"] for c in candidates):
        own = [c for c in candidates if c.notes["system"] == system]
        different = len({normalise(c.prompt) for c in own})
        rows.append((system, len(own), different, sum(c.reject_reason is None for c in own)))
    columns = {
        "system": pl.String,
        "written": pl.Int64,
        "different": pl.Int64,
        "kept": pl.Int64,
    }
    return pl.DataFrame(rows, schema=columns, orient="row")


def _name(draft: Candidate) -> tuple[int, int]:
    return draft.notes["number"], draft.notes["sample"]
