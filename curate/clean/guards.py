"""Guards of deduplication: what tells rows apart that are similar as texts.

    system      other instructions stand before the turns
    numbers     other numbers, or the same ones in another order
    responses   answers that are less similar than duplicates are, or that conclude otherwise

"When was the eastern wall rebuilt?" and "Who bought the tide mill?" below one long passage share most of
their n-grams; their answers do not. Such pairs are near prompts with different answers: neither row
goes for the other, and they are listed (DIFFERING_SCHEMA).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.clean.duplicates import DedupParams
from curate.clean.stance import stances
from curate.core.turntext import text_of_turn
from curate.text.compared import Compared, compared_text
from curate.text.pairs import Pairs

Guard = Literal["system", "numbers", "responses"]
Rows = NDArray[np.int64]
# The sign or operator before a number is part of it: x + 5 is another problem than x - 5. Of numbers in
# words those of English count, and of Chinese and Japanese those with what is counted (三个, but not
# 三明治). "One" mostly is none, but who has two apples does not have one.
DIGITS = r"[-−+/×÷^<>]?\s*\p{N}+"
WORDS = (
    r"(?i)(?-u:\b)(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty"
    r"|hundred|thousand|million|billion)(?-u:\b)"
)
NUMERALS = (
    "[〇零一二两兩三四五六七八九十百千万萬亿億]+"
    "[个個只隻条條张張本册冊名位元块塊岁歲歳年月日天次倍斤克米点點小分秒页頁人匹台枚つ円杯度番回件辆輛]"
)
NUMBER = rf"{DIGITS}|{NUMERALS}|{WORDS}"
# Signs at the ends of a response that change nothing of what it says.
ENDS = " .,;:!?…。！？、，；：\"'“”‘’«»「」"
STANCE = "stance"
DIFFERING_SCHEMA = {
    "row_id": pl.String,
    "other_id": pl.String,
    "similarity": pl.Float64,
    "response": pl.Float64,
    "differs": pl.String,
}


class GuardedDedupParams(DedupParams):
    """What all stages take that compare rows by their similarity."""

    system: bool = Field(
        True, description="only rows with the same system turn are duplicates; responses have none"
    )
    numbers: bool = Field(
        True, description="only rows with the same numbers in the same order are duplicates"
    )
    responses: bool = Field(
        True,
        description="whole rows are duplicates only if their responses are as similar as the "
        "threshold asks, too, and none affirms what the other denies; prompts alone "
        "(compare: prompt) are not looked at that way",
    )

    @property
    def guards(self) -> list[Guard]:
        """Return what tells rows apart, given what is compared."""
        active: dict[Guard, bool] = {
            "system": self.system and self.compare != "response",
            "numbers": self.numbers,
            "responses": self.responses and self.compare == "example",
        }
        return [guard for guard, is_active in active.items() if is_active]


def guard_keys(compare: Compared, guards: Sequence[Guard]) -> dict[str, pl.Expr]:
    """Return for each guard a 64-bit key that is equal for rows that it does not tell apart.

    Responses with unequal keys may still be similar: see `split_pairs`. Beside theirs stands STANCE.
    """
    turns = pl.col("messages")
    content, role = pl.element().struct.field("content"), pl.element().struct.field("role")
    system = turns.list.eval(pl.when(role == "system").then(content).drop_nulls()).list.join("\n")
    # Other tools are another setting, as another system prompt is.
    system = pl.concat_str(system, "tools", ignore_nulls=True)
    answers = answer_text().str.to_lowercase().str.replace_all(r"\s+", " ")
    numbers = compared_text(compare).fill_null("").str.extract_all(NUMBER).list.join("|")
    numbers = numbers.str.to_lowercase()
    keys = {
        "system": system.str.replace_all(r"\s+", " ").str.strip_chars().hash(),
        "numbers": numbers.str.replace_all(r"\s", "").hash(),
        "responses": answers.str.strip_chars(ENDS).hash(),
        STANCE: stances(answer_text()).hash(),
    }
    return {name: keys[name] for name in key_names(guards)}


def key_names(guards: Sequence[Guard]) -> list[str]:
    """Return the names of what `guard_keys` returns."""
    return [*guards, *([STANCE] if "responses" in guards else [])]


def answer_text() -> pl.Expr:
    """Return the texts of the assistant's turns, a line break between: what a row teaches."""
    turn = pl.element().struct
    answers = pl.when(turn.field("role") == "assistant").then(text_of_turn()).drop_nulls()
    return pl.col("messages").list.eval(answers).list.join("\n")


def split_pairs(
    pairs: Pairs,
    keys: pl.DataFrame,
    guards: Sequence[Guard],
    floor: float,
    compare_responses: Callable[[Rows, Rows], NDArray[np.float64]],
) -> tuple[Pairs, pl.DataFrame]:
    """Return the pairs of duplicates, and those of near prompts with different answers.

    Duplicates are as similar as the less similar of their texts and responses.

    Args:
        pairs: of row numbers, similar from the floor on.
        keys: the columns of `guard_keys`, a line for each row.
        guards: the active ones.
        floor: of the similarity of responses.
        compare_responses: returns the similarity of the responses of pairs of rows.

    Returns:
        Pairs, and a table of first, second (row numbers), similarity, response and differs.
    """
    differs = np.full(len(pairs.first), None, dtype=object)
    unclear = np.ones(len(pairs.first), dtype=np.bool_)
    unequal = ~unclear
    for guard in guards:
        key = keys[guard].to_numpy()
        unequal = unclear & (key[pairs.first] != key[pairs.second])
        if guard != "responses":
            differs[unequal] = guard
            unclear &= ~unequal
    response = np.ones(len(pairs.first))
    if "responses" in guards:
        response[unequal] = compare_responses(pairs.first[unequal], pairs.second[unequal])
        stance = keys[STANCE].to_numpy()
        apart = (response < floor) | (unequal & (stance[pairs.first] != stance[pairs.second]))
        differs[unequal & apart] = "responses"
        unclear &= ~apart
    columns = {"first": pairs.first, "second": pairs.second, "similarity": pairs.similarity}
    table = pl.DataFrame(columns).with_columns(
        response=pl.Series(response), differs=pl.Series(differs.tolist(), dtype=pl.String)
    )
    similarity = np.minimum(pairs.similarity, response)[unclear]
    first, second, same = pairs.first[unclear], pairs.second[unclear], pairs.same[unclear]
    alike = Pairs(first, second, similarity, same)
    return alike, table.filter(pl.col("differs").is_not_null())


def differing_table(ids: pl.Series, differing: pl.DataFrame) -> pl.DataFrame:
    """Return pairs of positions in `ids` as a table of ids (DIFFERING_SCHEMA).

    `response` is null where it was not compared.
    """
    is_compared = pl.col("differs") == "responses"
    return differing.with_columns(
        row_id=ids.gather(differing["first"]),
        other_id=ids.gather(differing["second"]),
        response=pl.when(is_compared).then("response"),
    ).select(pl.col(name).cast(dtype) for name, dtype in DIFFERING_SCHEMA.items())


GUARDS: Mapping[str, str] = {
    "system": "system turn",
    "numbers": "numbers",
    "responses": "responses",
}


def guard_label(guard: str) -> str:
    """Return what tells similar rows apart in words."""
    return GUARDS.get(guard, guard)
