r"""The answer in a generated text against that in the reference, by kind: is it right, was there one?

    number    the final number, by value: after #### or "the answer is", else the last one
    choice    the letter that is named, else the option whose text is the whole answer
    json      equal JSON values          regex    what the pattern's group matches last
    math      equal expressions          exact    the whole text

A text in which nothing can be found is no match: a brief fine-tune changes the form of answers first,
and a share of right answers alone would not tell that from skill.
"""

from dataclasses import dataclass
from typing import Literal

import orjson
import regex

from curate.answers.checkers import AnswerVerdict, CheckerName, check_answer, find_choice, is_gold
from curate.answers.jsonanswers import read_json
from curate.answers.options import LETTERS, split_options
from curate.answers.spans import announced_span
from curate.core.rows import normalise

Kind = Literal["number", "choice", "json", "regex", "math", "exact"]
CHECKER_OF: dict[Kind, CheckerName] = {"number": "numeric", "math": "math", "exact": "exact"}
# What a reference has to hold, in words.
HOLDS: dict[Kind, str] = {
    "number": "a final number",
    "choice": "a letter or one of the prompt's options",
    "json": "JSON",
    "regex": "a match of the pattern",
    "math": "a final expression",
    "exact": "an answer",
}
TIMEOUT = 1.0


@dataclass(frozen=True)
class AnswerMatch:
    """Whether a text's answer is right; announced: and stands where an answer is announced."""

    right: bool
    matched: bool
    announced: bool


@dataclass(frozen=True)
class Extraction:
    """How answers are found in texts.

    pattern: of a regex; its first group is the answer, or all of it where it has none.
    """

    kind: Kind
    pattern: str | None = None

    def find_gold(self, prompt: str, reference: str) -> str | None:
        """Return what answers are compared with; None where the reference holds nothing of the kind."""
        if self.kind in CHECKER_OF:
            return reference if is_gold(CHECKER_OF[self.kind], reference) else None
        return self._find(prompt, reference)

    def check(self, prompt: str, text: str, gold: str) -> AnswerMatch:
        """Return what a text's answer is against the gold one (find_gold)."""
        if self.kind in CHECKER_OF:
            checked = check_answer(CHECKER_OF[self.kind], text, gold)
        else:
            answer = self._find(prompt, text)
            checker: CheckerName = "json" if self.kind == "json" else "exact"
            checked = (
                AnswerVerdict.UNPARSABLE if answer is None else check_answer(checker, answer, gold)
            )
        right = checked is AnswerVerdict.CORRECT
        announced = right and announced_span(text) is not None
        return AnswerMatch(right, checked is not AnswerVerdict.UNPARSABLE, announced)

    def _find(self, prompt: str, text: str) -> str | None:
        if self.kind == "choice":
            return find_choice(text) or _option_letter(prompt, text)
        if self.kind == "json":
            try:
                return orjson.dumps(read_json(text)).decode()
            except orjson.JSONDecodeError:
                return None
        return self._last_match(text)

    def _last_match(self, text: str) -> str | None:
        assert self.pattern is not None
        try:
            matches = [*regex.finditer(self.pattern, text, timeout=TIMEOUT)]
        except TimeoutError:
            return None
        if not matches:
            return None
        answer: str | None = matches[-1][1 if matches[-1].re.groups else 0]
        return answer


def _option_letter(prompt: str, text: str) -> str | None:
    """Return the letter of the prompt's option that a text is as a whole."""
    _, options = split_options(prompt)
    answer = _plain(text)
    letters = [x for x, option in zip(LETTERS, options, strict=False) if _plain(option) == answer]
    return letters[0] if len(letters) == 1 else None


def _plain(text: str) -> str:
    return normalise(text).casefold().removesuffix(".")
