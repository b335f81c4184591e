r"""Text from rows, keys and file names, made harmless for where it is shown.

    printable("a\x1b[31mb")     'a\\x1b[31mb', which no terminal obeys
    markdown("<img src=x>")     '`\\u003cimg src=x>`', which no reader of Markdown obeys

Reports escape for HTML by their templates.
"""

import re

# What would vanish, reverse the text around it, or abort an SVG renderer, which takes XML only.
HIDDEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff"
HIDDEN += "\U000e0000-\U000e007f"
# Beside these, what marks directions or breaks lines.
COMMANDS = re.compile(f"[{HIDDEN}\u061c\u200e\u200f\u2028\u2029]")
HIDDEN_ONE = re.compile(f"[{HIDDEN}]")
# Words and signs that are no mark-up, of Markdown or of any dialect.
PLAIN = re.compile(r"[^\W_(](?:[\w ,;:/.+='%()-])*|\([\w ]+\)")
# Save where they make emphasis or a link.
MARKED = re.compile(r"(?<![^\W_])_|_(?![^\W_])|//|www\.", re.IGNORECASE)
# Ends a table's cell, opens a tag or a link: written out even in code, as not all readers know code.
OPENING = re.compile(r"[|<\[]")


def visible(text: str) -> str:
    r"""Return the text with control and direction characters written out, as in \u202e."""
    return HIDDEN_ONE.sub(_written_out, _unbroken(text))


def shorten(text: str, chars: int) -> str:
    """Return at most `chars` characters on one line: start, ellipsis and end of a longer text."""
    line = " ".join(visible(text).split())
    if len(line) <= chars:
        return line
    tail = chars // 3
    return f"{line[: chars - tail - 1]}…{line[-tail:]}"


def printable(text: object) -> str:
    """Return a line for the terminal: nothing in it commands one, and what it continues on is indented.

    So no text of a row can change the screen or look like a line of the program's own.
    """
    return re.sub(r"\n(?!  )", "\n  ", COMMANDS.sub(_written_out, _unbroken(str(text))))


def markdown(text: str) -> str:
    """Return text as Markdown that shows it, in one line: as code unless it is made of mere words."""
    return text if PLAIN.fullmatch(text) and not MARKED.search(text) else code(text)


def code(text: str) -> str:
    """Return text as inline code, in which nothing is a link, an image, a tag or the end of a cell."""
    line = COMMANDS.sub(_written_out, re.sub(r"[\n\t]", " ", _unbroken(text)))
    line = OPENING.sub(lambda match: f"\\u{ord(match.group()):04x}", line)
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    # A blank on both sides is taken off again, and parts the text's own quotes from the fence.
    room = " " if not line.strip() or line[0] in " `" or line[-1] in " `" else ""
    return f"{fence}{room}{line}{room}{fence}"


def _unbroken(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _written_out(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()
