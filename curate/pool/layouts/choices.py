"""Questions with options: the options stand below the question as A) B) C), the answer is one of them.

{"question": "...", "choices": ["red", "blue"], "answer": 1}                      answered B) blue
{"question": "...", "choices": {"text": [...], "label": [...]}, "answerKey": "B"}
{"question": "...", "options": {"A": "...", "B": "..."}, "answer": "B"}
"""

import re
from typing import Any

from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.messages import unpacked
from curate.pool.layouts.pairs import PairLayout, read_prompt
from curate.pool.layouts.texts import is_pointer
from curate.pool.layouts.unread import CONTEXT_FIELDS, OPTION_FIELDS

QUESTIONS = (
    *("question", "question_stem", "query", "problem", "prompt", "instruction", "ctx"),
    *("input", "goal"),
)
ANSWERS = (
    "answerKey",
    "answer_key",
    "answer",
    "answer_idx",
    "answer_index",
    "correct",
    "correct_answer",
    "label",
    "cop",
    "gold",
    "correct_option",
    "target",
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Options in columns of their own: A, B, C; option_a, option_b; opa, opb; choice1, choice2.
COLUMN = re.compile(r"((?:option|choice|op|opt)?_?)([a-z]|[A-Z]|\d)")
RUNS = ("abcdefghij", "ABCDEFGHIJ", "123456789", "0123456789")


class ChoicesLayout:
    """A question, its options, and the index, letter or text of the right one."""

    name = "choices"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields with question, options and answer."""
        if record.keys().isdisjoint(ANSWERS) or record.keys().isdisjoint(QUESTIONS):
            return ()
        answer = next((field for field in ANSWERS if record.get(field) is not None), None)
        question = next((field for field in QUESTIONS if record.get(field)), None)
        if answer is None or question is None:
            return ()
        options = _option_fields(record, question)
        return (question, *options, answer) if options else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the question with its options, and the letter and text of the right one.

        Raises:
            RecordFault: the answer is none of the options, or it cannot be said which.
        """
        question, *fields, answer = self.matched_fields(record)
        stem, labels, options = _stem_and_options(record, question, fields)
        pair = PairLayout(self.name, question, answer, ("input", *CONTEXT_FIELDS))
        example = read_prompt({**record, question: stem}, pair, roles)
        listed = [f"{LETTERS[i]}) {option}" for i, option in enumerate(options)]
        prompt = example.turns[-1]
        prompt["content"] = "\n\n".join([prompt["content"], "\n".join(listed)])
        index = _find_answer(answer, record[answer], labels, options)
        if index is not None:
            response = listed[index]
        elif isinstance(value := record[answer], str) and not is_pointer(value):
            response = value
        else:
            raise RecordFault(Reason.UNREAD_FIELD, f"{answer} = {value!r:.60}: of which option?")
        example.turns.append({"role": "assistant", "content": response})
        example.used |= {*fields, answer}
        # What points at the same option in another way says nothing new.
        for field in ANSWERS:
            if index is not None and index == _find_answer(
                field, record.get(field), labels, options
            ):
                example.used.add(field)
        return example


def _option_fields(record: Record, question: str) -> tuple[str, ...]:
    """Return the fields with the options: one list, or a column for each."""
    nested = record[question]
    if isinstance(nested, dict):
        return (question,) if _is_options(nested.get("choices")) and "stem" in nested else ()
    listed = next((field for field in OPTION_FIELDS if _is_options(record.get(field))), None)
    if listed is not None:
        return (listed,)
    columns: dict[str, list[str]] = {}
    for field, value in record.items():
        if (match := COLUMN.fullmatch(field)) and isinstance(value, str | int | float):
            columns.setdefault(match[1], []).append(field)
    for prefix, fields in columns.items():
        names = "".join(field.removeprefix(prefix) for field in sorted(fields))
        if len(fields) > 1 and any(run.startswith(names) for run in RUNS):
            return tuple(sorted(fields))
    return ()


def _stem_and_options(
    record: Record, question: str, fields: list[str]
) -> tuple[Any, list[str], list[str]]:
    """Return the question, and the labels and texts of its options."""
    if fields == [question]:
        # As OpenBookQA has it: {"question": {"stem": "...", "choices": [...]}}.
        nested = record[question]
        assert isinstance(nested, dict), "its options lie in it"
        return nested["stem"], *_options(nested["choices"], question)
    if len(fields) == 1:
        return record[question], *_options(record[fields[0]], fields[0])
    columns = {COLUMN.fullmatch(field)[2].upper(): record[field] for field in fields}  # type: ignore
    return record[question], *_options(columns, fields[0])


def _is_options(value: Any) -> bool:
    options = unpacked(value)
    return isinstance(options, list | dict) and len(options) > 1


def _options(value: Any, field: str) -> tuple[list[str], list[str]]:
    """Return the labels and the texts of options."""
    labels: list[Any] = []
    value = unpacked(value)
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        labels, texts = value.get("label") or value.get("labels") or [], value["text"]
    elif isinstance(value, dict):
        labels, texts = list(value), list(value.values())
    elif all(isinstance(option, dict) for option in value):
        labels = [option.get("label", option.get("key")) for option in value]
        texts = [option.get("text", option.get("value")) for option in value]
    else:
        texts = value
    options = [str(text) if isinstance(text, int | float) else text for text in texts]
    if not options or len(options) > len(LETTERS) or not all(isinstance(o, str) for o in options):
        raise RecordFault(Reason.WRONG_TYPE, field)
    if len(labels) != len(options) or not all(isinstance(label, str) for label in labels):
        labels = list(LETTERS[: len(options)])
    return labels, [_without_letter(i, option) for i, option in enumerate(options)]


def _without_letter(index: int, option: str) -> str:
    """Return an option without the letter that some sets write before it: A)12 or (A) 12."""
    return re.sub(rf"^\s*\(?{LETTERS[index]}[).:]\s*", "", option)


def _find_answer(field: str, answer: Any, labels: list[str], options: list[str]) -> int | None:
    """Return which option an answer is, by its label, letter, text or index from 0.

    None if it is none of them, or if it might be two.
    """
    if isinstance(answer, bool) or not isinstance(answer, int | str):
        return None
    text = str(answer).strip()
    bare = text.strip("().: ")
    hits = {i for i, option in enumerate(options) if option.strip() == text}
    hits |= {i for i, label in enumerate(labels) if label in (text, bare, bare.upper())}
    hits |= {i for i in range(len(options)) if LETTERS[i] == bare.upper()}
    numbered = any(label.isdecimal() for label in labels)
    if field == "label" and "0" not in labels and numbered:
        # The number of a class from 0, or of the option from 1: COPA's is the former.
        return None
    # A number in quotes counts from 0 or from 1, as one likes; HellaSwag's label does from 0.
    if (isinstance(answer, int) or (field == "label" and bare.isdecimal())) and not numbered:
        hits |= {int(bare)} & set(range(len(options)))
    if len(hits) == 1:
        return hits.pop()
    lettered = re.fullmatch(r"\(?([A-Z])[).:]\s*(.+)", text, re.S)
    if lettered is None or lettered[1] not in LETTERS[: len(options)]:
        return None
    index = LETTERS.index(lettered[1])
    return index if options[index].strip() == lettered[2].strip() else None
