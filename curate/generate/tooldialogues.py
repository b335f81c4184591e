"""Dialogues with calls of functions, turn by turn: request, calls, what they return, the answer.

    user        When does a boat leave Skarv on Friday?
    assistant   ferry_times {"harbour": "Skarv", "day": "Friday"}
    tool        {"departures": ["07:40", "16:15"]}
    assistant   At 07:40 and at 16:15.

Ids of calls have nine letters and digits, which is what the strictest chat templates take.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson
import polars as pl

from curate.answers.toolcalls import (
    call_faults,
    declared_functions,
    find_unsaid,
    made_up_values,
    squeeze,
)
from curate.core.jsontext import dump_json
from curate.core.jsontypes import JSON
from curate.core.rows import Message, ToolCall, call_text, turn_text
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.functions import FunctionCatalogue
from curate.generate.generation import Generation
from curate.generate.personas import read_personas
from curate.generate.toolplans import ToolPlan
from curate.llm.requests import Request, Sampling
from curate.llm.schemas import array, characters_for, greedy, record, text
from curate.llm.structured import Answer

FUNCTION_SCHEMA = pl.Schema(
    {"kind": pl.String(), "functions": pl.String(), "tried": pl.Int64(), "kept": pl.Int64()}
)


class ToolDialogues:
    """The plans of requests, what is asked for them, and what becomes of the answers.

    sampling: how requests and results are drawn, and how long any answer may be.
    most_calls: of a request.
    """

    def __init__(
        self,
        run: Generation,
        catalogue: FunctionCatalogue,
        plans: Sequence[ToolPlan],
        sampling: Sampling,
        most_calls: int,
    ) -> None:
        self.run, self.catalogue, self.plans = run, catalogue, plans
        self.sampling, self.most_calls = sampling, most_calls
        self.personas = read_personas(None)
        self.letters = characters_for(sampling.max_tokens)
        self.request_schema = record(request=text(self.letters))

    def drafts(self) -> list[Candidate]:
        """Return what is to be written, each with the functions that it declares."""
        return [
            Candidate(
                [],
                self.run.method,
                notes={"number": number, "kind": plan.kind},
                tools=self.catalogue.declare(plan.offered),
            )
            for number, plan in enumerate(self.plans)
        ]

    def plan_of(self, draft: Candidate) -> ToolPlan:
        """Return what a draft was planned as."""
        number: int = draft.notes["number"]
        return self.plans[number]

    def ask_request(self, draft: Candidate) -> Request:
        """Return the request for what somebody asks."""
        plan, number = self.plan_of(draft), draft.notes["number"]
        persona = self.run.rng("persona", number).integers(len(self.personas))
        return self.run.request(
            "request",
            [number],
            self.sampling,
            schema=self.request_schema,
            functions=draft.tools,
            persona=self.personas[persona],
            kind=plan.kind,
            uses=plan.uses,
        )

    def take_request(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with what is asked."""
        turn: Message = {"role": "user", "content": answer.value["request"].strip()}
        cut = find_truncation(answer.value, self.request_schema)
        draft = replace(draft, messages=[turn])
        return draft.drop(*cut) if cut else draft

    def ask_calls(self, draft: Candidate) -> Request:
        """Return the question which calls a request takes, without those that it was written for."""
        offered = self.plan_of(draft).offered
        name = {"type": "string", "enum": list(offered)}
        call = record(name=name, arguments=text(self.letters))
        return self.run.request(
            "call",
            [draft.notes["number"]],
            greedy(self.sampling.max_tokens),
            schema=record(calls=array(call, self.most_calls, least=0)),
            functions=draft.tools,
            request=draft.prompt,
        )

    def take_calls(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with the calls, dropped if they are not as planned or cannot be right."""
        calls = [
            ToolCall(id=f"call{i:05d}", name=call["name"], arguments=_compact(call["arguments"]))
            for i, call in enumerate(answer.value["calls"], start=1)
        ]
        planned = self.plan_of(draft).uses
        if calls:
            turn: Message = {"role": "assistant", "content": "", "tool_calls": calls}
            draft = replace(draft, messages=[*draft.messages, turn])
        if Counter(call["name"] for call in calls) != Counter(planned):
            detail = f"calls {_listed(calls)}, not {', '.join(planned) or 'nothing'}"
            return draft.drop(RejectReason.OTHER_KIND, detail)
        rejection = find_call_rejection(draft)
        return draft.drop(*rejection) if rejection else draft

    def simulate(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts, those with calls with what these return; others wait for nothing."""
        calling = [draft for draft in drafts if _calls(draft)]
        results = ask_each(self.run, "result", calling, self.ask_results, self.take_results)
        by_number = {draft.notes["number"]: draft for draft in results}
        return [
            by_number.get(draft.notes["number"], draft)
            for draft in drafts
            # What was not sent because a limit was reached is in no list of results.
            if not _calls(draft) or draft.notes["number"] in by_number
        ]

    def ask_results(self, draft: Candidate) -> Request:
        """Return the request to stand in for the functions."""
        calls = _calls(draft)
        used = {call["name"]: None for call in calls}
        return self.run.request(
            "result",
            [draft.notes["number"]],
            self.sampling,
            schema=record(results=array(text(self.letters), len(calls), least=len(calls))),
            functions=self.catalogue.declare(list(used)),
            calls=[call_text(call) for call in calls],
        )

    def take_results(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with a turn for what each of its calls returned."""
        results: list[Message] = [
            {
                "role": "tool",
                "content": result.strip(),
                "tool_call_id": call["id"],
                "name": call["name"],
            }
            for call, result in zip(_calls(draft), answer.value["results"], strict=True)
        ]
        draft = replace(draft, messages=[*draft.messages, *results])
        if any(not turn["content"] for turn in results):
            return draft.drop(RejectReason.EMPTY, "a result")
        if any(len(turn["content"]) >= self.letters for turn in results):
            return draft.drop(RejectReason.TRUNCATED, f"a result of {self.letters} characters")
        return draft

    def ask_answer(self, draft: Candidate) -> Request:
        """Return the request for the answer, from the results or without any."""
        return self.run.request(
            "answer",
            [draft.notes["number"]],
            greedy(self.sampling.max_tokens),
            request=draft.prompt,
            functions=draft.tools,
            calls=[call_text(call) for call in _calls(draft)],
            results=[turn["content"] for turn in draft.messages if turn["role"] == "tool"],
        )

    def take_answer(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with its answer, dropped if that says what no result does."""
        said = squeeze("\n".join(map(turn_text, draft.messages)))
        turn: Message = {"role": "assistant", "content": answer.text.strip()}
        calling = bool(_calls(draft))
        draft = replace(draft, messages=[*draft.messages, turn])
        unsaid = find_unsaid(turn["content"], said) if calling else None
        if unsaid is None:
            return draft
        return draft.drop(RejectReason.UNSUPPORTED, f"it says {unsaid}, and no result does")

    def table(self) -> pl.DataFrame:
        """Return how many rows of each kind and function were tried and kept."""
        tried = Counter(map(_group, self.plans))
        kept = Counter(_group(self.plan_of(candidate)) for candidate in self.run.kept)
        lines = [(*group, tried[group], kept[group]) for group in sorted(tried)]
        return pl.DataFrame(lines, FUNCTION_SCHEMA, orient="row")


def find_call_rejection(draft: Candidate) -> tuple[RejectReason, str] | None:
    """Return what the rule `tools` finds wrong with the calls of a draft, or that two are the same."""
    functions = declared_functions(draft.tools)
    if fault := next(call_faults(draft.messages, functions), None):
        return RejectReason.BAD_TOOL_CALL, fault
    if value := next(made_up_values(draft.messages, functions), None):
        return RejectReason.BAD_TOOL_CALL, f"{value}, which the request does not say"
    texts = [_canonical(call) for call in _calls(draft)]
    if len(set(texts)) < len(texts):
        return RejectReason.BAD_TOOL_CALL, f"the same call twice: {_listed(_calls(draft))}"
    return None


def _compact(arguments: str) -> str:
    """Return arguments as rows have them; what is no JSON stays as it is, and is a fault."""
    try:
        return dump_json(orjson.loads(arguments))
    except orjson.JSONDecodeError:
        return arguments


def _canonical(call: ToolCall) -> str:
    arguments: Mapping[str, JSON] = orjson.loads(call["arguments"])
    return f"{call['name']} {dump_json(dict(sorted(arguments.items())))}"


def _calls(draft: Candidate) -> list[ToolCall]:
    return [call for turn in draft.messages for call in turn.get("tool_calls") or ()]


def _listed(calls: Sequence[ToolCall]) -> str:
    return ", ".join(call["name"] for call in calls) or "nothing"


def _group(plan: ToolPlan) -> tuple[str, str]:
    return plan.kind, ", ".join(sorted(plan.uses))
