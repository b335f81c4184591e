"""AIDE: from a few target examples outward, hop by hop, along what they are about.

Li et al. 2024, "AIDE: Attribute-Guided Multi-Hop Data Expansion for Data Scarcity in Task-Specific
Fine-tuning", arXiv:2412.06136. Each hop is one large batch a stage:

    topics     of each example: a topic t and knowledge attributes a with their relation r to it
    rewrite    a new prompt for each attribute and operator, guided by (t, r, a), and one for each of the
               personas nearest to the topic; from hop 2 on the first example of the line (its seed) is
               in the request too, or else topics drift
    grade      relevance against the seed and diversity against the parent, 1 to 10; what is graded too
               low is improved and graded again, a few times, then dropped
    answer     with a few target examples as the turns before it

Then the common filters prune what is near to anything there, and the kept ones are the next hop's
examples. n seeds with A attributes, 3 operators and P personas grow to at most n (3A + P) in the first
hop and n (3A + P)^2 in the second: 3,060 from 10 by the defaults, about what was published.

`start: gaps` begins with the target examples that the pool covers least. The tree is kept for the
report, with each prompt's cosine to its seed, which shows drift.

Calls: 3 for each prompt that is tried, 2 more for each improvement, 1 for each example expanded; so
a little more than 3 for each kept row, divided by the yield.

Departures from the authors' code: breadth first, not recursive; one call for topic, relations and
attributes, where it makes two and puts the word "has" for every relation; no attributes of leaves, which
it pays for and throws away; the residual seed is in every operator's request (its guard tests a text
that was just emptied, so that two of three never have it); personas by similarity (it sorts by index)
to the topic of each example, not of the task; both grades for both branches, in one call; what fails
the last grade is dropped, where it is kept; options of which two are equal are dropped; a free answer is
one to the new prompt (its code answers the last seed); nothing hangs on tags that a model may forget.
Grades from 5 on pass, as in the code; notes on the paper say more than 5. The residual rule is the
code's (hop 2 and later), since at hop 1 the parent is the seed. Prompts may be as near as ROUGE-L 0.9
here: one with a condition more is a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.answers.options import split_options
from curate.core.fixedpoint import cosines
from curate.core.jsontypes import JSON
from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.choices import (
    AnswerMode,
)
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.gaps import measure_coverage
from curate.generate.generation import Generation, SeedExample
from curate.generate.novelty import RougeIndex
from curate.generate.personas import Personas, read_personas
from curate.generate.seedanswers import SeedAnswers
from curate.generate.shots import ShotSettings
from curate.generate.sift import Filters
from curate.generate.tree import tree_of
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import (
    REPEATS,
    array,
    characters_for,
    greedy,
    record,
    text,
    tidy,
    tokens_for,
)
from curate.llm.structured import Answer

VERSION = 2
Operator = Literal["constraint", "reasoning", "concrete"]
OPERATORS: tuple[Operator, ...] = ("constraint", "reasoning", "concrete")
PERSONA, TOPICS = "persona", "topics"
GUIDES = ("operator", "topic", "relation", "attribute", "persona")
GRADES = ("relevance", "diversity")
TOPIC_LETTERS, PHRASE_LETTERS, ADVICE_LETTERS = 60, 40, 200
# What a relation and an attribute come to with the JSON around them.
ITEM_LETTERS = 2 * PHRASE_LETTERS + 40
HIGHEST_GRADE = 10


class AideFilters(Filters):
    """What is asked of every generated row."""

    rouge: float = Field(0.9, gt=0, le=1, description="prompts nearer than this are not new")


@method
class AideGenerator(ShotSettings):
    """Multi-hop expansion of target examples, guided by topic, attributes and personas."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("target",)
    reads: ClassVar[tuple[str, ...]] = ("persona_file",)

    method: Literal["aide"] = "aide"
    filters: AideFilters = AideFilters()
    hops: int = Field(2, ge=1, le=6, description="how far from the seeds")
    attributes: int = Field(4, ge=0, le=12, description="of each example that is expanded")
    operators: tuple[Operator, ...] = Field(OPERATORS, description="for each attribute")
    personas: int = Field(5, ge=0, description="of each example, nearest to its topic; 0: none")
    persona_file: str | None = Field(
        None, description="personas, one a line; our own if null", examples=["personas.txt"]
    )
    start: Literal["all", "gaps"] = Field("all", description="gaps: where the pool covers least")
    gaps: int = Field(10, ge=1, description="with start: gaps, from so many")
    residual_from_hop: int = Field(2, ge=2, description="the seed is in the request from here on")
    min_grade: int = Field(5, ge=1, le=HIGHEST_GRADE, description="1: nothing is graded")
    max_rewrites: int = Field(2, ge=0, description="of a prompt that is graded too low")
    children: int | None = Field(None, ge=1, description="of one example, drawn", examples=[100])
    most: int = Field(4_000, ge=1, description="prompts tried over all hops")
    answer: AnswerMode = Field("free", description="what a response is")
    shots: int = Field(3, ge=0, description="target examples that are shown with each answer")
    temperature: float = Field(1.0, ge=0, description="of new prompts; all else is greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(512, ge=64, description="of a prompt, and of a response")

    @model_validator(mode="after")
    def _check(self) -> "AideGenerator":
        if not self.personas and not (self.attributes and self.operators):
            raise ValueError("nothing would be written: give attributes and operators, or personas")
        return self

    def generate(self, run: Generation) -> None:
        """Grow the tree hop by hop until the last hop, a limit, or nothing is left to expand."""
        seeds = choose_seeds(run, self)
        expansion = ExpansionTree(run, self, seeds)
        try:
            for hop in range(1, self.hops + 1):
                nodes = [node for node in expansion.nodes.values() if node.hop == hop - 1]
                if run.stopped or not nodes or not expansion.left:
                    break
                expansion.grow(nodes)
        finally:
            run.tables["tree"] = tree_of(seeds, run.candidates)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        expanded, tried = _most_nodes(self, targets)
        rounds = 0 if self.min_grade == 1 else 2 * self.max_rewrites + 1
        calls = expanded + tried * (2 + rounds)
        return Workload(calls=calls, answer_tokens=self.max_tokens, rows=tried)


@dataclass(frozen=True)
class ExpansionNode:
    """An example to expand: a seed, or a kept candidate. `prompt` is without options to choose from."""

    row_id: str
    prompt: str
    response: str
    seed: SeedExample
    hop: int = 0


def choose_seeds(run: Generation, params: AideGenerator) -> list[SeedExample]:
    """Return the target examples to start from; how well the pool covers each goes on record."""
    if params.start == "all":
        return list(run.target)
    coverage = measure_coverage(run.target, run.pool, run.embed)
    chosen = coverage["row_id"].head(params.gaps).to_list()
    run.tables["gaps"] = coverage.with_columns(started=pl.col("row_id").is_in(chosen))
    by_id = {example.row_id: example for example in run.target}
    return [by_id[row_id] for row_id in chosen]


@dataclass
class ExpansionTree:
    """The tree so far; `left` is how many prompts may still be tried."""

    run: Generation
    params: AideGenerator
    seeds: Sequence[SeedExample]
    nodes: dict[str, ExpansionNode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = self.params.most
        for seed in self.seeds:
            self.nodes[seed.row_id] = ExpansionNode(
                seed.row_id, self._bare(seed.prompt), seed.response, seed
            )
        vectors = self.run.embed([seed.prompt for seed in self.seeds])
        self.origins = dict(zip((seed.row_id for seed in self.seeds), vectors, strict=True))
        count = self.params.personas
        digest = next(iter(self.run.digests.get("persona_file", {}).values()), None)
        people = read_personas(self.params.persona_file, digest) if count else []
        self.people = Personas(people, self.run.embed) if people else None
        self.answers = SeedAnswers(
            self.run,
            lambda draft: self._parent(draft).seed,
            _name,
            mode=self.params.answer,
            shots=self.params.shots,
            shots_by=self.params.shots_by,
            max_tokens=self.params.max_tokens,
        )
        size = self.params.max_tokens
        self.prompt_schema = record(prompt=text(characters_for(size)))
        self.writing = Sampling(
            temperature=self.params.temperature,
            top_p=self.params.top_p,
            max_tokens=size,
            repeats=REPEATS,
        )

    def grow(self, nodes: Sequence[ExpansionNode]) -> None:
        """Make, judge and put on record the children of these nodes; the kept ones become nodes."""
        drafts = self._branch(nodes)
        places = {_name(draft): place for place, draft in enumerate(drafts)}
        drafts = ask_each(self.run, "rewrite", drafts, self._ask_prompt, self._take_prompt)
        prompts = [node.prompt for node in self.nodes.values()]
        drafts = self._reflect(self.run.candidate_filter.screen(drafts, RougeIndex(prompts)))
        drafts.sort(key=lambda draft: places[_name(draft)])
        for kept in self.run.filter(self.answers.write(self._measure(drafts))):
            prompt, seed = self._bare(kept.prompt), self._parent(kept).seed
            self.nodes[kept.row_id] = ExpansionNode(
                kept.row_id, prompt, kept.response, seed, kept.hop
            )

    def _parent(self, draft: Candidate) -> ExpansionNode:
        return self.nodes[draft.parents[0]]

    def _bare(self, prompt: str) -> str:
        return split_options(prompt)[0] if self.params.answer == "choice" else prompt

    def _branch(self, nodes: Sequence[ExpansionNode]) -> list[Candidate]:
        """Return the children to write, yet without a prompt, as many as may be tried.

        Where that is not all of them, the nodes take turns, so that none goes without.
        """
        ranked = []
        for place, node_and_guides in enumerate(self._guides(nodes)):
            node, guides = node_and_guides
            drawn = self.run.rng("branches", node.row_id).permutation(len(guides))
            for turn, number in enumerate(drawn[: self.params.children].tolist()):
                ranked.append((turn, place, number, self._draft(node, guides[number])))
        chosen = sorted(ranked, key=lambda item: item[:2])[: self.left]
        self.left -= len(chosen)
        return [draft for *_, draft in sorted(chosen, key=lambda item: item[1:3])]

    def _draft(self, node: ExpansionNode, notes: Mapping[str, Any]) -> Candidate:
        seed_notes = {"seed": node.seed.row_id, **notes}
        return Candidate([], self.run.method, (node.row_id,), node.hop + 1, seed_notes)

    def _guides(
        self, nodes: Sequence[ExpansionNode]
    ) -> list[tuple[ExpansionNode, list[dict[str, str]]]]:
        """Return what guides the children of each node; one without a topic is put on record."""
        most = self.params.attributes
        sampling = greedy(tokens_for(100 + most * ITEM_LETTERS))
        drafts = [self._draft(node, {"operator": TOPICS}) for node in nodes]

        def ask(draft: Candidate) -> Request:
            exercise = self._parent(draft).prompt
            return self.run.request(
                TOPICS,
                draft.parents,
                sampling,
                schema=topics_schema(most),
                exercise=exercise,
                attributes=most,
            )

        def take(draft: Candidate, answer: Answer) -> Candidate:
            return draft.add_notes(**answer.value)

        topic_candidates = ask_each(self.run, TOPICS, drafts, ask, take)
        self.run.filter([draft for draft in topic_candidates if draft.reject_reason])
        useful = [draft for draft in topic_candidates if draft.reject_reason is None]
        topics = [tidy(draft.notes["topic"]) for draft in useful]
        people = (
            self.people.nearest(topics, self.params.personas)
            if self.people
            else [[] for _ in topics]
        )
        return [
            (self._parent(draft), self._guide(topic, draft.notes.get("knowledge", []), near))
            for draft, topic, near in zip(useful, topics, people, strict=True)
        ]

    def _guide(
        self, topic: str, knowledge: Sequence[Mapping[str, str]], people: Sequence[str]
    ) -> list[dict[str, str]]:
        """Return each attribute, once, with each operator, then each persona."""
        attributes: dict[str, dict[str, str]] = {}
        for item in knowledge:
            attribute = {name: tidy(words) for name, words in item.items()}
            if attribute["attribute"]:
                attributes.setdefault(attribute["attribute"].casefold(), attribute)
        return [
            *(
                {"operator": operator, "topic": topic, **attribute}
                for attribute in attributes.values()
                for operator in dict.fromkeys(self.params.operators)
            ),
            *({"operator": PERSONA, "topic": topic, "persona": person} for person in people),
        ]

    def _ask_prompt(self, draft: Candidate) -> Request:
        node, notes = self._parent(draft), draft.notes
        slots = {name: notes[name] for name in GUIDES if name in notes}
        seed = self._bare(node.seed.prompt)
        return self.run.request(
            PERSONA if notes["operator"] == PERSONA else "rewrite",
            _name(draft),
            self.writing,
            schema=self.prompt_schema,
            parent=node.prompt,
            answer=node.response,
            residual=seed if draft.hop >= self.params.residual_from_hop else "",
            no_options=self.params.answer == "choice",
            **slots,
        )

    def _take_prompt(self, draft: Candidate, answer: Answer) -> Candidate:
        prompt = self._bare(answer.value["prompt"].strip())
        rewrite = replace(draft, messages=[{"role": "user", "content": prompt}])
        rejection = find_truncation(answer.value, self.prompt_schema)
        return rewrite.drop(*rejection) if rejection else rewrite

    def _reflect(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts with their grades, those graded too low improved or dropped."""
        if self.params.min_grade == 1:
            return list(drafts)
        done = [draft for draft in drafts if draft.reject_reason]
        pending = [draft for draft in drafts if not draft.reject_reason]
        for rewrites in range(self.params.max_rewrites + 1):
            graded = ask_each(self.run, "grade", pending, self._ask_grade, _take_grade)
            low = [draft for draft in graded if not draft.reject_reason and self._low(draft)]
            done += [draft for draft in graded if draft.reject_reason or not self._low(draft)]
            if rewrites == self.params.max_rewrites:
                return done + [d.drop(RejectReason.LOW_GRADE, self._low_words(d)) for d in low]
            improved = ask_each(self.run, "improve", low, self._ask_better, self._take_better)
            done += [draft for draft in improved if draft.reject_reason]
            pending = [draft for draft in improved if not draft.reject_reason]
        return done

    def _low(self, draft: Candidate) -> list[str]:
        """Return which of a draft's grades are too low."""
        return [name for name in GRADES if draft.notes[name] < self.params.min_grade]

    def _low_words(self, draft: Candidate) -> str:
        return ", ".join(f"{name} {draft.notes[name]}" for name in self._low(draft))

    def _ask_grade(self, draft: Candidate) -> Request:
        sampling = greedy(tokens_for(ADVICE_LETTERS + 60))
        return self._ask_about("grade", draft, sampling, GRADE_SCHEMA)

    def _ask_better(self, draft: Candidate) -> Request:
        return self._ask_about(
            "improve",
            draft,
            self.writing,
            self.prompt_schema,
            advice=draft.notes["advice"],
            low=self._low(draft),
            no_options=self.params.answer == "choice",
        )

    def _take_better(self, draft: Candidate, answer: Answer) -> Candidate:
        rewrite = self._take_prompt(draft, answer)
        rewrites = rewrite.notes.get("rewrites", 0) + 1
        return rewrite.add_notes(rewrites=rewrites)

    def _ask_about(
        self,
        prompt: str,
        draft: Candidate,
        sampling: Sampling,
        schema: Mapping[str, JSON],
        **slots: Any,
    ) -> Request:
        """Return a request about a draft beside its seed and its parent."""
        node = self._parent(draft)
        return self.run.request(
            prompt,
            [*_name(draft), draft.notes.get("rewrites", 0)],
            sampling,
            schema=schema,
            seed=self._bare(node.seed.prompt),
            parent=node.prompt,
            exercise=draft.prompt,
            **slots,
        )

    def _measure(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts; those with a prompt with its cosine to that of their seed."""
        written = [i for i, draft in enumerate(drafts) if draft.prompt]
        results = list(drafts)
        if written:
            vectors = self.run.embed([drafts[i].prompt for i in written])
            for i, vector in zip(written, vectors, strict=True):
                origin = self.origins[drafts[i].notes["seed"]]
                cosine = float(cosines(origin[None], vector[None]).item())
                results[i] = drafts[i].add_notes(similarity=round(cosine, 4))
        return results


def _name(draft: Candidate) -> tuple[str, ...]:
    """Return what tells a draft from all others."""
    notes = draft.notes
    return (*draft.parents, notes["operator"], notes.get("attribute", notes.get("persona", "")))


def _take_grade(draft: Candidate, answer: Answer) -> Candidate:
    return draft.add_notes(**answer.value)


def topics_schema(attributes: int) -> dict[str, Any]:
    """Return the schema of a topic and what is known of it."""
    topic = text(TOPIC_LETTERS)
    if not attributes:
        return record(topic=topic)
    item = record(relation=text(PHRASE_LETTERS), attribute=text(PHRASE_LETTERS))
    return record(topic=topic, knowledge=array(item, attributes))


GRADE: Mapping[str, JSON] = {"type": "integer", "minimum": 1, "maximum": HIGHEST_GRADE}
GRADE_SCHEMA = record(advice=text(ADVICE_LETTERS), relevance=GRADE, diversity=GRADE)


def _most_nodes(params: AideGenerator, targets: int) -> tuple[int, int]:
    """Return how many examples are expanded and how many prompts tried at most."""
    nodes = min(targets, params.gaps) if params.start == "gaps" else targets
    width = params.attributes * len(params.operators) + params.personas
    width = min(width, params.children or width)
    expanded = tried = 0
    for _ in range(params.hops):
        expanded += nodes
        nodes = min(nodes * width, params.most - tried)
        tried += nodes
    return expanded, tried
