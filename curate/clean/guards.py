"""Guards of deduplication: what tells rows apart that are similar as texts.

    system      other instructions stand before the turns
    numbers     other numbers, or the same ones in another order
    responses   answers that are less similar than duplicates are, or that conclude otherwise
    rejected    of preference pairs, rejected answers that are less similar, or have other numbers

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
from curate.core.preferences import has_pairs, is_pair, rejected_text
from curate.core.turntext import text_of_turn
from curate.text.compared import Compared, compared_text
from curate.text.pairs import Pairs

Guard = Literal["system", "numbers", "responses", "rejected"]
# Guards whose keys must be equal.
EQUAL: tuple[Guard, ...] = ("system", "numbers")
Rows = NDArray[np.int64]
# The sign or operator before a number is part of it: x + 5 is another problem than x - 5. Of numbers in
# words those of English count, and of Chinese and Japanese those of several signs (三十五), those that
# say which (第三, 星期三, 分之三) and those with what is counted (三个, but not 三明治). "One" mostly is
# none, but who has two apples does not have one.
DIGITS = r"[-−+/×÷^<>]?\s*\p{N}+"
WORDS = (
    r"(?i)(?-u:\b)(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty"
    r"|hundred|thousand|million|billion)(?-u:\b)"
)
SIGNS = "[〇零一二两兩三四五六七八九十百千万萬亿億]"
NUMERALS = (
    f"(?:第|{SIGNS}*分之){SIGNS}+|(?:星期|礼拜|禮拜|周|週)[一二三四五六日天]|{SIGNS}{{2,}}|{SIGNS}+"
    "[个個只隻条條张張本册冊名位元块塊岁歲歳年月日天次倍斤克米点點小分秒页頁人匹台枚つ円杯度番回件辆輛]"
)
NUMBER = rf"{DIGITS}|{NUMERALS}|{WORDS}"
# In case, by all means, very, extremely: words that are written as numerals are, each after a bar.
NO_NUMBERS = r"\|(?:万一|萬一|千万|千萬|十分|万分|萬分)(?u:\b)"
# Signs at the ends of a response that change nothing of what it says.
ENDS = " .,;:!?…。！？、，；：\"'“”‘’«»「」"
STANCE, REJECTED_NUMBERS = "stance", "rejected_numbers"
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

    def guards_of(self, rows: pl.LazyFrame) -> list[Guard]:
        """Return what tells these rows apart: rejected answers too, where some have one.

        Rows without any are stored under what `guards` says alone.
        """
        if self.compare == "prompt" or not has_pairs(rows):
            return self.guards
        return [*self.guards, "rejected"]


def guard_keys(compare: Compared, guards: Sequence[Guard]) -> dict[str, pl.Expr]:
    """Return for each guard a 64-bit key that is equal for rows that it does not tell apart.

    Responses and rejected answers with unequal keys may still be similar: see `split_pairs`. Beside
    theirs stand STANCE and REJECTED_NUMBERS. The key of a rejected answer that is not there is 0.
    """
    turns = pl.col("messages")
    content, role = pl.element().struct.field("content"), pl.element().struct.field("role")
    system = turns.list.eval(pl.when(role == "system").then(content).drop_nulls()).list.join("\n")
    # Other tools are another setting, as another system prompt is.
    system = pl.concat_str(system, "tools", ignore_nulls=True)
    keys = {
        "system": system.str.replace_all(r"\s+", " ").str.strip_chars().hash(),
        "numbers": _number_key(compared_text(compare)),
        "responses": _answer_key(answer_text()),
        STANCE: stances(answer_text()).hash(),
        "rejected": pl.when(is_pair()).then(_answer_key(rejected_text())).otherwise(0),
        REJECTED_NUMBERS: _number_key(rejected_text()),
    }
    return {name: keys[name] for name in key_names(guards)}


def _number_key(text: pl.Expr) -> pl.Expr:
    numbers = text.fill_null("").str.extract_all(NUMBER).list.join("|").str.to_lowercase()
    barred = pl.lit("|") + numbers.str.replace_all(r"\s", "")
    return barred.str.replace_all(NO_NUMBERS, "").str.strip_prefix("|").hash()


def _answer_key(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(ENDS).hash()


def key_names(guards: Sequence[Guard]) -> list[str]:
    """Return the names of what `guard_keys` returns."""
    numbers = "rejected" in guards and "numbers" in guards
    stance = [STANCE] if "responses" in guards else []
    return [*guards, *stance, *([REJECTED_NUMBERS] if numbers else [])]


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
    compare_texts: Callable[[pl.Expr, Rows, Rows], NDArray[np.float64]],
) -> tuple[Pairs, pl.DataFrame]:
    """Return the pairs of duplicates, and those of near prompts with different answers.

    Duplicates are as similar as the least similar of their texts, responses and rejected answers. A
    row without a rejected answer may duplicate one that has one.

    Args:
        pairs: of row numbers, similar from the floor on.
        keys: the columns of `guard_keys`, a line for each row.
        guards: the active ones.
        floor: of the similarity of responses, and of rejected answers.
        compare_texts: returns the similarity of a text of the rows of pairs.

    Returns:
        Pairs, and a table of first, second (row numbers), similarity, response and differs.
    """
    differs = np.full(len(pairs.first), None, dtype=object)
    alike = np.ones(len(pairs.first), dtype=np.bool_)
    for guard in (guard for guard in guards if guard in EQUAL):
        differs[alike & _unequal(keys, guard, pairs)] = guard
        alike &= ~_unequal(keys, guard, pairs)
    response, rejected = np.ones((2, len(pairs.first)))
    if "responses" in guards:
        unequal = alike & _unequal(keys, "responses", pairs)
        first, second = pairs.first[unequal], pairs.second[unequal]
        response[unequal] = compare_texts(answer_text(), first, second)
        apart = unequal & ((response < floor) | _unequal(keys, STANCE, pairs))
        differs[apart] = "responses"
        alike &= ~apart
    if "rejected" in guards:
        unequal = alike & _are_pairs(keys, pairs) & _unequal(keys, "rejected", pairs)
        first, second = pairs.first[unequal], pairs.second[unequal]
        rejected[unequal] = compare_texts(rejected_text(), first, second)
        apart = unequal & ((rejected < floor) | _unequal(keys, REJECTED_NUMBERS, pairs))
        differs[apart] = "rejected"
        alike &= ~apart
    columns = {"first": pairs.first, "second": pairs.second, "similarity": pairs.similarity}
    table = pl.DataFrame(columns).with_columns(
        response=pl.Series(response), differs=pl.Series(differs.tolist(), dtype=pl.String)
    )
    similarity = np.minimum(np.minimum(pairs.similarity, response), rejected)[alike]
    duplicates = Pairs(pairs.first[alike], pairs.second[alike], similarity, pairs.same[alike])
    return duplicates, table.filter(pl.col("differs").is_not_null())


def _unequal(keys: pl.DataFrame, name: str, pairs: Pairs) -> NDArray[np.bool_]:
    """Return of which pairs a key differs; of none where there is no such key."""
    if name not in keys.columns:
        return np.zeros(len(pairs.first), dtype=np.bool_)
    key = keys[name].to_numpy()
    unequal: NDArray[np.bool_] = key[pairs.first] != key[pairs.second]
    return unequal


def _are_pairs(keys: pl.DataFrame, pairs: Pairs) -> NDArray[np.bool_]:
    """Return of which pairs both rows have a rejected answer."""
    has_answer: NDArray[np.bool_] = keys["rejected"].to_numpy() != 0
    return has_answer[pairs.first] & has_answer[pairs.second]


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
    "rejected": "rejected answers",
}


def guard_label(guard: str) -> str:
    """Return what tells similar rows apart in words."""
    return GUARDS.get(guard, guard)
