"""Arrow arrays of numbers and texts, to and from numpy and lists without pandas.

`pyarrow.array` and `to_numpy` import pandas where it is installed, to see whether they are given one of
its objects: half a second of each process that does nothing else with it.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Numbers = NDArray[Any]


def number_array(numbers: Numbers) -> pa.Array:
    """Return integers as an array of their own type."""
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(numbers)]
    )


def string_array(offsets: Numbers, data: bytes) -> pa.StringArray:
    """Return the texts that lie between offsets in bytes."""
    ends = pa.py_buffer(offsets.astype(np.int32))
    return pa.StringArray.from_buffers(len(offsets) - 1, ends, pa.py_buffer(data))


def text_array(texts: Sequence[str]) -> pa.StringArray:
    """Return texts as an array."""
    encoded = [text.encode() for text in texts]
    return string_array(np.cumsum([0, *map(len, encoded)]), b"".join(encoded))


@functools.lru_cache(1_000)
def text_scalar(text: str) -> pa.StringScalar:
    """Return a text as a value of Arrow's."""
    return text_array([text])[0]


def with_texts(array: pa.StringArray, numbers: Numbers, texts: Sequence[str]) -> pa.StringArray:
    """Return an array with other texts at some places, which rise."""
    replaced = np.zeros(len(array), bool)
    replaced[numbers] = True
    bits = pa.py_buffer(np.packbits(replaced, bitorder="little"))
    mask = pa.Array.from_buffers(pa.bool_(), len(array), [None, bits])
    return pc.replace_with_mask(array, mask, text_array(texts))


def array_numbers(array: pa.Array) -> Numbers:
    """Return the integers of an array without missing values."""
    # Arrow's names of integers are numpy's; its own way to numpy's types loads pandas in some versions.
    kind = np.dtype(str(array.type))
    return np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]
