"""Sentence embeddings: texts to unit vectors, and blocks of them that are reused by content.

Texts in scripts that the embedder does not cover get vectors of their character n-grams instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.digests import digest_of
from curate.core.keyed import EmbedderSource
from curate.core.run import StepRun
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tableparts import TablePart, table_parts
from curate.core.turntext import CONVERSATION
from curate.core.wants import ONE_GPU
from curate.models.blocks import row_blocks
from curate.models.load import find_model, identify_embedder, load_embedder, load_static
from curate.models.ngrams import embed_ngrams
from curate.models.scripts import LATIN, covered_scripts, is_uncovered
from curate.models.static import StaticModel, embed_static, static_model
from curate.text.compared import Compared, compared_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

VERSION = 1
# Part of the keys of those blocks alone that may hold vectors of n-grams.
NGRAM_VERSION = 1
FOREIGN_VERSION = 1
SMALLEST_BLOCK, BATCH_ROWS = 4_096, 8_192
BATCH_TEXTS = 32


def embed_texts(texts: Sequence[str], name: str) -> NDArray[np.float32]:
    """Return unit vectors [N, d] of texts; zeros for a text without a token that is known.

    Of a text in a script that the embedder does not cover, it is the vector of its character n-grams.
    A static embedder's vector depends on its text alone, bit for bit. A transformer's is computed in
    batches of similar length, and what else is in the batch moves it by rounding, about 1e-6.

    Args:
        texts: of any length; a transformer reads the start of long ones (256 tokens for minilm).
        name: of the embedder, as `StepRun.embedder` says it.
    """
    model = load_model(name)
    uncovered = uncovered_texts(texts, name).to_numpy()
    if not uncovered.any():
        return _encode(model, texts)
    column = np.array(texts, dtype=object)
    own = _encode(model, column[~uncovered].tolist())
    vectors = np.empty((len(texts), own.shape[1]), dtype=np.float32)
    vectors[~uncovered] = own
    vectors[uncovered] = unit(embed_ngrams(column[uncovered].tolist(), own.shape[1]))
    return vectors


def uncovered_texts(texts: Sequence[str], name: str) -> pl.Series:
    """Return which texts are in scripts that an embedder does not cover."""
    column = pl.Series("text", texts, dtype=pl.String)
    # Latin script is covered by all, so for most pools no embedder has to be asked.
    other = is_uncovered(column, [LATIN])
    return is_uncovered(column, covered_by(name)) if other.any() else other


def covered_by(name: str) -> tuple[str, ...]:
    """Return the scripts that an embedder covers (see curate.models.scripts)."""
    model = find_model(name)
    return _covered(model.name, digest_of(identify_embedder(model)))


@lru_cache(maxsize=4)
def _covered(name: str, digest: str) -> tuple[str, ...]:
    return covered_scripts(partial(_encode, load_model(name)))


def load_model(name: str) -> "StaticModel | SentenceTransformer":
    """Return an embedder by its name; the last ones are remembered."""
    model = find_model(name)
    return _load(model.name, digest_of(identify_embedder(model)))


def _encode(
    model: "StaticModel | SentenceTransformer", texts: Sequence[str]
) -> NDArray[np.float32]:
    """Return the embedder's own unit vectors [N, d]."""
    if isinstance(model, StaticModel):
        return unit(embed_static(model, texts))
    vectors: NDArray[np.float32] = model.encode(
        list(texts), batch_size=BATCH_TEXTS, show_progress_bar=False, convert_to_numpy=True
    )
    width = model.get_embedding_dimension() or 0
    return unit(np.asarray(vectors, dtype=np.float32).reshape(len(texts), width))


@lru_cache(maxsize=2)
def _load(name: str, digest: str) -> "StaticModel | SentenceTransformer":
    location = find_model(name)
    if location.path.is_file():
        return static_model(*load_static(location.path))
    embedder = load_embedder(location)
    kinds = [type(module).__name__ for module in embedder]
    if kinds in (["StaticEmbedding"], ["StaticEmbedding", "Normalize"]):
        return static_model(embedder[0].tokenizer, embedder[0].embedding.weight)
    return embedder


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors [N, d] scaled to length 1; zero vectors stay zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return (vectors / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


@dataclass(frozen=True)
class TextBlock:
    """What is compared of the rows at ascending positions of a table, identified by these texts."""

    identity: str
    rows: Table
    positions: NDArray[np.int64] = field(compare=False)
    compare: Compared

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifact of the rows."""
        return [self.rows.artifact]

    def texts(self) -> list[str]:
        """Return the texts, in the order of the rows."""
        return read_texts(self.rows, self.positions, self.compare)


@cached(version=VERSION, name="embed", title="Embed rows", wants=ONE_GPU)
def vectors(
    texts: TextBlock, model: EmbedderSource, ngrams: int | None = None
) -> Counted[NDArray[np.float32]]:
    """Return unit vectors [n, d] of a block of texts, in their order.

    `ngrams` is the version of the vectors of n-grams, for a block that may hold such.
    """
    strings = texts.texts()
    counts: Counts = {}
    if ngrams is not None and uncovered_texts(strings, model.name).any():
        counts["covered"] = list(covered_by(model.name))
    return Counted(embed_texts(strings, model.name), counts)


def embed_survivors(
    run: StepRun, data: StageInputs, compare: Compared, name: str | None = None
) -> list[Table]:
    """Return the vectors of each block of the rows that a stage judges.

    Args:
        run: names the embedder.
        data: what the stage reads.
        compare: what of a row is embedded.
        name: the embedder; the run's own if None.
    """
    return embed_rows(run, data.rows, data.positions(), compare, name)


def embed_rows(
    run: StepRun,
    rows: Table,
    positions: NDArray[np.int64],
    compare: Compared,
    name: str | None = None,
) -> list[Table]:
    """Return the vectors of each block of the rows at ascending positions of a table of rows."""
    model = run.embedder(name)
    foreign = run.map(foreign_texts, table_parts(rows), compare)
    is_foreign = np.concatenate([part.array() for part in foreign])
    calls = [
        vectors.call(block, model, NGRAM_VERSION if is_foreign[block.positions].any() else None)
        for block in text_blocks(run, rows, positions, compare, SMALLEST_BLOCK)
    ]
    return run.results(calls)


def text_blocks(
    run: StepRun,
    rows: Table,
    positions: NDArray[np.int64],
    compare: Compared,
    smallest: int,
) -> list[TextBlock]:
    """Return what is compared of the rows at ascending positions of a table, as row_blocks does."""
    return [
        TextBlock(digest_of([block.identity, compare]), rows, block.positions, compare)
        for block in row_blocks(run, rows, positions, smallest)
    ]


@cached(version=FOREIGN_VERSION, name="foreign-texts", title="Look for scripts other than Latin")
def foreign_texts(rows: TablePart, compare: Compared) -> NDArray[np.bool_]:
    """Return whether what is compared of each row is in a script other than Latin, for the most part."""
    parts = [np.empty(0, dtype=np.bool_)]
    for batch in rows.batches(BATCH_ROWS, CONVERSATION):
        texts = batch.select(text=compared_text(compare))["text"].fill_null("")
        parts.append(is_uncovered(texts, [LATIN]).to_numpy())
    return np.concatenate(parts)


def read_texts(rows: Table, positions: NDArray[np.int64], compare: Compared) -> list[str]:
    """Return what is compared of the rows at these ascending positions of a table."""
    start, stop = int(positions[0]), int(positions[-1]) + 1
    span = rows.scan().slice(start, stop - start).select(text=compared_text(compare)).collect()
    return span["text"].fill_null("").gather(positions - start).to_list()
