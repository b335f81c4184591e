"""In which languages target examples, eval set, pool and selection are.

    set | language | rows | read | of        (set: target, eval, pool, selected)

A row is in the language of its response, or of its prompt where the response is too short to tell. What
is told with less confidence than SURE counts with texts that are too short: as null. Of a set with more
rows than SAMPLED so many are read, drawn by the run's seed, so that the cost is below two seconds
whatever the pool; `read` of `of` rows are. Target examples in a language that the selection hardly has
are a warning: an embedder may see no nearness in it, or the pool may have none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.core.calls import Table, cached
from curate.core.numerals import percent
from curate.overlap.units import user_text
from curate.text.compared import compared_text
from curate.text.language import find_languages, has_language

VERSION = 1
SAMPLED = 2_000
# As sure as the stage `rules` is before it drops a row for its language.
SURE = 0.8
TARGET, POOL, SELECTED = "target", "pool", "selected"
# The warning: fewest rows whose language is told, and what share of the selection is too little.
FEWEST, LITTLE = 3, 0.1
MOSTLY = 0.5


@cached(version=VERSION, name="languages")
def languages(sets: Mapping[str, Table], rows: Table, ranking: Table, seed: int) -> pl.DataFrame:
    """Return how many rows of each set are in each language, the most frequent first.

    Args:
        sets: of examples, by their names.
        rows: the pool.
        ranking: says which rows of it are selected.
        seed: of the run, for which rows are read.
    """
    chosen = ranking.scan().filter("selected").select("row_id")
    frames = {
        **{name: table.scan() for name, table in sets.items()},
        POOL: rows.scan(),
        SELECTED: rows.scan().join(chosen, on="row_id", how="semi", maintain_order="left"),
    }
    return pl.concat(_count(name, frame, seed) for name, frame in frames.items())


def _count(name: str, frame: pl.LazyFrame, seed: int) -> pl.DataFrame:
    """Return a line for each language of a set."""
    count = int(frame.select(pl.len()).collect().item())
    rng = np.random.default_rng([seed, 0x1A46])
    drawn = np.sort(rng.permutation(count)[:SAMPLED])
    texts = (
        frame.with_row_index("place")
        .filter(pl.col("place").is_in(pl.Series(drawn, dtype=pl.UInt32).implode()))
        .select(response=compared_text("response").fill_null(""), prompt=user_text().fill_null(""))
        .collect()
    )
    return (
        row_languages(texts)
        .to_frame("language")
        .group_by("language")
        .agg(rows=pl.len().cast(pl.Int64))
        .sort("rows", "language", descending=[True, False], nulls_last=True)
        .select(
            pl.lit(name).alias("set"), "language", "rows",
            read=pl.lit(len(drawn), pl.Int64), of=pl.lit(count, pl.Int64),
        )
    )  # fmt: skip


def row_languages(texts: pl.DataFrame) -> pl.Series:
    """Return the language of each row, null where it cannot be told.

    Args:
        texts: response and prompt.
    """
    response, prompt = texts["response"], texts["prompt"]
    identified = find_languages(response.zip_with(has_language(response), prompt))
    return identified.select(pl.when(pl.col("confidence") >= SURE).then("language")).to_series()


@dataclass(frozen=True)
class LanguageShares:
    """The languages of a set: how many rows each has, of how many that were read, of how many rows.

    rows: the most frequent first; a row whose language cannot be told is in none.
    """

    rows: Mapping[str, int]
    read: int
    of: int

    @property
    def identified(self) -> int:
        """Return how many rows have a language that can be told."""
        return sum(self.rows.values())

    @property
    def main(self) -> str | None:
        """Return the language of the most rows, None where that of hardly any can be told."""
        return next(iter(self.rows), None) if self.identified >= FEWEST else None

    def share(self, language: str | None) -> float:
        """Return the share of a language among the rows whose language can be told."""
        return self.rows.get(language or "", 0) / self.identified if self.identified else 0.0


def read_shares(table: pl.DataFrame) -> dict[str, LanguageShares]:
    """Return the languages of each set of a table of `languages`."""
    shares = {}
    for (name,), part in table.group_by("set", maintain_order=True):
        counts = part.drop_nulls("language").select("language", "rows").rows()
        shares[str(name)] = LanguageShares(dict(counts), part["read"][0], part["of"][0])
    return shares


def language_warning(sets: Mapping[str, LanguageShares]) -> str | None:
    """Return that the selection hardly has the language of the target, None where it has."""
    target, pool, selected = (sets[name] for name in (TARGET, POOL, SELECTED))
    language = target.main
    if language is None or target.share(language) <= MOSTLY or selected.identified < FEWEST:
        return None
    share = selected.share(language)
    if share >= LITTLE:
        return None
    why = (
        "the pool hardly has such rows, which only another source can bring"
        if pool.share(language) < LITTLE
        else f"the pool has {percent(pool.share(language))}, which the method passes over: take a "
        "models.embedder of many languages, or filter by the language that the stage rules tells"
    )
    return (
        f"languages: {percent(target.share(language))} of the target examples are in {language}, but "
        f"{percent(share)} of the selected rows (most of them in {selected.main}); {why}"
    )
