"""How long it takes to embed the rows of a pool."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from curate.core.calls import Table
from curate.estimate.pace import Range, measure_pace
from curate.models.embed import embed_texts, read_texts
from curate.text.compared import Compared

EMBEDDED_ROWS = 64
EMBEDDED_BATCH = 8


@dataclass
class Embedding:
    """What it takes to embed so many rows like the pool's; what was embedded before takes nothing."""

    pool: Table
    rows: int
    default: str
    done: set[tuple[Compared, str]] = field(default_factory=set)

    def seconds(self, compare: Compared, embedder: str | None) -> Range:
        """Return the seconds of embedding all rows, 0 the second time."""
        setting = compare, embedder or self.default
        if setting in self.done:
            return Range()
        self.done.add(setting)
        return embedding_pace(self.pool, *setting) * self.rows


def embedding_pace(pool: Table, compare: Compared, name: str) -> Range:
    """Return seconds that it takes to embed a row, from a few batches of rows of the pool."""
    drawn = np.random.default_rng(0).permutation(pool.height)[:EMBEDDED_ROWS]
    texts = read_texts(pool.path, np.sort(drawn).tolist(), compare)
    # The first ones wait for the model to load.
    embed_texts(texts[:2], name)
    parts = [texts[i : i + EMBEDDED_BATCH] for i in range(0, len(texts), EMBEDDED_BATCH)]
    return measure_pace([(len(part), partial(embed_texts, part, name)) for part in parts])
