"""SQL expressions of a recipe: columns, literals and operators, nothing that is run.

    tokens < 800 AND fuzzy.score < 0.6

A recipe may come from anyone, and polars' SQL has functions that open files and addresses while an
expression is merely parsed. So polars is only given words that this grammar allows, and every name in
quotes, so that none is a keyword or a function. What the operators mean is left to polars.

    expression = operand {operator operand}
    operand    = {NOT | + | -} (column | literal | "(" expression ")") {test}
    column     = name {"." name}
    test       = IS [NOT] (NULL | TRUE | FALSE) | [NOT] IN "(" literal {"," literal} ")"
    operator   = a symbol | AND | OR | XOR | [NOT] (BETWEEN | LIKE | ILIKE)
"""

import re
from typing import NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from curate.core.errors import UserError

# Polars needs seconds for more names and operators, and ten thousand of them end the process.
MOST_CHARACTERS, MOST_LITERALS, MOST_PARTS, MOST_NESTED = 100_000, 5_000, 2_000, 40
EXCERPT, PROBLEM = 80, 300

_WORD = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?!\w))
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
    |(?P<name>[^\W\d]\w*)
    |(?P<symbol><=>|<>|<=|>=|==|!=|\|\||//|[=<>+\-*/%])
    |(?P<mark>[().,])
    |(?P<unknown>.)""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = ("NULL", "TRUE", "FALSE")
_COMPARING = ("BETWEEN", "LIKE", "ILIKE")
_SYMBOLS = ("=", "==", "!=", "<>", "<", "<=", ">", ">=", "<=>", "+", "-", "*", "/", "//", "%", "||")
_KEYWORDS = frozenset((*_CONSTANTS, *_COMPARING, "AND", "OR", "XOR", "NOT", "IN", "IS"))


def parse_expression(text: str) -> pl.Expr:
    """Return the polars expression of an SQL expression made of columns, literals and operators.

    Raises:
        UserError: there is anything else in it, or too much of it.
    """
    try:
        if len(text) > MOST_CHARACTERS:
            raise _Fault(f"{len(text):,} characters are too many ({MOST_CHARACTERS:,} at most)")
        return pl.sql_expr(_Grammar(_split(text)).checked())
    except (PolarsError, _Fault) as error:
        raise UserError(f"{excerpt(text)}: {str(error).splitlines()[0][:PROBLEM]}") from error


def excerpt(text: str) -> str:
    """Return an expression in quotes, as messages tell it, without its end if it is long."""
    return repr(text if len(text) <= EXCERPT else f"{text[:EXCERPT]}...")


class _Fault(Exception):
    """What is wrong with an expression."""


class _Word(NamedTuple):
    kind: str
    text: str

    @property
    def keyword(self) -> str:
        """Return a keyword, symbol or mark; nothing for names, literals and the end."""
        if self.kind in ("symbol", "mark"):
            return self.text
        upper = self.text.upper()
        return upper if self.kind == "name" and upper in _KEYWORDS else ""


def _split(text: str) -> list[_Word]:
    words = [_Word(m.lastgroup or "", m.group()) for m in _WORD.finditer(text)]
    words = [word for word in words if word.kind != "blank"]
    literals = sum(word.kind in ("number", "text") for word in words)
    parts = len(words) - literals - sum(word.keyword in (",", ")") for word in words)
    if literals > MOST_LITERALS or parts > MOST_PARTS:
        raise _Fault(
            f"{parts:,} names, operators and brackets and {literals:,} literals are too many "
            f"({MOST_PARTS:,} and {MOST_LITERALS:,} at most; IN (...) takes many literals at once)"
        )
    return words


class _Grammar:
    """Goes through the words of an expression and fails at the first one that may not stand there."""

    def __init__(self, words: list[_Word]) -> None:
        self._words = [*words, _Word("end", ""), _Word("end", "")]
        self._read: list[str] = []
        self._depth = 0

    def checked(self) -> str:
        """Return the whole expression as polars is to read it."""
        self._expression()
        if self._next.kind != "end":
            raise self._refusal()
        return " ".join(self._read)

    @property
    def _next(self) -> _Word:
        return self._words[len(self._read)]

    def _take(self, *keywords: str) -> bool:
        """Read the next word if it is one of these; return whether it was."""
        if self._next.keyword not in keywords:
            return False
        self._read.append(self._next.keyword)
        return True

    def _need(self, *keywords: str) -> None:
        if not self._take(*keywords):
            raise self._refusal()

    def _take_negatable(self, *keywords: str) -> bool:
        if self._next.keyword == "NOT" and self._words[len(self._read) + 1].keyword in keywords:
            self._take("NOT")
        return self._take(*keywords)

    def _expression(self) -> None:
        self._operand()
        while self._take(*_SYMBOLS, "AND", "OR", "XOR") or self._take_negatable(*_COMPARING):
            self._operand()

    def _operand(self) -> None:
        while self._take("NOT", "+", "-"):
            pass
        if self._take("("):
            self._depth += 1
            if self._depth > MOST_NESTED:
                raise _Fault(f"brackets may stand {MOST_NESTED} deep at most")
            self._expression()
            self._need(")")
            self._depth -= 1
        elif not self._literal():
            self._column()
        while self._test():
            pass

    def _literal(self) -> bool:
        if self._next.kind in ("number", "text"):
            self._read.append(self._next.text)
            return True
        return self._take(*_CONSTANTS)

    def _column(self) -> None:
        self._name()
        while self._take("."):
            self._name()

    def _name(self) -> None:
        word, follower = self._next, self._words[len(self._read) + 1]
        if word.kind not in ("name", "quoted") or word.keyword:
            raise self._refusal()
        name = word.text if word.kind == "name" else word.text[1:-1]
        name = name.replace('""', '"') if word.text.startswith('"') else name
        if follower.keyword == "(":
            raise _Fault(f"the function {excerpt(name)} is not read; {_READABLE}")
        # Polars takes these for patterns of names.
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise _Fault(f"{excerpt(name)} is no name of a column")
        self._read.append('"' + name.replace('"', '""') + '"')

    def _test(self) -> bool:
        if self._take("IS"):
            self._take("NOT")
            self._need(*_CONSTANTS)
            return True
        if self._take_negatable("IN"):
            self._values()
            return True
        return False

    def _values(self) -> None:
        self._need("(")
        while True:
            self._take("-", "+")
            if not self._literal():
                raise self._refusal()
            if not self._take(","):
                return self._need(")")

    def _refusal(self) -> _Fault:
        word = self._next
        if word.kind == "end":
            return _Fault("something is missing at its end")
        return _Fault(f"{excerpt(word.text)} is not read here; {_READABLE}")


_READABLE = (
    "what is read are columns (tokens, STAGE.COLUMN), numbers, 'text', TRUE, FALSE, NULL, brackets, "
    "+ - * / // % ||, = != < <= > >=, AND, OR, NOT, XOR, BETWEEN, IN (...), LIKE, ILIKE and IS NULL"
)
