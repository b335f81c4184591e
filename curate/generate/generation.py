"""What a generation method works with: examples, a model to ask, prompts, filters, and its own record.

def generate(self, run: Generation) -> None:
    requests = [run.request("refine", row["row_id"], SAMPLING, prompt=...) for row in run.target...]
    for answers in run.ask("refine", requests): ...
    run.filter(candidates)        # the common filters; what was made is on record either way

Whatever a method draws comes from `run.rng(names)`, and every request has a seed of its own made from
its name: neither batches nor the order of work change what is made.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.methods import Method
from curate.core.rows import Message, prompt_text, response_text
from curate.core.section import Section
from curate.core.turntext import plain_messages
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.engines import NamedEngine
from curate.generate.generator_section import GeneratorRecord, generator_section
from curate.generate.sift import CandidateFilter, Embed, Filters
from curate.llm.ask import EngineClient
from curate.llm.limits import YieldGuard
from curate.llm.prompts import MethodPrompts
from curate.llm.requests import Request, Sampling, chat
from curate.llm.structured import Answer

Name = str | int
EncodeTokens = Callable[[Sequence[str]], Iterable[NDArray[np.float32]]]
CountTokens = Callable[[Sequence[Sequence[Message]]], list[int]]
FLAWS: Mapping[str, RejectReason] = {
    "truncated": RejectReason.TRUNCATED,
    "repetition": RejectReason.REPEATS_ITSELF,
    "refused": RejectReason.REFUSED,
    "filtered": RejectReason.FILTERED,
    "empty": RejectReason.EMPTY,
    "only_reasoning": RejectReason.ONLY_REASONING,
    "unknown": RejectReason.FAILED,
    "failed": RejectReason.FAILED,
    "invalid_json": RejectReason.INVALID,
    "schema_violation": RejectReason.INVALID,
}


@dataclass(frozen=True)
class SeedExample:
    """A row that a method starts from."""

    row_id: str
    messages: Sequence[Message]
    origin: str | None = None

    @property
    def prompt(self) -> str:
        """Return the text of its user turns."""
        return prompt_text(self.messages)

    @property
    def response(self) -> str:
        """Return the text of its last turn."""
        return response_text(self.messages)


@dataclass
class Generation:
    """One method's run: what it reads, and all candidates that it made so far.

    `unanswered` are the recipe's prompts without a response. `tables` are written beside the rows, for
    the report. `digests` are those of the files that the method reads, by the parameter that names them
    and by their names. `engines` are those of the method's own, by the parameters that name them.
    `encoder` returns unit vectors of the tokens of texts, where the method compares these, and
    `token_counter` the lengths of rows as the base model reads them, where it counts these.
    """

    method: str
    seed: int
    target: Sequence[SeedExample]
    pool: pl.LazyFrame
    client: EngineClient
    prompts: MethodPrompts
    candidate_filter: CandidateFilter
    embed: Embed
    guard: YieldGuard
    candidates: list[Candidate] = field(default_factory=list)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unanswered: Sequence[SeedExample] = ()
    encoder: EncodeTokens | None = None
    token_counter: CountTokens | None = None
    engines: Mapping[str, Sequence[NamedEngine]] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Return whether a limit was reached: keep what there is and ask no more."""
        others = [engine.client for ones in self.engines.values() for engine in ones]
        return any(client.stopped is not None for client in (self.client, *others))

    @property
    def kept(self) -> list[Candidate]:
        """Return the candidates that are kept so far."""
        return [c for c in self.candidates if c.reject_reason is None]

    def rng(self, *names: Name) -> np.random.Generator:
        """Return the source of randomness of a named part of the work."""
        return np.random.default_rng(self.seed_of(*names))

    def seed_of(self, *names: Name) -> int:
        """Return a seed from 0 to 2**31 - 1, made from the run's seed, the method and names."""
        identity = orjson.dumps([self.seed, self.method, *names])
        return int.from_bytes(hashlib.blake2b(identity, digest_size=4).digest(), "big") % 2**31

    def encode_tokens(self, texts: Sequence[str]) -> Iterable[NDArray[np.float32]]:
        """Return unit vectors [L, d] of the tokens of each text.

        Raises:
            UserError: the run has no encoder, since the method does not say that it `reads_tokens`.
        """
        if self.encoder is None:
            raise UserError(
                f"{self.method}: there is no encoder of tokens; let `reads_tokens` be True"
            )
        return self.encoder(texts)

    def count_tokens(self, rows: Sequence[Sequence[Message]]) -> list[int]:
        """Return the length of each row in tokens, in the base model's chat template.

        Raises:
            UserError: the run has no tokenizer, since the method does not say that it `counts_tokens`.
        """
        if self.token_counter is None:
            raise UserError(f"{self.method}: there is no tokenizer; let `counts_tokens` be True")
        return self.token_counter(rows)

    def request(
        self,
        prompt: str,
        name: Sequence[Name],
        sampling: Sampling,
        *,
        schema: Mapping[str, JSON] | None = None,
        prefix: str = "",
        **slots: Any,
    ) -> Request:
        """Return a request made from one of the method's prompts.

        Args:
            prompt: name of the prompt file.
            name: what tells this request from all others of the method; its seed is made of it.
            sampling: its seed is replaced.
            schema: JSON Schema that the answer must meet.
            prefix: how the answer opens.
            slots: what the prompt asks for.
        """
        seeded = sampling.model_copy(update={"seed": self.seed_of(prompt, *name)})
        turns = self.prompts[prompt].fill(**slots)
        return chat(turns, sampling=seeded, schema=schema, prefix=prefix)

    def ask(
        self, stage: str, requests: Sequence[Request], engine: NamedEngine | None = None
    ) -> list[list[Answer]]:
        """Return the answers to each request, in their order; nothing is sent for an empty list.

        What an engine of the method's own is asked has a line of the bill with its name.
        """
        if not requests:
            return []
        if engine is None:
            return self.client.ask(requests, stage=f"{self.method}.{stage}")
        return engine.client.ask(requests, stage=f"{self.method}.{stage} ({engine.name})")

    def ask_one(self, stage: str, requests: Sequence[Request]) -> list[Answer]:
        """Return the first answer to each request."""
        return [answers[0] for answers in self.ask(stage, requests)]

    def filter(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Put candidates through the common filters and on record; return those that are kept.

        Raises:
            LowYield: nearly all that was made so far is dropped.
        """
        return self.record(self.candidate_filter.filter(candidates))

    def record(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Put candidates on record that the common filters have seen; return those that are kept.

        Raises:
            LowYield: nearly all that was made so far is dropped.
        """
        self.candidates.extend(candidates)
        for candidate in candidates:
            if candidate.reject_reason is None:
                self.guard.keep()
            else:
                sample = f"{candidate.prompt} => {candidate.response} {candidate.detail}"
                self.guard.drop(candidate.reject_reason.value, sample)
        return [candidate for candidate in candidates if candidate.reject_reason is None]


def reject_reason_of(answer: Answer) -> RejectReason | None:
    """Return why an answer makes no candidate, None if it may.

    Raises:
        KeyError: the answer was never asked for (a limit was reached); ask `was_sent` first.
    """
    return None if answer.failure is None else FLAWS[answer.failure]


def with_reasoning(candidate: Candidate, stage: str, answer: Answer) -> Candidate:
    """Return the candidate with what the model thought in its notes, by what it was asked."""
    if not answer.reasoning:
        return candidate
    thought = {**candidate.notes.get("reasoning", {}), stage: answer.reasoning}
    return candidate.add_notes(reasoning=thought)


def was_sent(answer: Answer) -> bool:
    """Return whether there is anything to say about an answer at all."""
    return answer.failure != "unsent"


def read_examples(rows: pl.DataFrame) -> list[SeedExample]:
    """Return rows as examples, in their order."""
    columns = rows.select("row_id", "messages", "origin").iter_rows()
    return [
        SeedExample(row_id, plain_messages(messages), origin)
        for row_id, messages, origin in columns
    ]


class Generator(Method):
    """A way to make rows with a language model: what it makes goes on the record of its Generation.

    Attributes:
        needs: what it cannot do without: "target" examples, "prompts" without a response, a "pool".
        reads: the parameters that are paths of files, whose contents then count, not their names.
        later: the parameters that came after its results were first stored; they are no part of what
            these are stored under while they have their defaults.
        templates: the folder of its prompts, if that is not called as the method is.
        own_engines: the parameters that are engines of its own, or lists of these.
    """

    family: ClassVar[str] = "generator"
    packages: ClassVar[tuple[str, ...]] = ("curate.generate.methods",)
    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    later: ClassVar[tuple[str, ...]] = ()
    templates: ClassVar[str] = ""
    own_engines: ClassVar[tuple[str, ...]] = ()

    filters: Filters = Filters()
    least_yield: float = Field(
        0.0, ge=0, le=1, description="stop when a smaller share of the candidates is kept"
    )

    def generate(self, run: Generation) -> None:
        """Put what it makes on the record of its run."""
        raise NotImplementedError

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most.

        Args:
            targets: number of target examples; of prompts without a response where it needs those.
            pool_rows: number of rows in the pool.
        """
        raise NotImplementedError

    @property
    def reads_tokens(self) -> bool:
        """Return whether it compares texts token by token."""
        return False

    @property
    def counts_tokens(self) -> bool:
        """Return whether it counts tokens of the base model."""
        return False

    @property
    def asks(self) -> bool:
        """Return whether it asks the engine of `generate`; where no method does, none is loaded."""
        return True

    def needed(self) -> tuple[str, ...]:
        """Return what it cannot do without under its parameters."""
        return self.needs

    def section(self, record: GeneratorRecord) -> Section | None:
        """Return what the report tells of it: its yield, hops, kept rows and rejects."""
        return generator_section(record)
