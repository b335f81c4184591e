"""Shapes of lines take bounded memory, whatever stands between texts; others: test_plainlines.py."""

from __future__ import annotations

import tracemalloc

from curate.pool.containers.textcuts import cut_texts
from curate.pool.layouts.lineshapes import MAX_CHARS, LineShapes


def test_long_pieces_between_texts_are_not_remembered_for_good() -> None:
    """Vectors, say, of which each is another."""
    shapes = LineShapes()
    tracemalloc.start()
    for number in range(8):
        cuts = cut_texts(b'{"a": "b", "n": [%s]}' % b",".join([b"%d" % number] * (MAX_CHARS // 8)))
        assert cuts is not None
        assert list(shapes.of(cuts)) == []
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 * MAX_CHARS
