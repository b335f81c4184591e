r"""Two answers to one prompt and which of them people prefer: that one makes the row.

{"prompt": "...", "response_1": "...", "response_2": "...", "preference_strength": -2}        HelpSteer
{"history": "...", "human_ref_A": "...", "human_ref_B": "...", "labels": 1}                   SHP
{"prompt": "...", "response_0": "...", "response_1": "...", "better_response_id": 1}          SafeRLHF
{"conversation_a": [...], "conversation_b": [...], "winner": "model_a"}                       Arena
{"prompt": "[\"Hi\"]", "response_a": "[\"Hello\"]", "response_b": "[\"Yo\"]", "winner_model_a": 1,
 "winner_model_b": 0, "winner_tie": 0}      Arena 55k: lists of a text a round, as JSON text

A tie is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.messages import unpacked
from curate.pool.layouts.preference import PreferenceLayout


@dataclass(frozen=True)
class ComparedFields:
    """The fields of a comparison, and how its verdict reads: 0 for the first answer, 1 for the second.

    prompt: its field; none where the answers are whole conversations.
    verdict: the fields whose values say which answer won.
    rounds: prompt and answers are lists of a text a round, as JSON text.
    """

    prompt: str | None
    answers: tuple[str, str]
    verdict: tuple[str, ...]
    winner: Callable[..., int | None]
    rounds: bool = False


def _by_sign(value: JSON) -> int | None:
    """Return the answer of a strength, below 0 for the first."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
        return None
    return int(value > 0)


def _by_index(value: JSON) -> int | None:
    """Return the answer of a number from 0."""
    return value if isinstance(value, int) and value in (0, 1) else None


def _by_first(value: JSON) -> int | None:
    """Return the answer of a label that is 1 for the first and 0 for the second."""
    return {1: 0, 0: 1}.get(value) if isinstance(value, int) else None


def _by_name(value: JSON) -> int | None:
    """Return the answer of the model that won."""
    return {"model_a": 0, "model_b": 1}.get(str(value))


def _by_flags(first: JSON, second: JSON) -> int | None:
    """Return the answer whose flag is 1, which in a table is text."""
    return {("1", "0"): 0, ("0", "1"): 1}.get((str(first), str(second)))


def _always_first() -> int:
    return 0


COMPARISONS = (
    ComparedFields("prompt", ("response_1", "response_2"), ("preference_strength",), _by_sign),
    ComparedFields("context", ("response1", "response2"), ("overall_preference",), _by_sign),
    ComparedFields("prompt", ("response_0", "response_1"), ("better_response_id",), _by_index),
    ComparedFields("history", ("human_ref_A", "human_ref_B"), ("labels",), _by_first),
    ComparedFields(None, ("conversation_a", "conversation_b"), ("winner",), _by_name),
    ComparedFields("question", ("response_j", "response_k"), (), _always_first),
    ComparedFields(
        "prompt",
        ("response_a", "response_b"),
        ("winner_model_a", "winner_model_b"),
        _by_flags,
        rounds=True,
    ),
)


class ComparedLayout:
    """A prompt with two answers and a verdict between them."""

    name = "preference"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields with prompt, answers and verdict."""
        comparison = _comparison_of(record)
        return _fields_of(comparison) if comparison else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns that lead to the preferred answer.

        Raises:
            RecordFault: neither is preferred, or a field holds no text and no turns.
        """
        comparison = _comparison_of(record)
        assert comparison is not None, "its fields have been seen"
        values = {field: record[field] for field in comparison.verdict}
        winner = comparison.winner(*values.values())
        if winner is None:
            verdict = ", ".join(f"{field} = {value!r:.40}" for field, value in values.items())
            raise RecordFault(Reason.UNREAD_FIELD, f"{verdict}: neither is preferred")
        answers = [_answer(record, comparison, number) for number in (winner, 1 - winner)]
        pair: dict[str, JSON] = {"chosen": answers[0], "rejected": answers[1]}
        if comparison.prompt and not comparison.rounds:
            pair["prompt"] = record[comparison.prompt]
        example = PreferenceLayout().read(pair, roles)
        example.used = {*_fields_of(comparison)} - {*comparison.verdict}
        return example


def _answer(record: Record, comparison: ComparedFields, number: int) -> JSON:
    """Return an answer, or all turns of it where it has one a round.

    Raises:
        RecordFault: a round has no text.
    """
    field, prompt = comparison.answers[number], comparison.prompt
    if not comparison.rounds or prompt is None:
        return record[field]
    prompts, answers = _texts(record, prompt), _texts(record, field)
    if len(prompts) != len(answers):
        raise RecordFault(Reason.UNREAD_FIELD, f"{field}: {len(answers)} of {len(prompts)} rounds")
    turns: list[JSON] = []
    for question, answer in zip(prompts, answers, strict=True):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return turns


def _texts(record: Record, field: str) -> list[str]:
    texts = unpacked(record[field])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RecordFault(Reason.WRONG_TYPE, f"{field}: no JSON list of texts")
    return texts


def _comparison_of(record: Record) -> ComparedFields | None:
    return next((c for c in COMPARISONS if record.keys() >= {*_fields_of(c)}), None)


def _fields_of(comparison: ComparedFields) -> tuple[str, ...]:
    fields = (comparison.prompt, *comparison.answers, *comparison.verdict)
    return tuple(field for field in fields if field)
