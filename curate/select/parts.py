"""Selectors inside a selector: what `blend` and `cascade` are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from curate.registry import SELECTORS, Budget, Selector, SelectParams, find_selector, suggest_key
from curate.select.scored import order_rows


def check_parts(parts: Sequence[Mapping[str, Any]], own: Sequence[str]) -> None:
    """Fail unless every part is a method with parameters that it takes.

    Args:
        parts: method and parameters, as a recipe has them.
        own: keys of a part that are not the method's.

    Raises:
        ValueError: a sentence that names the part.
    """
    for i, part in enumerate(parts):
        method = part.get("method")
        if method not in SELECTORS:
            raise ValueError(f"part {i}: {suggest_key(str(method), sorted(SELECTORS))}")
        try:
            part_params(part, own)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(str(key) for key in fault["loc"])
            told = fault["msg"].removeprefix("Value error, ")
            raise ValueError(f"part {i} ({method}): {place}: {told}") from error


def part_params(part: Mapping[str, Any], own: Sequence[str]) -> SelectParams:
    """Return a part's parameters; the budget is the whole's, so it has none of its own."""
    given = {key: value for key, value in part.items() if key not in own}
    params = SELECTORS[part["method"]].params
    return params.model_validate({**given, "budget": Budget(rows=1)})


def selector_of(part: Mapping[str, Any]) -> Selector:
    """Return the selector of a part."""
    return find_selector(part["method"])


def ranks_of(
    scores: pl.DataFrame, part: Mapping[str, Any], own: Sequence[str], seed: int
) -> pl.DataFrame:
    """Return row_id, place (0 is best) by a part's ranking of its scores, and reason.

    reason names the part and says why it has no score for a row; such rows come last.

    Raises:
        UserError: the part has a score for none.
    """
    order = order_rows(scores, selector_of(part), part_params(part, own), seed)
    return pl.DataFrame(
        {
            "row_id": scores["row_id"][order.rows],
            "place": np.arange(len(order.rows)),
            "reason": part["method"] + ": " + order.unscored,
        }
    )
