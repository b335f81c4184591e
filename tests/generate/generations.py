"""A Generation on a scripted or a real engine, from a few target rows and a small pool."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import regex
from numpy.typing import NDArray

from curate.core.methods import find_method
from curate.core.rows import Message
from curate.generate.candidates import Candidate, table_of
from curate.generate.generation import Generation, Generator, SeedExample
from curate.generate.novelty import words_of
from curate.generate.sift import CandidateFilter, Embed, PromptFragments
from curate.llm.ask import EngineClient
from curate.llm.cache import Cache
from curate.llm.engines.engine import Engine
from curate.llm.limits import Limits, YieldGuard
from curate.llm.prompts import MethodPrompts
from curate.testing import check_candidates
from tests.conftest import frame, row, turns

WIDTH = 2_048
SIGN = regex.compile(r"\d|[^\W\d]+|\S")
TARGET = (
    ("Which river flows through Cologne?", "The Rhine flows through Cologne."),
    ("Why does the sea rise twice a day?", "The moon pulls at the water, and the earth turns."),
    ("How long do bees live in summer?", "A worker bee lives for about six weeks."),
)
POOL = (
    ("Name a river of France.", "The Loire is one."),
    ("How many legs has a spider?", "It has eight legs."),
    ("What makes bread rise?", "Yeast makes gas, and the dough holds it."),
)


def by_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed as counts of words in many places: texts with the same words are one point."""
    vectors = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for i, text in enumerate(texts):
        for word in words_of(text):
            vectors[i, crc32(word.encode()) % WIDTH] += 1
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def word_tokens(texts: Sequence[str]) -> list[NDArray[np.float32]]:
    """Encode each word as a token, without its context: the same words are the same point."""
    return [
        np.stack([by_words([word])[0] for word in words_of(text)])
        if words_of(text)
        else np.zeros((0, WIDTH), dtype=np.float32)
        for text in texts
    ]


def count_signs(rows: Sequence[Sequence[Message]]) -> list[int]:
    """Count the digits, words and signs of rows, which stand for tokens."""
    return [sum(len(SIGN.findall(turn["content"])) for turn in row) for row in rows]


def example(row_id: str, prompt: str, response: str, system: str | None = None) -> SeedExample:
    head = [{"role": "system", "content": system}] if system else []
    return SeedExample(row_id, [*head, *turns(prompt, response)])  # type: ignore[list-item]


def examples(pairs: Sequence[tuple[str, str]] = TARGET) -> list[SeedExample]:
    return [example(f"target/{i}", *pair) for i, pair in enumerate(pairs, start=1)]


def generation(
    method: str,
    engine: Engine,
    *,
    target: Sequence[SeedExample] | None = None,
    unanswered: Sequence[SeedExample] = (),
    pool: Sequence[tuple[str, str]] = POOL,
    metas: Sequence[Mapping[str, Any]] = (),
    params: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    cache: Cache | None = None,
    embed: Embed = by_words,
    seed: int = 0,
    prompts: Path | None = None,
) -> tuple[Generation, Any]:
    """Return a method's run, set up as the generation step does it, and the method."""
    generator = find_method(Generator, method).model_validate(params or {})
    records = [json.dumps(meta) for meta in metas] or ["{}"] * len(pool)
    rows = frame(
        [
            row(f"pool/{i}", turns(*pair), meta=meta)
            for i, (pair, meta) in enumerate(zip(pool, records, strict=True), start=1)
        ]
    )
    files = MethodPrompts(generator.templates or method, prompts)
    candidate_filter = CandidateFilter(
        generator.filters, embed, PromptFragments(files[name].fixed_text for name in files.names())
    )
    targets = examples() if target is None else list(target)
    pool_and_target = [
        *targets,
        *(example(f"pool/{i}", *pair) for i, pair in enumerate(pool, start=1)),
    ]
    candidate_filter.know(
        [e.prompt for e in pool_and_target], [f"{e.prompt}\n{e.response}" for e in pool_and_target]
    )
    run = Generation(
        method=method,
        seed=seed,
        target=targets,
        unanswered=unanswered,
        pool=rows.lazy(),
        client=EngineClient(engine, cache=cache, limits=limits),
        prompts=files,
        candidate_filter=candidate_filter,
        embed=embed,
        guard=YieldGuard(method, least=generator.least_yield, after=50),
        encoder=word_tokens if generator.reads_tokens else None,
        token_counter=count_signs if generator.counts_tokens else None,
    )
    return run, generator


def generate(method: str, engine: Engine, **settings: Any) -> Generation:
    """Return a method's run after all was made, with its books checked."""
    run, generator = generation(method, engine, **settings)
    generator.generate(run)
    check_candidates(run)
    return run


def candidate_records(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Return candidates as plain values, to compare two runs."""
    return table_of(candidates).to_dicts()


def reject_reasons(candidates: Sequence[Candidate]) -> list[str | None]:
    return [c.reject_reason.value if c.reject_reason else None for c in candidates]
