r"""Lines of JSON, cut at their texts all at once: nothing is parsed, no text is an object of its own.

    {"prompt": "a\nb", "n": 7}      {"prompt": "  a\nb  ", "n": 7}\n
                                     between     text  between

What stands between the texts of a line, byte for byte, is all that it has beside them: two lines that
are equal there are equal but for what their texts say.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.core.arrowarrays import Numbers, number_array, string_array
from curate.pool.containers.escapes import Unescaped, unescape

LINE_FEED, RETURN, SPACE, QUOTE, COLON, BACKSLASH = b'\n\r ":\\'


@dataclass(frozen=True)
class TextCuts:
    """Lines cut at their texts: what stands between texts, and texts, by turns.

    Behind the last text of a line comes what stands behind it, and an empty text that is none.

    written: the pieces as they stand in the lines.
    texts: the same pieces without escapes.
    starts: by line, the number of its first piece.
    counts: by line, how many texts it has; none where a line is not cut.
    sizes: by piece, how many bytes it has as it is written.
    first_bytes: by piece, what its text begins with; anything where it is empty.
    """

    written: pa.StringArray
    texts: pa.StringArray
    starts: Numbers
    counts: Numbers
    sizes: Numbers
    first_bytes: Numbers

    def between(self, lines: Numbers) -> pa.DictionaryArray:
        """Return what stands between texts, of some lines."""
        chosen = np.zeros(len(self.counts), bool)
        chosen[lines] = True
        numbers = 2 * np.flatnonzero(np.repeat(chosen, self.counts + 1))
        return self.written.take(number_array(numbers)).dictionary_encode()


def cut_texts(data: bytes) -> TextCuts | None:
    """Return lines cut at their texts; None if they are not all UTF-8.

    A line with a control character, an escape of another kind or a quote too many has no texts.
    """
    data = data if data.endswith(b"\n") else data + b"\n"
    codes = np.frombuffer(data, np.uint8)
    controls = np.flatnonzero(codes < SPACE)
    ends = controls[codes[controls] == LINE_FEED]
    openers = every_other(np.flatnonzero(codes == BACKSLASH))
    quoting = codes == QUOTE
    quoting[openers + 1] = False
    quotes = np.flatnonzero(quoting)
    plain = unescape(codes, openers) if len(openers) else Unescaped(data, openers, openers)
    odd = np.concatenate([_stray(codes, controls), plain.odd])
    quotes = _without_lines(quotes, ends, np.searchsorted(ends, odd))
    opening, closing = quotes[::2], quotes[1::2]
    is_text = codes[closing + 1] != COLON
    starts, stops = opening[is_text] + 1, closing[is_text]
    counts = np.diff(np.searchsorted(starts, ends), prepend=0)
    offsets = np.concatenate([[0], starts, stops, ends + 1, ends + 1])
    offsets.sort(kind="stable")
    written = string_array(offsets, data)
    try:
        written.validate(full=True)
    except pa.ArrowInvalid:
        return None
    firsts = 2 * (np.cumsum(counts + 1) - counts - 1)
    sizes = np.diff(offsets)
    offsets -= np.searchsorted(plain.dropped, offsets)
    first_bytes = np.frombuffer(plain.data, np.uint8)[np.minimum(offsets[:-1], len(plain.data) - 1)]
    texts = string_array(offsets, plain.data)
    return TextCuts(written, texts, firsts, counts, sizes, first_bytes)


def every_other(places: Numbers) -> Numbers:
    """Return of each run of places that follow one another the first, the third ..."""
    opens_run = np.diff(places, prepend=-2) != 1
    runs = np.maximum.accumulate(np.where(opens_run, places, 0))
    every: Numbers = places[(places - runs) % 2 == 0]
    return every


def _stray(codes: Numbers, controls: Numbers) -> Numbers:
    """Return which control characters are no line ends."""
    behind = codes[np.minimum(controls + 1, len(codes) - 1)]
    ends_line = (codes[controls] == RETURN) & (behind == LINE_FEED)
    stray: Numbers = controls[(codes[controls] != LINE_FEED) & ~ends_line]
    return stray


def _without_lines(quotes: Numbers, ends: Numbers, lines: Numbers) -> Numbers:
    """Return quotes without those of some lines, and of lines that have an odd number of them."""
    counts = np.diff(np.searchsorted(quotes, ends), prepend=0)
    left_out = counts % 2 == 1
    left_out[lines] = True
    return quotes[~np.repeat(left_out, counts)] if left_out.any() else quotes
