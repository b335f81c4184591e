"""The filters that follow every generation method: one candidate at a time, then against the others.

record filters   empty, marks of reasoning, length, repetition loops, refusals, prompt leakage, copied
                 prompt, language, refusal by the base model's chat template
set filters      ROUGE-L of the prompt, then embeddings, against pool, target and earlier candidates

Words are counted in any script (`curate.text.words.count_words`): what stands between spaces, and each
character of scripts without spaces, such as Chinese, Japanese and Thai. Each rejection is counted by its
reason; nothing is repaired.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curate.core.fixedpoint import cosines
from curate.core.params import Params
from curate.core.rows import Message
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.novelty import RougeIndex, word_units, words_of
from curate.llm.reasoning import holds_marks
from curate.text.words import count_words, find_run, is_character

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
FindRejection = Callable[[Sequence[Message]], tuple[RejectReason, str] | None]

REFUSAL = regex.compile(
    r"^\W*(?:i(?:['’]m| am) (?:sorry|unable|not able|afraid)|sorry\b"
    r"|i (?:cannot|can['’]t|can not|won['’]t)\b"
    r"|i(?:['’]m| am) just an? (?:ai|language)|unfortunately,? i (?:cannot|can['’]t|am)"
    r"|as an ai\b)|\bas an? (?:ai|large) (?:language )?(?:model|assistant)\b",
    regex.I,
)
MARKUP = regex.compile(
    r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|</?s>|^=== (?:system|user|assistant)", regex.M
)
PIECE, TAIL = 80, 800
LOOP = regex.compile(rf"(.{{3,{PIECE}}}?)(?:\s*\1){{4,}}", regex.S)
GRAMS, FEWEST = 3, 30
# A copied run has so many words, or so many characters if it has some of a script without spaces.
COPIED_RUN, COPIED_CHARACTERS = 8, 16
LANGUAGE_WORDS = 12
# Blocks of vectors that are held before they become one.
PIECES = 256


class Filters(Params):
    """What is asked of every generated row."""

    prompt_words: tuple[int, int] = Field(
        (2, 600), description="least and most; characters in scripts without spaces"
    )
    response_words: tuple[int, int] = Field((1, 1_500), description="least and most, likewise")
    languages: list[str] = Field(
        [], description="ISO 639-1 codes that are let in; all if empty", examples=[["en"]]
    )
    keywords: list[str] = Field(
        [], description="words or phrases that no prompt may hold", examples=[["as an AI"]]
    )
    rouge: float = Field(0.7, gt=0, le=1, description="prompts nearer than this are not new")
    cosine: float = Field(0.98, gt=0, le=1, description="rows nearer than this are not new")
    distinct: float = Field(0.4, ge=0, le=1, description="least share of distinct word 3-grams")

    @field_validator("keywords")
    @classmethod
    def _check_keywords(cls, keywords: list[str]) -> list[str]:
        empty = next((word for word in keywords if not word_units(word)), None)
        if empty is not None:
            raise ValueError(f"{empty!r} has no letter or digit, and would be found in no prompt")
        return keywords


class SamePromptFilters(Filters):
    """What is asked of every generated row, where rows share their prompt with others."""

    rouge: float = Field(1.0, gt=0, le=1, description="prompts nearer than this are not new")
    cosine: float = Field(1.0, gt=0, le=1, description="rows nearer than this are not new")


class AnyScriptFilters(SamePromptFilters):
    """What is asked of every generated row, where it keeps the length of one that is there."""

    prompt_words: tuple[int, int] = Field(
        (1, 1_000), description="least and most; characters in scripts without spaces"
    )


def find_rejection(
    candidate: Candidate, filters: Filters, leaks: "PromptFragments"
) -> tuple[RejectReason, str] | None:
    """Return why a candidate goes by itself, without a look at the others; None if it stays."""
    prompt, response = candidate.prompt, candidate.response
    if not prompt.strip() or not response.strip():
        return RejectReason.EMPTY, "prompt" if not prompt.strip() else "response"
    return (
        _find_reasoning(*(message["content"] for message in candidate.messages))
        or _find_text_rejection("prompt", prompt, filters.prompt_words, filters, leaks)
        or _find_text_rejection("response", response, filters.response_words, filters, leaks)
        or _find_refusal(response, prompt)
        or _find_copy(prompt, response)
        or _find_keyword(prompt, filters.keywords)
        or _find_language(f"{prompt}\n{response}", filters.languages)
    )


def find_prompt_rejection(
    prompt: str, filters: Filters, leaks: "PromptFragments"
) -> tuple[RejectReason, str] | None:
    """Return why a prompt goes, whatever its response would be; None if it stays."""
    if not prompt.strip():
        return RejectReason.EMPTY, "prompt"
    return (
        _find_reasoning(prompt)
        or _find_text_rejection("prompt", prompt, filters.prompt_words, filters, leaks)
        or _find_refusal(prompt)
        or _find_keyword(prompt, filters.keywords)
        or _find_language(prompt, filters.languages)
    )


def _find_text_rejection(
    name: str, text: str, bounds: tuple[int, int], filters: Filters, leaks: "PromptFragments"
) -> tuple[RejectReason, str] | None:
    count = count_words(text)
    if count < bounds[0]:
        return RejectReason.TOO_SHORT, f"{name} of {count} words"
    if count > bounds[1]:
        return RejectReason.TOO_LONG, f"{name} of {count} words"
    loop = find_loop(text, filters.distinct)
    if loop:
        return RejectReason.REPEATS_ITSELF, f"{name}: {loop}"
    leak = leaks.find(text)
    return (RejectReason.PROMPT_LEAK, f"{name}: {leak}") if leak else None


def _find_reasoning(*texts: str) -> tuple[RejectReason, str] | None:
    mark = next((mark for text in texts if (mark := holds_marks(text))), None)
    return (RejectReason.HOLDS_REASONING, mark) if mark else None


def _find_refusal(*texts: str) -> tuple[RejectReason, str] | None:
    match = next((refusal for text in texts if (refusal := REFUSAL.search(text))), None)
    return (RejectReason.REFUSED, match.group()) if match else None


def _find_copy(prompt: str, response: str) -> tuple[RejectReason, str] | None:
    same = words_of(prompt) == words_of(response)
    return (RejectReason.COPIES_PROMPT, "the response is the prompt") if same else None


def find_loop(text: str, distinct: float) -> str | None:
    """Return what a text says over and over again, None if it does not.

    Either its end is one piece five times in a row, or too few of its word 3-grams are distinct.
    """
    tail = text[-TAIL:]
    match = LOOP.search(tail, timeout=5) if _may_loop(tail) else None
    if match and regex.search(r"\w", match.group(1)):
        return match.group(1).strip()[:60]
    words = word_units(text)
    grams = [tuple(words[i : i + GRAMS]) for i in range(len(words) - GRAMS + 1)]
    if len(grams) >= FEWEST and len(set(grams)) < distinct * len(grams):
        return " ".join(Counter(grams).most_common(1)[0][0])
    return None


def _may_loop(text: str) -> bool:
    """Return whether LOOP can match more than spaces, which takes the pattern far longer to deny.

    Five pieces of p characters, spaces aside, hold three at multiples of p that are those p later.
    """
    dense = "".join(text.split())
    most = min(PIECE, len(dense) // 5)
    return any(
        dense[at] == dense[at + p] and dense[at : at + 3 * p] == dense[at + p : at + 4 * p]
        for p in range(1, most + 1)
        for at in range(0, len(dense) - 4 * p + 1, p)
    )


class PromptFragments:
    """Pieces of the prompts that ask for candidates, which no candidate should hold."""

    def __init__(self, fixed_texts: Iterable[str] = ()) -> None:
        self._runs = {run for text in fixed_texts for run in _runs(text)}

    def find(self, text: str) -> str | None:
        """Return the first markup or long run of words that comes from a prompt."""
        markup = MARKUP.search(text)
        if markup:
            return markup.group()
        copied_run = next((run for run in _runs(text) if run in self._runs), None)
        return " ".join(copied_run) if copied_run else None


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = word_units(text)
    characters = [is_character(word) for word in words]
    for i in range(len(words) - COPIED_RUN + 1):
        length = COPIED_CHARACTERS if any(characters[i : i + COPIED_RUN]) else COPIED_RUN
        if i + length <= len(words):
            yield tuple(words[i : i + length])


def _find_keyword(prompt: str, keywords: Sequence[str]) -> tuple[RejectReason, str] | None:
    words = word_units(prompt)
    keyword = next((word for word in keywords if find_run(words, word_units(word))), None)
    return (RejectReason.KEYWORD, keyword) if keyword else None


def _find_language(text: str, languages: Sequence[str]) -> tuple[RejectReason, str] | None:
    """Return the language of a text of some length that is none of those let in."""
    if not languages or count_words(text) < LANGUAGE_WORDS:
        return None
    from py3langid.langid import classify  # noqa: PLC0415

    language = str(classify(text)[0])
    return None if language in languages else (RejectReason.WRONG_LANGUAGE, language)


class NoveltyIndex:
    """Rows that are there: their prompts, their embeddings, and which numbers stand in them.

    Args:
        embed: texts to unit vectors [N, d].
    """

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._seen = RougeIndex()
        self._vectors: list[NDArray[np.float32]] = []
        self._numbers: list[NDArray[np.uint64]] = []

    def add(self, prompts: Sequence[str], texts: Sequence[str]) -> None:
        """Take note of rows: their prompts and their whole texts."""
        if prompts:
            self._seen.add(prompts)
            self._put(self._embed(texts), [_digest_numbers(text) for text in texts])

    def add_one(self, prompt: str, text: str, vector: NDArray[np.float32]) -> None:
        """Take note of a row that is embedded already."""
        self._seen.add([prompt])
        self._put(vector[None], [_digest_numbers(text)])

    def _put(self, vectors: NDArray[np.float32], numbers: Sequence[int]) -> None:
        self._vectors.append(vectors)
        self._numbers.append(np.array(numbers, dtype=np.uint64))
        if len(self._vectors) > PIECES:
            self._vectors = [np.concatenate(self._vectors)]
            self._numbers = [np.concatenate(self._numbers)]

    def nearest_prompt(self, prompt: str, above: float) -> float | None:
        """Return the largest ROUGE-L to a prompt, None if none is above a limit."""
        near = self._seen.nearest(prompt, above=above)
        return near[0] if near else None

    def nearest_row(self, text: str, vector: NDArray[np.float32]) -> float:
        """Return the largest cosine to a row with the same numbers, -1 if there is none."""
        numbers, largest = _digest_numbers(text), -1.0
        for vectors, row_numbers in zip(self._vectors, self._numbers, strict=True):
            same = row_numbers == numbers
            if same.any():
                largest = max(largest, float(cosines(vectors[same], vector[None]).max()))
        return largest


class CandidateFilter:
    """The common filters over the whole of a method's making; remembers what is there and what stays.

    Args:
        filters: what is asked of every row.
        embed: texts to unit vectors [N, d].
        leaks: pieces of the method's prompts.
        existing: rows that were there before; several sieves may share them.
        by_template: what is wrong with turns for the base model's chat template, if that reads them.
    """

    def __init__(
        self,
        filters: Filters,
        embed: Embed,
        leaks: PromptFragments | None = None,
        existing: NoveltyIndex | None = None,
        by_template: FindRejection | None = None,
    ) -> None:
        self.filters, self.embed, self._by_template = filters, embed, by_template
        self.leaks = leaks or PromptFragments()
        self._existing = existing or NoveltyIndex(embed)
        self._generated = NoveltyIndex(embed)

    def know(self, prompts: Sequence[str], texts: Sequence[str]) -> None:
        """Take note of further rows that are there: their prompts and their whole texts."""
        self._generated.add(prompts, texts)

    def filter(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates, in their order, those that go with their reason; the others are noted.

        A candidate that has a reject reason already keeps it.
        """
        results = [self._judge(candidate) for candidate in candidates]
        present = [i for i, c in enumerate(results) if c.reject_reason is None]
        if present:
            texts = [f"{results[i].prompt}\n{results[i].response}" for i in present]
            for i, vector in zip(present, self.embed(texts), strict=True):
                results[i] = self._compare(results[i], vector)
        return results

    def fits(self, candidate: Candidate) -> bool:
        """Return whether a candidate passes all that looks at it by itself, whatever it went for."""
        return self._judge(replace(candidate, reject_reason=None)).reject_reason is None

    def screen(
        self, candidates: Sequence[Candidate], seen: RougeIndex | None = None
    ) -> list[Candidate]:
        """Return the candidates, those that go for their prompts alone with their reason.

        This is for prompts without responses, before more is paid for them; `filter` comes later.

        Args:
            candidates: earlier ones stand in the way of later ones.
            seen: further prompts that are there; the new ones are added.
        """
        fresh = RougeIndex() if seen is None else seen
        return [self._screen(candidate, fresh) for candidate in candidates]

    def check_turns(self, candidate: Candidate) -> Candidate:
        """Return a candidate that foreign text was put around after `filter`, with why it goes for that.

        Marks of reasoning, markup of templates and the base model's template are looked at alone.
        """
        if candidate.reject_reason is not None:
            return candidate
        markup = self.leaks.find(candidate.prompt)
        rejection = _find_reasoning(candidate.prompt)
        if rejection is None and markup:
            rejection = RejectReason.PROMPT_LEAK, f"prompt: {markup}"
        if rejection is None and self._by_template is not None:
            rejection = self._by_template(candidate.messages)
        return candidate.drop(*rejection) if rejection else candidate

    def _screen(self, candidate: Candidate, fresh: RougeIndex) -> Candidate:
        if candidate.reject_reason is not None:
            return candidate
        rejection = find_prompt_rejection(candidate.prompt, self.filters, self.leaks)
        if rejection:
            return candidate.drop(*rejection)
        near = fresh.nearest(candidate.prompt, above=self.filters.rouge)
        similarity = near[0] if near else self._nearest_prompt(candidate)
        if similarity is not None:
            return candidate.drop(RejectReason.NOT_NEW, f"ROUGE-L {similarity:.2f}")
        fresh.add([candidate.prompt])
        return candidate

    def _nearest_prompt(self, candidate: Candidate) -> float | None:
        limit = self.filters.rouge
        near = self._generated.nearest_prompt(candidate.prompt, limit)
        return self._existing.nearest_prompt(candidate.prompt, limit) if near is None else near

    def _judge(self, candidate: Candidate) -> Candidate:
        if candidate.reject_reason is not None:
            return candidate
        rejection = find_rejection(candidate, self.filters, self.leaks)
        if rejection is None and self._by_template is not None:
            rejection = self._by_template(candidate.conversation)
        return candidate.drop(*rejection) if rejection else candidate

    def _compare(self, candidate: Candidate, vector: NDArray[np.float32]) -> Candidate:
        near = self._nearest_prompt(candidate)
        if near is not None:
            return candidate.drop(RejectReason.NOT_NEW, f"ROUGE-L {near:.2f}")
        text = f"{candidate.prompt}\n{candidate.response}"
        cosine = max(held.nearest_row(text, vector) for held in (self._generated, self._existing))
        if cosine > self.filters.cosine:
            return candidate.drop(RejectReason.TOO_NEAR, f"cosine {cosine:.3f}")
        self._generated.add_one(candidate.prompt, text, vector)
        return candidate


def numbers_of(text: str) -> tuple[str, ...]:
    """Return the numbers of a text, sorted: rows of other numbers are other rows, however near."""
    return tuple(sorted(regex.findall(r"\d+(?:[.,]\d+)*", text)))


def _digest_numbers(text: str) -> int:
    encoded = "\0".join(numbers_of(text)).encode()
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big")


def count_reject_reasons(candidates: Iterable[Candidate]) -> dict[str, Any]:
    """Return how many candidates were made and kept, and how many went for each reason."""
    counted = Counter(c.reject_reason.value if c.reject_reason else "kept" for c in candidates)
    return {
        "made": counted.total(),
        "kept": counted.pop("kept", 0),
        "dropped": dict(sorted(counted.items())),
    }
