"""The address of a row in full."""

from urllib.parse import urlencode


def row_path(row_id: str, **query: object) -> str:
    """Return the address of a row in full, with what else its page is asked for.

    query: rows, the filter that led here; against, a row to compare it with; all, for its whole text.
    """
    return f"/row?{urlencode({'id': row_id, **query})}"
