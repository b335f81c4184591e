"""BM25: the rows that share the telling words of the target examples.

Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", sections 3.4 to 3.5.
For an example q and a row i, over the distinct words t of q, with f = how often t occurs in i:

    BM25(q, i) = sum of qf(t) idf(t) f / (f + k1 (1 - b + b |i| / mean length))
    idf(t)     = ln(1 + (N - n(t) + 0.5) / (n(t) + 0.5)),  n(t) = rows of N that hold t

as in Lucene: this idf is never negative, unlike the paper's for words that most rows hold, and the
constant factor k1 + 1 is left out. So f / (f + ...) < 1, and what is stored is divided by the sum of
qf(t) idf(t): the weighted share of the example's words that the row has, from 0 to 1. That changes no
example's order of rows, and without it the longest example would win every comparison between them.

Prompts are compared with prompts by default: target prompts are the queries. Words are lower-case runs
of letters, marks and digits; there is no stemming and no list of stop words, whose idf is small anyway.
Statistics are those of the kept rows. Cost: reading the words once, then a sparse product.

Pitfalls: names and numbers of the examples are rare words, so they weigh most; paraphrases are missed.
Repeated words of a prompt count as often as they are repeated. A row with no word of
any example has no score.
"""

from typing import ClassVar, Literal

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.methods import method
from curate.core.run import ScoreRun, target_of
from curate.selectors.density import with_density
from curate.selectors.pool_target import BATCH_ROWS, iter_pool_texts, read_target_texts
from curate.selectors.similarities import SimilarityParams, similarity_table
from curate.text.compared import Compared
from curate.text.shingles import shingle
from curate.text.term_weights import count_words, inverse_frequency, saturate

VERSION = 4

NOTHING_SHARED = "shares no word with any target example"


@method
class Bm25Selector(SimilarityParams):
    """Rows that share the rare words of the target examples."""

    title: ClassVar[str] = "BM25"
    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True

    method: Literal["bm25"] = "bm25"
    compare: Compared = Field("prompt", description="whole rows, prompts or responses")
    k1: float = Field(1.2, ge=0, description="how slowly repeats of a word stop counting")
    b: float = Field(0.75, ge=0, le=1, description="how much longer rows are held back")

    def score_rows(self, run: ScoreRun) -> Table:
        """Store the relevance of every row to every target example."""
        return run(
            scores,
            rows=run.rows,
            kept=run.kept,
            target=target_of(run),
            compare=self.compare,
            k1=self.k1,
            b=self.b,
        )


@cached(version=VERSION, name="score-bm25")
def scores(
    rows: Table, kept: Table, target: Table, compare: Compared, k1: float, b: float
) -> Counted[pl.DataFrame]:
    """Return row_id, score (largest relevance), nearest_id, reason, similarities [Q], density.

    Density is that of the rows' weighted words, as far as the target has them.
    """
    query_words = shingle(read_target_texts(target, compare), "word", 1)
    vocabulary = np.unique(query_words.hashes)
    queries = count_words(query_words, vocabulary).toarray()
    counts, lengths = [], []
    for texts in iter_pool_texts(rows, kept, compare):
        words = shingle(texts, "word", 1)
        counts.append(count_words(words, vocabulary))
        lengths.append(np.diff(words.starts))
    word_counts, length = scipy.sparse.vstack(counts, format="csr"), np.concatenate(lengths)
    telling = inverse_frequency(word_counts)
    weighted = queries * telling
    # An example without a word has no share in anything.
    shares = weighted / np.maximum(weighted.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    saturate(word_counts, length, k1, b)
    parts = (word_counts[i : i + BATCH_ROWS] for i in range(0, len(length), BATCH_ROWS))
    blocks = (shared_words((part @ shares.T).astype(np.float32)) for part in parts)
    table = similarity_table(kept, target, blocks, NOTHING_SHARED)
    return with_density(
        table, lambda row: word_counts[row].multiply(telling).toarray(), len(vocabulary)
    )


def shared_words(relevance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return relevances [n, Q], NaN for a row that shares no word with any target example."""
    relevance[~relevance.any(axis=1)] = np.nan
    return relevance
