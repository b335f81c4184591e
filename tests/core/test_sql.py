"""Expressions of recipes: what is read means what polars' SQL means by it, and nothing else is read."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.sql import parse_expression
from curate.selectors.planner import named_stages
from curate.selectors.random import RandomSelector
from tests.httpserver import serving

NAMES = st.sampled_from(
    ["tokens", "source", "Übung", "fuzzy.score", '"rules.x"', 'a."b c"', "`d`", "date"]
)
LITERALS = st.one_of(
    st.integers(0, 10**20).map(str),
    st.sampled_from(["0.6", ".5", "5.", "1e3", "2.5E-2", "TRUE", "false", "NULL", "null"]),
    st.text("ab'%_\\\"(;-–", max_size=5).map(lambda text: "'" + text.replace("'", "''") + "'"),
)
BINARY = st.sampled_from(
    ["+", "-", "*", "/", "//", "%", "||", "=", "==", "!=", "<>", "<", "<=", ">", ">=", "<=>", "AND",
     "or", "XOR"]
)  # fmt: skip
TESTS = st.sampled_from(
    ["IS NULL", "is not NULL", "IS TRUE", "IS NOT FALSE", "IN (1, -2, NULL)", "NOT IN ('a', 'b')",
     "LIKE 'a%'", "not ilike '_b%'", "BETWEEN 1 AND tokens + 1", "NOT BETWEEN 0.5 AND 2 -- and so on\n"]
)  # fmt: skip


def joined(operand: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(operand, BINARY, operand).map(" ".join),
        st.tuples(operand, TESTS).map(" ".join),
        st.tuples(st.sampled_from(["NOT", "-", "+"]), operand).map(" ".join),
        operand.map("( {} )".format),
    )


EXPRESSIONS = st.recursive(NAMES | LITERALS, joined, max_leaves=8)
PIECES = st.sampled_from(
    ["tokens", "a.b", "1", "'x'", "NULL", "(", ")", ",", ".", "*", "+", "=", "||", "AND", "NOT", "IN",
     "IS", "LIKE", "BETWEEN", "read_csv", "SELECT", "FROM", "CASE", "::", "[", "]", "{", "$1", "?", "@",
     "~", ";", "--", "/*", "*/", '"', "'", "\\", "\x00", "count", "X", "DATE", "^a$", '"*"', "->", ":"]
)  # fmt: skip


@given(text=EXPRESSIONS)
def test_what_is_read_means_what_polars_sql_means_by_it(text: str) -> None:
    try:
        expected = pl.sql_expr(text)
    except pl.exceptions.PolarsError:
        with pytest.raises(UserError):
            parse_expression(text)
        return
    assert parse_expression(text).meta.eq(expected)


@given(pieces=st.lists(PIECES, max_size=12), blank=st.sampled_from(["", " "]))
def test_any_text_is_an_expression_of_columns_or_one_sentence(
    pieces: list[str], blank: str
) -> None:
    text = blank.join(pieces)
    try:
        expression = parse_expression(text)
    except UserError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 700
        return
    assert all(name in text.replace('""', '"') for name in expression.meta.root_names())
    assert not expression.meta.has_multiple_outputs()
    printed = str(expression)
    assert not any(word in printed for word in ("subplan", "read_csv(", "cast(Int", "SCAN"))


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("read_csv('/etc/passwd') = 1", "the function 'read_csv'"),
        ("\"read_csv\"('/etc/passwd') = 1", "the function 'read_csv'"),
        ("tokens < 5 AND length(source) > 1", "the function 'length'"),
        ("tokens IN (SELECT 1)", "'SELECT'"),
        ("(SELECT max(tokens) FROM self) = 1", "'max'"),
        ("EXISTS (SELECT 1)", "the function 'EXISTS'"),
        ("CASE WHEN tokens > 1 THEN 1 ELSE 2 END = 1", "'WHEN'"),
        ("CAST(tokens AS STRING) = '1'", "the function 'CAST'"),
        ("tokens::string = '1'", "':'"),
        ("tokens AS x", "'AS'"),
        ("tokens; tokens", "';'"),
        ("source ~ '(a+)+$'", "'~'"),
        ("X'41' = 1", "\"'41'\""),
        ('"^.*$" = 1', "no name of a column"),
        ('"*" = 1', "no name of a column"),
        ('fuzzy."^.*$" = 1', "no name of a column"),
        ("tokens <", "something is missing"),
        ("", "something is missing"),
        ("tokens IN ()", "')'"),
        ("tokens = 'x", '"\'"'),
    ],
)
def test_anything_else_is_refused_in_a_sentence_that_names_it(text: str, piece: str) -> None:
    with pytest.raises(UserError) as error:
        parse_expression(text)
    assert piece in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        " OR ".join(f"tokens = {i}" for i in range(10_000)),
        "tokens IN (" + ", ".join(map(str, range(10_000))) + ")",
        "(" * 10_000 + "tokens" + ")" * 10_000,
        "(" * 60 + "tokens" + ")" * 60,
        "NOT " * 10_000 + "tokens",
        "- " * 900 + "tokens",
        "tokens" + " IS NULL" * 10_000,
        "tokens" + ".x" * 10_000,
        "x" * 1_000_000,
        "'" * 99_999,
        "/*" * 40_000,
        "1" * 90_000,
    ],
)
def test_expressions_beyond_all_measure_are_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_expression(text)
    assert len(str(error.value)) < 700


def test_a_long_list_and_hundreds_of_terms_are_read() -> None:
    frame = pl.DataFrame({"tokens": [3, 7_000, 499]})
    for text, met in (
        ("tokens IN (" + ", ".join(map(str, range(5_000))) + ")", [True, False, True]),
        (" OR ".join(f"tokens = {i}" for i in range(500)), [True, False, True]),
        ("(" * 40 + "tokens > 3" + ")" * 40, [False, True, True]),
    ):
        assert frame.select(met=parse_expression(text))["met"].to_list() == met


@pytest.mark.parametrize("place", ["filter", "by"])
def test_a_condition_opens_no_address_and_no_file(tmp_path: Path, place: str) -> None:
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    with serving(Handler) as server:
        for address in (f"{server}/x.csv", str(tmp_path / "secret.csv")):
            for text in (
                f"read_csv('{address}') = 1",
                f"tokens IN (SELECT a FROM read_csv('{address}'))",
                f"tokens = (SELECT a FROM scan_csv('{address}'))",
            ):
                plan = {"filter": text} if place == "filter" else {"shares": [{"by": text}]}
                with pytest.raises(UserError, match="is not read"):
                    named_stages(RandomSelector.model_validate({"budget": {"rows": 1}, **plan}))
    assert not requests
