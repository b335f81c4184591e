"""Whether two answers to a question say the same, by a judge: for answers without a value to compare.

Asked in both orders, since judges favour a place (Zheng et al. 2023, arXiv:2306.05685), greedily and
with the reason first. Only two times yes counts, so a judge that goes by the place is found out, but not
one that says yes to everything. Two things need no judge: the same words are the same, and an answer
that declines does not say what one that answers says.

Unlike agreement (curate.judge.contradiction), an answer that leaves out half is not the same.

Cost: two short calls a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from curate.answers.refusals import find_refusal
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, shorten_middle
from curate.llm.compare import AnswerPair, alike
from curate.llm.prompts import Prompt
from curate.llm.requests import Request, chat
from curate.llm.schemas import greedy, record, text, tokens_for
from curate.llm.structured import Answer

REASON_LETTERS = 200
SCHEMA = record(reason=text(REASON_LETTERS), same={"type": "string", "enum": ["yes", "no"]})
DECLINES = "one of them declines to answer"
SAME_WORDS = "the same words"
NO_JUDGEMENT = "no usable judgement"


@dataclass(frozen=True)
class Equivalence:
    """Judgement on a pair of answers: whether they say the same, and why; None where nobody knows."""

    same: bool | None
    reason: str


def judge_equivalence(
    client: EngineClient, pairs: Sequence[AnswerPair], prompt: Prompt, stage: str
) -> list[Equivalence]:
    """Return whether the answers of each pair say the same.

    Args:
        client: of the engine that judges.
        pairs: questions with two answers.
        prompt: asks whether `first` and `second` say the same.
        stage: name of the calls in the bill.

    Raises:
        UserError: the engine no longer answers.
    """
    plain = _without_judge(pairs)
    requests = [
        request
        for pair, judged in zip(pairs, plain, strict=True)
        if judged is None
        for request in (_ask(pair, prompt), _ask(_swapped(pair), prompt))
    ]
    answers = iter(ask_all(client, requests, stage))
    return [judged or _judged(next(answers)[0], next(answers)[0]) for judged in plain]


def _without_judge(pairs: Sequence[AnswerPair]) -> list[Equivalence | None]:
    declines = [
        find_refusal(
            pl.DataFrame(
                {"prompt": [pair.question for pair in pairs], "response": texts},
                schema={"prompt": pl.String, "response": pl.String},
            )
        ).is_not_null()
        for texts in ([pair.one for pair in pairs], [pair.other for pair in pairs])
    ]
    judged: list[Equivalence | None] = []
    for pair, one, other in zip(pairs, *declines, strict=True):
        if alike(pair.one, pair.other):
            judged.append(Equivalence(same=True, reason=SAME_WORDS))
        else:
            judged.append(Equivalence(same=False, reason=DECLINES) if one != other else None)
    return judged


def _swapped(pair: AnswerPair) -> AnswerPair:
    return AnswerPair(pair.question, pair.other, pair.one)


def _ask(pair: AnswerPair, prompt: Prompt) -> Request:
    turns = prompt.fill(
        question=shorten_middle(pair.question),
        first=shorten_middle(pair.one),
        second=shorten_middle(pair.other),
    )
    return chat(turns, sampling=greedy(tokens_for(REASON_LETTERS + 30)), schema=SCHEMA)


def _judged(ahead: Answer, behind: Answer) -> Equivalence:
    """Return what both orders say; a no in one of them decides, whatever came of the other."""
    usable = [answer for answer in (ahead, behind) if answer.ok]
    refuted = [answer for answer in usable if answer.value["same"] == "no"]
    if refuted:
        return Equivalence(same=False, reason=str(refuted[0].value["reason"]))
    if len(usable) < 2:
        return Equivalence(same=None, reason=NO_JUDGEMENT)
    return Equivalence(same=True, reason=str(ahead.value["reason"]))
