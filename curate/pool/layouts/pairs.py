"""A prompt and its response in fields of their own, with what stands around them.

{"instruction": "...", "input": "...", "output": "...", "history": [["q", "a"]]}   alpaca
{"instruction": "...", "context": "...", "response": "..."}                        dolly
{"prompt": [{"role": "user", ...}], "completion": [{"role": "assistant", ...}]}    prompt_completion
{"question": "...", "context": "...", "answers": {"text": ["..."]}}                qa

The context stands below the prompt, the history before it. An answer may be a number, a prompt may not.
"""

from dataclasses import dataclass
from typing import Any

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.calls import TOOLS_FIELDS, is_calls, read_calls
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.messages import read_listed, unpacked, unpacked_turns
from curate.pool.layouts.transcript import answer_ends, opens_answer, read_transcript, without_ends
from curate.pool.layouts.unread import CONTEXT_FIELDS, CONTEXT_LISTS, HISTORY_FIELDS

INPUT_FIELDS = ("input", *CONTEXT_FIELDS)
SOLUTIONS = (
    "solution",
    "generated_solution",
    "output",
    "completion",
    "correct_answer",
    "best_answer",
)
# Lists of answers that mean the same: the first one is the response, the others stay in meta.
ALTERNATIVES = ("answer", "answers", "targets", "responses")
PRETOKENIZED = "_pretokenized"
ANSWER_KEYS = ("text", "value", "spans", "answer", "response")
# What several answers were given by readers: the one of the highest is the response.
SCORE_KEYS = ("pm_score", "score", "votes")


@dataclass(frozen=True)
class PairLayout:
    """A prompt and its response in fields of these names, with context fields and required ones.

    aside: fields with further answers, which stay in meta.
    """

    name: str
    prompt: str
    response: str
    contexts: tuple[str, ...] = CONTEXT_FIELDS
    needs: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields with prompt and response."""
        if self.prompt not in record or self.response not in record:
            return ()
        fields = (self.prompt, self.response, *self.needs)
        return fields if record.keys() >= {*fields} else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns.

        Raises:
            RecordFault: a field holds no text.
        """
        for field in (self.prompt, self.response):
            if record[field] is None:
                raise RecordFault(Reason.MISSING_FIELD, field)
        example = read_prompt(record, self, roles)
        add_response(example, record, self.response, roles)
        # The same texts as the numbers of a tokenizer.
        tokens = (name.removesuffix(PRETOKENIZED) for name in (self.prompt, self.response))
        example.used |= {name for name in tokens if name not in (self.prompt, self.response)}
        example.aside |= {*self.aside}
        return example


RESPONSES = (
    (
        "alpaca",
        "instruction",
        ("output", "response", "completion", "answer", "generation"),
        INPUT_FIELDS,
    ),
    ("prompt_completion", "prompt", ("completion", "response", "llm_response"), CONTEXT_FIELDS),
    ("qa", "question", ("answer", "answers", "response", *SOLUTIONS, "responses"), CONTEXT_FIELDS),
    # Of DeepMath's three solutions by a model the first.
    ("qa", "question", ("r1_solution_1",), CONTEXT_FIELDS),
    ("flan", "inputs", ("targets", "outputs", "target"), CONTEXT_FIELDS),
    ("input_output", "input", ("output", "target", "response", "answer"), CONTEXT_FIELDS),
    ("input_output", "query", ("response", "answer", "answers", *SOLUTIONS), CONTEXT_FIELDS),
    # OpenThoughts: code that an answer is to complete stands below the problem.
    ("input_output", "problem", ("deepseek_solution",), ("starter_code", *CONTEXT_FIELDS)),
    ("input_output", "problem", (*SOLUTIONS[:2], "answer", "response", "output"), CONTEXT_FIELDS),
    ("input_output", "prompt", ("answer", "output", "target"), CONTEXT_FIELDS),
    ("flan", "inputs_pretokenized", ("targets_pretokenized",), CONTEXT_FIELDS),
    ("input_output", "user", ("assistant",), CONTEXT_FIELDS),
    ("input_output", "message_1", ("message_2",), CONTEXT_FIELDS),
    ("input_output", "human", ("assistant", "gpt", "bot"), CONTEXT_FIELDS),
)
# MBPP, apart from the others: a text is a prompt there alone, and a code a program beside its tests.
PROGRAM = PairLayout("input_output", "text", "code", CONTEXT_FIELDS, ("test_list",))
# s1K and s1K-1.1: attempts are the answers of models, the solution is a reference.
ATTEMPTS = tuple(
    PairLayout("qa", "question", attempt, aside=("solution",))
    for attempt in ("deepseek_attempt", "attempt")
)
# Cosmopedia, apart from the others: a text beside a prompt may be both of them written out.
TEXTBOOK = PairLayout("prompt_completion", "prompt", "text", needs=("text_token_length",))
# Distilled from DeepSeek-R1: a content is an answer beside its reasoning alone.
DISTILLED = PairLayout("input_output", "input", "content", needs=("reasoning_content",))
PAIRS = (
    PairLayout("dolly", "instruction", "response", ("context",), ("context",)),
    *(
        PairLayout(name, prompt, response, contexts)
        for name, prompt, responses, contexts in RESPONSES
        for response in responses
    ),
)


def read_prompt(record: Record, pair: PairLayout, roles: Roles) -> ConversationTurns:
    """Return the turns of a prompt: history, then the prompt with its context below.

    Raises:
        RecordFault: a field holds no text.
    """
    value = unpacked_turns(record[pair.prompt])
    if isinstance(value, list) and value and isinstance(value[0], dict):
        example = read_listed(value, pair.prompt, roles)
    elif opens_answer(value):
        example = ConversationTurns(read_transcript(value, pair.prompt, roles), {pair.prompt})
        example.ends = answer_ends(value)
        if example.turns[-1]["role"] == "assistant":
            raise RecordFault(Reason.UNREAD_FIELD, f"{pair.prompt}: its answer has begun already")
    else:
        prompt = field_text(record, pair.prompt)
        example = ConversationTurns([{"role": "user", "content": prompt}], {pair.prompt})
        add_context(example, record, pair.contexts)
    earlier = _history(record, roles, example)
    # Logs of chats may have the prompt as the last turn of what was said before.
    said = bool(earlier) and earlier[-1] == {"role": "user", "content": value}
    example.turns[:0] = earlier[:-1] if said else earlier
    return example


def add_context(example: ConversationTurns, record: Record, fields: tuple[str, ...]) -> None:
    """Put the first field with a context below the prompt.

    Raises:
        RecordFault: it holds no text.
    """
    context = next((field for field in fields if record.get(field)), None)
    if context is not None:
        last = example.turns[-1]
        text = field_text(record, context)
        # Some data sets have no instruction, and the question as its input.
        last["content"] = f"{last['content']}\n\n{text}" if last["content"] else text
        example.used.add(context)
    if "input" in fields and record.get("input") == "":
        example.used.add("input")


def add_response(example: ConversationTurns, record: Record, field: str, roles: Roles) -> None:
    """Put a response behind the turns of its prompt: a text, a number, or a list of turns.

    Raises:
        RecordFault: it is none of them.
    """
    value = unpacked_turns(record[field])
    if field == "answers" and isinstance(value, str):
        value = unpacked(value)
        if isinstance(value, str) and value.startswith(("{", "[")):
            # A Python object printed into a table is no answer.
            raise RecordFault(Reason.WRONG_TYPE, field)
    if isinstance(value, dict) and ("role" in value or "from" in value):
        value = [value]
    if is_calls(calls := unpacked(value)) and any(record.get(name) for name in TOOLS_FIELDS):
        answer_calls = read_calls(calls, field)
        example.turns.append({"role": "assistant", "content": "", "tool_calls": answer_calls})
        example.used.add(field)
        return
    if isinstance(value, list) and value and _is_turn(value[0]):
        answer = read_listed(value, field, roles)
        example.turns += answer.turns
        example.tools = example.tools or answer.tools
        example.beside |= answer.beside
        example.used.add(field)
        return
    if field in ALTERNATIVES and isinstance(value, list | dict):
        text, alone = first_answer(value, field)
    else:
        text, alone = field_text(record, field, numbers=True), True
    text = without_ends(text, example.ends)
    example.turns.append({"role": "assistant", "content": text})
    if alone:
        example.used.add(field)
    else:
        example.aside |= {field}


def _is_turn(value: Any) -> bool:
    """Return whether an element of an answer is a turn, and not one of several answers."""
    return isinstance(value, dict) and not ("text" in value or "response" in value)


def first_answer(value: Any, field: str) -> tuple[str, bool]:
    """Return the first of several answers, of scored ones the best, and whether nothing else is there.

    {"text": ["Lima", "Lima, Peru"], "answer_start": [3, 3]}
    [{"text": "Oslo", "pm_score": 1}, {"text": "Lima", "pm_score": 7}]

    Raises:
        RecordFault: there is none, or it is no text.
    """
    where, alone, scores = field, True, _scores(value)
    while isinstance(value, list | dict):
        if isinstance(value, dict):
            key = next((key for key in ANSWER_KEYS if key in value), None)
            if key is None:
                raise RecordFault(Reason.WRONG_TYPE, where)
            value, where, alone = value[key], f"{where}.{key}", False
        elif not value:
            raise RecordFault(Reason.MISSING_FIELD, f"{where}[0]")
        else:
            alone = alone and len(value) == 1
            best = scores.index(max(scores)) if len(scores) == len(value) else 0
            value, where, scores = value[best], f"{where}[{best}]", []
    return field_text({where: value}, where, numbers=True), alone


def _scores(answers: Any) -> list[float]:
    """Return the scores of answers, in objects of their own or beside a list; none if they have none."""
    for key in SCORE_KEYS:
        if isinstance(answers, list):
            scores = [answer.get(key) if isinstance(answer, dict) else None for answer in answers]
        else:
            scores = answers.get(key)
        if isinstance(scores, list) and all(type(score) in (int, float) for score in scores):
            return scores
    return []


def field_text(record: Record, field: str, *, numbers: bool = False) -> str:
    """Return a field's text.

    Raises:
        RecordFault: it is none.
    """
    text = record[field]
    if isinstance(text, str):
        return text
    if field in CONTEXT_LISTS and isinstance(text, list) and all(isinstance(t, str) for t in text):
        return "\n\n".join(text)
    if numbers and isinstance(text, int | float) and not isinstance(text, bool):
        return str(text)
    raise RecordFault(Reason.WRONG_TYPE, field)


def _history(record: Record, roles: Roles, example: ConversationTurns) -> list[Message]:
    """Return the earlier rounds of a record: pairs of texts, or turns."""
    field = next((field for field in HISTORY_FIELDS if record.get(field)), "history")
    rounds = unpacked(record.get(field))
    if not rounds:
        return []
    example.used.add(field)
    if isinstance(rounds, list) and all(_is_round(each) for each in rounds):
        turns: list[Message] = []
        for question, answer in rounds:
            turns.append({"role": "user", "content": question})
            turns.append({"role": "assistant", "content": answer})
        return turns
    earlier = read_listed(rounds, field, roles)
    example.beside |= earlier.beside
    return earlier.turns


def _is_round(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)
    )
