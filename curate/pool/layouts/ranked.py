"""Several answers to one prompt with scores or ranks: the best makes the row, the worst its `rejected`.

{"instruction": "...", "completions": [{"response": "...", "overall_score": 7.5,
 "annotations": {"honesty": {"Rating": "4"}, ...}}, ...]}                            UltraFeedback
{"prompt": "...", "answers": [{"answer": "...", "rank": 1.0}, ...]}                  Nectar

Of UltraFeedback the overall score decides, as in ultrafeedback_binarized; where there is none, the
mean of the ratings, which decides between equal scores as well. Where all have the same score the
record is refused. The system prompts under which models answered stay in `completions`, in meta.
"""

from collections.abc import Sequence
from typing import Any

from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.preference import PreferenceLayout
from curate.pool.layouts.unread import CONTEXT_FIELDS

# The list of answers, and the key of an answer's text.
ANSWERS = {"completions": "response", "answers": "answer"}
PROMPTS = ("instruction", "prompt", "question", "query")
OVERALL, RANK, ANNOTATIONS = "overall_score", "rank", "annotations"
Score = tuple[float, float]


class RankedLayout:
    """A prompt, and a list of answers that people or a model have scored or ranked."""

    name = "preference"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields with the prompt and the answers."""
        listed = next((f for f in ANSWERS if _are_answers(record.get(f), ANSWERS[f])), None)
        prompt = next((f for f in PROMPTS if isinstance(record.get(f), str)), None)
        return (prompt, listed) if prompt and listed else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns that lead to the best answer.

        Raises:
            RecordFault: nothing says which answer is the best, or all are equal.
        """
        prompt, listed = self.matched_fields(record)
        answers, key = record[listed], ANSWERS[listed]
        assert isinstance(answers, list), "its answers have been seen"
        scores = _scores(answers, prompt, listed)
        if len(answers) > 1 and max(scores)[0] == min(scores)[0]:
            raise RecordFault(
                Reason.UNREAD_FIELD,
                f"{listed}: all {len(answers)} score the same: none is preferred",
            )
        # Of equal ones max and min take the first.
        best = answers[scores.index(max(scores))]
        worst = answers[scores.index(min(scores))]
        pair = {"chosen": best[key]}
        if worst is not best:
            pair["rejected"] = worst[key]
        around = {field: record[field] for field in (prompt, *CONTEXT_FIELDS) if field in record}
        example = PreferenceLayout().read({**around, **pair}, roles)
        example.used -= {*pair}
        example.aside |= {listed}
        return example


def _are_answers(value: Any, key: str) -> bool:
    """Return whether a value is a list of answers with texts; in `answers` with ranks as well."""
    keys = {key} if key == "response" else {key, RANK}
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(answer, dict) and answer.keys() >= keys for answer in value)
    )


def _scores(answers: Sequence[dict[str, Any]], prompt: str, listed: str) -> list[Score]:
    """Return the scores of answers, higher the better.

    Raises:
        RecordFault: one of several has none.
    """
    if len(answers) == 1:
        return [(0.0, 0.0)]
    scores = [_score(answer) for answer in answers]
    complete = [score for score in scores if score is not None]
    if len(complete) < len(scores):
        number = scores.index(None)
        raise RecordFault(
            Reason.MISSING_FIELD,
            f"{listed}[{number}].{OVERALL}: nothing says which answer is the best; name one, e.g. "
            f"fields: {{prompt: {prompt}, response: '{listed}[0].{ANSWERS[listed]}'}}",
        )
    return complete


def _score(answer: dict[str, Any]) -> Score | None:
    """Return the overall score of an answer and the mean of its ratings; None if it has neither."""
    rating = _mean_rating(answer.get(ANNOTATIONS))
    for value in (answer.get(OVERALL), -rank if (rank := _number(answer.get(RANK))) else None):
        if (overall := _number(value)) is not None:
            return overall, rating or 0.0
    return None if rating is None else (rating, rating)


def _mean_rating(annotations: Any) -> float | None:
    """Return the mean of the ratings that are numbers; None if there is none."""
    aspects = annotations.values() if isinstance(annotations, dict) else ()
    ratings = [_number(aspect.get("Rating")) for aspect in aspects if isinstance(aspect, dict)]
    numbers = [rating for rating in ratings if rating is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _number(value: Any) -> float | None:
    """Return a number, or the one that a text is; None for anything else, such as N/A."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
