"""Probes of what a model knows: the answers that it gives to a row's prompt after a few examples.

A probe is the row's own conversation, with the turns of `shots` other rows before its last question.
These exemplars come from the row's own source and origin, and from rows with answers of the same form
where there are too few. Each of `sets` sets takes those whose digest (of seed, set and text) is least,
passing over rows with the probe's own prompt: leave-one-out, so that every row can be judged and its
answer stands in no probe of it.

What is asked when: one greedy answer a set; where none of them is right, `samples` more a set at
temperature 0.5. Answers that were cut, ran in a loop or are empty are wrong; calls that failed are not
counted.
"""

import hashlib
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from curate.answers.values import Check, Form, find_form, same_value
from curate.core.rows import Message, normalise, response_text, turn_text
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, seed_of
from curate.llm.requests import Request, Sampling, chat
from curate.llm.schemas import REPEATS
from curate.llm.structured import Answer

METHOD = "knowledge"
TEMPERATURE = 0.5
# Longer rows are no exemplars.
EXEMPLAR_LETTERS = 1_000
# Tokens that an answer may take beside those of the gold one where only its words count.
SPARE_TOKENS = 16
LOST = ("failed", "unknown", "unsent", "filtered")


@dataclass(frozen=True)
class Probe:
    """A row whose answer can be checked: `golds` are its response and what else counts as right."""

    row_id: str
    messages: Sequence[Message]
    content_hash: str
    group: tuple[str, str]
    form: Form
    golds: tuple[str, ...]

    @cached_property
    def prompt(self) -> str:
        """Return all that stands before the response, normalised."""
        return normalise("\n".join(map(turn_text, self.messages[:-1]))).casefold()

    def compare(self, text: str) -> bool | None:
        """Return whether an answer is a gold one, None if it is comparable with none of them.

        No answer at all is wrong.
        """
        matches = [same_value(self.form, gold, text) for gold in self.golds] if text else [False]
        return True if True in matches else None if False not in matches else False

    def is_right(self, text: str) -> bool:
        """Return whether an answer is a gold one for sure."""
        return self.compare(text) is True

    def most_tokens(self, limit: int) -> int:
        """Return how long its answer may be: where words are compared, little longer than gold."""
        if self.form not in ("short", "exact"):
            return limit
        # No token is shorter than a byte; two is what few languages need.
        longest = max(len(gold.encode(errors="replace")) for gold in self.golds)
        return min(limit, longest // 2 + SPARE_TOKENS)


def probe_of(row: Mapping[str, Any], check: Check) -> Probe | None:
    """Return a row as a probe; None if its response is a text that nothing can be compared with.

    Rows that this stage made are none: what it taught them is no knowledge to be found.
    """
    gold = response_text(row["messages"])
    form = find_form(gold, check)
    if form is None or row["method"] == METHOD:
        return None
    return Probe(
        row["row_id"],
        row["messages"],
        row["content_hash"],
        (row["source"], row["origin"] or ""),
        form,
        (gold, *_aliases(row["meta"])),
    )


def probes_of(rows: Iterable[Mapping[str, Any]], check: Check) -> list[Probe]:
    """Return those rows that are probes, in their order."""
    return [probe for row in rows if (probe := probe_of(row, check))]


def _aliases(meta: str) -> list[str]:
    """Return what the row's meta lists under `aliases`."""
    aliases = orjson.loads(meta).get("aliases", [])
    return [one for one in aliases if isinstance(one, str)] if isinstance(aliases, list) else []


class Exemplars:
    """Draws the examples of each probe; only the few that can be drawn are held."""

    def __init__(self, seed: int, sets: int, shots: int) -> None:
        self.sets, self.shots, self._seed = sets, shots, seed
        # A probe passes over its own prompt, and over what its group has given it already.
        self._most = 2 * shots + 1
        self._drawn: dict[tuple[Any, int], list[tuple[str, str, Probe]]] = {}

    def add(self, probe: Probe) -> None:
        """Take a row as a possible example."""
        turns = [m for m in probe.messages if m["role"] != "system"]
        if len(turns) != 2 or sum(map(len, map(turn_text, turns))) > EXEMPLAR_LETTERS:
            return
        for number in range(self.sets):
            digest_input = f"{self._seed}\x1f{number}\x1f{probe.content_hash}".encode()
            entry = (hashlib.blake2b(digest_input, digest_size=8).hexdigest(), probe.row_id, probe)
            for key in (probe.group, probe.form):
                self._insert(self._drawn.setdefault((key, number), []), entry)

    def _insert(self, drawn: list[tuple[str, str, Probe]], entry: tuple[str, str, Probe]) -> None:
        if len(drawn) == self._most and entry[:2] > drawn[-1][:2]:
            return
        duplicate = next((e for e in drawn if e[2].prompt == entry[2].prompt), None)
        if duplicate is not None and duplicate[:2] <= entry[:2]:
            return
        if duplicate is not None:
            drawn.remove(duplicate)
        insort(drawn, entry, key=lambda e: e[:2])
        del drawn[self._most :]

    def turns(self, probe: Probe, number: int) -> list[Message]:
        """Return the turns of a probe's examples in a set."""
        examples_by_prompt: dict[str, Probe] = {}
        for key in (probe.group, probe.form):
            for *_, other in self._drawn.get((key, number), []):
                if len(examples_by_prompt) < self.shots and other.prompt != probe.prompt:
                    examples_by_prompt.setdefault(other.prompt, other)
        return [
            m
            for other in examples_by_prompt.values()
            for m in other.messages
            if m["role"] != "system"
        ]


@dataclass
class ProbeAnswers:
    """Answers to a probe: greedy ones and samples by set; None for a call that failed."""

    probe: Probe
    greedy: list[str | None] = field(default_factory=list)
    sampled: list[list[str | None]] = field(default_factory=list)
    fault: str = ""

    def compared(self, texts: Iterable[str | None]) -> list[bool | None]:
        """Return whether each answer that came is right, None where that cannot be said."""
        return [self.probe.compare(text) for text in texts if text is not None]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield every answer: set, sample (null: the greedy one), text, right (null: not comparable)."""
        answers = [(number, None, text) for number, text in enumerate(self.greedy)]
        for number, texts in enumerate(self.sampled):
            answers += [(number, k, text) for k, text in enumerate(texts)]  # type: ignore[misc]
        for number, sample, text in answers:
            right = None if text is None else self.probe.compare(text)
            yield {"row_id": self.probe.row_id, "set": number, "sample": sample,
                   "text": text, "right": right}  # fmt: skip


def ask_probes(
    client: EngineClient,
    probes: Sequence[Probe],
    exemplars: Exemplars,
    *,
    samples: int,
    max_tokens: int,
    seed: int,
) -> list[ProbeAnswers]:
    """Return the answers to all probes: greedy ones in one batch, then samples in another.

    Raises:
        UserError: the engine no longer answers.
    """
    sets = range(exemplars.sets)
    probe_answers = [ProbeAnswers(probe) for probe in probes]
    examples = [[exemplars.turns(probe, number) for number in sets] for probe in probes]

    def ask(positions: Sequence[int], sampled: Mapping[str, Any]) -> list[list[Answer]]:
        requests = []
        for i in positions:
            probe = probes[i]
            settings = {**sampled, "max_tokens": probe.most_tokens(max_tokens), "repeats": REPEATS}
            for k in sets:
                own = seed_of(seed, probe.content_hash, str(k)) if sampled["temperature"] else 0
                sampling = Sampling(**settings, seed=own)
                requests.append(probe_request(probe, examples[i][k], sampling))
        return ask_all(client, requests, METHOD)

    answers = iter(ask(range(len(probes)), {"temperature": 0, "n": 1}))
    for one in probe_answers:
        greedy = [next(answers)[0] for _ in sets]
        one.greedy = [text_of(answer) for answer in greedy]
        one.fault = next((a.reason for a in greedy if text_of(a) is None), "")
    unsure = [i for i, one in enumerate(probe_answers) if not any(one.compared(one.greedy))]
    answers = iter(ask(unsure, {"temperature": TEMPERATURE, "n": samples}))
    for i in unsure:
        probe_answers[i].sampled = [[text_of(answer) for answer in next(answers)] for _ in sets]
    return probe_answers


def probe_request(probe: Probe, examples: Sequence[Message], sampling: Sampling) -> Request:
    """Return a row's own conversation with examples behind its system turn, without its response."""
    head = [m for m in probe.messages[:1] if m["role"] == "system"]
    return chat([*head, *examples, *probe.messages[len(head) : -1]], sampling=sampling)


def text_of(answer: Answer) -> str | None:
    """Return an answer's text: none if the call failed, empty where what came cannot be used."""
    if answer.failure in LOST:
        return None
    return answer.text.strip() if answer.ok else ""
