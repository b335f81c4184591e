"""What all that asks a language model about rows shares: seeds, texts, a bill, one way to stop."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from curate.core.errors import UserError
from curate.core.keyed import EngineSource
from curate.core.rows import Message, turn_text
from curate.llm.ask import EngineClient
from curate.llm.engines import engine_of
from curate.llm.requests import Request
from curate.llm.sharedcache import open_cache
from curate.llm.structured import Answer

MAX_TEXT_LETTERS = 6_000
CUT = "\n[...]\n"


@contextmanager
def open_client(engine: EngineSource) -> Iterator[EngineClient]:
    """Yield a client of an engine (StepRun.engine).

    Raises:
        UserError: at the end, if no answer to anything was of use.
    """
    with EngineClient(engine_of(engine), cache=open_cache(engine)) as client:
        yield client
        client.check_answered()


def ask_all(client: EngineClient, requests: Sequence[Request], stage: str) -> list[list[Answer]]:
    """Return sampling.n answers to each request.

    Raises:
        UserError: the engine no longer answers; what has come is kept for the next run.
    """
    answers = client.ask(requests, stage=stage) if requests else []
    if client.stopped:
        raise UserError(
            f"{stage}: {client.stopped}\nThe answers so far are kept: run again when the engine works."
        )
    return answers


def llm_counts(client: EngineClient) -> dict[str, Any]:
    """Return what was spent, as the counts of a step tell it."""
    return client.counts()


def seed_of(seed: int, *texts: str) -> int:
    """Return a seed made of the run's seed and texts alone, from 0 to 2**31 - 1."""
    digest = hashlib.blake2b(digest_size=4)
    for text in (str(seed), *texts):
        digest.update(f"{len(text)}\x1f{text}".encode(errors="surrogatepass"))
    return int.from_bytes(digest.digest()) % 2**31


def question_text(messages: Sequence[Message]) -> str:
    """Return all that stands before the response; roles are named where there is more than one turn."""
    turns = messages[:-1]
    if len(turns) == 1:
        return shorten_middle(turn_text(turns[0]))
    transcript = "\n\n".join(f"{m['role'].capitalize()}: {turn_text(m)}" for m in turns)
    return shorten_middle(transcript)


def shorten_middle(text: str, letters: int = MAX_TEXT_LETTERS) -> str:
    """Return a long text without its middle: what is asked stands at the start or at the end."""
    half = letters // 2
    return text if len(text) <= letters else f"{text[:half]}{CUT}{text[-half:]}"
