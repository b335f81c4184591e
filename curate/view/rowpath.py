"""The address of a row in full."""

from urllib.parse import urlencode


def row_path(row_id: str) -> str:
    """Return the address of a row in full."""
    return f"/row?{urlencode({'id': row_id})}"
