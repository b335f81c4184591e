"""Candidates: what a generation method makes, kept or not, with where it comes from and why it goes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson
import polars as pl

from curate.core.preferences import pair_note
from curate.core.rows import SCHEMA, Message, content_hash, prompt_text, response_text, text_hash


class RejectReason(StrEnum):
    """Why a candidate is dropped. Nothing else may be written down."""

    TRUNCATED = "truncated"
    EMPTY = "empty"
    REFUSED = "refused"
    FILTERED = "filtered"
    INVALID = "invalid"
    FAILED = "failed"

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    WRONG_LANGUAGE = "wrong_language"
    REPEATS_ITSELF = "repeats_itself"
    PROMPT_LEAK = "prompt_leak"
    COPIES_PROMPT = "copies_prompt"
    INCOMPLETE = "incomplete"
    ONLY_REASONING = "only_reasoning"
    HOLDS_REASONING = "holds_reasoning"
    TEMPLATE_REFUSED = "template_refused"
    TEMPLATE_REWRITTEN = "template_rewritten"
    KEYWORD = "keyword"
    NOT_NEW = "not_new"
    TOO_NEAR = "too_near"

    WRONG_ANSWER = "wrong_answer"
    NO_ANSWER = "no_answer"
    LOW_GRADE = "low_grade"
    NOT_EVOLVED = "not_evolved"
    MEANING_CHANGED = "meaning_changed"
    UNSUPPORTED = "unsupported"
    BAD_TOOL_CALL = "bad_tool_call"
    NOT_COMPOSABLE = "not_composable"
    INCONSISTENT = "inconsistent"
    OVER_QUOTA = "over_quota"
    OTHER_KIND = "other_kind"
    NOTHING_ASKED = "nothing_asked"
    GIVES_LABEL = "gives_label"
    UNDECIDED = "undecided"
    LESS_PREFERRED = "less_preferred"


REJECT_REASONS_EXPLAINED: dict[RejectReason, str] = {
    RejectReason.TRUNCATED: "was cut at the limit of tokens",
    RejectReason.EMPTY: "lacks its prompt or its response",
    RejectReason.REFUSED: "is a refusal",
    RejectReason.FILTERED: "was withheld by the server",
    RejectReason.INVALID: "does not have the form that was asked for",
    RejectReason.FAILED: "never came: the call failed",
    RejectReason.TOO_SHORT: "is too short",
    RejectReason.TOO_LONG: "is too long",
    RejectReason.WRONG_LANGUAGE: "is in a language that is not wanted",
    RejectReason.REPEATS_ITSELF: "says the same over and over",
    RejectReason.PROMPT_LEAK: "repeats the words that asked for it",
    RejectReason.ONLY_REASONING: "is nothing but a model's reasoning",
    RejectReason.HOLDS_REASONING: "holds marks of a model's reasoning",
    RejectReason.COPIES_PROMPT: "answers with its own prompt",
    RejectReason.TEMPLATE_REFUSED: "is refused by the base model's chat template",
    RejectReason.TEMPLATE_REWRITTEN: (
        "has responses that the base model's chat template rewrites or leaves out"
    ),
    RejectReason.KEYWORD: "holds a word that is kept out",
    RejectReason.NOT_NEW: "has nearly the prompt of a row that is there",
    RejectReason.TOO_NEAR: "means nearly the same as a row that is there",
    RejectReason.WRONG_ANSWER: "has a wrong answer",
    RejectReason.NO_ANSWER: "has no answer that could be checked",
    RejectReason.LOW_GRADE: "was graded too low",
    RejectReason.NOT_EVOLVED: "asks for nothing that its parent does not",
    RejectReason.MEANING_CHANGED: "does not mean what its parent means",
    RejectReason.UNSUPPORTED: "is not supported by its evidence",
    RejectReason.BAD_TOOL_CALL: "calls a tool in a way that cannot be right",
    RejectReason.NOT_COMPOSABLE: "is no sound composition of its parents",
    RejectReason.INCONSISTENT: "has answers that do not agree",
    RejectReason.INCOMPLETE: "speaks of something that it does not hold",
    RejectReason.OVER_QUOTA: "is one more than its group may have",
    RejectReason.OTHER_KIND: "is of another kind than it was asked for",
    RejectReason.NOTHING_ASKED: "has a user turn that asks for nothing",
    RejectReason.GIVES_LABEL: "gives its label away instead of reasons",
    RejectReason.UNDECIDED: "was not judged clearly better or worse than another answer",
    RejectReason.LESS_PREFERRED: "is the worse answer of a pair, which rides with the better one",
}


def explain_reject(code: str) -> str:
    """Return what a reason says about a candidate, as the end of a sentence that starts with "it"."""
    try:
        return REJECT_REASONS_EXPLAINED[RejectReason(code)]
    except (KeyError, ValueError):
        return code.replace("_", " ")


@dataclass(frozen=True)
class Candidate:
    """A possible row: messages may be incomplete (an instruction alone) where it is dropped early.

    `parents` are row ids, of pool or target rows or of other candidates; `notes` hold what else a
    reader wants to know: operator, topic, attribute, grade, evidence ids. `rejected` are the turns of a
    worse answer to the same prompt. `tools` are the schemas of the functions that it declares, as those
    of a row (curate.pool.layouts.calls).
    """

    messages: Sequence[Message]
    method: str
    parents: tuple[str, ...] = ()
    hop: int = 1
    notes: Mapping[str, Any] = field(default_factory=dict)
    reject_reason: RejectReason | None = None
    detail: str = ""
    rejected: Sequence[Message] | None = None
    tools: str | None = None

    @property
    def row_id(self) -> str:
        """Return an id made from parents, method, hop and text: the same whenever it is made again."""
        identity = [
            self.method,
            self.hop,
            sorted(self.parents),
            content_hash(self.messages, self.tools),
        ]
        return f"{self.method}/{hashlib.blake2b(orjson.dumps(identity), digest_size=8).hexdigest()}"

    @property
    def conversation(self) -> Sequence[Message]:
        """Return its turns as a model is to read them, the first one with the tools."""
        if self.tools is None or not self.messages:
            return self.messages
        return [{**self.messages[0], "tools": self.tools}, *self.messages[1:]]

    @property
    def prompt(self) -> str:
        """Return the text of its user turns."""
        return prompt_text(self.messages)

    @property
    def response(self) -> str:
        """Return the text of its last turn, empty where that is no answer yet."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            return ""
        return response_text(self.messages)

    def drop(self, reason: RejectReason, detail: str = "") -> "Candidate":
        """Return the candidate with the reason why it goes."""
        return replace(self, reject_reason=reason, detail=detail)

    def add_notes(self, **notes: Any) -> "Candidate":
        """Return the candidate with further notes."""
        return replace(self, notes={**self.notes, **notes})

    def over(self, other: "Candidate", margin: float) -> "Candidate":
        """Return the candidate as the chosen one of a pair, whose `rejected` is the other's answer.

        Args:
            other: an answer to the same prompt.
            margin: how much surer than not it is that this one is better, from 0 to 1.
        """
        chosen = replace(self, rejected=list(other.messages[-1:]))
        return chosen.add_notes(pair=pair_note(self.method, other.row_id, margin))


def pair(prompt: str, response: str, system: str | None = None) -> list[Message]:
    """Return the turns of a prompt and its response."""
    head: list[Message] = [{"role": "system", "content": system}] if system else []
    return [
        *head,
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": response},
    ]


def rows_of(candidates: Sequence[Candidate], source: str) -> pl.DataFrame:
    """Return the kept candidates as rows (curate.core.rows.SCHEMA), each once."""
    kept = {c.row_id: c for c in candidates if c.reject_reason is None}
    return pl.DataFrame(
        {
            "row_id": list(kept),
            "messages": [list(c.messages) for c in kept.values()],
            "tools": [c.tools for c in kept.values()],
            "rejected": [c.rejected for c in kept.values()],
            "content_hash": [content_hash(c.messages, c.tools) for c in kept.values()],
            "text_hash": [text_hash(c.messages, c.tools) for c in kept.values()],
            "source": [source] * len(kept),
            "origin": [c.method for c in kept.values()],
            "meta": [orjson.dumps(dict(c.notes)).decode() for c in kept.values()],
            "parents": [list(c.parents) for c in kept.values()],
            "method": [c.method for c in kept.values()],
            "hop": [c.hop for c in kept.values()],
        },
        schema=pl.DataFrame(pl.from_arrow(SCHEMA.empty_table())).schema,
    )


CANDIDATE_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "method": pl.String(),
        "hop": pl.Int32(),
        "parents": pl.List(pl.String()),
        "prompt": pl.String(),
        "response": pl.String(),
        "notes": pl.String(),
        "flaw": pl.String(),
        "detail": pl.String(),
    }
)


def table_of(candidates: Sequence[Candidate]) -> pl.DataFrame:
    """Return all candidates, kept (flaw is null) and dropped, in the order in which they were made."""
    return pl.DataFrame(
        [
            {
                "row_id": c.row_id,
                "method": c.method,
                "hop": c.hop,
                "parents": list(c.parents),
                "prompt": c.prompt,
                "response": c.response,
                "notes": orjson.dumps(dict(c.notes)).decode(),
                "flaw": c.reject_reason.value if c.reject_reason else None,
                "detail": c.detail,
            }
            for c in candidates
        ],
        schema=CANDIDATE_SCHEMA,
    )
