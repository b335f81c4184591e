"""Text of rows in the terminal, in Markdown and on a line: shown, never obeyed."""

from __future__ import annotations

import ast
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from curate.core.escape import code, markdown, printable, shorten, visible

REPO = Path(__file__).parents[2]
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
PIECES = st.sampled_from(
    ["![", "](http://x.y)", "<img src=x>", "`", "``", "|", "\\", "*", "_", "[", "]", "<", ">", "\n",
     "\r", "www.x.y", "http://x.y", "a@b.cd", "&lt;", "#", "- ", "1. ", "~~", "$", " ", "a", "\t",
     "\x1b[31m", "\u202e", "\u2028", "---", "\x00"]
)  # fmt: skip
HOSTILE = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=20)


@given(st.text() | HOSTILE)
@example("\x1b]0;title\x07\x9b31m\x7f" + DIRECTIONS + "\u2028\u2029\ud800")
def test_no_text_commands_a_terminal(text: str) -> None:
    line = printable(text)
    assert not [
        c for c in line if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"
    ]
    assert not set(DIRECTIONS) & set(line)
    line.encode()


@given(st.text() | HOSTILE)
def test_no_text_looks_like_a_line_of_the_programs_own(text: str) -> None:
    _, *others = printable(text).split("\n")
    assert all(line.startswith("  ") for line in others)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text
    assert printable(f"a\n      {text}") == f"a\n      {text}"


@given(HOSTILE)
def test_markdown_of_a_text_shows_it_and_nothing_else(text: str) -> None:
    reader = MarkdownIt("commonmark").enable("table")
    rows = f"| {markdown(text)} | 7 |\n| {code(text)} | 8 |\n"
    page = f"# {markdown(text)}\n\n| a | b |\n|---|---|\n{rows}\nend\n"
    tokens = reader.parse(page)
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 4
    assert kinds.count("heading_open") == 1
    assert "html_block" not in kinds
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "code_inline"}
    # What other readers make links of by themselves stands in code alone.
    words = [
        child.content for token in tokens for child in token.children or () if child.type == "text"
    ]
    assert not any("www." in word or "://" in word or "@" in word for word in words)
    assert not {"[", "<"} & set(markdown(text))


@pytest.mark.parametrize(
    "name",
    [
        "quickstart",
        "my-run",
        "mixed_v2",
        "a.b",
        "P3/qasc",
        "数据",
        "(unknown)",
        "sums (easy): 1, 2",
        "50 %",
    ],
)
def test_mere_words_are_left_as_they_are(name: str) -> None:
    assert markdown(name) == name


def test_code_keeps_quotes_and_blanks_apart_from_its_fence() -> None:
    assert code("model") == "`model`"
    assert code("a`b") == "``a`b``"
    assert code("`a") == "`` `a ``"
    assert code("a|b") == r"`a\u007cb`"


def test_the_command_line_prints_in_one_place() -> None:
    """All goes through `say`; the schema alone, which holds no text of rows, is printed as it is."""
    tree = ast.parse((REPO / "curate" / "cli.py").read_text(encoding="utf-8"))
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert called.count("typer.echo") == 1
    assert not {"print", "sys.stdout.write", "sys.stderr.write", "traceback.print_exc"} & set(
        called
    )


def test_hidden_characters_are_written_out() -> None:
    assert visible("a\x00b\x1b[31m\u202ec\r\nd\te") == "a\\x00b\\x1b[31m\\u202ec\nd\te"
    assert visible("日本語 👩\u200d🔬 é") == "日本語 👩\u200d🔬 é"


@given(st.text(max_size=60), st.integers(8, 30))
def test_a_shortened_text_fits_on_its_line(text: str, chars: int) -> None:
    short = shorten(text, chars)
    assert len(short) <= chars
    assert "\n" not in short
