"""The reasons for a row's fate. A ledger has no others but those that a stage names as its own."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a row was rejected at ingest, dropped by a stage, or selected or not."""

    BAD_JSON = "bad_json"
    BAD_UTF8 = "bad_utf8"
    RECORD_TOO_LONG = "record_too_long"
    BAD_TABLE_ROW = "bad_table_row"
    NOT_OBJECT = "not_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_ROLE = "unknown_role"
    UNSUPPORTED_CONTENT = "unsupported_content"
    UNREAD_FIELD = "unread_field"
    EMPTY_PROMPT = "empty_prompt"
    EMPTY_RESPONSE = "empty_response"
    NO_USER_TURN = "no_user_turn"
    LAST_TURN_NOT_ASSISTANT = "last_turn_not_assistant"
    UNTRAINED_RESPONSE = "untrained_response"

    TEMPLATE_REFUSED = "template_refused"
    TEMPLATE_REWRITTEN = "template_rewritten"
    SYSTEM_MERGED = "system_merged"

    EXACT_DUPLICATE = "exact_duplicate"
    FUZZY_DUPLICATE = "fuzzy_duplicate"
    SEMANTIC_DUPLICATE = "semantic_duplicate"
    LEAK_EXACT = "leak_exact"
    LEAK_NGRAM = "leak_ngram"
    LEAK_SLOT = "leak_slot"
    LEAK_RUN = "leak_run"

    WRONG_LANGUAGE = "wrong_language"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    REPETITION = "repetition"
    MARKUP = "markup"
    REFUSAL = "refusal"
    ENCODING_DAMAGE = "encoding_damage"
    PROMPT_COPIED = "prompt_copied"
    UNFINISHED = "unfinished"
    PLACEHOLDER = "placeholder"
    TOXIC = "toxic"
    ESCAPED = "escaped"
    MERGED = "merged"
    MISSING_INPUT = "missing_input"
    CLAIMED_ACTION = "claimed_action"
    BAD_TOOL_CALL = "bad_tool_call"
    PERSONAL_DATA = "personal_data"
    MASKED = "masked"
    LOW_CONFIDENCE = "low_confidence"
    LOW_GRADE = "low_grade"
    OUTDONE = "outdone"
    CORRECTED = "corrected"
    UNKNOWN_TO_MODEL = "unknown_to_model"
    REHEARSED = "rehearsed"
    RELABELLED = "relabelled"
    TAGGED = "tagged"
    MARKED_BY_HAND = "marked_by_hand"
    CORRECTED_BY_HAND = "corrected_by_hand"

    WITHIN_BUDGET = "within_budget"
    BEYOND_BUDGET = "beyond_budget"
    PASSED_OVER = "passed_over"
    UNSCORED = "unscored"
    FILTERED_OUT = "filtered_out"
    OVER_SHARE = "over_share"
    TOO_SIMILAR = "too_similar"
    KEPT = "kept"


EXPLAINED: dict[Reason, str] = {
    Reason.BAD_JSON: "is not valid JSON",
    Reason.BAD_UTF8: "is not valid UTF-8",
    Reason.RECORD_TOO_LONG: "is longer than any that is read (64 MiB)",
    Reason.BAD_TABLE_ROW: "does not fit the header of its table, or its quotation marks",
    Reason.NOT_OBJECT: "is not a JSON object",
    Reason.MISSING_FIELD: "lacks a field that its format needs",
    Reason.WRONG_TYPE: "holds a value of the wrong type",
    Reason.UNKNOWN_ROLE: "has a turn whose role is not system, user, assistant or tool",
    Reason.UNSUPPORTED_CONTENT: "has content that is not text",
    Reason.UNREAD_FIELD: "has a field of the conversation that no turn would hold",
    Reason.EMPTY_PROMPT: "has an empty user turn",
    Reason.EMPTY_RESPONSE: "has an empty assistant turn",
    Reason.NO_USER_TURN: "has no user turn",
    Reason.LAST_TURN_NOT_ASSISTANT: "does not end with an assistant turn",
    Reason.UNTRAINED_RESPONSE: "marks its last answer as one that is not trained on",
    Reason.TEMPLATE_REFUSED: "is refused by the base model's chat template",
    Reason.SYSTEM_MERGED: "was replaced by a row whose first user turn opens with its system text",
    Reason.TEMPLATE_REWRITTEN: "has no response that the base model's chat template writes as it is",
    Reason.EXACT_DUPLICATE: "has the same normalised text as a row that is kept",
    Reason.FUZZY_DUPLICATE: "shares most of its n-grams with a row that is kept",
    Reason.SEMANTIC_DUPLICATE: "means much the same as a row that is kept, by their embeddings",
    Reason.LEAK_EXACT: "has a turn that is an eval prompt",
    Reason.LEAK_NGRAM: "shares runs of words that cover more of an eval prompt than the limit allows",
    Reason.LEAK_SLOT: "holds almost all that an eval prompt of few words of its own has",
    Reason.LEAK_RUN: "shares a run of words with an eval prompt that is as long as the rule forbids",
    Reason.WRONG_LANGUAGE: "is in another language than the rule allows",
    Reason.TOO_SHORT: "is shorter than the rule allows",
    Reason.TOO_LONG: "is longer than the rule allows",
    Reason.REPETITION: "says the same over and over",
    Reason.MARKUP: "holds debris of markup",
    Reason.REFUSAL: "refuses to answer",
    Reason.ENCODING_DAMAGE: "holds characters that a wrong decoding left behind",
    Reason.PROMPT_COPIED: "answers with a copy of its prompt",
    Reason.UNFINISHED: "breaks off before its end",
    Reason.PLACEHOLDER: "holds a placeholder where a text should be",
    Reason.TOXIC: "holds a word of the lists that the recipe forbids",
    Reason.ESCAPED: "holds escapes as they were typed, such as \\n",
    Reason.MERGED: "holds another task beside its own",
    Reason.MISSING_INPUT: "speaks of a text, picture or page that it does not hold",
    Reason.CLAIMED_ACTION: "claims or is asked for what no text does",
    Reason.BAD_TOOL_CALL: "calls a tool in a way that cannot be right",
    Reason.PERSONAL_DATA: "holds personal data",
    Reason.MASKED: "was replaced by a row in which personal data is masked",
    Reason.LOW_CONFIDENCE: "has a response of low confidence",
    Reason.LOW_GRADE: "got a lower grade than the limit",
    Reason.OUTDONE: "scored lower than other responses to its prompt",
    Reason.CORRECTED: "was replaced by a row with a better response",
    Reason.UNKNOWN_TO_MODEL: "teaches what the model does not know, beyond the share allowed",
    Reason.REHEARSED: "was replaced by a row with the model's own correct response",
    Reason.RELABELLED: "was replaced by a row that says how sure the model is",
    Reason.TAGGED: "was replaced by a row with a marker",
    Reason.MARKED_BY_HAND: "was marked by hand as one to drop",
    Reason.CORRECTED_BY_HAND: "was replaced by a row whose response was corrected by hand",
    Reason.WITHIN_BUDGET: "ranks within the budget",
    Reason.BEYOND_BUDGET: "ranks below the last row that the budget covers",
    Reason.PASSED_OVER: "has more tokens than were left of the budget",
    Reason.UNSCORED: "could not be scored",
    Reason.FILTERED_OUT: "does not meet the condition of the selection",
    Reason.OVER_SHARE: "belongs to a group of rows that has its share of the budget already",
    Reason.TOO_SIMILAR: "is too similar to a row that ranks higher",
    Reason.KEPT: "was kept by every stage, and the recipe takes all such rows",
}


def explain_reason(reason: str) -> str:
    """Return what a reason says about a row, as the end of a sentence that starts with "it".

    A stage's own reason is such an end: breaks_off, of a row that "breaks off".
    """
    try:
        return EXPLAINED[Reason(reason)]
    except ValueError:
        return reason.replace("_", " ")
