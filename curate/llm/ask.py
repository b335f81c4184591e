"""The one way in which methods ask a model: cached, validated, limited and billed.

with EngineClient(engine, cache=Cache(path), limits=Limits(calls=500)) as client:
    for request, answers in zip(requests, client.ask(requests, stage="aide.topics")):
        ...                                       # request.sampling.n answers each, in order
    if client.stopped: ...                         # a limit was reached: keep what there is
manifest["generation"] = client.bill.to_dict()
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import orjson

from curate.core.errors import UserError
from curate.llm.cache import Cache, key_of
from curate.llm.engines.engine import Engine
from curate.llm.failures import Faults
from curate.llm.limits import Bill, Limits, Usage, exceeded
from curate.llm.progress import Progress
from curate.llm.requests import UNSENT, Call, Completion, Request
from curate.llm.structured import Answer, Retries, check_schema, judge, next_try

LOG = logging.getLogger("curate")


@dataclass(frozen=True)
class RequestEstimate:
    """What a list of requests would take: exact counts of the prompts, the most that can be written.

    calls are those to be sent; `cached` ones are stored. `exact` is false where prompts are estimated.
    """

    calls: int
    cached: int
    prompt_tokens: int
    most_completion_tokens: int
    most_cost: float
    exact: bool


class EngineClient:
    """An engine with its cache, retries, limits and bill.

    Args:
        engine: completes the calls.
        cache: None to keep no answers.
        limits: hard ones, over all that is asked of this client.
        retries: for answers under a schema.
        beside: another client, whose bill, limits and faults it shares.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        cache: Cache | None = None,
        limits: Limits | None = None,
        retries: Retries | None = None,
        beside: "EngineClient | None" = None,
    ) -> None:
        self.engine = engine
        self.bill: Bill = Bill() if beside is None else beside.bill
        self.stopped: str | None = None
        self._cache = cache
        self._limits: Limits = limits or (Limits() if beside is None else beside._limits)
        self._retries = retries or Retries()
        self._identity = engine.identity()
        self._failures_in_a_row = 0
        self._reached = False
        self.faults: Faults = Faults() if beside is None else beside.faults
        self._useless: set[str] = set()

    def __enter__(self) -> "EngineClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the cache and the engine."""
        if self._cache is not None:
            self._cache.close()
        self.engine.close()

    def ask(self, requests: Sequence[Request], *, stage: str) -> list[list[Answer]]:
        """Return sampling.n answers to each request, in their order.

        Requests that are alike to the seed have the same answers and are sent once. When a limit is
        reached, `stopped` says which, and what could not be sent has the failure "unsent"; answers that
        are stored still come.

        Raises:
            UserError: a schema is none, or the engine cannot be used as it is configured.
        """
        # Thousands of requests share a schema, and to check one takes as long as to write a word.
        schemas = {orjson.dumps(r.schema): r.schema for r in requests if r.schema is not None}
        for schema in schemas.values():
            check_schema(schema)
        calls = _calls_of(requests)
        started = time.monotonic()
        with Progress(stage) as progress:
            answers = self._answer(calls, self.bill.stage(stage), progress)
        self.bill.stage(stage).seconds += time.monotonic() - started
        warning = self.faults.add(stage, calls, answers)
        if warning:
            LOG.warning("%s: %s", stage, warning)
        misplaced = sum(answer.completion.misplaced for answer in answers)
        if misplaced:
            LOG.warning(
                "%s: %s of %s answers stood where the server puts reasoning, and were read from there; "
                "see its option for parsing reasoning", stage, f"{misplaced:,}", f"{len(answers):,}",
            )  # fmt: skip
        slots = iter(answers)
        return [[next(slots) for _ in range(request.sampling.n)] for request in requests]

    def resume(self) -> bool:
        """Go on after calls that had no answer; return whether that may be: a limit ends all."""
        if self.stopped is not None and exceeded(self._limits, self.bill.total()) is None:
            self.stopped, self._failures_in_a_row = None, 0
        return self.stopped is None

    def unheard(self, method: str) -> str | None:
        """Return what went wrong with all that a method asked; None if the model said anything."""
        return self.faults.of_method(method)

    def counts(self) -> dict[str, Any]:
        """Return what was spent, and how many answers were withheld and calls unanswered, if any.

        The store makes a step with unanswered calls again (curate.core.store.Artifact.unanswered).
        """
        total = self.bill.total()
        spent = {"calls": total.calls, "tokens": total.tokens, "cost": round(total.cost, 6)}
        lacking = {"withheld": self.faults.withheld, "unanswered": self.faults.unanswered}
        return spent | {name: count for name, count in lacking.items() if count}

    def check_answered(self) -> None:
        """Fail if a question had no answer at all, for any row; the next run asks it anew.

        Raises:
            UserError: says which fault it was most often, and shows one.
        """
        unheard = self.faults.sentences(unheard=True)
        if unheard:
            self.forget_useless()
            raise UserError("; ".join(unheard))
        self.warn_useless()

    def warn_useless(self) -> None:
        """Tell of each question of which no answer was of use, though the model said something."""
        for sentence in self.faults.sentences():
            LOG.warning("%s", sentence)

    def forget_useless(self) -> None:
        """Remove answers that were of no use from the cache, so that the next run asks anew."""
        if self._cache is not None:
            self._cache.remove(self._useless)

    def estimate(self, requests: Sequence[Request]) -> RequestEstimate:
        """Return what `ask` would send, before anything is spent; answers drawn anew come on top."""
        calls = {key_of(self._identity, call): call for call in _calls_of(requests)}
        stored = self._cache.find(list(calls)) if self._cache else {}
        missing = [call for key, call in calls.items() if key not in stored]
        # Samples of one request share its prompt.
        prompts = {id(call.request): 0 for call in missing}
        for call in missing:
            prompts[id(call.request)] = prompts[id(call.request)] or self.engine.count_prompt(
                call.request
            )
        read = sum(prompts[id(call.request)] for call in missing)
        written = sum(call.sampling.max_tokens for call in missing)
        cost = self.engine.cost(read, written)
        return RequestEstimate(len(missing), len(stored), read, written, cost, self.engine.exact)

    def _answer(self, calls: Sequence[Call], spent: Usage, progress: Progress) -> list[Answer]:
        """Return one answer a call; useless ones are asked for again, all at once."""
        answers: dict[int, Answer] = {}
        longer: set[int] = set()
        pending = dict(enumerate(calls))
        while pending:
            callbacks = _CallbackRecorder(self, spent, progress, again=bool(answers))
            completed = self._complete(list(pending.values()), callbacks)
            again: dict[int, Call] = {}
            for (slot, call), (completion, cached) in zip(pending.items(), completed, strict=True):
                draws = answers[slot].draws + 1 if slot in answers else 1
                if completion is UNSENT and slot in answers:
                    continue
                answers[slot] = replace(judge(call, completion), draws=draws, cached=cached)
                if answers[slot].failure is not None:
                    self._useless.add(key_of(self._identity, call))
                further = next_try(call, answers[slot], self._retries, longer=slot in longer)
                if further is not None:
                    again[slot] = further
                    if answers[slot].failure == "truncated":
                        longer.add(slot)
            pending = again
        for answer in answers.values():
            if answer.failure is not None:
                spent.useless[answer.failure] = spent.useless.get(answer.failure, 0) + 1
        return [answers[slot] for slot in range(len(calls))]

    def _complete(
        self, calls: Sequence[Call], callbacks: "_CallbackRecorder"
    ) -> list[tuple[Completion, bool]]:
        """Return a completion for each call and whether it was stored before."""
        keys = [key_of(self._identity, call) for call in calls]
        stored = self._cache.find(list(dict.fromkeys(keys))) if self._cache else {}
        missing = {k: call for k, call in zip(keys, calls, strict=True) if k not in stored}
        callbacks.expect(list(missing), sum(key in stored for key in keys))
        if missing:
            self.engine.complete(list(missing.values()), callbacks)
        completions = callbacks.completions
        return [(stored.get(key) or completions.get(key, UNSENT), key in stored) for key in keys]

    def _reserve_call(self, spent: Usage) -> bool:
        """Return whether another call may be sent, and count it if so."""
        if self.stopped is None:
            self.stopped = exceeded(self._limits, self.bill.total())
        if self.stopped is None:
            spent.calls += 1
        return self.stopped is None

    def _note(self, completion: Completion) -> None:
        """Stop when call after call has no answer.

        Calls that a server rejects say nothing of the others, once it has answered one.
        """
        lost = completion.finish == "failed" and completion.sends > 0
        self._reached = self._reached or completion.finish != "failed"
        if lost and self._reached and completion.rejected:
            return
        self._failures_in_a_row = self._failures_in_a_row + 1 if lost else 0
        if self.stopped is None and self._failures_in_a_row >= self._limits.failures:
            self.stopped = (
                f"{self._failures_in_a_row} calls in a row had no answer; the last one: "
                f"{completion.error}"
            )

    def _keep(self, key: str, completion: Completion) -> Completion:
        if self._cache is None:
            return completion
        return self._cache.keep(key, completion, self._identity)


class _CallbackRecorder:
    """Stores and counts each completion as soon as the engine has it.

    again: the calls are for answers that were of no use.
    """

    def __init__(
        self, client: EngineClient, spent: Usage, progress: Progress, *, again: bool
    ) -> None:
        self._client, self._spent, self._progress, self._again = client, spent, progress, again
        self.completions: dict[str, Completion] = {}

    def expect(self, keys: Sequence[str], stored: int) -> None:
        self._keys = keys
        self._spent.cached += stored
        self._progress.expect(len(keys), stored)

    def reserve_call(self) -> bool:
        return self._client._reserve_call(self._spent)

    def on_completion(self, position: int, completion: Completion) -> None:
        key = self._keys[position]
        self.completions[key] = self._client._keep(key, completion)
        self._spent.add(completion)
        self._spent.retried += self._again
        self._progress.add(completion)
        self._client._note(completion)

    def on_probe(self, completion: Completion) -> None:
        self._spent.add(completion)


def _calls_of(requests: Sequence[Request]) -> list[Call]:
    return [Call(request, k) for request in requests for k in range(request.sampling.n)]


def manifest_of(client: EngineClient) -> Mapping[str, Any]:
    """Return what a manifest says of a run's generation: the model, the bill, why it ended early.

    `structured` says how a server was asked for JSON, if it was.
    """
    return {
        "engine": client.engine.identity(),
        "structured": getattr(client.engine, "structured", None),
        "bill": client.bill.to_dict(),
        "stopped": client.stopped,
    }
