"""Fields of records in conditions: numbers and texts, what is missing, and names within literals."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.sql import parse_expression
from curate.selectors.recordfields import record_fields

RECORDS = [
    {"sure": 0.5, "topic": "tides", "mixed": 1},
    {"sure": 1, "topic": 'a "late" tide', "mixed": "x"},
    {},
]
ROWS = pl.LazyFrame({"row_id": ["a", "b", "c"], "meta": list(map(json.dumps, RECORDS))})


def met(condition: str) -> list[str]:
    fields = record_fields(ROWS, condition).collect()
    return fields.filter(parse_expression(condition))["row_id"].to_list()


@pytest.mark.parametrize(
    ("condition", "row_ids"),
    [
        ("meta.sure > 0.6", ["b"]),
        ("meta.sure >= 0.5 AND meta.topic = 'tides'", ["a"]),
        ("meta.topic IS NULL", ["c"]),
        ('"meta"."mixed" = \'1\'', ["a"]),
        ("meta.topic <> 'tides'", ["b"]),
    ],
)
def test_conditions_read_fields(condition: str, row_ids: list[str]) -> None:
    assert met(condition) == row_ids


def test_only_the_fields_that_are_named_are_read() -> None:
    fields = record_fields(ROWS, "meta.sure > 1 OR meta.topic = 'meta.other'").collect_schema()
    assert fields["meta"] == pl.Struct({"sure": pl.Float64, "topic": pl.String})


def test_a_record_as_a_whole_is_no_value() -> None:
    with pytest.raises(UserError, match="name a field of the records"):
        record_fields(ROWS, "meta IS NULL")
