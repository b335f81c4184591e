r"""Where in a response its answer stands, so that it can be told from the words around it.

    "48/2 = 24. The answer is **72**."        72        announced
    "... so 48 + 24 = 72\n#### 72"            72        announced
    "Paris"                                    Paris     a short response, all of it
    "Then she pays $12 in total."              none      the number is not the last thing said
    "7 + 5, so altogether that is 12 dollars." 12        a final number, but for its unit
    "She took the train.\n\n(B)"               (B)       a final letter

Reasoning that a model marks as such (<think> ... </think>) is not searched.
"""

import regex

from curate.answers.options import OPTION
from curate.answers.quantities import INSIDE, find_quantity, read_quantity
from curate.answers.spans import announced_range
from curate.answers.units import find_unit

Range = tuple[int, int]

SHORT_WORDS, SHORT_LETTERS = 5, 40
# An announced answer with more words than this is a sentence like any other.
ANNOUNCED_WORDS = 10
REASONING_END = regex.compile(
    r"</(?:think(?:ing)?|reason(?:ing)?|thoughts?)\s*>|\[/THINK\]", regex.I
)
LAST_LETTER = regex.compile(r"\n\W*(?:(?i:option)\s+)?\(?[A-Z]\)?\W*$")
CHOSEN = regex.compile(r"\b(?i:option|choice)\s*(?i:is|:)?\s*(\(?[A-Z]\)?)(?=\W*$)")
AROUND = " \t\n*_$\"'`"


def is_short(text: str) -> bool:
    """Return whether a text is a few words on one line."""
    text = text.strip()
    return "\n" not in text and len(text) <= SHORT_LETTERS and 0 < len(text.split()) <= SHORT_WORDS


def answer_range(response: str) -> Range | None:
    """Return start and end of a response's answer; None where it has none apart from the rest."""
    end_of_thoughts = [match.end() for match in REASONING_END.finditer(response)]
    start = end_of_thoughts[-1] if end_of_thoughts else 0
    text = response[start:]
    place = announced_range(text)
    if place is not None:
        place = _trim(text, place)
        worded = len(text[place[0] : place[1]].split())
        place = place if 0 < worded <= ANNOUNCED_WORDS else None
    elif _is_answer(text):
        place = _trim(text, (0, len(text)))
    else:
        place = _final_letter(text) or _final_number(text)
    return place and (start + place[0], start + place[1])


def _is_answer(text: str) -> bool:
    line = text.strip()
    whole = is_short(text) or read_quantity(text) is not None
    return whole or ("\n" not in line and OPTION.fullmatch(line) is not None)


def _final_letter(text: str) -> Range | None:
    """Return the place of a letter that stands on the last line alone, or behind "option"."""
    if last := LAST_LETTER.search(text):
        return _trim(text, last.span())
    chosen = CHOSEN.search(text)
    return chosen.span(1) if chosen else None


def _final_number(text: str) -> Range | None:
    """Return the place of the last number if nothing but its unit follows, in words of a list."""
    numbers = list(INSIDE.finditer(text))
    if not numbers or find_quantity(text) is None:
        return None
    rest = text[numbers[-1].end() :].strip(" \n\t.!)*_$\"'")
    return numbers[-1].span() if not rest or find_unit(rest) else None


def _trim(text: str, place: Range) -> Range:
    """Return a place without the white space and the marks at its ends."""
    inside = text[slice(*place)]
    start = place[0] + len(inside) - len(inside.lstrip(AROUND))
    return start, max(start, place[0] + len(inside.rstrip(AROUND)))
