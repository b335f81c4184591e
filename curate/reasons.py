"""Every reason for a row's fate. Nothing else may be written to a ledger."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a row was rejected at ingest, dropped by a stage, or selected or not."""

    BAD_JSON = "bad_json"
    BAD_UTF8 = "bad_utf8"
    NOT_OBJECT = "not_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_ROLE = "unknown_role"
    UNSUPPORTED_CONTENT = "unsupported_content"
    EMPTY_PROMPT = "empty_prompt"
    EMPTY_RESPONSE = "empty_response"
    NO_USER_TURN = "no_user_turn"
    LAST_TURN_NOT_ASSISTANT = "last_turn_not_assistant"

    EXACT_DUPLICATE = "exact_duplicate"
    FUZZY_DUPLICATE = "fuzzy_duplicate"
    SEMANTIC_DUPLICATE = "semantic_duplicate"
    LEAK_EXACT = "leak_exact"
    LEAK_NGRAM = "leak_ngram"
    LEAK_RUN = "leak_run"

    WITHIN_BUDGET = "within_budget"
    BEYOND_BUDGET = "beyond_budget"
    FILTERED_OUT = "filtered_out"
    OVER_SHARE = "over_share"
    TOO_SIMILAR = "too_similar"


EXPLAINED: dict[Reason, str] = {
    Reason.BAD_JSON: "is not valid JSON",
    Reason.BAD_UTF8: "is not valid UTF-8",
    Reason.NOT_OBJECT: "is not a JSON object",
    Reason.MISSING_FIELD: "lacks a field that its format needs",
    Reason.WRONG_TYPE: "holds a value of the wrong type",
    Reason.UNKNOWN_ROLE: "has a turn whose role is not system, user, assistant or tool",
    Reason.UNSUPPORTED_CONTENT: "has content that is not text",
    Reason.EMPTY_PROMPT: "has an empty user turn",
    Reason.EMPTY_RESPONSE: "has an empty assistant turn",
    Reason.NO_USER_TURN: "has no user turn",
    Reason.LAST_TURN_NOT_ASSISTANT: "does not end with an assistant turn",
    Reason.EXACT_DUPLICATE: "has the same normalised text as a row that is kept",
    Reason.FUZZY_DUPLICATE: "shares most of its n-grams with a row that is kept",
    Reason.SEMANTIC_DUPLICATE: "means much the same as a row that is kept, by their embeddings",
    Reason.LEAK_EXACT: "has a turn that is an eval prompt",
    Reason.LEAK_NGRAM: "shares runs of words that cover more of an eval prompt than the limit allows",
    Reason.LEAK_RUN: "shares a run of words with an eval prompt that is as long as the rule forbids",
    Reason.WITHIN_BUDGET: "ranks within the budget",
    Reason.BEYOND_BUDGET: "ranks below the last row that the budget covers",
    Reason.FILTERED_OUT: "does not meet the condition of the selection",
    Reason.OVER_SHARE: "belongs to a group of rows that has its share of the budget already",
    Reason.TOO_SIMILAR: "is too similar to a row that ranks higher",
}
