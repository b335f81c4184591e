"""What of a corpus the questions of retrieval rows cover, for the report's section of their method."""

import polars as pl

from curate.core.numerals import counted, number, percent
from curate.core.section import Block, DataTable, Heading, note, paragraph
from curate.generate.corpus import PASSAGE_END
from curate.generate.generator_section import GeneratorRecord


def corpus_blocks(record: GeneratorRecord) -> tuple[Block, ...]:
    """Return the share of passages and documents that kept rows cite, none without a table of them."""
    name = f"generated/{record.outcome.method}-corpus"
    if not record.run.has(name):
        return ()
    passages = record.run.table(name).collect()
    documents = (
        passages.group_by(pl.col("passage_id").str.replace(PASSAGE_END, ""))
        .agg(pl.col("cited", "in_rows").sum())
    )  # fmt: skip
    return (
        Heading("What the questions cover"),
        paragraph(_lead(passages, documents)),
        _table(passages, documents),
        paragraph(_declining(record)),
        note("A passage or document is covered if a kept row's answer was written from it."),
    )


def _lead(passages: pl.DataFrame, documents: pl.DataFrame) -> str:
    return (
        f"The questions of kept rows cover {percent(_share(passages, 'cited'))} of the corpus's "
        f"{counted(passages.height, 'passage')} and {percent(_share(documents, 'cited'))} of its "
        f"{counted(documents.height, 'document')}."
    )


def _share(table: pl.DataFrame, column: str) -> float:
    return float((table[column] > 0).sum() / table.height)


def _table(passages: pl.DataFrame, documents: pl.DataFrame) -> DataTable:
    lines = tuple(
        (
            label, number(table.height), number(int((table["cited"] > 0).sum())),
            percent(_share(table, "cited")), number(int((table["in_rows"] > 0).sum())),
        )
        for label, table in (("Passages", passages), ("Documents", documents))
    )  # fmt: skip
    return DataTable(("", "#All", "#Covered", "#Share covered", "#Given in rows"), lines)


def _declining(record: GeneratorRecord) -> str:
    kept = record.candidates().filter(pl.col("flaw").is_null())
    answerable = pl.col("notes").str.json_path_match("$.answerable") == "true"
    count = kept.select((~answerable).sum()).collect().item()
    has = "has" if count == 1 else "have"
    return (
        f"{number(count)} of {counted(record.outcome.kept, 'kept row')} {has} no passage with the "
        "answer, and the response says so."
    )
