"""Arrow values as JSON has them: dates, times and decimals as text, categories as their values."""

from datetime import timedelta
from math import isfinite
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.types as kinds

from curate.core.errors import UserError


class BinaryValue(Exception):
    """Bytes that are no text: the field that holds them."""


def as_readable(place: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows in which every type has a counterpart in JSON, or is bytes.

    Raises:
        UserError: a column's type has none.
    """
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            target = _readable_type(column.type)
            columns.append(column if target == column.type else column.cast(target))
        except (pa.ArrowException, TypeError) as error:
            raise UserError(
                f"{place}: the column {name!r} has the type {column.type}, which has no counterpart in "
                "JSON; drop or convert it"
            ) from error
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _readable_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that holds the same values, readable.

    Raises:
        TypeError: there is none.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return _readable_type(kind.storage_type) if kind != pa.uuid() else kind
    if kinds.is_duration(kind):
        return pa.duration("us")
    if kinds.is_interval(kind) or kinds.is_union(kind):
        raise TypeError(kind)
    if kinds.is_temporal(kind) or kinds.is_decimal(kind):
        return pa.string()
    if kinds.is_dictionary(kind) or kinds.is_run_end_encoded(kind):
        # Read as its values anyway; not all of such types can be cast.
        inner = _readable_type(kind.value_type)
        return kind if inner == kind.value_type else inner
    if kinds.is_struct(kind):
        return pa.struct([(field.name, _readable_type(field.type)) for field in kind])
    if kinds.is_map(kind):
        return pa.map_(_readable_type(kind.key_type), _readable_type(kind.item_type))
    if kinds.is_nested(kind):
        item = _readable_type(kind.value_type)
        return kind if item == kind.value_type else pa.large_list(item)
    return kind


def plain_value(value: Any, field: str) -> Any:
    """Return a value of Arrow's as JSON has it, without the nulls of its structs.

    Raises:
        BinaryValue: it holds bytes that are no UTF-8.
    """
    if isinstance(value, dict):
        return {str(k): plain_value(v, f"{field}.{k}") for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [plain_value(part, f"{field}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise BinaryValue(field) from error
    if isinstance(value, timedelta | UUID):
        return str(value)
    return value
