"""Reasons for a label: the final statement cut off, and whether what is left gives the label away.

    label B    "Metal sinks. Cork is light, so the answer is B."    "Metal sinks. Cork is light."
    label 31   "36 - 5 = 31. So 31 are left."                       "36 - 5 = 31."
    label B    "The answer is B because cork is light."             gives it away

Ours. Reasons that restate their label look good by every measure of support and say nothing: Jiang et
al. 2024, "RORA: Robust Free-Text Rationale Evaluation", arXiv:2402.18678. The phrases are English; that
a label is not to be named before its reasons holds in any language, but for endings of its words: in
Korean a label is not seen where a particle is written to it.
"""

import regex

from curate.answers.options import LETTERS, split_options
from curate.answers.spans import ANNOUNCED
from curate.answers.values import Form, same_value
from curate.core.rows import normalise
from curate.generate.sift import numbers_of
from curate.text.words import count_words, whole_words

SENTENCE = regex.compile(
    r"\S.*?(?:(?<=[.!?])(?=\s)|(?<=[。！？][」』”’）]?)(?![。！？」』”’）])|$)", regex.M
)
# Where a sentence turns to what follows from it.
CONCLUSION = regex.compile(
    r"(?:^|[,;:]\s*|\s[–—-]\s+|\s(?=and\s))(?:and\s+)?\b(?:so|therefore|thus|hence|consequently"
    r"|that is why|this means|which (?:means|makes))\b",
    regex.I,
)
GIVEN = regex.compile(
    r"\b(?:given|provided|supplied|stated|known|expected|reference|official|gold) (?:final |correct )?"
    r"(?:answer|label)\b|\banswer key\b|\baccording to the (?:answer|label)\b"
    r"|\bthe hint (?:says|gives|tells|shows)\b"
    r"|\b(?:answer|label) (?:is|was|as|has been) (?:already )?(?:given|provided|supplied|known|stated)\b"
    r"|\b(?:told|given|know) that the (?:answer|label)\b"
    r"|\b(?:because|since|why) the (?:correct )?(?:answer|label) is\b",
    regex.I,
)
BEST = r"\W*(?:is|are|was)\s+(?:the\s+)?(?:correct|right|best)\b"
LEAST_WORDS = 5


class Label:
    """The answer of a row, and how it is recognised in a text.

    form: by what it is compared with other answers (curate.answers.values).
    """

    def __init__(self, form: Form, answer: str, prompt: str) -> None:
        self.form, self.answer = form, answer
        letter = regex.search(r"[A-Z]", answer)
        options = split_options(prompt)[1]
        self.names = [normalise(answer).casefold().strip(" .,;:!?\"'`*()[]")]
        if form == "choice" and letter:
            place = LETTERS.index(letter[0])
            self.names = [f"option {letter[0]}", *options[place : place + 1]]
        names = "|".join(regex.escape(name) for name in self.names if name)
        self._named = regex.compile(whole_words(names), regex.I | regex.V1)
        bare = regex.escape(letter[0] if form == "choice" and letter else self.names[0])
        self._bare = regex.compile(whole_words(bare), regex.V1)
        self._best = regex.compile(f"{whole_words(bare)}{BEST}", regex.I | regex.V1)

    def names_it(self, text: str) -> bool:
        """Return whether a sentence names the label: words by themselves, numbers by their value."""
        if self.form in ("number", "math"):
            return bool(same_value(self.form, self.answer, text))
        return bool(self._named.search(text)) or (
            self.form == "choice" and bool(same_value(self.form, self.answer, text))
        )

    def follows_in(self, clause: str) -> bool:
        """Return whether a clause behind "so" names the label, a letter by itself included."""
        if self.form in ("number", "math"):
            return self.names_it(clause) and len(numbers_of(clause)) < 2
        return self.names_it(clause) or self._bare.search(clause) is not None

    def announces_it(self, text: str) -> bool:
        """Return whether a sentence says that this is the answer."""
        announced = ANNOUNCED.search(text) is not None and self.names_it(text)
        return announced or self._best.search(text) is not None


def cut_statement(reasons: str, label: Label) -> str:
    """Return reasons without the statement of their label at the end.

    That is a last sentence which announces it, or what stands behind "so" in one. A last sentence that
    names a label of words goes as a whole; one that reckons a number is a step and stays.
    """
    text = reasons.strip()
    while sentences := list(SENTENCE.finditer(text)):
        start = sentences[-1].start()
        cut = _statement_start(text[start:], label)
        if cut is None:
            break
        text = text[: start + cut].rstrip(" ,;:–—-\n")
        if cut and text[-1:].isalnum():
            text += "."
    return text


def _statement_start(sentence: str, label: Label) -> int | None:
    """Return where in a last sentence its label is stated, None where it is not."""
    turns = [turn.start() for turn in CONCLUSION.finditer(sentence)]
    for start in reversed(turns):
        clause = sentence[start:]
        if label.announces_it(clause) or label.follows_in(clause):
            return start
    if label.announces_it(sentence):
        return 0
    worded = label.form not in ("number", "math")
    return 0 if worded and label.names_it(sentence) else None


def find_giveaway(reasons: str, label: Label) -> str | None:
    """Return how reasons give their label away, None where they lead to it.

    reasons: without their final statement.
    """
    if given := GIVEN.search(reasons):
        return f"they say {given.group()!r}"
    sentences = [match.group() for match in SENTENCE.finditer(reasons)]
    if any(label.announces_it(sentence) for sentence in sentences):
        return "they say which answer is right before they end"
    if label.form in ("short", "exact") and sentences and label.names_it(sentences[0]):
        return "their first sentence names it"
    if count_words(reasons) < LEAST_WORDS:
        return "they say nothing else"
    return None
