"""Names of class labels that a Parquet or Arrow file brings, as `datasets` writes them to its schema.

{"info": {"features": {"label": {"names": ["negative", "positive"], "_type": "ClassLabel"}}}}
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.pool.containers.magic import HEAD, Kind, find_kind
from curate.pool.files import PoolFile, open_checked, read_anywhere


def class_labels(file: PoolFile) -> dict[str, dict[str, str]]:
    """Return the names of a file's labels, by field and value; none if it brings none.

    Raises:
        UserError: the file cannot be read.
    """
    with open_checked(replace(file, digest=None)) as stream:
        kind = find_kind(stream.peek(HEAD)[:HEAD])
        # Damage is told where the rows are read.
        with suppress(pa.ArrowException):
            if kind is Kind.PARQUET:
                return _labels_in(pq.read_schema(read_anywhere(stream)))
            if kind is Kind.ARROW_FILE:
                return _labels_in(pa.ipc.open_file(read_anywhere(stream)).schema)
            if kind is Kind.ARROW_STREAM:
                return _labels_in(pa.ipc.open_stream(stream).schema)
    return {}


def _labels_in(schema: pa.Schema) -> dict[str, dict[str, str]]:
    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    info = orjson.loads(written).get("info") or {}
    named = {field: _names_of(kind) for field, kind in (info.get("features") or {}).items()}
    return {
        field: {str(i): str(name) for i, name in enumerate(names)}
        for field, names in named.items()
        if names
    }


def _names_of(feature: Any) -> list[Any] | None:
    """Return the names of a class label, or of a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_of(feature[0])
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "ClassLabel":
        return feature.get("names")
    return _names_of(feature.get("feature"))
