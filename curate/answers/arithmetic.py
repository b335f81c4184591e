r"""Arithmetic in a text: expressions read by an interpreter of our own, and whether its equations hold.

    evaluate("(3 + 4) * 5/2")                     35/2, exact
    evaluate("9^9^9^9"), evaluate("__import__")   None: too large, no arithmetic
    false_equation("So 3 + 4 = 8, and 8 * 2 = 16.")      "3 + 4 = 8"

Only +, -, *, / and powers of whole numbers are read, from Python's syntax tree; nothing is ever run.
Length, depth, exponents and the size of every value on the way have limits.

An equation is judged where all of it can be read: at the start of a line, after a mark, or after a word
that is no part of it. "y + 3 = 7" and "half of 50 = 25" say something else and are passed over. It holds
exactly or not at all: 1/3 = 0.33 does not, and 1/3 ≈ 0.33 is none.
"""

import ast
from collections.abc import Iterator
from fractions import Fraction

import regex

from curate.answers.quantities import find_quantity
from curate.answers.spans import CUT_OFF, announced_span, bare_span, plain_math

LONGEST, DEEPEST, LARGEST_EXPONENT, MOST_BITS = 400, 100, 64, 4_096
NUMERAL = regex.compile(r"\d+(?:\.\d*)?|\.\d+")
THOUSANDS = regex.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
WRITTEN = (
    (regex.compile(r"\\times|\\cdot|[×·∙]|(?<=[\d)]\s)x(?=\s[\d(])"), "*"),
    (regex.compile(r"\\div|÷"), "/"),
    (regex.compile(r"\^\s*\{([^{}]*)\}"), r"**(\1)"),
    (regex.compile(r"\^"), "**"),
    (regex.compile(r"[$€£](?=\s?[\d(])"), ""),
    # Marks of LaTeX and Markdown around it.
    (regex.compile(r"\\[][()]|`"), " "),
    (regex.compile(r"(?<![\w)\]]\s?)\*\*([^*]+)\*\*(?![\w(\[])"), r"\1"),
)
FRACTION = regex.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
BRACKETS = str.maketrans("[]", "()")
SYMBOLS = regex.compile(r"[-+*/().\d\s]+")
RUN = regex.compile(r"[-+*/().\d\s=]+")
ITEM = regex.compile(r"\s*(?:[-*•]|\(?\d{1,3}[.)])\s+(?=[\w(-])")
# What an equation may stand behind: nothing, a mark, or a word that is no part of it.
MARK = regex.compile(r"(?:[:,;.!?$]|[=-]>|<<)$")
WORD = regex.compile(
    r"(?<!\w)(?!(?:of|and|or|by|plus|minus|times|over|to|than|per)\b)\p{L}{2,}$", regex.I
)
TERMS = regex.compile(r"[\d)]\s*[-+*/]+\s*[\d.(-]")
# What makes something else of its last number.
GOES_ON = regex.compile(
    r"[\w\\°{}]|\s*(?:[%‰!^≈~±<]|>(?!>))|\s+(?:hundred|thousand|million|remainder|r|mod)\b", regex.I
)
NEAR = 40


def evaluate(text: str) -> Fraction | None:
    """Return the value of an arithmetic expression, None of anything else and of what is too large."""
    if not 0 < len(text) <= LONGEST:
        return None
    source = _as_python(text)
    if SYMBOLS.fullmatch(source) is None:
        return None
    try:
        tree = ast.parse(source, mode="eval")
        return _value_of(tree.body, source, DEEPEST)
    except (SyntaxError, ValueError, MemoryError, RecursionError, ZeroDivisionError):
        return None


def _as_python(text: str) -> str:
    """Return an expression without LaTeX, signs of money and commas between thousands, on one line."""
    text = plain_math(text)
    text = THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    for pattern, replacement in WRITTEN:
        text = pattern.sub(replacement, text)
    while (plain := FRACTION.sub(r"((\1)/(\2))", text)) != text:
        text = plain
    return text.translate(BRACKETS).strip()


def _value_of(node: ast.expr, source: str, depth: int) -> Fraction:
    """Return the value of a node.

    Raises:
        ValueError: it is no arithmetic, or beyond a limit.
    """
    if depth == 0:
        raise ValueError("too deep")
    match node:
        case ast.Constant():
            numeral = ast.get_source_segment(source, node) or ""
            if NUMERAL.fullmatch(numeral) is None:
                raise ValueError("no number")
            return Fraction(numeral)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub()):
            value = _value_of(node.operand, source, depth - 1)
            return -value if isinstance(node.op, ast.USub) else value
        case ast.BinOp():
            left = _value_of(node.left, source, depth - 1)
            return _bounded(node.op, left, _value_of(node.right, source, depth - 1))
    raise ValueError("no arithmetic")


def _bounded(operator: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    """Return the value of an operation on values within the limits, if it is within them too."""
    match operator:
        case ast.Add():
            value = left + right
        case ast.Sub():
            value = left - right
        case ast.Mult():
            value = left * right
        case ast.Div():
            value = left / right
        case ast.Pow() if right.denominator == 1 and abs(right) <= LARGEST_EXPONENT:
            value = left ** int(right)
        case _:
            raise ValueError("no arithmetic")
    if _bits(value) > MOST_BITS:
        raise ValueError("too large")
    return value


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def find_value(text: str) -> Fraction | None:
    """Return the value of what a text announces, or of its last line, None if that is no arithmetic.

    Of an equation it is the right side; of a sentence the quantity that it ends with, without its unit.
    """
    quantity = find_quantity(text)
    if quantity is not None:
        return quantity.number
    span = announced_span(text)
    if span is None:
        span = (text.strip().splitlines() or [""])[-1]
    return None if CUT_OFF.search(span) else evaluate(bare_span(span).rpartition("=")[2])


def false_equation(text: str) -> str | None:
    """Return the first equation of a text that does not hold, None if all that can be read do."""
    for line in text.splitlines():
        for equation in _equations(_as_python(line)):
            values = [evaluate(side) for side in equation.split("=")]
            if None not in values and len(set(values)) > 1:
                return equation
    return None


def _equations(line: str) -> Iterator[str]:
    """Yield the chains of expressions with "=" between them that stand alone in a line."""
    item = ITEM.match(line)
    line = line[item.end() :] if item else line
    for run in RUN.finditer(line):
        equation = run[0].strip()
        start = run.start() + run[0].index(equation)
        before, end = line[max(start - NEAR, 0) : start].rstrip(), start + len(equation)
        equation = equation.removesuffix(".")
        if "=" not in equation or ".." in equation or GOES_ON.match(line, end):
            continue
        # A sign would join it to what is before it, and a single number may belong to a word.
        alone = not before or (equation[0] not in "+-*/=" and MARK.search(before))
        terms = TERMS.search(equation.partition("=")[0]) and equation[0] not in "+-*/="
        if alone or (terms and WORD.search(before)):
            yield equation
