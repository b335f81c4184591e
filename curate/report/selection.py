"""What the page says of the selection: its scores, how near it comes to the target, compared methods."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from curate.core.methods import methods_in
from curate.core.numerals import counted, number
from curate.core.reasons import Reason
from curate.core.runrecord import SelectionRecord
from curate.core.score_section import score_section
from curate.core.section import Section
from curate.core.selector import Selector
from curate.core.selectparams import SelectParams
from curate.report.quantiles import quantiles_section
from curate.report.wording import method_label, setting
from curate.runs.folder import RunFolder
from curate.runs.plan import StoredSelection, stored_selections
from curate.selectors.compared import numbered
from curate.selectors.comparison_section import ComparedMethod, comparison_section
from curate.selectors.coverage_section import coverage_section
from curate.selectors.parts import read_select
from curate.selectors.scored import count_unscored, why_unscored

UNSCORED = pl.col("reason") == Reason.UNSCORED.value


def selection_sections(run: RunFolder) -> tuple[Section, ...]:
    """Return the sections of a run's selection; no scores where all kept rows are taken."""
    config, select = run.manifest["config"], run.own_select
    unscored = dict(_unscored(run))
    own = str(config["select"]["method"])
    record = SelectionRecord(
        run,
        method_label(select["method"]),
        takes_turns=select.get("combine") == "round_robin",
        unscored=unscored.get(own, ""),
    )
    takes_all = select["method"] == "all" and select["budget"].get("fraction") == 1
    sections = (
        None if takes_all else _scores(run, record),
        coverage_section(run, own, config.get("models", {}).get("embedder", "")),
        quantiles_section(run, config.get("models", {}).get("embedder", "")),
        comparison_section(run, tuple(_compared(run, unscored)), _kept(run)),
    )
    return tuple(section for section in sections if section)


def _scores(run: RunFolder, record: SelectionRecord) -> Section | None:
    """Return what the method says, or the default where it is none that is here."""
    try:
        return read_select(run.own_select).section(record)
    except ValueError:
        return score_section(record)


def _kept(run: RunFolder) -> int:
    return int(run.table("evidence/select").select(pl.len()).collect().item())


def _compared(run: RunFolder, unscored: Mapping[str, str]) -> Iterator[ComparedMethod]:
    selects = [run.own_select, *run.manifest["config"].get("compare", ())]
    for name, params in zip(_names(run), selects, strict=True):
        words = ", ".join([method_label(params["method"]), *_settings(params)])
        plan = tuple(k for k in SelectParams.model_fields if params.get(k) != selects[0].get(k))
        yield ComparedMethod(name, params["method"], words, plan, unscored.get(name, ""))


def _names(run: RunFolder) -> list[str]:
    """Return the names of a run's selections, its own first."""
    config = run.manifest["config"]
    return numbered([params["method"] for params in (config["select"], *config.get("compare", ()))])


def _settings(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield the method's own parameters that differ from their defaults, in words."""
    method = methods_in(Selector).get(params["method"])
    fields = method.model_fields if method else {}
    for key, value in params.items():
        own = key in fields and key not in SelectParams.model_fields and key != "method"
        if own and value != fields[key].default:
            yield f"{key.replace('_', ' ')} {setting(value)}"


def _unscored(run: RunFolder) -> Iterator[tuple[str, str]]:
    """Yield the selections, by name, that could not score some rows, with a sentence on these."""
    if not any(_lacks_scores(run, place) for place in _rankings(run)):
        return
    for selection in stored_selections(run):
        ids = run.table(selection.ranking).filter(UNSCORED).select("row_id")
        scores = run.table(selection.scores).join(ids, on="row_id", how="semi").collect()
        if scores.height:
            reasons = count_unscored(why_unscored(scores, selection.params))
            yield selection.name, unscored_words(selection, scores.height, reasons)


def unscored_words(selection: StoredSelection, rows: int, reasons: Mapping[str, int]) -> str:
    """Return how many rows a method could not score, and why."""
    come, are = ("comes", "is") if rows == 1 else ("come", "are")
    why = "; ".join(f"{number(count)}, {reason}" for reason, count in reasons.items())
    return (
        f"{selection.label} could not score {counted(rows, 'row')}, which {come} last and {are} never "
        f"selected: {why}."
    )


def _rankings(run: RunFolder) -> list[str]:
    """Return the tables of all rankings, of which a run in an older form may lack some."""
    places = ["evidence/select", *(f"evidence/compare/{name}" for name in _names(run)[1:])]
    return [place for place in places if run.has(place)]


def _lacks_scores(run: RunFolder, place: str) -> bool:
    ranking = run.table(place)
    # Runs in an older form have no reasons there.
    return "reason" in ranking.collect_schema() and bool(
        ranking.select(UNSCORED.any()).collect().item()
    )
