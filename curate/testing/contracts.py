"""What every selector, stage and generator does, whatever else it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import orjson
import polars as pl

from curate.core.calls import Table
from curate.core.ledger import judge_rows
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.generate.candidates import table_of
from curate.generate.generation import Generation, Generator
from curate.llm.engines.engine import Engine
from curate.llm.limits import Limits
from curate.selectors.scored import why_unscored
from curate.testing.fake_engine import BatchingEngine
from curate.testing.fake_run import FakeRun, write_kept

SCORES = ("row_id", "score", "nearest_id")


def check_selector(selector: Selector, run: FakeRun) -> pl.DataFrame:
    """Check that a selector scores each kept row once and orders rows by what they are, not where.

    Returns:
        The table of scores.

    Raises:
        AssertionError: it does not; what it does instead.
    """
    scores = selector.score_rows(run).read()
    lacking = [name for name in SCORES if name not in scores.columns]
    assert not lacking, f"{selector.method}: the scores have no column {', '.join(lacking)}"
    kept = run.kept.read()["row_id"]
    assert scores["row_id"].sort().equals(kept.sort()), (
        f"{selector.method}: the scores are not a line for each kept row, but {scores.height} lines "
        f"for {kept.len()} rows"
    )
    scored = scores.filter(why_unscored(scores, selector).is_null())
    order = _order(selector, scored, run.seed)
    assert sorted(order) == sorted(scored["row_id"]), (
        f"{selector.method}: rank does not name each row of its table once"
    )
    assert _order(selector, scored.reverse(), run.seed) == order, (
        f"{selector.method}: the order of rows depends on where they stand in the table"
    )
    if selector.scores_alone:
        some = run.kept.read().head(max(run.kept.height // 2, 1))
        more = selector.score_more(run, _stored_kept(run, some)).read()
        rest = scored.filter(~pl.col("row_id").is_in(more["row_id"].implode()))
        both = pl.concat([more.filter(why_unscored(more, selector).is_null()), rest])
        assert _order(selector, both, run.seed) == order, (
            f"{selector.method}: scores_alone, but rows that are scored later come in another order"
        )
    return scores


def _order(selector: Selector, scores: pl.DataFrame, seed: int) -> list[str]:
    return [str(row_id) for row_id in scores["row_id"].gather(selector.rank(scores, seed))]


def check_stage(stage: Stage, run: FakeRun) -> pl.DataFrame:
    """Check that a stage gives every row one verdict, each drop with a known reason.

    Returns:
        The verdicts.

    Raises:
        AssertionError: it does not; what it does instead.
    """
    unknown = set(stage.rethresholdable) - set(type(stage).model_fields)
    assert not unknown, f"{stage.method}: rethresholdable names no parameters of it: {unknown}"
    examples = {name: run.target for name in (*stage.uses, *stage.needs) if run.target is not None}
    verdicts, _ = judge_rows(run, stage.method, stage, run.rows, {}, examples)
    return verdicts.read()


def check_generator(generator: Generator, run: FakeRun, engine: Callable[[], Engine]) -> Generation:
    """Check that a generator keeps its books, makes the same rows again, and stops at a limit.

    Args:
        generator: with its parameters.
        run: the pool and target that it starts from.
        engine: returns an engine, the same each time.

    Returns:
        What it made, kept or dropped: `candidates`, `kept`, `tables`.

    Raises:
        AssertionError: it does not; what it does instead.
    """
    return check_generations(generator, partial(run.generation, generator), engine)


def check_generations(
    generator: Generator,
    start: Callable[[Engine, Limits | None], Generation],
    engine: Callable[[], Engine],
) -> Generation:
    """Check a generator as `check_generator` does, in runs that a function starts."""

    def made_with(engine: Engine, calls: int | None = None) -> Generation:
        generation = start(engine, None if calls is None else Limits(calls=calls))
        generator.generate(generation)
        check_candidates(generation)
        return generation

    whole = made_with(engine())
    name, records = generator.method, table_of(whole.candidates)
    assert records.height, f"{name}: no candidate is on record, kept or dropped"
    other = made_with(BatchingEngine(engine()))
    assert records.equals(table_of(other.candidates)), (
        f"{name}: what it makes depends on the order in which answers come"
    )
    calls, kept = whole.client.counts()["calls"], len(whole.kept)
    starts = whole.unanswered if "prompts" in generator.needed() else whole.target
    sizes = len(starts), whole.pool.select(pl.len()).collect().item()
    cost = generator.cost(*sizes)
    most_rows = cost.calls if cost.rows is None else cost.rows
    assert calls <= cost.calls, f"{name}: {calls} calls, but cost says {cost.calls}"
    assert kept <= most_rows, f"{name}: {kept} rows are kept, but cost says {most_rows}"
    for most in range(0, calls, max(calls // 6, 1)):
        limited = made_with(engine(), most)
        assert limited.stopped, f"{name}: it makes as much with {most} calls as with {calls}"
        assert {"unsent"}.isdisjoint(c.detail for c in limited.candidates), (
            f"{name}: what was never asked, behind a limit, is on record as dropped"
        )
        assert len(limited.candidates) <= records.height, (
            f"{name}: with fewer calls more candidates are on record"
        )
    return whole


def check_candidates(run: Generation) -> None:
    """Check the lineage of what a generator made: its method, parents that exist, hops from them.

    Raises:
        AssertionError: a candidate is at fault; which, and how.
    """
    hops = {example.row_id: 0 for example in (*run.target, *run.unanswered)}
    hops |= dict.fromkeys(run.pool.select("row_id").collect()["row_id"], 0)
    for candidate in run.candidates:
        place = f"{run.method}: {candidate.row_id}"
        assert candidate.method == run.method, f"{place} says that {candidate.method} made it"
        # Passages of a corpus are no rows.
        parents = [parent for parent in candidate.parents if not parent.startswith("corpus/")]
        orphans = [parent for parent in parents if parent not in hops]
        assert not orphans, f"{place} has parents that are no rows and were not kept: {orphans}"
        hop = 1 + max((hops[parent] for parent in parents), default=0)
        assert candidate.hop == hop, f"{place} is at hop {candidate.hop}, its parents lead to {hop}"
        orjson.dumps(dict(candidate.notes))
        if candidate.reject_reason is None:
            assert candidate.prompt, f"{place} is kept without a prompt"
            assert candidate.response, f"{place} is kept without a response"
            hops[candidate.row_id] = candidate.hop
    ids = [candidate.row_id for candidate in run.kept]
    assert len(set(ids)) == len(ids), f"{run.method}: it keeps a row twice"


def _stored_kept(run: FakeRun, kept: pl.DataFrame) -> Table:
    lines = kept.select("row_id", "position").to_dicts()
    return Table(run(write_kept, lines), "kept")
