"""Long rows from short ones: the prompt of a row among those of others, with the row's own response.

    Passage [1]              Passage [2]                          Do what passage [2] asks.
    Name a river of France.  What makes bread rise? ...

Published: Kwan et al. 2023, "M4LE: A Multi-Ability Multi-Range Multi-Task Multi-Domain Long-Context
Evaluation Benchmark for Large Language Models", arXiv:2310.19240, makes long examples so for evaluation:
what is asked for is named by its number (explicit) or by what it is about (semantic).

Ours: passages are whole prompts, so that the response is as right as it was in the pool; what it is
about are words that no other passage of the row has.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from curate.core.errors import UserError
from curate.generate.generation import SeedExample, read_examples
from curate.generate.novelty import words_of
from curate.generate.programs.question import DECILES, Draw, Question

HEADING_LETTERS = len("Passage [12]\n\n\n")
TOPIC_WORDS, TOPIC_LETTERS = 3, 5
# Of the pool, drawn; and how often in a row none may fit before a context is full.
MOST_ROWS, MISSES = 5_000, 200
# Of a decile, so that a passage that does not fit does not shift the answer out of it.
MIDDLE = 0.25, 0.75


def read_passages(pool: pl.LazyFrame, rng: np.random.Generator) -> list[SeedExample]:
    """Return the rows of a pool with one prompt and its response, each prompt once, in a drawn order.

    Raises:
        UserError: there are too few to put one among others.
    """
    roles = pl.col("messages").list.eval(pl.element().struct.field("role"))
    alone = (roles.list.len() == 2) & (roles.list.first() == "user")
    ids = pool.filter(alone & (roles.list.last() == "assistant")).select("row_id").collect()
    drawn = ids["row_id"].sort().gather(rng.permutation(ids.height)[:MOST_ROWS])
    rows = pool.filter(pl.col("row_id").is_in(drawn.implode())).collect().sort("row_id")
    by_prompt = {row.prompt.strip(): row for row in read_examples(rows) if row.prompt.strip()}
    if len(by_prompt) < DECILES:
        raise UserError(
            f"program: `long` puts rows of the pool among others, and the pool has {len(by_prompt)} "
            "with one prompt and one response; add rows, or leave `long` out of `tasks`"
        )
    examples = list(by_prompt.values())
    return [examples[i] for i in rng.permutation(len(examples))]


def draw_long(draw: Draw, size: int) -> Question:
    """Return the question to do what one of many passages asks, in about `size` characters."""
    rows, rng = draw.passages, draw.rng
    gold = rows[divmod(draw.number, len(rows))[1]]
    share = (draw.decile + rng.uniform(*MIDDLE)) / DECILES
    others = [rows[i] for i in rng.permutation(len(rows)) if gold.prompt not in rows[i].prompt]
    beside, _ = _fill(others, size - _length(gold))
    total = sum(map(_length, beside))
    before, after = _fill(beside, share * total)
    number = len(before) + 1
    topic = _topic(gold.prompt, [row.prompt for row in [*before, *after]])
    by_topic = bool(topic) and rng.random() < 0.5
    quoted = " and ".join(f'"{word}"' for word in topic)
    ordered = [*before, gold, *after]
    return Question(
        slots={
            "passage": f"the passage that speaks of {quoted}" if by_topic else f"passage [{number}]"
        },
        answer=gold.response,
        context="\n\n".join(
            f"Passage [{i}]\n{row.prompt.strip()}" for i, row in enumerate(ordered, start=1)
        ),
        needle=gold.prompt.strip(),
        position=sum(map(_length, before)) / max(total, 1),
        parents=[row.row_id for row in [gold, *before, *after]],
    )


def _length(row: SeedExample) -> int:
    return len(row.prompt.strip()) + HEADING_LETTERS


def _fill(rows: Sequence[SeedExample], room: float) -> tuple[list[SeedExample], list[SeedExample]]:
    """Return the rows that fit into so many characters, in their order, and all others."""
    taken: list[SeedExample] = []
    passed: list[SeedExample] = []
    misses = 0
    for i, row in enumerate(rows):
        if misses == MISSES:
            return taken, [*passed, *rows[i:]]
        if _length(row) <= room:
            taken.append(row)
            room -= _length(row)
            misses = 0
        else:
            passed.append(row)
            misses += 1
    return taken, passed


def _topic(text: str, others: Iterable[str]) -> list[str]:
    """Return the longest words of a text that no other has, in their order in it."""
    elsewhere = {word for other in others for word in words_of(other)}
    words = [w for w in dict.fromkeys(words_of(text)) if len(w) >= TOPIC_LETTERS and w.isalpha()]
    own = [word for word in words if word not in elsewhere]
    longest = sorted(own, key=len, reverse=True)[:TOPIC_WORDS]
    return [word for word in own if word in longest]
