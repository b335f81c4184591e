"""Lines of plain texts, read without an object for any of their texts.

    {"instruction": "a", "output": "b"}
    {"instruction": "c", "output": "d"}     is the line above with other texts, and is read as that one

Of lines that are equal but for their texts one is parsed, which tells what each text is: a field, or
the role or the text of a turn (lineshapes.py). What becomes of the fields is told by the form of records
with the same fields (plainforms.py). So turns and meta are columns from the start. A line whose texts
may say more is left to the other readers.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.arrowarrays import (
    Numbers,
    array_numbers,
    number_array,
    text_array,
    text_scalar,
    with_texts,
)
from curate.pool.containers.textcuts import TextCuts, cut_texts
from curate.pool.layouts.lineshapes import TURN_FORMS, LineShapes, ShapedLines
from curate.pool.layouts.plain import FormKey, PlainReader
from curate.pool.layouts.plainforms import PlainForm
from curate.pool.layouts.reader import MAX_ORIGIN_CHARS
from curate.pool.layouts.roles import ROLE_MAP

# What a text begins with that may be JSON or a transcript, or is not taken as it is.
SAYS_MORE = r"^(?:[\[{<#\s]|System|Human|Assistant|User)"
OPENS_WITH_SPACE = r"^\s"
# Escapes that orjson does not write.
MAY_BE_SHORTER = r"\\[u/]"
# The bytes that one of these can begin with, or the first of a longer white space.
MAY_SAY_MORE = np.isin(np.arange(256), [*b"[{<# \t\n\v\f\rSHAU\xc2\xe1\xe2\xe3"])
NO_META = "{}"
OTHER = "other"
ROLES = ("system", "user", "assistant", "tool", OTHER)


class LineTurns(NamedTuple):
    """Turns of lines, one after the other: role and text of each, and how many each line has."""

    roles: pa.StringArray
    texts: pa.StringArray
    counts: Numbers


class PlainLines(NamedTuple):
    """Lines as read, all of one layout: their numbers, turns, origins and meta."""

    layout: str
    fields: tuple[str, ...]
    numbers: Numbers
    turns: LineTurns
    origins: pa.StringArray | None
    metas: pa.StringArray


@dataclass
class PlainLineReader:
    """Reads lines of plain texts as a general reader would."""

    plain: PlainReader
    _shapes: LineShapes = field(default_factory=LineShapes)

    def read(self, data: bytes) -> list[PlainLines]:
        """Return what is read of some lines; the others are left to other readers."""
        cuts = cut_texts(data)
        if cuts is None:
            return []
        groups = defaultdict[tuple[FormKey, str], list[ShapedLines]](list)
        for lines in self._shapes.of(cuts):
            for key, filled in _by_key(lines, cuts):
                groups[key, lines.shape.role_key].append(filled)
        read = []
        for (key, _), alike in groups.items():
            if form := self.plain.form(key):
                read.append(_LinesOfForm(cuts, form, alike).read())
        return [lines for lines in read if lines is not None]


def _by_key(lines: ShapedLines, cuts: TextCuts) -> Iterator[tuple[FormKey, ShapedLines]]:
    """Yield the lines in which the same texts are empty, with the key of their form."""
    shape = lines.shape
    filled = cuts.sizes[lines.pieces(tuple(shape.texts.values()))] > 0
    patterns = filled @ (1 << np.arange(len(shape.texts)))
    for pattern in np.unique(patterns):
        alike = patterns == pattern
        are_filled = filled[np.argmax(alike)].tolist()
        kinds: dict[str, object] = {
            **shape.kinds,
            **dict(zip(shape.texts, are_filled, strict=True)),
        }
        yield (tuple(kinds), tuple(kinds.values())), lines.kept(alike)


@dataclass(frozen=True)
class _LinesOfForm:
    """Lines whose fields make one form: of several shapes where their turns differ in number."""

    cuts: TextCuts
    form: PlainForm
    lines: Sequence[ShapedLines]

    def read(self) -> PlainLines | None:
        """Return what becomes of the lines whose texts say no more; None if there are none."""
        plain = self._are_plain()
        ends = np.cumsum([len(lines.numbers) for lines in self.lines])
        kept = [
            lines.kept(keep) for lines, keep in zip(self.lines, np.split(plain, ends), strict=False)
        ]
        if not plain.any():
            return None
        of = self if plain.all() else _LinesOfForm(self.cuts, self.form, kept)
        form, role_key = self.form, self.lines[0].shape.role_key
        origins = of._texts(form.origin) if form.origin else None
        numbers = np.concatenate([lines.numbers for lines in of.lines])
        turns = of._listed_turns() if form.listed else of._joined_turns()
        layout = TURN_FORMS[role_key] if form.listed else form.layout
        return PlainLines(layout, form.fields, numbers, turns, origins, of._metas())

    def _are_plain(self) -> Numbers:
        plain = self._are_plain_lists() if self.form.listed else self._are_plain_texts()
        if self.form.origin:
            lengths = pl.Series(self._texts(self.form.origin)).str.len_chars()
            plain &= (lengths <= MAX_ORIGIN_CHARS).to_numpy()
        return plain

    def _are_plain_texts(self) -> Numbers:
        names = [*chain.from_iterable(names for _, names in self.form.turns)]
        pieces = self._pieces(*names)
        says_more = self._open_with(SAYS_MORE, pieces.ravel()).reshape(pieces.shape)
        return np.logical_not(says_more.any(axis=1))

    def _are_plain_lists(self) -> Numbers:
        roles, contents, counts = self._role_names(), self._listed("contents"), self._turn_counts()
        odd = self._open_with(OPENS_WITH_SPACE, contents) | (self.cuts.sizes[contents] == 0)
        codes = np.array(
            [ROLES.index(ROLE_MAP.get(name, OTHER)) for name in roles.dictionary.to_pylist()]
        )
        by_turn = codes[array_numbers(roles.indices)]
        ends = np.cumsum(counts)
        odd |= by_turn == ROLES.index(OTHER)
        has_user = np.logical_or.reduceat(by_turn == ROLES.index("user"), ends - counts)
        answered = by_turn[ends - 1] == ROLES.index("assistant")
        plain: Numbers = has_user & answered & ~np.logical_or.reduceat(odd, ends - counts)
        return plain

    def _open_with(self, pattern: str, pieces: Numbers) -> Numbers:
        """Return which texts open with a pattern: few do so by their first byte."""
        opens: Numbers = MAY_SAY_MORE[self.cuts.first_bytes[pieces]]
        doubtful = np.flatnonzero(opens)
        texts = pl.Series(self.cuts.texts.take(number_array(pieces[doubtful])))
        opens[doubtful] = texts.str.contains(pattern).to_numpy()
        return opens

    def _joined_turns(self) -> LineTurns:
        """Return the turns that the form makes of fields."""
        form, count = self.form, sum(len(lines.numbers) for lines in self.lines)
        names = [*chain.from_iterable(names for _, names in form.turns)]
        pieces = self._pieces(*names)
        texts = self.cuts.texts.take(number_array(pieces.ravel()))
        if len(names) > len(form.turns):
            joined = np.tile([len(names) for _, names in form.turns], count)
            ends = np.cumsum(joined, dtype=np.int32)
            lists = pa.ListArray.from_arrays(number_array(np.insert(ends, 0, 0)), texts)
            texts = pc.binary_join(lists, text_scalar("\n\n"))
        roles = text_array([role for role, _ in form.turns])
        order = np.tile(np.arange(len(roles)), count)
        return LineTurns(roles.take(number_array(order)), texts, np.full(count, len(roles)))

    def _listed_turns(self) -> LineTurns:
        """Return the turns that are listed."""
        names = self._role_names()
        usual = text_array([ROLE_MAP[name] for name in names.dictionary.to_pylist()])
        texts = self.cuts.texts.take(number_array(self._listed("contents")))
        return LineTurns(usual.take(names.indices), texts, self._turn_counts())

    def _role_names(self) -> pa.DictionaryArray:
        return self.cuts.texts.take(number_array(self._listed("roles"))).dictionary_encode()

    def _listed(self, part: Literal["roles", "contents"]) -> Numbers:
        return np.concatenate(
            [lines.pieces(getattr(lines.shape, part)).ravel() for lines in self.lines]
        )

    def _turn_counts(self) -> Numbers:
        counts = [len(lines.shape.roles) for lines in self.lines]
        return np.repeat(counts, [len(lines.numbers) for lines in self.lines])

    def _metas(self) -> pa.StringArray:
        """Return what is left of each record as JSON: its texts are that as they are written."""
        count = sum(len(lines.numbers) for lines in self.lines)
        if not self.form.meta:
            return pa.repeat(text_scalar(NO_META), count)
        parts: list[pa.StringArray | pa.StringScalar] = []
        for number, name in enumerate(self.form.meta):
            opening = ("," if number else "{") + orjson.dumps(name).decode() + ":"
            if name in self.lines[0].shape.texts:
                opening, closing = opening + '"', '"'
                values = self._as_json(name)
            else:
                values, closing = self._constants(name), ""
            parts += [text_scalar(opening), values, text_scalar(closing)]
        return pc.binary_join_element_wise(*parts, text_scalar("}"), text_scalar(""))

    def _constants(self, name: str) -> pa.StringArray:
        return pa.concat_arrays(
            [
                pa.repeat(text_scalar(lines.shape.constants[name]), len(lines.numbers))
                for lines in self.lines
            ]
        )

    def _as_json(self, name: str) -> pa.StringArray:
        """Return the texts of a field as they are written, unless they can be written shorter."""
        pieces = self._pieces(name).ravel()
        written = self.cuts.written.take(number_array(pieces))
        longer = np.flatnonzero(pl.Series(written).str.contains(MAY_BE_SHORTER).to_numpy())
        if not len(longer):
            return written
        texts = self.cuts.texts.take(number_array(pieces[longer])).to_pylist()
        return with_texts(written, longer, [orjson.dumps(text)[1:-1].decode() for text in texts])

    def _texts(self, name: str) -> pa.StringArray:
        """Return the texts of a field."""
        return self.cuts.texts.take(number_array(self._pieces(name).ravel()))

    def _pieces(self, *names: str) -> Numbers:
        return np.concatenate(
            [lines.pieces(tuple(lines.shape.texts[name] for name in names)) for lines in self.lines]
        )
