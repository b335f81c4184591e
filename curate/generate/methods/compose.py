"""Tasks of several steps made of single ones: chains, and sequential instructions.

Chain-of-Instructions (Hayati et al. 2024, "Chain-of-Instructions: Compositional Instruction Tuning on
Large Language Models", arXiv:2402.11532): the output of a step is the input of the next.

    describe   what a row asks for without its material, and of what kind material and solution are
    step       a second row's task is done with the first one's solution as its material
    depend     the same with the solution of another row: if the result is the same, it is no chain
    judge      can it be done, does the step build on the last one, is all of it correct?

and chains of 3 from two that overlap: x, y and y, z make x, y, z, if z can be done with what y made of
x's solution. The row asks for all steps and answers with all of their results; these stay apart in its
notes, and `row.j2` says how they are put together.

Sequential instructions (Hu et al. 2024, "Fine-tuning Large Language Models with Sequential
Instructions", arXiv:2403.07794), `kind: sequential`:

    choose   can an instruction be split in two, take a step before it, or one after it? If not, it stays
             as it is, and nothing more is asked
    extend   the new instruction and the step that was added, which must have a result of its own
    answer, judge

What was kept goes into the next round.

Calls: describe once a row; 3 for each pair and 2 for each chain of 3; 4 for each sequential instruction.
Of the published chains people found 75 % valid with two steps and 59 % with three, so three layers check
them: kinds (a label is no material), dependence, the judge. Training on long chains alone is said to be
unstable: mix them with at least as many single rows.

Departures: published chains are checked by the model's own word alone; a step that repeats its material
goes. In SIT's code an answer that cannot be read still counts as one of the four ways if an A stands
somewhere; here it is dropped. Rows are not split into instruction and input: the model is told to keep
data where it is.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import regex
from pydantic import Field

from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.generation import Generation, SeedExample
from curate.generate.novelty import words_of
from curate.generate.sift import Filters
from curate.generate.starts import choose_starts, count_starts, system_of
from curate.generate.writing import WriteParams, answer_each, with_prompt
from curate.llm.requests import Request
from curate.llm.schemas import characters_for, greedy, record, text, tidy, tokens_for
from curate.llm.structured import Answer

VERSION = 2
KINDS = ("text", "phrase", "number", "list", "code", "label")
NOTHING = "nothing"
# What else than its own kind a task takes; nothing takes a label, so a task that gives one comes last.
TAKES: Mapping[str, frozenset[str]] = {kind: frozenset({kind}) - {"label"} for kind in KINDS} | {
    "text": frozenset({"text", "phrase", "list"})
}
OPTIONS = ("decompose", "prefix", "suffix", "keep")
KEEP = "keep"
# Steps that leave nothing that could be checked.
SILENT = regex.compile(
    r"^\W*(?:first,?\s+|then\s+|carefully\s+)*(?:read|understand|analy[sz]e|consider|think|look)\b",
    regex.I,
)
TASK_LETTERS, FINDING_LETTERS = 120, 200


class ComposeFilters(Filters):
    """What is asked of every generated row; most of its prompt is that of the rows it is made of."""

    rouge: float = Field(1.0, gt=0, le=1, description="prompts nearer than this are not new")


@method
class ComposeGenerator(WriteParams):
    """Tasks of several steps, made of rows with one."""

    version: ClassVar[int] = VERSION

    method: Literal["compose"] = "compose"
    filters: ComposeFilters = ComposeFilters()
    kind: Literal["chain", "sequential"] = Field(
        "chain", description="steps that build on one another, or instructions in one request"
    )
    length: int = Field(2, ge=2, le=3, description="steps of the longest chain")
    chains: int = Field(200, ge=1, description="tried at most, of each length")
    partners: int = Field(3, ge=1, description="chains that start with the same row")
    rounds: int = Field(2, ge=1, le=5, description="steps added; kind: sequential")
    judge: bool = Field(True, description="the model tells what is valid")

    def generate(self, run: Generation) -> None:
        """Make chains, or sequential instructions."""
        starts = choose_starts(run, self)
        if self.kind == "sequential":
            Sequences(run, self).make(starts)
            return
        chains = Chains(run, self)
        chains.describe(starts)
        pairs = chains.make_pairs()
        if self.length > 2 and not run.stopped:
            chains.make_triples(pairs)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        rows, judged = count_starts(self, targets, pool_rows), int(self.judge)
        if self.kind == "sequential":
            calls = rows * self.rounds * (3 + judged)
        else:
            pairs = min(rows * min(self.partners, max(rows - 1, 0)), self.chains)
            triples = self.chains if self.length > 2 else 0
            calls = rows + pairs * (2 + judged) + triples * (1 + judged)
        return Workload(calls=calls, answer_tokens=self.max_tokens)


@dataclass(frozen=True)
class DescribedTask:
    """A row, what it asks for without its material, and of what kinds material and solution are."""

    example: SeedExample
    task: str
    takes: str
    gives: str


def ask_judge(
    run: Generation, params: ComposeGenerator, drafts: Sequence[Candidate]
) -> list[Candidate]:
    """Return the drafts, those dropped that the model finds invalid."""
    if not params.judge:
        return list(drafts)
    chain = params.kind == "chain"
    names = ("answerable", "builds", "correct") if chain else ("answerable", "correct")
    schema = record(finding=text(FINDING_LETTERS), **{name: {"type": "boolean"} for name in names})
    sampling = greedy(tokens_for(FINDING_LETTERS + 80))

    def ask(draft: Candidate) -> Request:
        return run.request(
            "judge",
            [draft.row_id],
            sampling,
            schema=schema,
            chain=chain,
            question=draft.prompt,
            response=draft.response,
        )

    def take(draft: Candidate, answer: Answer) -> Candidate:
        fault = next((name for name in names if not answer.value[name]), None)
        if fault is None:
            return draft
        reason = RejectReason.WRONG_ANSWER if fault == "correct" else RejectReason.NOT_COMPOSABLE
        return draft.drop(reason, f"not {fault}: {answer.value['finding']}")

    return ask_each(run, "judge", drafts, ask, take)


class Chains:
    """The described rows, and the chains that are made of them."""

    def __init__(self, run: Generation, params: ComposeGenerator) -> None:
        self.run, self.params = run, params
        self.tasks: dict[str, DescribedTask] = {}
        self.schema = record(
            output={"type": "string", "maxLength": characters_for(params.max_tokens)},
            possible={"type": "boolean"},
        )
        self.solving = greedy(params.max_tokens + 16)

    def describe(self, starts: Sequence[SeedExample]) -> None:
        """Learn of each row what it asks for; one that could not be read is put on record."""
        by_id = {example.row_id: example for example in starts}

        def ask(draft: Candidate) -> Request:
            row = by_id[draft.parents[0]]
            return self.run.request(
                "describe",
                draft.parents,
                greedy(tokens_for(TASK_LETTERS + 60)),
                schema=DESCRIBE_SCHEMA,
                question=row.prompt,
                response=row.response,
                kinds=KINDS,
            )

        def take(draft: Candidate, answer: Answer) -> Candidate:
            return draft.add_notes(**answer.value)

        drafts = [
            Candidate([], self.run.method, (row_id,), 1, {"kind": "describe"}) for row_id in by_id
        ]
        descriptions = ask_each(self.run, "describe", drafts, ask, take)
        self.run.filter([draft for draft in descriptions if draft.reject_reason])
        for draft in descriptions:
            if draft.reject_reason is None:
                (row_id,), notes = draft.parents, draft.notes
                task = DescribedTask(
                    by_id[row_id], tidy(notes["task"]), notes["takes"], notes["gives"]
                )
                self.tasks[row_id] = task

    def make_pairs(self) -> list[Candidate]:
        """Put chains of two on record; return the kept ones."""
        drafts = [self._draft((x, y), 1, []) for x, y in self._pairs()]

        def material(draft: Candidate) -> str:
            return self.tasks[draft.parents[0]].example.response

        drafts = self._step("step", drafts, material)
        others = {
            draft.row_id: self._other(draft) for draft in drafts if draft.reject_reason is None
        }
        drafts = self._depend(drafts, others)
        return self.run.filter(ask_judge(self.run, self.params, drafts))

    def make_triples(self, pairs: Sequence[Candidate]) -> None:
        """Put chains of three on record, each of two kept chains that overlap."""
        by_first: dict[str, list[Candidate]] = {}
        for pair in pairs:
            by_first.setdefault(pair.notes["rows"][0], []).append(pair)
        overlaps = [
            (one, two)
            for one in pairs
            for two in by_first.get(one.notes["rows"][1], [])
            if two.notes["rows"][1] not in one.notes["rows"]
        ]
        drawn = self.run.rng("triples").permutation(len(overlaps))[: self.params.chains]
        chosen = [overlaps[i] for i in sorted(drawn.tolist())]
        second = {(one.row_id, two.row_id): two for one, two in chosen}
        drafts = [
            replace(
                self._draft((*one.notes["rows"], two.notes["rows"][1]), 2, one.notes["steps"]),
                parents=(one.row_id, two.row_id),
            )
            for one, two in chosen
        ]
        drafts = self._step("step3", drafts, lambda draft: draft.notes["steps"][-1]["output"])
        # What the last task makes of another material is known from the second chain.
        triples = [
            draft
            if draft.reject_reason
            else drop_independent(draft, second[draft.parents].notes["steps"][-1]["output"])  # type: ignore[index]
            for draft in drafts
        ]
        self.run.filter(ask_judge(self.run, self.params, triples))

    def _pairs(self) -> list[tuple[str, str]]:
        """Return pairs whose kinds fit; the first rows take turns, so that none goes without."""
        ranked = []
        by_kind = {
            kind: [task for task in self.tasks.values() if kind in TAKES.get(task.takes, ())]
            for kind in KINDS
        }
        for place, task in enumerate(self.tasks.values()):
            fitting = [other for other in by_kind[task.gives] if other is not task]
            drawn = self.run.rng("partners", task.example.row_id).permutation(len(fitting))
            for turn, number in enumerate(drawn[: self.params.partners].tolist()):
                ranked.append((turn, place, task.example.row_id, fitting[number].example.row_id))
        chosen = sorted(ranked)[: self.params.chains]
        return [(x, y) for _, _, x, y in sorted(chosen, key=lambda item: item[1::-1])]

    def _draft(
        self, rows: tuple[str, ...], hop: int, steps: Sequence[Mapping[str, str]]
    ) -> Candidate:
        notes = {"kind": "chain", "rows": list(rows), "steps": list(steps)}
        return Candidate([], self.run.method, rows, hop, notes)

    def _ask(self, prompt: str, draft: Candidate, task: str, material: str) -> Request:
        return self.run.request(
            "step",
            [prompt, *draft.parents],
            self.solving,
            schema=self.schema,
            task=task,
            material=material,
        )

    def _step(
        self, stage: str, drafts: Sequence[Candidate], material: Callable[[Candidate], str]
    ) -> list[Candidate]:
        """Return the drafts with one step more, done with what came before it."""

        def last(draft: Candidate) -> str:
            return self.tasks[draft.notes["rows"][-1]].task

        def ask(draft: Candidate) -> Request:
            return self._ask(stage, draft, last(draft), material(draft))

        def take(draft: Candidate, answer: Answer) -> Candidate:
            output = answer.value["output"].strip()
            steps = [*draft.notes["steps"], {"task": last(draft), "output": output}]
            chain = self._render(draft.add_notes(steps=steps))
            if not answer.value["possible"]:
                return chain.drop(RejectReason.NOT_COMPOSABLE, "the step is said to be impossible")
            rejection = find_truncation(answer.value, self.schema)
            if rejection is None and not output:
                rejection = RejectReason.EMPTY, "output of the step"
            if rejection is None and words_of(output) == words_of(material(draft)):
                rejection = RejectReason.NOT_COMPOSABLE, "the step repeats its material"
            return chain.drop(*rejection) if rejection else chain

        return ask_each(self.run, stage, drafts, ask, take)

    def _render(self, draft: Candidate) -> Candidate:
        first = self.tasks[draft.notes["rows"][0]].example
        turns = self.run.prompts["row"].fill(first=first, steps=draft.notes["steps"])
        system = system_of(first)
        head = [{"role": "system", "content": system}] if system else []
        return replace(draft, messages=[*head, *turns])  # type: ignore[list-item]

    def _other(self, draft: Candidate) -> str:
        """Return another row's solution, drawn, of a kind that the second one takes if there is one."""
        x, y = (self.tasks[row_id] for row_id in draft.notes["rows"])
        others = [
            task
            for task in self.tasks.values()
            if task.example.row_id not in draft.notes["rows"]
            and words_of(task.example.response) != words_of(x.example.response)
        ]
        alike = [task for task in others if task.gives in TAKES[y.takes]] or others or [y]
        drawn = self.run.rng("other", *draft.parents).integers(len(alike))
        return alike[drawn].example.response

    def _depend(self, drafts: Sequence[Candidate], others: Mapping[str, str]) -> list[Candidate]:
        """Return the drafts, those dropped whose last step gives the same whatever came before it."""

        def ask(draft: Candidate) -> Request:
            task = draft.notes["steps"][-1]["task"]
            return self._ask("depend", draft, task, others[draft.row_id])

        def take(draft: Candidate, answer: Answer) -> Candidate:
            reply = answer.value
            return drop_independent(draft, reply["output"]) if reply["possible"] else draft

        return ask_each(self.run, "depend", drafts, ask, take)


def drop_independent(draft: Candidate, output: str) -> Candidate:
    """Return the draft, dropped if its last step gave the same with another material."""
    if words_of(draft.notes["steps"][-1]["output"]) == words_of(output):
        return draft.drop(
            RejectReason.NOT_COMPOSABLE, "the step gives the same with other material"
        )
    return draft


@dataclass(frozen=True)
class SequenceStart:
    """What takes one step more: a row to start from, or a kept candidate."""

    row_id: str
    prompt: str
    system: str | None
    hop: int = 0


class Sequences:
    """Instructions that get one step more each round."""

    def __init__(self, run: Generation, params: ComposeGenerator) -> None:
        self.run, self.params = run, params
        room = characters_for(params.max_tokens) - TASK_LETTERS
        self.schema = record(added=text(TASK_LETTERS), prompt=text(max(room, TASK_LETTERS)))

    def make(self, starts: Sequence[SeedExample]) -> None:
        """Add steps round by round; only what got one goes on."""
        singles = {e.row_id: SequenceStart(e.row_id, e.prompt, system_of(e)) for e in starts}
        for number in range(1, self.params.rounds + 1):
            if self.run.stopped or not singles:
                break
            singles = self._grow(singles, number)

    def _grow(self, singles: Mapping[str, SequenceStart], number: int) -> dict[str, SequenceStart]:
        def parent(draft: Candidate) -> SequenceStart:
            return singles[draft.parents[0]]

        notes = {"kind": "sequential", "round": number}
        drafts = [
            Candidate([], self.run.method, (single.row_id,), single.hop + 1, notes)
            for single in singles.values()
        ]
        drafts = self._choose(drafts, parent)
        drafts = self.run.candidate_filter.screen(self._extend(drafts, parent))
        drafts = answer_each(self.run, self.params, drafts, lambda draft: parent(draft).system)
        kept = self.run.filter(ask_judge(self.run, self.params, drafts))
        return {
            candidate.row_id: SequenceStart(
                candidate.row_id, candidate.prompt, parent(candidate).system, candidate.hop
            )
            for candidate in kept
        }

    def _choose(
        self, drafts: Sequence[Candidate], parent: Callable[[Candidate], SequenceStart]
    ) -> list[Candidate]:
        """Return the drafts with the way in which they get a step; those that stay as they are go."""

        def ask(draft: Candidate) -> Request:
            order = self.run.rng("options", *draft.parents).permutation(len(OPTIONS))
            return self.run.request(
                "choose",
                draft.parents,
                greedy(tokens_for(FINDING_LETTERS + 40)),
                schema=CHOOSE_SCHEMA,
                question=parent(draft).prompt,
                options=[OPTIONS[i] for i in order],
            )

        def take(draft: Candidate, answer: Answer) -> Candidate:
            return draft.add_notes(option=answer.value["option"])

        results = ask_each(self.run, "choose", drafts, ask, take)
        return [draft for draft in results if draft.notes.get("option") != KEEP]

    def _extend(
        self, drafts: Sequence[Candidate], parent: Callable[[Candidate], SequenceStart]
    ) -> list[Candidate]:
        def ask(draft: Candidate) -> Request:
            return self.run.request(
                "extend",
                draft.parents,
                self.params.writing,
                schema=self.schema,
                question=parent(draft).prompt,
                option=draft.notes["option"],
            )

        def take(draft: Candidate, answer: Answer) -> Candidate:
            added = tidy(answer.value["added"])
            extension = draft.add_notes(added=added)
            extension = with_prompt(extension, answer.value, self.schema)
            if extension.reject_reason:
                return extension
            if SILENT.search(added):
                fault = f"the added step has no result: {added}"
            elif not Counter(words_of(extension.prompt)) - Counter(words_of(parent(draft).prompt)):
                fault = "it has no word that its parent has not"
            else:
                return extension
            return extension.drop(RejectReason.NOT_EVOLVED, fault)

        return ask_each(self.run, "extend", drafts, ask, take)


DESCRIBE_SCHEMA = record(
    task=text(TASK_LETTERS), takes={"enum": [*KINDS, NOTHING]}, gives={"enum": list(KINDS)}
)
CHOOSE_SCHEMA = record(reason=text(FINDING_LETTERS), option={"enum": list(OPTIONS)})
