"""How long it takes to embed the rows of a pool."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from curate.core.calls import Table
from curate.core.workload import Workload
from curate.estimate.pace import Range, measure_pace
from curate.models.embed import embed_texts, read_texts
from curate.text.compared import Compared

EMBEDDED_ROWS = 64
EMBEDDED_BATCH = 8


@dataclass
class Embedding:
    """What it takes to embed rows like the pool's; those that were embedded before take nothing."""

    pool: Table
    default: str
    done: dict[tuple[Compared, str], int] = field(default_factory=dict)

    def seconds(self, work: Workload) -> Range:
        """Return the seconds of what a method embeds, 0 the second time."""
        setting = work.compare, work.embedder or self.default
        rows = work.embedded_rows - self.done.get(setting, 0)
        if rows <= 0:
            return Range()
        self.done[setting] = work.embedded_rows
        return embedding_pace(self.pool, *setting) * rows


def embedding_pace(pool: Table, compare: Compared, name: str) -> Range:
    """Return seconds that it takes to embed a row, from a few batches of rows of the pool.

    Of a pool whose rows are still to be made nothing can be measured.
    """
    if not pool.height:
        return Range()
    drawn = np.random.default_rng(0).permutation(pool.height)[:EMBEDDED_ROWS]
    texts = read_texts(pool, np.sort(drawn), compare)
    # The first ones wait for the model to load.
    embed_texts(texts[:2], name)
    parts = [texts[i : i + EMBEDDED_BATCH] for i in range(0, len(texts), EMBEDDED_BATCH)]
    return measure_pace([(len(part), partial(embed_texts, part, name)) for part in parts])
