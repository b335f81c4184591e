"""Two answers to one prompt and which of them people prefer: that one makes the row.

{"prompt": "...", "response_1": "...", "response_2": "...", "preference_strength": -2}        HelpSteer
{"history": "...", "human_ref_A": "...", "human_ref_B": "...", "labels": 1}                   SHP
{"prompt": "...", "response_0": "...", "response_1": "...", "better_response_id": 1}          SafeRLHF
{"conversation_a": [...], "conversation_b": [...], "winner": "model_a"}                       Arena

A tie is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.preference import PreferenceLayout


@dataclass(frozen=True)
class ComparedFields:
    """The fields of a comparison, and how its verdict reads: 0 for the first answer, 1 for the second.

    prompt: its field; none where the answers are whole conversations.
    """

    prompt: str | None
    answers: tuple[str, str]
    verdict: str | None
    winner: Callable[[JSON], int | None]


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


def _always_first(value: JSON) -> int | None:
    return 0


COMPARISONS = (
    ComparedFields("prompt", ("response_1", "response_2"), "preference_strength", _by_sign),
    ComparedFields("context", ("response1", "response2"), "overall_preference", _by_sign),
    ComparedFields("prompt", ("response_0", "response_1"), "better_response_id", _by_index),
    ComparedFields("history", ("human_ref_A", "human_ref_B"), "labels", _by_first),
    ComparedFields(None, ("conversation_a", "conversation_b"), "winner", _by_name),
    ComparedFields("question", ("response_j", "response_k"), None, _always_first),
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
        verdict = record[comparison.verdict] if comparison.verdict else None
        winner = comparison.winner(verdict)
        if winner is None:
            raise RecordFault(
                Reason.UNREAD_FIELD, f"{comparison.verdict} = {verdict!r:.40}: neither is preferred"
            )
        chosen, rejected = comparison.answers[winner], comparison.answers[1 - winner]
        pair = {"chosen": record[chosen], "rejected": record[rejected]}
        prompt = {"prompt": record[comparison.prompt]} if comparison.prompt else {}
        example = PreferenceLayout().read({**prompt, **pair}, roles)
        example.used = {*_fields_of(comparison)} - {comparison.verdict}
        return example


def _comparison_of(record: Record) -> ComparedFields | None:
    return next((c for c in COMPARISONS if record.keys() >= {*_fields_of(c)}), None)


def _fields_of(comparison: ComparedFields) -> tuple[str, ...]:
    fields = (comparison.prompt, *comparison.answers, comparison.verdict)
    return tuple(field for field in fields if field)
