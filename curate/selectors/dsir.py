"""DSIR: data selection by importance resampling, on hashed words and pairs of words.

Xie et al. 2023, arXiv:2302.03169, section 4. A text is the counts c of its words and pairs of adjacent
words, in lower case with runs of punctuation as words, hashed into 10,000 buckets. With the bucket
frequencies p of the target examples and of all rows,

    weight(row) = sum over buckets of c_b (log p_target(b) - log p_rows(b)).

Cost: reading the words twice, in batches; memory does not grow with the pool but for the result.

**Smoothing.** The authors' code adds 1e-8 to every frequency, which suits targets of millions of words.
Tens of examples leave nine in ten buckets empty; there each n-gram of a row would cost log(1e-8 / 1e-4)
= -9, and one that the examples know earns 2 or 3: the weight would count unknown n-grams, and the
shortest row would win. So the target gets `smoothing` pseudo-counts a bucket. 1 makes 10,000 in all, a
few times what 20 to 50 short examples have, and an unknown n-gram costs 0.2 or so; below 1 the empty
buckets decide again. They are spread as the pool's n-grams are, and not evenly (Laplace): by Zipf's law
most buckets are far below the mean, so evenly spread ones make every rare n-gram look likelier under
the target than in the pool, and rows would earn by being odd.

**Length.** The weight is a sum, so it grows with the row: among rows above 0 the longest win, among
those below the shortest. `normalise: length` (the default) divides by the number of n-grams, since
instruction rows differ in length a hundredfold and budgets are often in tokens.

**Draw.** The paper draws without replacement with chances proportional to exp(weight): it adds Gumbel
noise and takes the largest (`draw: gumbel`). That noise has a spread of 1.3. Sums differ by tens or
hundreds, so a draw by sums is nearly their ranking; weights per n-gram differ by less than 1, so a draw
by these is nearly random. Hence the default takes the top, and `gumbel` asks for `normalise: none`.

Left out: the minimum of 100 tokens a row in the authors' code, which would drop most instruction rows.
"""

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.calls import Counted, Table, cached
from curate.core.methods import method
from curate.core.run import ScoreRun, target_of
from curate.core.selector import Selector
from curate.selectors.pool_target import iter_pool_texts, read_target_texts
from curate.selectors.scored import blank_out
from curate.selectors.similarities import rank_scores
from curate.text.compared import Compared
from curate.text.shingles import roll

VERSION = 3
NO_WORD = "has no word"
NOTHING_SHARED = "no row shares a word with the target"
# Logarithms differ in their last digit from processor to processor.
DECIMALS = 12
# NLTK's WordPunct, as the authors use.
WORD = r"\w+|[^\w\s]+"


@method
class DsirSelector(Selector):
    """Rows whose words are more likely in the target than in the pool."""

    title: ClassVar[str] = "DSIR"
    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True
    rank_params: ClassVar[tuple[str, ...]] = ("draw",)

    method: Literal["dsir"] = "dsir"
    compare: Compared = Field("example", description="whole rows, prompts or responses")
    buckets: int = Field(10_000, gt=1, description="n-grams are hashed into so many")
    smoothing: float = Field(
        1.0, gt=0, description="pseudo-counts a bucket of the target, spread as in the pool"
    )
    normalise: Literal["length", "none"] = Field(
        "length", description="weights per n-gram, or their sum, which favours long rows"
    )
    draw: Literal["top", "gumbel"] = Field(
        "top", description="the largest weights, or a draw by the seed with chances exp(weight)"
    )

    @model_validator(mode="after")
    def _check_draw(self) -> "DsirSelector":
        if self.draw == "gumbel" and self.normalise != "none":
            raise ValueError(
                "draw: gumbel needs normalise: none; weights per n-gram are so close together that "
                "a draw of them is nearly random"
            )
        return self

    def score_rows(self, run: ScoreRun) -> Table:
        """Store the weight of every row."""
        return run(
            scores,
            rows=run.rows,
            kept=run.kept,
            target=target_of(run),
            compare=self.compare,
            buckets=self.buckets,
            smoothing=self.smoothing,
            normalise=self.normalise,
        )

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first, after Gumbel noise by the seed if a draw is asked for."""
        if self.draw == "top":
            return rank_scores(scores)
        by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
        noise = np.random.default_rng([seed, 0xD512]).gumbel(size=len(by_id))
        weight = scores["score"].to_numpy()[by_id] + noise
        return by_id[np.argsort(-weight, kind="stable")]


@cached(version=VERSION, name="score-dsir")
def scores(
    rows: Table,
    kept: Table,
    target: Table,
    compare: Compared,
    buckets: int,
    smoothing: float,
    normalise: str,
) -> Counted[pl.DataFrame]:
    """Return row_id, score (the weight), nearest_id (null), reason, ngrams."""
    target_counts = count_buckets([read_target_texts(target, compare)], buckets)
    pool_counts = count_buckets(iter_pool_texts(rows, kept, compare), buckets)
    ratios = log_ratios(target_counts, pool_counts, smoothing)
    weights, counts = [], []
    for texts in iter_pool_texts(rows, kept, compare):
        bucket, owner = hash_ngrams(texts, buckets)
        weights.append(np.bincount(owner, weights=ratios[bucket], minlength=len(texts)))
        counts.append(np.bincount(owner, minlength=len(texts)))
    weight: NDArray[np.float64] = np.concatenate(weights)
    count = np.concatenate(counts)
    if normalise == "length":
        weight = weight / np.maximum(count, 1)
    frame = pl.DataFrame(
        {
            "row_id": kept.read()["row_id"],
            "score": weight.round(DECIMALS),
            "nearest_id": pl.Series([None] * len(count), dtype=pl.String),
            "ngrams": count,
        }
    )
    frame = blank_out(frame, count == 0, NO_WORD)
    if not (target_counts[pool_counts > 0]).any():
        frame = blank_out(frame, np.ones(len(count), dtype=np.bool_), NOTHING_SHARED)
    ngrams, filled = int(target_counts.sum()), int((target_counts > 0).sum())
    return Counted(frame, {"target_ngrams": ngrams, "target_buckets": filled})


def hash_ngrams(texts: pl.Series, buckets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bucket of every word and pair of adjacent words, and the number of its text."""
    words = texts.str.to_lowercase().str.extract_all(WORD)
    lengths = words.list.len().to_numpy().astype(np.int64)
    hashes = words.explode(empty_as_null=False).hash(seed=0).to_numpy()
    pairs, pair_owner, _ = roll(hashes, lengths, 2)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    bucket = np.concatenate([hashes, pairs]) % np.uint64(buckets)
    return bucket.astype(np.int64), np.concatenate([owner, pair_owner])


def count_buckets(batches: Iterable[pl.Series], buckets: int) -> NDArray[np.int64]:
    """Return how many n-grams of all texts fall into each bucket."""
    counts = np.zeros(buckets, dtype=np.int64)
    for texts in batches:
        counts += np.bincount(hash_ngrams(texts, buckets)[0], minlength=buckets)
    return counts


def log_ratios(
    target_counts: NDArray[np.int64], pool_counts: NDArray[np.int64], smoothing: float
) -> NDArray[np.float64]:
    """Return log p_target - log p_rows of each bucket; 0 for one that no row has an n-gram in.

    With S pseudo-counts in all, p_target = (c + S p_rows) / (sum of c + S), so the ratio of both is
    (c / p_rows + S) / (sum of c + S).
    """
    pseudo = smoothing * len(pool_counts)
    filled = pool_counts > 0
    frequency = pool_counts[filled] / pool_counts.sum()
    ratios = np.zeros(len(pool_counts))
    ratios[filled] = np.log(
        (target_counts[filled] / frequency + pseudo) / (target_counts.sum() + pseudo)
    )
    return ratios
