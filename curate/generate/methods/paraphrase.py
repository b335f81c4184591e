"""Paraphrases of prompts along a few axes; what the label hangs on stays, and so do the responses.

    paraphrase   the prompt of a row, along an axis: register, length, voice, perspective or format
    filter       the numbers, names, code and links of both are the same, each as often; so is the parity
                 of negations; the length is between half and twice; the embeddings are near but not the
                 same, and ROUGE-L to the source and to earlier paraphrases of it is below 0.9

The filter is the method: without it paraphrases change labels. Options to choose from are no part of
what is paraphrased; they come back as they were. The source is the only parent, so that whoever splits
rows can keep all paraphrases of one on one side.

Calls: 1 / yield for each kept row.

Of the work on paraphrases, RIFF (arXiv:2403.02271) trains a paraphraser on a classifier's likelihood of
the label and takes 8 of each input; LaPael puts noise into layers in place of text. Both belong to
training; here any model is asked, and rules look after the label. Names are words with a capital within
a sentence, so none are seen in scripts without case, and negations are those of English.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from curate.answers.options import OPTION, split_options
from curate.core.fixedpoint import paired_cosines
from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each
from curate.generate.generation import Generation, SeedExample
from curate.generate.novelty import RougeIndex, words_of
from curate.generate.particulars import CODE, NEGATION, count_names
from curate.generate.sift import Filters, numbers_of
from curate.generate.starts import choose_starts, count_starts, system_of
from curate.generate.writing import WriteParams, with_prompt
from curate.llm.requests import Request
from curate.llm.structured import Answer
from curate.text.words import count_words

VERSION = 1
Axis = Literal["register", "length", "voice", "perspective", "format"]
AXES: tuple[Axis, ...] = ("register", "length", "voice", "perspective", "format")


class ParaphraseFilters(Filters):
    """What is asked of every generated row; its response is that of its source."""

    rouge: float = Field(0.98, gt=0, le=1, description="prompts nearer than this are not new")
    cosine: float = Field(1.0, gt=0, le=1, description="rows nearer than this are not new")


@method
class ParaphraseGenerator(WriteParams):
    """Prompts in other words, with the responses that they had."""

    version: ClassVar[int] = VERSION

    method: Literal["paraphrase"] = "paraphrase"
    filters: ParaphraseFilters = ParaphraseFilters()
    axes: tuple[Axis, ...] = Field(AXES, min_length=1, description="ways to say it otherwise")
    count: int = Field(2, ge=1, le=20, description="paraphrases of each row; axes take turns")
    rouge: float = Field(
        0.9, gt=0, le=1, description="to the source and its paraphrases; above it is a copy"
    )
    length: tuple[float, float] = Field((0.5, 2.0), description="words to those of the source")
    cosine: tuple[float, float] = Field(
        (0.8, 0.98), description="to the source: below it drifts, above it is a copy"
    )

    @model_validator(mode="after")
    def _check(self) -> "ParaphraseGenerator":
        for name in ("length", "cosine"):
            least, most = getattr(self, name)
            if least >= most:
                raise ValueError(f"{name}: {least} is to be less than {most}")
        return self

    def generate(self, run: Generation) -> None:
        """Paraphrase each row along some axes, and keep what says the same."""
        starts = {example.row_id: example for example in choose_starts(run, self)}
        bare = {row_id: split_options(example.prompt)[0] for row_id, example in starts.items()}
        schema = self.prompt_schema

        def ask(draft: Candidate) -> Request:
            (row_id,) = draft.parents
            axis, number = draft.notes["axis"], draft.notes["number"]
            name = [row_id, number]
            return run.request(
                "paraphrase", name, self.writing, schema=schema, source=bare[row_id], axis=axis
            )

        def take(draft: Candidate, answer: Answer) -> Candidate:
            paraphrase = with_prompt(draft, answer.value, schema)
            if paraphrase.reject_reason:
                return paraphrase
            rejection = find_change(bare[draft.parents[0]], paraphrase.prompt, self.length)
            return paraphrase.drop(*rejection) if rejection else paraphrase

        drafts = [draft for example in starts.values() for draft in _drafts(run, self, example)]
        drafts = ask_each(run, "paraphrase", drafts, ask, take)
        paraphrases = drop_far(run, self, bare, drop_copies(drafts, bare, self.rouge))
        run.filter([_whole(draft, starts[draft.parents[0]]) for draft in paraphrases])

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = count_starts(self, targets, pool_rows) * self.count
        return Workload(calls=calls, answer_tokens=self.max_tokens)


def _drafts(run: Generation, params: ParaphraseGenerator, example: SeedExample) -> list[Candidate]:
    drawn = run.rng("axes", example.row_id).permutation(len(params.axes))
    axes = [params.axes[drawn[k % len(drawn)]] for k in range(params.count)]
    return [
        Candidate([], run.method, (example.row_id,), 1, {"axis": axis, "number": k})
        for k, axis in enumerate(axes)
    ]


def _whole(draft: Candidate, source: SeedExample) -> Candidate:
    """Return the draft with the options and the response of its source."""
    if not draft.prompt:
        return draft
    lines = [draft.prompt]
    if split_options(source.prompt)[1]:
        lines += [match.group().strip() for match in OPTION.finditer(source.prompt)]
    turns = pair("\n".join(lines), source.response, system_of(source))
    return replace(draft, messages=turns)


def find_change(
    source: str, paraphrase: str, length: tuple[float, float]
) -> tuple[RejectReason, str] | None:
    """Return what of a source its paraphrase changes, None if the rules find nothing."""
    code = Counter(CODE.findall(source)), Counter(CODE.findall(paraphrase))
    if code[0] != code[1]:
        return RejectReason.MEANING_CHANGED, f"code or link: {_differing(*code)}"
    numbers = Counter(numbers_of(source)), Counter(numbers_of(paraphrase))
    if numbers[0] != numbers[1]:
        return RejectReason.MEANING_CHANGED, f"number: {_differing(*numbers)}"
    names = count_names(source, paraphrase)
    if names[0] != names[1]:
        return RejectReason.MEANING_CHANGED, f"name: {_differing(*names)}"
    denied = [len(NEGATION.findall(text)) for text in (source, paraphrase)]
    if sum(denied) % 2:
        return RejectReason.MEANING_CHANGED, f"{denied[1]} negations of {denied[0]}"
    ratio = count_words(paraphrase) / max(count_words(source), 1)
    if not length[0] <= ratio <= length[1]:
        reason = RejectReason.TOO_SHORT if ratio < length[0] else RejectReason.TOO_LONG
        return reason, f"{ratio:.2f} times as long"
    return None


def _differing(source: Counter[str], paraphrase: Counter[str]) -> str:
    word = min((source - paraphrase) + (paraphrase - source))
    return f"{word[:60]!r} {paraphrase[word]} times, not {source[word]}"


def drop_copies(drafts: Sequence[Candidate], bare: dict[str, str], rouge: float) -> list[Candidate]:
    """Return the drafts, those dropped that are near to their source or an earlier one of it."""
    seen = {row_id: RougeIndex([prompt]) for row_id, prompt in bare.items()}
    results = []
    for draft in drafts:
        if draft.reject_reason is None:
            earlier_prompts = seen[draft.parents[0]]
            near = earlier_prompts.nearest(draft.prompt, above=rouge)
            if near or words_of(draft.prompt) == words_of(bare[draft.parents[0]]):
                draft = draft.drop(RejectReason.NOT_NEW, f"ROUGE-L {near[0] if near else 1:.2f}")
            else:
                earlier_prompts.add([draft.prompt])
        results.append(draft)
    return results


def drop_far(
    run: Generation, params: ParaphraseGenerator, bare: dict[str, str], drafts: Sequence[Candidate]
) -> list[Candidate]:
    """Return the drafts with their cosines to the source, those outside of the band dropped."""
    present = [i for i, draft in enumerate(drafts) if draft.reject_reason is None]
    if not present:
        return list(drafts)
    vectors = run.embed([drafts[i].prompt for i in present])
    sources = run.embed([bare[drafts[i].parents[0]] for i in present])
    results = list(drafts)
    for i, cosine in zip(present, paired_cosines(vectors, sources).round(4).tolist(), strict=True):
        draft = results[i].add_notes(similarity=cosine)
        if cosine < params.cosine[0]:
            draft = draft.drop(RejectReason.MEANING_CHANGED, f"cosine {cosine:.2f} to the source")
        elif cosine > params.cosine[1]:
            draft = draft.drop(RejectReason.TOO_NEAR, f"cosine {cosine:.3f} to the source")
        results[i] = draft
    return results
