"""CRAFT: passages of a raw corpus that are near the target examples, turned into examples of their kind.

Ziegler et al. 2024, "CRAFT Your Dataset: Task-Specific Synthetic Dataset Generation Through Corpus
Retrieval and Augmentation", arXiv:2409.02098.

    retrieve   half of the passages by each target example in turn, half by the mean of their cosines to
               all target examples
    write      one example from each passage, with three target examples, drawn for it, as turns before

Then the filters: prompts of more than 15 characters, as many options as the examples have, and prompts
that share their words with a target or an earlier prompt (token-set ratio 85 of 100) go. The passage is
named in `document` and among the parents.

Calls: one for each passage, so 1 / yield for each kept row; about two passages a row were published.

Departures from the authors' code: exactly as many passages as asked for, where it retrieves 20 % more
and takes what is left of duplicates; shots are target examples without a text of their own; the order
of options is drawn, which leaves no letter likelier than another; the token-set ratio is taken of the
prompts and not of JSON with its keys, and only where the shorter has half of the longer one's words,
since it is 100 for any text whose words another one has; nothing is cut out of an answer that is no
JSON. The mean of cosines ranks passages as the cosine to the examples' mean vector does: it is that,
times its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import orjson
from pydantic import Field
from rapidfuzz.fuzz import token_set_ratio

from curate.core.methods import method
from curate.core.rows import Message
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.choices import (
    LONGEST,
    AnswerMode,
    ChoiceForm,
    check_form,
    form_of,
    options_of,
    options_schema,
    with_options,
)
from curate.generate.corpus import Corpus, Passage, read_passages
from curate.generate.drafts import ask_each, find_truncation, mark_of, with_turns
from curate.generate.generation import Generation, SeedExample
from curate.generate.novelty import words_of
from curate.generate.retrieve import embed_blocks
from curate.generate.shots import Shots, ShotSettings
from curate.generate.sift import Embed
from curate.llm.requests import Request, Sampling, TopP
from curate.llm.schemas import REPEATS, characters_for, record, text
from curate.llm.structured import Answer
from curate.models.neighbours.nearest import nearest

VERSION = 1
SHORTEST = 15
MEAN = "mean"


@method
class CraftGenerator(ShotSettings):
    """Passages of a corpus that are near the target, turned into examples of its kind."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("target",)
    reads: ClassVar[tuple[str, ...]] = ("corpus",)

    method: Literal["craft"] = "craft"
    corpus: Corpus = Field(
        description="documents, as records with a text or as plain text: a file, folder or glob, a URL, "
        "or a data set of the Hugging Face Hub",
        examples=["docs/*.md", {"path": "owner/name", "split": "train"}],
    )
    documents: int = Field(200, ge=1, description="passages to write an example from")
    words: int = Field(300, ge=20, description="of a passage at most")
    shots: int = Field(3, ge=1, description="target examples shown with each passage")
    answer: AnswerMode = Field("free", description="what a response is")
    alike: float = Field(
        85, ge=0, le=100, description="token-set ratio of prompts from which one is a copy"
    )
    temperature: float = Field(0.7, ge=0, description="of examples")
    top_p: TopP = 0.9
    top_k: int = Field(40, ge=0, description="draw from so many likeliest tokens; 0: from all")
    max_tokens: int = Field(1_024, ge=128, description="of a prompt with its response")

    def generate(self, run: Generation) -> None:
        """Retrieve passages and write an example from each."""
        passages = read_passages(self.corpus, self.words, run.digests.get("corpus"))
        hits_by_id = {
            f.passage.passage_id: f
            for f in retrieve(run.target, passages, run.embed, self.documents)
        }
        writing = ExampleWriter(run, self)
        drafts = [writing.draft(one) for one in hits_by_id.values()]

        def ask(draft: Candidate) -> Request:
            return writing.ask(draft, hits_by_id[draft.notes["document"]].passage)

        examples = ask_each(run, "write", drafts, ask, writing.take)
        run.filter(drop_alike(examples, [example.prompt for example in run.target], self.alike))

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = self.documents
        return Workload(calls=calls, answer_tokens=self.max_tokens)


def conversation_of(example: SeedExample) -> str:
    """Return the text of an example by which a passage finds it."""
    return f"{example.prompt}\n{example.response}"


@dataclass(frozen=True)
class CorpusHit:
    """A passage, how near it is, and by which target example it was found (or by their mean)."""

    passage: Passage
    by: str
    cosine: float


def retrieve(
    target: Sequence[SeedExample], passages: Sequence[Passage], embed: Embed, count: int
) -> list[CorpusHit]:
    """Return passages, each once: half by each example in turn, the rest by the mean of cosines.

    Only where there are too few passages are there less than `count`.
    """
    queries = embed([conversation_of(example) for example in target])
    query_vectors = np.concatenate([queries, queries.mean(axis=0, keepdims=True)])
    # So deep that each list goes on where the others have taken what is at its top.
    numbers, cosines = nearest(
        query_vectors, embed_blocks((p.text for p in passages), embed), count
    )
    names = [*(example.row_id for example in target), MEAN]
    count = min(count, len(passages))
    turns = [k % len(target) for k in range(count // 2)] + [len(target)] * (count - count // 2)
    chosen: dict[int, CorpusHit] = {}
    at = [0] * len(names)
    for k in turns:
        while at[k] < numbers.shape[1] and int(numbers[k, at[k]]) in chosen:
            at[k] += 1
        if at[k] < numbers.shape[1]:
            number = int(numbers[k, at[k]])
            chosen[number] = CorpusHit(passages[number], names[k], float(cosines[k, at[k]]))
    return list(chosen.values())


class ExampleWriter:
    """Asks for an example from a passage and takes the answer."""

    def __init__(self, run: Generation, params: CraftGenerator) -> None:
        self.run, self.params = run, params
        self.sampling = Sampling(
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=params.top_k,
            max_tokens=params.max_tokens,
            repeats=REPEATS,
        )
        self.form = _form_of(run.target)
        self.schema = self._schema()
        self.shots = Shots(run, params.shots_by, run.target, conversation_of)

    def draft(self, hit: CorpusHit) -> Candidate:
        """Return the example to write from a passage."""
        document = hit.passage.passage_id
        rng = self.run.rng("shots", document)
        shots = self.shots.choose(self.params.shots, rng, hit.passage.text)
        notes = {"document": document, "by": hit.by, "cosine": round(hit.cosine, 4)}
        return Candidate([], self.run.method, (document, *(e.row_id for e in shots)), 1, notes)

    def ask(self, draft: Candidate, passage: Passage) -> Request:
        """Return the request for an example; the passage comes last."""
        by_id = {example.row_id: example for example in self.run.target}
        request = self.run.request(
            "write",
            [passage.passage_id],
            self.sampling,
            schema=self.schema,
            mark=f"--- {mark_of(passage.text)} ---",
            passage=passage.text,
        )
        shots = [self._show(by_id[row_id]) for row_id in draft.parents[1:]]
        return with_turns(request, [turn for turns in shots for turn in turns])

    def _show(self, shot: SeedExample) -> list[Message]:
        """Return the turns in which an example would have been asked for and written."""
        value: dict[str, Any] | None = None
        if self.params.answer == "choice":
            value = options_of(shot.prompt, shot.response)
        value = value or {"prompt": shot.prompt, "response": shot.response}
        return self.run.prompts["shot"].fill(example=orjson.dumps(value).decode())

    def take(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the example as it was written, dropped if its form is wrong."""
        value = answer.value
        prompt = value["prompt"].strip()
        if self.params.answer == "choice":
            rng = self.run.rng("options", draft.notes["document"])
            example = with_options(draft, prompt, value, self.form, rng)
        else:
            example = replace(draft, messages=pair(prompt, value["response"].strip()))
        rejection = find_truncation(value, self.schema)
        if rejection is None and len(prompt) <= SHORTEST:
            rejection = RejectReason.TOO_SHORT, f"prompt of {len(prompt)} characters"
        return example.drop(*rejection) if rejection else check_form(example, self.params.answer)

    def _schema(self) -> dict[str, Any]:
        letters = characters_for(self.params.max_tokens)
        if self.params.answer == "choice":
            options = options_schema(self.form)
            room = letters - self.form.options * LONGEST
            return record(prompt=text(max(room, LONGEST)), **options)
        return record(prompt=text(letters // 2), response=text(letters // 2))


def _form_of(target: Sequence[SeedExample]) -> ChoiceForm:
    """Return the form of most target examples."""
    forms = [form_of(example.prompt, example.response) for example in target]
    return max(forms, key=forms.count)


def drop_alike(
    candidates: Sequence[Candidate], prompts: Sequence[str], alike: float
) -> list[Candidate]:
    """Return the candidates, those dropped whose prompt has the words of another or earlier one."""
    earlier_prompts = list(prompts)
    results = []
    for candidate in candidates:
        ratio = 0.0
        if candidate.reject_reason is None:
            ratio = max(
                (set_ratio(candidate.prompt, prompt) for prompt in earlier_prompts), default=0.0
            )
        if candidate.reject_reason is None and ratio < alike:
            earlier_prompts.append(candidate.prompt)
        elif candidate.reject_reason is None:
            candidate = candidate.drop(RejectReason.NOT_NEW, f"token set {ratio:.0f} of 100")
        results.append(candidate)
    return results


def set_ratio(one: str, other: str) -> float:
    """Return the token-set ratio of two texts, 0 where one has less than half of the other's words."""
    words = [words_of(text) for text in (one, other)]
    sizes = sorted(len(set(text_words)) for text_words in words)
    if 2 * sizes[0] < sizes[1]:
        return 0.0
    return float(token_set_ratio(*(" ".join(text_words) for text_words in words)))
