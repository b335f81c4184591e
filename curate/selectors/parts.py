"""Selectors inside a selector: what `blend` and `cascade` are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.core.jsontypes import JSON
from curate.core.methods import find_method, methods_in
from curate.core.params import first_fault, suggest_key
from curate.core.selector import Selector
from curate.core.selectparams import Budget
from curate.selectors.scored import order_rows


def check_parts(parts: Sequence[Mapping[str, JSON]], own: Sequence[str]) -> None:
    """Fail unless every part is a method with parameters that it takes.

    Args:
        parts: method and parameters, as a recipe has them.
        own: keys of a part that are not the method's.

    Raises:
        ValueError: a sentence that names the part.
    """
    for i, part in enumerate(parts):
        method = part.get("method")
        if method not in methods_in(Selector):
            raise ValueError(f"part {i}: {suggest_key(str(method), sorted(methods_in(Selector)))}")
        read_part(f"part {i}", _part(part, own))


def read_select(settings: Mapping[str, JSON]) -> Selector:
    """Return the selector that a recipe describes.

    Raises:
        ValueError: there is no such method, or it does not take these settings.
    """
    if settings.get("method") not in methods_in(Selector):
        raise ValueError(suggest_key(str(settings.get("method")), sorted(methods_in(Selector))))
    return find_method(Selector, str(settings["method"])).model_validate(settings)


def read_part(place: str, settings: Mapping[str, JSON]) -> Selector:
    """Return the selector of a candidate or part.

    Raises:
        ValueError: a sentence that names the place.
    """
    selector = find_method(Selector, str(settings["method"]))
    try:
        return selector.model_validate(settings)
    except ValidationError as error:
        keys, problem = first_fault(error, selector)
        raise ValueError(f"{place} ({settings['method']}): {keys}: {problem}") from error


def part_of(part: Mapping[str, JSON], own: Sequence[str]) -> Selector:
    """Return the selector of a part; the budget is the whole's, so it has none of its own."""
    return find_method(Selector, str(part["method"])).model_validate(_part(part, own))


def _part(part: Mapping[str, JSON], own: Sequence[str]) -> dict[str, Any]:
    settings = {key: value for key, value in part.items() if key not in own}
    return {**settings, "budget": Budget(rows=1)}


def ranks_of(
    scores: pl.DataFrame, part: Mapping[str, JSON], own: Sequence[str], seed: int
) -> pl.DataFrame:
    """Return row_id, score, nearest_id, place (0 is best) by a part's ranking of its scores, and reason.

    reason names the part and says why it has no score for a row; such rows come last.

    Raises:
        UserError: the part has a score for none.
    """
    order = order_rows(scores, part_of(part, own), seed)
    ranked = scores.select("row_id", "score", "nearest_id")[order.rows]
    return ranked.with_columns(
        place=pl.int_range(pl.len(), dtype=pl.Int64), reason=f"{part['method']}: " + order.unscored
    )
