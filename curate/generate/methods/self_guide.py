"""SELF-GUIDE: inputs of one task by the model that is to be trained, and the outputs it agrees on.

Zhao et al. 2024, "SELF-GUIDE: Better Task-Specific Instruction Following via Self-Synthetic
Finetuning", arXiv:2407.12874.

    inputs   target prompts are shown as answers given before, earlier inputs as weak ones, and one more
             is asked for; with `labels`, the label that it should have is named, each as often
    filters  inputs of a strange length, with phrases of an assistant, or that are there already go
    outputs  several are sampled after the target examples as turns; those of a strange length or with
             such phrases go, and the most frequent of the rest (by value, see `checker`) is the output
             if its share is large enough, the shortest of several that are equally frequent

With `labels` an output is the label that it names, and in the end all labels are cut down to as many
rows as the rarest has. What label was asked for is in the notes and decides nothing.

Calls: (1 + samples) / yield for each kept row.

Departures from the authors' code: rounds of 40 inputs, not of 10 (400 by default, as there); labels
take turns in an order that is drawn, so that few inputs cover all; a length's spread is taken to be a
quarter of the mean at least, as examples of one length would let nothing pass; labels are matched
whole and the longest first, so that "not entailed" is not "entailed"; the shares are of all samples, not
of those that the filters left; n samples where it takes the best 10 of 20; the phrases are constants,
where its list grows from task to task; what is balanced is what is used; prompts nearer than ROUGE-L
0.9 are not new, where only equal ones are not.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, pstdev
from typing import ClassVar, Literal

import orjson
import regex
from pydantic import Field, field_validator

from curate.answers.values import (
    CHECKED_HOW,
    Check,
    find_form,
    group_alike,
    same_value,
    warn_not_comparable,
)
from curate.core.methods import method
from curate.core.rows import Message, normalise
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each, find_truncation, with_turns
from curate.generate.generation import (
    Generation,
    reject_reason_of,
    was_sent,
    with_reasoning,
)
from curate.generate.novelty import words_of
from curate.generate.plain import ask_plainly, system_of
from curate.generate.shots import Shots, ShotSettings
from curate.generate.sift import Filters
from curate.llm.requests import Request, Sampling
from curate.llm.schemas import REPEATS, characters_for, record, text
from curate.llm.structured import Answer

VERSION = 2
# Where examples are about as long as each other, lengths may still differ by this share of the mean.
LEAST_SPREAD = 0.25
FEWEST_LETTERS = 1
NOISE = [
    *("as an ai", "language model", "i'm sorry, but", "i am sorry, but", "i cannot assist"),
    *("i can't assist", "here is a new", "here's a new", "here is another", "sure, here"),
    *("certainly!", "new input", "input:", "output:", "good inputs", "weak inputs"),
    *("the right answer to it", "let me know if"),
]


class SelfGuideFilters(Filters):
    """What is asked of every generated row."""

    rouge: float = Field(0.9, gt=0, le=1, description="prompts nearer than this are not new")


@method
class SelfGuideGenerator(ShotSettings):
    """Inputs of the target's task by the model itself, and outputs that it agrees on."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("target",)

    method: Literal["self_guide"] = "self_guide"
    filters: SelfGuideFilters = SelfGuideFilters()
    task: str = Field(
        "",
        description="what the task is; said beside the examples",
        examples=["Tell whether a review is good or bad."],
    )
    labels: list[str] = Field(
        [],
        description="the outputs there are, if the task is to classify",
        examples=[["good", "bad"]],
    )
    rounds: int = Field(10, ge=1, description="each sees inputs of those before it")
    batch: int = Field(40, ge=1, description="inputs asked for in a round")
    demos: int = Field(3, ge=1, description="target examples shown")
    weak: int = Field(10, ge=0, description="earlier inputs shown as weak ones at most")
    samples: int = Field(10, ge=1, le=100, description="outputs of each input")
    checker: Check = Field("auto", description=CHECKED_HOW)
    agreement: float = Field(0.3, ge=0, le=1, description="least share of them that are the same")
    sigmas: float = Field(2.0, gt=0, description="of length around the examples' mean")
    noise: list[str] = Field(NOISE, description="phrases of no input or output but the examples'")
    balance: float | None = Field(
        1.0, ge=1, description="most rows of a label, for each of the rarest; all if null"
    )
    temperature: float | None = Field(
        None, ge=0, description="of inputs; 0.7 with labels and 0.9 without if null", examples=[0.8]
    )
    output_temperature: float = Field(0.2, ge=0, description="of outputs")
    max_tokens: int = Field(500, ge=64, description="of an input, and of an output")

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: list[str]) -> list[str]:
        label_words = {tuple(words_of(label)) for label in labels}
        if len(label_words) < len(labels) or () in label_words or len(labels) == 1:
            raise ValueError("give two labels or more, of different words")
        return labels

    def generate(self, run: Generation) -> None:
        """Write inputs round by round, then all their outputs at once, then balance the labels."""
        guide = SelfGuide(run, self)
        drafts: list[Candidate] = []
        for number in range(self.rounds):
            if run.stopped:
                break
            drafts = guide.add_inputs(number, drafts)
        outputs = run.candidate_filter.filter(
            guide.ask_outputs(run.candidate_filter.screen(drafts))
        )
        run.record(balance(outputs, self.balance) if self.labels else outputs)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = self.rounds * self.batch * (1 + self.samples)
        return Workload(calls=calls, answer_tokens=self.max_tokens)


@dataclass(frozen=True)
class Band:
    """Lengths in characters that a text may have."""

    least: float
    most: float

    def find_rejection(self, words: str) -> tuple[RejectReason, str] | None:
        """Return why a text goes for its length."""
        if len(words) < self.least:
            return RejectReason.TOO_SHORT, f"{len(words)} characters, least {self.least:.0f}"
        if len(words) > self.most:
            return RejectReason.TOO_LONG, f"{len(words)} characters, most {self.most:.0f}"
        return None


def band_of(examples: Sequence[str], sigmas: float) -> Band:
    """Return lengths within so many standard deviations of the examples' mean."""
    lengths = [len(words) for words in examples]
    mean = fmean(lengths)
    reach = sigmas * max(pstdev(lengths), LEAST_SPREAD * mean)
    return Band(max(mean - reach, FEWEST_LETTERS), mean + reach)


class SelfGuide:
    """The two halves of the method: inputs, then outputs."""

    def __init__(self, run: Generation, params: SelfGuideGenerator) -> None:
        self.run, self.params = run, params
        self.target = {example.row_id: example for example in run.target}
        self.shots = Shots(run, params.shots_by, run.target)
        self.system = system_of(run.target)
        self.inputs = band_of([e.prompt for e in run.target], params.sigmas)
        self.outputs = band_of([e.response for e in run.target], params.sigmas)
        # What an example says is a task's own way to speak.
        target_text = "\n".join(f"{e.prompt}\n{e.response}" for e in run.target).casefold()
        self.noise = [p for p in map(str.casefold, params.noise) if p not in target_text]
        self.schema = record(input=text(characters_for(params.max_tokens)))
        default = 0.7 if params.labels else 0.9
        self.writing = Sampling(
            temperature=default if params.temperature is None else params.temperature,
            top_k=40,
            max_tokens=params.max_tokens,
            repeats=REPEATS,
        )

    def add_inputs(self, number: int, before: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts before and those of another round."""
        weak = [draft.prompt for draft in before if draft.reject_reason is None]
        input_texts = {normalise(words) for words in weak}
        labels = self._labels(number)
        drafts = [self._draft(number, k, labels[k]) for k in range(self.params.batch)]

        def ask(draft: Candidate) -> Request:
            return self._ask_input(draft, weak)

        def take(draft: Candidate, answer: Answer) -> Candidate:
            return self._take_input(draft, answer, input_texts)

        return [*before, *ask_each(self.run, "input", drafts, ask, take)]

    def _labels(self, number: int) -> list[str]:
        """Return the label of each input of a round: over all rounds they take turns."""
        labels, batch = self.params.labels, self.params.batch
        if not labels:
            return [""] * batch
        turns = range(number * batch, (number + 1) * batch)
        orders = {
            cycle: self.run.rng("labels", cycle).permutation(len(labels))
            for cycle in {turn // len(labels) for turn in turns}
        }
        return [labels[orders[turn // len(labels)][turn % len(labels)]] for turn in turns]

    def _draft(self, number: int, call: int, label: str) -> Candidate:
        drawn = self.shots.choose(self.params.demos, self.run.rng("demos", number, call))
        notes = {"round": number, "call": call} | ({"asked": label} if label else {})
        return Candidate([], self.run.method, tuple(e.row_id for e in drawn), 1, notes)

    def _ask_input(self, draft: Candidate, weak: Sequence[str]) -> Request:
        rng = self.run.rng("weak", *_name(draft))
        most = min(self.params.weak, len(weak))
        count = int(rng.integers(1, most + 1)) if most else 0
        request = self.run.request(
            "input",
            _name(draft),
            self.writing,
            schema=self.schema,
            **self._slots(draft.notes.get("asked", "")),
            weak=[weak[i] for i in rng.permutation(len(weak))[:count]],
        )
        return with_turns(
            request, [turn for shot in draft.parents for turn in self._shot_turns(shot)]
        )

    def _slots(self, label: str) -> dict[str, str]:
        return {"task": self.params.task, "label": label}

    def _shot_turns(self, row_id: str) -> list[Message]:
        """Return a target example's prompt as an input that was asked for and given."""
        example = self.target[row_id]
        label = find_label(example.response, self.params.labels) if self.params.labels else None
        request_turn = self.run.prompts["input"].fill(**self._slots(label or ""), weak=[])[-1]
        reply = orjson.dumps({"input": example.prompt}).decode()
        return [request_turn, {"role": "assistant", "content": reply}]

    def _take_input(self, draft: Candidate, answer: Answer, input_texts: set[str]) -> Candidate:
        """Return the draft with its input; `input_texts` takes note of it."""
        words = answer.value["input"].strip()
        head: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        new_input = replace(draft, messages=[*head, {"role": "user", "content": words}])
        rejection = find_truncation(answer.value, self.schema) or self._find_noise(words)
        # Inputs of a generation task may be of any length.
        if rejection is None and self.params.labels:
            rejection = self.inputs.find_rejection(words)
        if rejection is None and normalise(words) in input_texts:
            rejection = RejectReason.NOT_NEW, "the same input was there before"
        if rejection is None:
            input_texts.add(normalise(words))
        return new_input.drop(*rejection) if rejection else new_input

    def _find_noise(self, words: str) -> tuple[RejectReason, str] | None:
        folded = words.casefold()
        phrase = next((phrase for phrase in self.noise if phrase in folded), None)
        return (RejectReason.KEYWORD, phrase) if phrase else None

    def ask_outputs(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts with the outputs that most samples agree on."""
        pending = [draft for draft in drafts if draft.reject_reason is None]
        answers = self.run.ask("output", [self._ask_output(draft) for draft in pending])
        votes_by_name = {_name(d): self._vote(d, a) for d, a in zip(pending, answers, strict=True)}
        unread = sum(one.notes.get("not_comparable", 0) for one in votes_by_name.values() if one)
        warn_not_comparable("self_guide", unread, sum(len(samples) for samples in answers))
        voted = [draft if draft.reject_reason else votes_by_name[_name(draft)] for draft in drafts]
        return [draft for draft in voted if draft is not None]

    def _ask_output(self, draft: Candidate) -> Request:
        sampling = Sampling(
            temperature=self.params.output_temperature,
            top_k=10,
            max_tokens=self.params.max_tokens,
            repeats=REPEATS,
            n=self.params.samples,
        )
        rng = self.run.rng("shots", *_name(draft))
        shots = self.shots.choose(self.params.demos, rng, draft.prompt)
        turns = [m for e in shots for m in pair(e.prompt, e.response)]
        system = "\n\n".join(part for part in (self.system, self.params.task) if part)
        head: list[Message] = [{"role": "system", "content": system}] if system else []
        input_turn: Message = {"role": "user", "content": draft.prompt}
        return ask_plainly(self.run, "output", _name(draft), [*head, *turns, input_turn], sampling)

    def _vote(self, draft: Candidate, answers: Sequence[Answer]) -> Candidate | None:
        """Return the draft with its output; None where a limit left samples out."""
        if not all(was_sent(answer) for answer in answers):
            return None
        read = [self._read(answer) for answer in answers]
        outputs = [output for output, reason in read if reason is None]
        if not outputs:
            lost = Counter(reason.value for _, reason in read if reason is not None)
            why = ", ".join(f"{count} {name}" for name, count in lost.most_common())
            return draft.drop(RejectReason.NO_ANSWER, f"no sample can be used: {why}")
        output, count, unread = most_frequent(outputs, self.params.checker)
        notes = {**draft.notes, "agree": count, "samples": len(answers), "not_comparable": unread}
        if self.params.labels:
            notes["label"] = output
        vote = replace(draft, messages=[*draft.messages, _answer(output)], notes=notes)
        own = (answer for answer, (words, _) in zip(answers, read, strict=True) if words == output)
        vote = with_reasoning(vote, "output", next(own))
        if count < self.params.agreement * len(answers):
            return vote.drop(RejectReason.INCONSISTENT, f"{count} of {len(answers)} samples agree")
        return vote

    def _read(self, answer: Answer) -> tuple[str, RejectReason | None]:
        """Return a sample as an output, with why it is none if so."""
        words = answer.text.strip()
        reason = reject_reason_of(answer) or (None if words else RejectReason.EMPTY)
        if reason is None and self.params.labels:
            label = find_label(words, self.params.labels)
            return (label, None) if label else (words, RejectReason.NO_ANSWER)
        if reason is None:
            rejection = self._find_noise(words) or self.outputs.find_rejection(words)
            reason = rejection[0] if rejection else None
        return words, reason


def most_frequent(outputs: Sequence[str], check: Check) -> tuple[str, int, int]:
    """Return the output that most agree with, how many do, and how many cannot be compared with it.

    By value where most outputs have one of the same form (curate.answers.values), else by their words:
    what names nothing comparable agrees with its own words alone. The shortest stands for its equals.
    """
    forms = Counter("number" if f == "final" else f for f in (find_form(t, check) for t in outputs))
    form = forms.most_common(1)[0][0]
    places = group_alike(form, outputs) if form else [outputs.index(text) for text in outputs]
    sizes = Counter(places)
    shortest = {
        place: min((len(t), t) for t, p in zip(outputs, places, strict=True) if p == place)[1]
        for place in sizes
    }
    best = min(sizes, key=lambda p: (-sizes[p], len(shortest[p]), shortest[p]))
    output = shortest[best]
    unread = sum(same_value(form, output, text) is None for text in outputs) if form else 0
    return output, sizes[best], unread


def find_label(words: str, labels: Sequence[str]) -> str | None:
    """Return the label that a text is, else the first that it names; the longest where several start."""
    for label in labels:
        if words_of(words) == words_of(label):
            return label
    longest = sorted(labels, key=len, reverse=True)
    either = "|".join(regex.escape(label) for label in longest)
    match = regex.search(rf"(?<!\w)(?:{either})(?!\w)", words, regex.I)
    if match is None:
        return None
    return next(label for label in longest if label.casefold() == match.group().casefold())


def balance(candidates: Sequence[Candidate], most: float | None) -> list[Candidate]:
    """Return the candidates, those dropped that a label has beyond `most` times the rarest one's."""
    counts = Counter(c.notes["label"] for c in candidates if c.reject_reason is None)
    if most is None or not counts:
        return list(candidates)
    quota = int(most * min(counts.values()))
    taken: Counter[str] = Counter()
    balanced = []
    for candidate in candidates:
        if candidate.reject_reason is None:
            taken[candidate.notes["label"]] += 1
            if taken[candidate.notes["label"]] > quota:
                candidate = candidate.drop(RejectReason.OVER_QUOTA, f"{quota} of each label")
        balanced.append(candidate)
    return balanced


def _answer(output: str) -> Message:
    return {"role": "assistant", "content": output}


def _name(draft: Candidate) -> tuple[int, int]:
    return draft.notes["round"], draft.notes["call"]
