"""Names of tags: one for all spellings of it, and one for those that mean the same.

    "Word-Problem", "word problem"    word problem      the rule: case, and what is no letter or digit
    "maths", "math"                   math              the meaning: cosine of embeddings, linked groups

Tags whose cosine reaches `merge` are linked, and a linked group is one tag, by the name that most rows
have. That is DBSCAN with a neighbourhood of two points: InsTag's semantic aggregation.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
import polars as pl
import regex
import scipy
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.keyed import EmbedderSource
from curate.core.wants import ONE_GPU
from curate.models.embed import embed_texts
from curate.models.neighbours.allpairs import find_pairs

VERSION = 1
OTHER = regex.compile(r"[^\p{L}\p{M}\p{N}]+")


def rule_form(tag: str) -> str:
    """Return a tag in lower case, with single spaces for all that is no letter, mark or digit."""
    return OTHER.sub(" ", unicodedata.normalize("NFKC", tag).casefold()).strip()


@cached(version=VERSION, name="tag-names", title="Merge tags that mean the same", wants=ONE_GPU)
def tag_names(answers: Table, embedder: EmbedderSource, merge: float) -> Counted[pl.DataFrame]:
    """Return row_id and tag, each once, in the order in which a row's answer had them.

    Args:
        answers: row_id and `tags` as an engine wrote them.
        embedder: what compares them.
        merge: cosine from which two tags are one; 1 merges none.
    """
    written = answers.scan().select("row_id", tag="tags").explode("tag").drop_nulls("tag").collect()
    plain = written.with_columns(
        tag=pl.Series([rule_form(tag) for tag in written["tag"]], dtype=pl.String)
    ).filter(pl.col("tag") != "")
    plain = plain.unique(["row_id", "tag"], maintain_order=True)
    # The most frequent spelling comes first, and names its group.
    counts = plain.group_by("tag").len().sort("len", "tag", descending=[True, False])
    groups = link_tags(counts["tag"].to_list(), embedder.name, merge)
    names = counts.select("tag", name=pl.col("tag").gather(pl.Series(groups)))
    named = plain.join(names, on="tag", how="left", maintain_order="left")
    table = named.select("row_id", tag="name").unique(maintain_order=True)
    figures = (len(written["tag"].unique()), counts.height, table["tag"].n_unique())
    return Counted(table, dict(zip(("written", "by_rule", "by_meaning"), figures, strict=True)))


def link_tags(tags: Sequence[str], embedder: str, merge: float) -> NDArray[np.int64]:
    """Return for each tag the number of the first tag [n] that links of like ones lead to."""
    own = np.arange(len(tags))
    if merge >= 1 or not tags:
        return own
    vectors = embed_texts(tags, embedder)
    pairs = find_pairs(vectors, np.zeros(len(tags), dtype=np.int64), merge)
    links = scipy.sparse.coo_array(
        (np.ones(len(pairs.first)), (pairs.first, pairs.second)), shape=[len(tags)] * 2
    )
    labels = scipy.sparse.csgraph.connected_components(links, directed=False)[1]
    first = np.full(labels.max() + 1, len(tags))
    np.minimum.at(first, labels, own)
    named: NDArray[np.int64] = first[labels]
    return named
