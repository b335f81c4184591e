"""A run in Markdown: the verdict first, within GitHub's limit, and nothing of a text is markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from curate.report import markdown
from curate.report.markdown import CUT, MOST_CHARS, report_markdown
from curate.runs.folder import open_run

MakeRun = Callable[..., Path]
HOSTILE = (
    " @octocat owner/repo#1 #12 GH-3 | ` ``` <img src=x onerror=alert(1)> [a](http://example.org/x) "
    "![b](http://example.org/y) **bold** https://example.org www.example.org\n# Heading\n- [ ] task"
)


def parse(text: str) -> list[Token]:
    """Return the tokens of GitHub's dialect, those within others too."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


def test_the_verdict_comes_first_and_numbers_are_those_of_the_run(make_run: MakeRun) -> None:
    run = make_run(rows=60, selected=10, duplicates=6, leaks=2)
    text = report_markdown(open_run(run))
    assert text.startswith(
        "## The selection is better than random\n\nRun made-up: 63 records read, "
    )
    assert "**Verdict: better.** A sentence of the proof." in text
    assert (
        "| exact | has the same normalised text as a row that is kept `exact_duplicate` | 6 |"
        in text
    )
    assert "The stage `leaks` dropped 2 rows" in text
    mix = pl.read_parquet(run / "ledger.parquet").filter(source="src0")
    chosen = mix.filter(fate="selected").height
    assert f"| src0 | {mix.height} | {chosen} |" in text
    assert "- `ledger.parquet`" in text and "- `export/README.md`" not in text


def test_a_run_without_a_proof_says_so(make_run: MakeRun) -> None:
    text = report_markdown(open_run(make_run(verdict=None)))
    assert text.startswith("## 52 of 60 rows kept; 2 rows hold eval prompts\n")
    assert "**Not proved.**" in text


@pytest.mark.parametrize("spec", [{}, {"verdict": None}, {"source": lambda i: "one"}])
def test_texts_of_others_are_no_markup(make_run: MakeRun, spec: dict[str, object]) -> None:
    run = open_run(
        make_run(**({"taint": HOSTILE, "origin": lambda i: f"o{i % 3}{HOSTILE}"} | spec))
    )
    run.manifest["warnings"] = [f"the file a{HOSTILE} holds no rows"]
    text = report_markdown(run)
    tokens = parse(text)
    plain = " ".join(token.content for token in tokens if token.type == "text")
    own = report_markdown(open_run(make_run("own", **spec)))
    kinds = {token.type for token in parse(own)}
    assert {token.type for token in tokens} - kinds <= {"bullet_list_open", "bullet_list_close"}
    assert not {"html_inline", "html_block", "link_open", "image"} & {t.type for t in tokens}
    assert not re.search(r"@\w|#\d|GH-\d|https?://|www\.", plain)
    assert "octocat" in text


def test_every_line_of_a_table_has_its_cells(make_run: MakeRun) -> None:
    text = report_markdown(open_run(make_run(taint=HOSTILE)))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_it_never_has_more_characters_than_a_comment(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(rows=2_000, source=lambda i: f"s{i}" + "x" * 170, origin=lambda i: None)
    long = report_markdown(open_run(run))
    assert len(long) <= MOST_CHARS
    assert "The first 20 of 2,000." in long
    monkeypatch.setattr(markdown, "MOST_CHARS", 900)
    short = report_markdown(open_run(run))
    assert len(short) <= 900 and short.rstrip().endswith(CUT)
    assert short.startswith("## The selection is better than random\n")
