"""Fields of the rows' records in conditions: `meta.confidence > 0.8`, `meta.topic = 'tides'`.

A field is a number where every row that has it has one, and a text otherwise; without it it is null.
"""

import re

import polars as pl

from curate.core.errors import UserError

NAME = "meta"
LITERAL = re.compile(r"'(?:[^']|'')*'")
FIELD = re.compile(r"(?<![\w.])[\"`]?meta[\"`]?\s*\.\s*[\"`]?(\w+)")


def record_fields(rows: pl.LazyFrame, condition: str) -> pl.LazyFrame:
    """Return row_id and `meta`, a struct of the fields of the records that a condition names.

    Raises:
        UserError: it names `meta` and no field of it.
    """
    fields = list(dict.fromkeys(FIELD.findall(LITERAL.sub("''", condition))))
    if not fields:
        raise UserError(
            f"select: name a field of the records, such as {NAME}.topic, not all of {NAME}"
        )
    paths = {f"field{i}": f"$.{name}" for i, name in enumerate(fields)}
    texts = rows.select(
        "row_id", **{key: pl.col(NAME).str.json_path_match(path) for key, path in paths.items()}
    ).collect()
    columns = [_numbers(texts[key]).alias(name) for key, name in zip(paths, fields, strict=True)]
    struct = pl.DataFrame(columns).to_struct(NAME)
    return texts.select("row_id").with_columns(struct).lazy()


def _numbers(texts: pl.Series) -> pl.Series:
    """Return the numbers that texts are, or the texts if one of them is none."""
    numbers = texts.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == texts.null_count() else texts
