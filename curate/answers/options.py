r"""Options that a prompt lists, and all of them as responses in the form of the one that is right.

    Which is a river?          B) Alps      ->  A) Rhine | B) Alps        Rhine  ->  Rhine | Alps
    A) Rhine                   (B)          ->  (A) | (B)                 rhine. ->  rhine. | alps.
    B) Alps

A list is lettered from A on, one option a line or all in a sentence ("(A) Rhine (B) Alps"), or it has
bullets. Without a list, a task whose responses are few and short has these for its options.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import regex

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OPTION = regex.compile(r"^[ \t]*[-*]?[ \t]*\(?([A-Z])[).:][ \t]+(\S.*)$", regex.M)
FEWEST = 2
INLINE = regex.compile(r"(?<!\S)\(([A-Z])\)\s*(\S.*?)(?=\s*(?:(?<!\S)\([A-Z]\)|[\n?]|$))")
BULLETS = regex.compile(r"(?:^[ \t]*[-*•][ \t]+\S.*(?:\n|\Z)){2,}", regex.M)
BULLET = regex.compile(r"^[ \t]*[-*•][ \t]+(\S.*?)[ \t]*$", regex.M)
# Distinct responses of a task that are its options.
MOST_ANSWERS = 10

Named = tuple[str, str]


@dataclass(frozen=True)
class AnswerOptions:
    """The options of a question as responses, and which of them is the right one."""

    options: tuple[str, ...]
    gold: int


def split_options(prompt: str) -> tuple[str, list[str]]:
    """Return a prompt without its options, and these; only A, B, C ... in their order are some."""
    lettered = list(OPTION.finditer(prompt))
    letters = [match.group(1) for match in lettered]
    if len(lettered) < FEWEST or letters != list(LETTERS[: len(lettered)]):
        return prompt, []
    bare = OPTION.sub("", prompt)
    return regex.sub(r"\n{2,}", "\n", bare).strip(), [match.group(2).strip() for match in lettered]


def prompt_choices(prompt: str, response: str) -> AnswerOptions | None:
    """Return the options that a prompt lists; None if it lists none of which the response is one."""
    return next(filter(None, (choices_of(listed, response) for listed in _lists(prompt))), None)


def field_choices(value: Any, response: str) -> AnswerOptions | None:
    """Return the options in a field: a list of texts, or {"text": [...], "label": [...]}."""
    labels: Any = None
    if isinstance(value, dict):
        value, labels = value.get("text"), value.get("label")
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return None
    if not isinstance(labels, list) or len(labels) != len(value):
        labels = LETTERS
    return choices_of([(str(a), text) for a, text in zip(labels, value, strict=False)], response)


def _lists(prompt: str) -> Iterator[list[Named]]:
    """Yield the last list of each kind: lettered by line, lettered in a sentence, with bullets."""
    for pattern in (OPTION, INLINE):
        run: list[Named] = []
        for letter, text in pattern.findall(prompt):
            if letter == "A":
                run = []
            # A letter out of order ends the list; what comes behind it is another one.
            run = [*run, (letter, text)] if letter == LETTERS[len(run) % len(LETTERS)] else []
        yield run
    bullets = BULLETS.findall(prompt)
    yield [("", text) for text in BULLET.findall(bullets[-1])] if bullets else []


def choices_of(listed: Sequence[Named], response: str) -> AnswerOptions | None:
    """Return listed options, label and text of each, in the form in which the response names one.

    None where it names none or several, or where two options are the same.
    """
    options = [(label, text.strip().removesuffix(".")) for label, text in listed]
    if len(options) < FEWEST or len({text for _, text in options}) < len(options):
        return None
    for read in (_read_text, _read_labelled, _read_label):
        forms = [(i, form) for i, option in enumerate(options) if (form := read(option, response))]
        if len(forms) == 1:
            gold, form = forms[0]
            texts = tuple(form.write(option) for option in options)
            return AnswerOptions(texts, gold)
    return None


@dataclass(frozen=True)
class _Form:
    """How a response names an option: what stands around its label and its text."""

    before: str
    between: str | None
    after: str
    labelled: bool = True
    capital: bool | None = None

    def write(self, option: Named) -> str:
        label, text = option
        if self.capital is not None:
            text = (text[0].upper() if self.capital else text[0].lower()) + text[1:]
        name = label if self.labelled else ""
        return (
            f"{self.before}{name}{'' if self.between is None else self.between + text}{self.after}"
        )


def _read_text(option: Named, response: str) -> _Form | None:
    text = option[1]
    match = regex.fullmatch(rf"\s*({regex.escape(text)})([.!]?)\s*", response, regex.I)
    if match is None:
        return None
    same = match[1] == text or match[1][0].isupper() == text[0].isupper()
    capital = None if same else match[1][0].isupper()
    return _Form("", "", match[2], labelled=False, capital=capital)


def _read_labelled(option: Named, response: str) -> _Form | None:
    label, text = (regex.escape(part) for part in option)
    match = regex.fullmatch(rf"\s*(\W?){label}(\W+){text}([.!]?)\s*", response) if label else None
    return _Form(match[1], match[2], match[3]) if match else None


def _read_label(option: Named, response: str) -> _Form | None:
    label = regex.escape(option[0])
    match = regex.fullmatch(rf"\s*(\W*){label}(\W*?)\s*", response) if label else None
    return _Form(match[1], None, match[2]) if match else None


def few_answers(responses: Sequence[str]) -> tuple[str, ...]:
    """Return the responses of a task that has few of them, most of them given more than once.

    Args:
        responses: short ones.
    """
    counts = Counter(response.strip() for response in responses)
    few = FEWEST <= len(counts) <= min(MOST_ANSWERS, len(responses) // 2)
    return tuple(sorted(counts)) if few else ()
