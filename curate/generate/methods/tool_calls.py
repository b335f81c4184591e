"""Tool calls: requests that need calls of declared functions, the calls, what they return, the answer.

From a file of functions in OpenAI's form, after APIGen (Liu et al. 2024, "APIGen: Automated Pipeline for
Generating Verifiable and Diverse Function-Calling Datasets", arXiv:2406.18518):

    request   what somebody asks who needs one call, several at one time, or none
              (curate.generate.toolplans)
    call      the model is shown request and functions, and not what the request was written for; other
              calls than planned, calls that the rule `tools` would drop, and made-up values go
    result    the model stands in for the functions
    answer    from the results alone; a number of three digits or an address that none of them says goes

A row has the turns user, assistant with `tool_calls`, `tool` for each, and assistant; where no call is
needed, the request and an answer without one. It declares a few functions besides those that it calls.

Published: requests by one and several calls at one time from sampled functions, format checks first, and
requests that no function serves as a part of the data (the irrelevance of BFCL; Ross et al. 2025,
"When2Call: When (not) to Call Tools", arXiv:2504.18851). Departures: APIGen runs its functions and has a
model compare query, calls and results; here results are simulated, and that the calls come out as
planned without the plan takes the place of the comparison. Personas, prompts and the even use of
functions are ours, and so is the check of the answer's numbers. A question back for what is missing,
as in When2Call, is not among the kinds.

Calls: 4 for each row, 3 where no call is needed.

Pitfalls: results are inventions, so rows teach when and how to call and no facts. An answer that opens
with an apology goes as `refused`, as from all generators.
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.drafts import ask_each
from curate.generate.functions import read_functions
from curate.generate.generation import Generation, Generator
from curate.generate.tooldialogues import ToolDialogues
from curate.generate.toolplans import count_kinds, plan_requests
from curate.llm.requests import Sampling, TopP
from curate.llm.schemas import REPEATS

VERSION = 1


@method
class ToolCallsGenerator(Generator):
    """Requests, calls of declared functions, simulated results, and answers."""

    version: ClassVar[int] = VERSION
    reads: ClassVar[tuple[str, ...]] = ("tools",)

    method: Literal["tool_calls"] = "tool_calls"
    tools: str = Field(
        description="file of functions: a JSON list in the form of OpenAI's `tools`",
        examples=["tools.json"],
    )
    rows: int = Field(100, ge=1, description="requests that are tried")
    parallel: float = Field(0.25, ge=0, le=1, description="share that needs several calls at once")
    irrelevance: float = Field(0.2, ge=0, le=1, description="share that no function can serve")
    calls: int = Field(3, ge=2, le=10, description="calls of one request at most")
    offered: int = Field(5, ge=1, description="functions that a row declares at most")
    temperature: float = Field(1.0, ge=0, description="of requests and results; the rest is greedy")
    top_p: TopP = 0.95
    max_tokens: int = Field(512, ge=64, description="of a request, of results, and of an answer")

    @model_validator(mode="after")
    def _check(self) -> "ToolCallsGenerator":
        if self.parallel + self.irrelevance > 1:
            raise ValueError(
                "parallel and irrelevance are shares of the same rows: at most 1 together"
            )
        return self

    def check(self) -> None:
        """Fail if the file of functions cannot be used.

        Raises:
            UserError: it cannot be read, or says what no function is declared by.
        """
        read_functions(self.tools)

    def generate(self, run: Generation) -> None:
        """Plan and write requests, have them served, and put the rows on record."""
        digest = next(iter(run.digests.get("tools", {}).values()), None)
        catalogue = read_functions(self.tools, digest)
        shares = (self.parallel, self.irrelevance)
        rng = run.rng("plans")
        plans = plan_requests(catalogue.names, self.rows, shares, self.calls, self.offered, rng)
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            repeats=REPEATS,
        )
        writing = ToolDialogues(run, catalogue, plans, sampling, self.calls)
        drafts = writing.drafts()
        try:
            drafts = ask_each(run, "request", drafts, writing.ask_request, writing.take_request)
            drafts = run.candidate_filter.screen(drafts)
            drafts = ask_each(run, "call", drafts, writing.ask_calls, writing.take_calls)
            drafts = writing.simulate(drafts)
            run.filter(ask_each(run, "answer", drafts, writing.ask_answer, writing.take_answer))
        finally:
            run.tables["functions"] = writing.table()

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        _, irrelevant = count_kinds(self.rows, (self.parallel, self.irrelevance))
        calls = 4 * self.rows - irrelevant
        return Workload(calls=calls, answer_tokens=self.max_tokens, rows=self.rows)
