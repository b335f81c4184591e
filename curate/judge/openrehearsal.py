"""Rehearsal of rows with open answers: a judge says whether the model's own answer is as right.

SSR and S3FT (Gupta et al. 2024 and 2025, arXiv:2409.04787, arXiv:2502.08130) take a row's own answer by
the model where it is equivalent to the response, then its paraphrase of the response where that is, else
the response. Answers with a value are compared by it (curate.judge.rehearsal); for others the papers ask
a model to judge. Here that is curate.judge.equivalence: in both orders, and with no judge where only one
of the two declines, after their heuristic for questions without an answer. The prompts are ours.

Cost a row: a call and two judgements, and as much again where its own answer is not as right.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import polars as pl

from curate.core.keyed import EngineSource
from curate.core.rows import Message, normalise, response_text
from curate.judge.equivalence import Equivalence, judge_equivalence
from curate.judge.probes import METHOD, text_of
from curate.judge.routes import Route, answered, rephrasing
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, open_client, question_text
from curate.llm.compare import AnswerPair
from curate.llm.prompts import MethodPrompts
from curate.llm.reasoning import holds_marks
from curate.llm.requests import Request, chat
from curate.llm.schemas import greedy

EQUIVALENT = "equivalent"
JUDGEMENT_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "route": pl.String(),
        "text": pl.String(),
        "same": pl.Boolean(),
        "reason": pl.String(),
    }
)


@dataclass(frozen=True)
class Judgement:
    """Judgement on what may take the place of a row's response, by the route on which it came."""

    row_id: str
    route: str
    text: str
    same: bool | None
    reason: str


@contextmanager
def judging_client(
    judge: EngineSource, engine: EngineSource, client: EngineClient
) -> Iterator[EngineClient]:
    """Yield a client of the judge: the one that there is, where the model judges itself.

    Raises:
        UserError: at the end, if no answer to anything was of use.
    """
    if judge.identity == engine.identity:
        yield client
        return
    with open_client(judge) as other:
        yield other


def is_open(messages: Sequence[Message]) -> bool:
    """Return whether turns end with a text that answers."""
    last = messages[-1]
    return bool(
        last["role"] == "assistant"
        and not last.get("tool_calls")
        and response_text(messages).strip()
    )


@dataclass(frozen=True)
class OpenRehearsal:
    """What answers, what judges, and what both are asked; max_tokens: of an answer."""

    client: EngineClient
    judge: EngineClient
    prompts: MethodPrompts
    max_tokens: int

    def rehearse(self, rows: pl.DataFrame) -> tuple[list[Route], list[Judgement]]:
        """Return for each open row the first of self, paraphrase and gold, and all judgements.

        Rows that this stage made are none: what it taught them is no response to compare with.

        Raises:
            UserError: an engine no longer answers.
        """
        pairs = rows.filter(pl.col("method").ne_missing(METHOD)).select("row_id", "messages")
        messages = {row_id: turns for row_id, turns in pairs.iter_rows() if is_open(turns)}
        judgements = self._try("self", messages, {i: m[:-1] for i, m in messages.items()})
        own = {one.row_id: one for one in judgements if one.same}
        rest = {row_id: turns for row_id, turns in messages.items() if row_id not in own}
        asked_again = {row_id: rephrasing(m, self.prompts) for row_id, m in rest.items()}
        judgements += self._try("paraphrase", rest, asked_again)
        chosen = {one.row_id: one for one in judgements if one.same}
        routes = []
        for row_id, turns in messages.items():
            one = chosen.get(row_id)
            text = one.text if one else response_text(turns)
            routes.append(Route(row_id, one.route if one else "gold", answered(turns, text)))
        return routes, judgements

    def _try(
        self,
        route: str,
        messages: Mapping[str, Sequence[Message]],
        turns: Mapping[str, Sequence[Message]],
    ) -> list[Judgement]:
        """Return the judgements on what comes of a route; what cannot be used is not judged."""
        requests = [self._ask(turns[row_id]) for row_id in messages]
        answers = ask_all(self.client, requests, METHOD)
        texts = {i: text_of(answer) for i, (answer,) in zip(messages, answers, strict=True)}
        usable = {
            row_id: text
            for row_id, text in texts.items()
            if text and not holds_marks(text) and not _is_copy(route, text, messages[row_id])
        }
        pairs = [
            AnswerPair(question_text(messages[i]), response_text(messages[i]), text)
            for i, text in usable.items()
        ]
        judged = judge_equivalence(self.judge, pairs, self.prompts[EQUIVALENT], METHOD)
        return [
            _judgement(row_id, route, text, one)
            for (row_id, text), one in zip(usable.items(), judged, strict=True)
        ]

    def _ask(self, turns: Sequence[Message]) -> Request:
        return chat(turns, sampling=greedy(self.max_tokens))


def _is_copy(route: str, text: str, messages: Sequence[Message]) -> bool:
    """Return whether a paraphrase is the gold words again."""
    return route == "paraphrase" and normalise(text) == normalise(response_text(messages))


def _judgement(row_id: str, route: str, text: str, one: Equivalence) -> Judgement:
    return Judgement(row_id, route, text, one.same, one.reason)


def judgement_table(judgements: Sequence[Judgement]) -> pl.DataFrame:
    """Return judgements as a table (JUDGEMENT_SCHEMA)."""
    return pl.DataFrame([asdict(one) for one in judgements], schema=JUDGEMENT_SCHEMA)
