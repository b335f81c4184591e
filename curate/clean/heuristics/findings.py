"""What each rule makes of the measures: the reason for which a row fails, and what gave it away.

encoding     holds `Ã¼`
repetition   0.32 of its words lie in 10-grams that it has said before, limit 0.2
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.clean.heuristics import measures
from curate.clean.heuristics.parameters import (
    CopiedRule,
    LanguageRule,
    LengthRule,
    MarkupRule,
    RepetitionRule,
    ToolsRule,
    UnfinishedRule,
)
from curate.core.reasons import Reason

QUOTED_CHARS = 60
# Of a copied prompt's characters a response has at most so many times.
MOST_ADDED = 1.5


@dataclass(frozen=True)
class Finding:
    """Why rows fail a rule, null where they pass, and a sentence of what gave each away."""

    reason: pl.Expr
    detail: pl.Expr


def _fails(condition: pl.Expr, reason: Reason) -> pl.Expr:
    return pl.when(condition).then(pl.lit(reason.value))


def _quoted(column: str) -> pl.Expr:
    """Return the piece in a column between backticks, on one line and of some length at most."""
    line = pl.col(column).str.replace_all(r"[ \n\r\t]+", " ").str.strip_chars(" ")
    cut = pl.when(line.str.len_chars() > QUOTED_CHARS).then(
        line.str.slice(0, QUOTED_CHARS) + " ..."
    )
    return pl.format("`{}`", cut.otherwise(line))


def _number(value: pl.Expr) -> pl.Expr:
    """Return a measure as one reads it: with two decimals, and none where they are zero."""
    return value.cast(pl.Float64).round(2).cast(pl.String).str.replace(r"\.0$", "")


def _filled(text: str, *values: pl.Expr) -> pl.Expr:
    """Return a sentence with a value of each row in the place of every `{}`."""
    pieces = [pl.lit(piece) for piece in text.split("{}")]
    return pl.concat_str(
        pieces[0], *(e for pair in zip(values, pieces[1:], strict=True) for e in pair)
    )


def _condition_sentences(parts: Mapping[str, tuple[pl.Expr, pl.Expr]]) -> pl.Expr:
    """Return the sentences of the conditions that hold, `{}` in each filled, joined by semicolons."""
    lines = [
        pl.when(condition).then(_filled(text, _number(value)))
        for text, (condition, value) in parts.items()
    ]
    return pl.concat_str(lines, separator="; ", ignore_nulls=True)


def _piece(column: str, reason: Reason, words: str = "holds") -> Callable[[Any], Finding]:
    """Return the rule that fails a row in which a piece was found."""
    finding = Finding(
        _fails(pl.col(column).is_not_null(), reason), _filled(words + " {}", _quoted(column))
    )
    return lambda _: finding


def _length(rule: LengthRule) -> Finding:
    bounds = {name: (pl.col(f"{name}_chars"), *limits) for name, limits in rule}
    short = {name: chars < fewest for name, (chars, fewest, _) in bounds.items()}
    long = {name: chars > most for name, (chars, _, most) in bounds.items()}
    parts = {
        f"the {name} has {{}} characters, {limit} {bounds[name][at]:,}": (failed, bounds[name][0])
        for limit, at, sides in (("fewest", 1, short), ("most", 2, long))
        for name, failed in sides.items()
    }
    reason = pl.coalesce(
        _fails(pl.any_horizontal(short.values()), Reason.TOO_SHORT),
        _fails(pl.any_horizontal(long.values()), Reason.TOO_LONG),
    )
    return Finding(reason, _condition_sentences(parts))


def _language(rule: LanguageRule) -> Finding:
    drops, allowed = pl.lit(rule.allowed is not None), rule.allowed or []
    other = {
        side: drops
        & ~pl.col(f"{side}_language").is_in(allowed)
        & (pl.col(f"{side}_confidence") >= rule.confidence)
        for side in measures.SIDES
    }
    lines = [
        pl.when(failed).then(
            _filled(
                f"the {side} is in {{}} (sure by {{}}, limit {rule.confidence:g}), allowed {{}}",
                pl.col(f"{side}_language"),
                _number(pl.col(f"{side}_confidence")),
                pl.lit(", ".join(allowed)),
            )
        )
        for side, failed in other.items()
    ]
    return Finding(
        _fails(pl.any_horizontal(other.values()), Reason.WRONG_LANGUAGE),
        pl.concat_str(lines, separator="; ", ignore_nulls=True),
    )


def _repetition(rule: RepetitionRule) -> Finding:
    lines, grams, loop = (pl.col(name) for name in ("repeated_lines", "repeated_grams", "loop"))
    parts = {
        f"{{}} of its characters lie in lines that it has said before, limit {rule.lines:g}": (
            lines > rule.lines,
            lines,
        ),
        f"{{}} of its words lie in 10-grams that it has said before, limit {rule.grams:g}": (
            grams > rule.grams,
            grams,
        ),
    }
    if rule.loops:
        parts["its last {} characters are one piece over and over"] = (loop > 0, loop)
    failed = pl.any_horizontal(condition for condition, _ in parts.values())
    return Finding(_fails(failed, Reason.REPETITION), _condition_sentences(parts))


def _markup(rule: MarkupRule) -> Finding:
    share = pl.col("markup_share")
    much = share > rule.prompt
    text = f"{{}} of the prompt is markup, limit {rule.prompt:g}"
    return Finding(
        _fails(pl.col("markup").is_not_null() | much, Reason.MARKUP),
        pl.concat_str(
            pl.format("holds {}", _quoted("markup")),
            pl.when(much).then(_filled(text, _number(share))),
            separator="; ",
            ignore_nulls=True,
        ),
    )


def _copied(rule: CopiedRule) -> Finding:
    share = pl.col("copied")
    # Who says the problem again and goes on from there answers it.
    little = pl.col("response_chars") <= MOST_ADDED * pl.col("prompt_chars")
    text = f"{{}} of the prompt's words stand in the response, limit {rule.share:g}"
    return Finding(
        _fails((share >= rule.share) & little, Reason.PROMPT_COPIED),
        _filled(text, _number(share)),
    )


def _unfinished(rule: UnfinishedRule) -> Finding:
    long = pl.col("response_chars") >= rule.characters
    return Finding(
        _fails(long & pl.col("open_end").is_not_null(), Reason.UNFINISHED),
        pl.format("ends in {}", _quoted("open_end")),
    )


def _tools(rule: ToolsRule) -> Finding:
    unsaid = pl.lit(rule.values) & pl.col("tool_value").is_not_null()
    fault = pl.col("tool_fault").is_not_null()
    detail = pl.when(fault).then(_filled("calls {}", _quoted("tool_fault")))
    unsaid_detail = _filled("calls {}, a value that no turn before says", _quoted("tool_value"))
    return Finding(_fails(fault | unsaid, Reason.BAD_TOOL_CALL), detail.otherwise(unsaid_detail))


# In the order in which a row's reason is looked for.
RULES: Mapping[str, Callable[[Any], Finding]] = {
    "encoding": _piece("damage", Reason.ENCODING_DAMAGE),
    "markup": _markup,
    "placeholder": _piece("placeholder", Reason.PLACEHOLDER),
    "length": _length,
    "language": _language,
    "repetition": _repetition,
    "refusal": _piece("refusal", Reason.REFUSAL, "says"),
    "copied": _copied,
    "unfinished": _unfinished,
    "escapes": _piece("escape", Reason.ESCAPED),
    "merged": _piece("merged", Reason.MERGED),
    "missing": _piece("missing", Reason.MISSING_INPUT, "speaks of"),
    "claims": _piece("claim", Reason.CLAIMED_ACTION, "says"),
    "tools": _tools,
    "words": _piece("word", Reason.TOXIC),
}
