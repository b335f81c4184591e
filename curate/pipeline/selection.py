"""The selection of a run: scores, diversity pairs, ranking; a race or a comparison of methods."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

from curate.clean.semantic import SemanticStage
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.ledger import stage_inputs
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.selectparams import Diversity
from curate.core.store import Artifact
from curate.core.tables import read_table
from curate.models.imitations import FILE, imitation_sentences
from curate.models.scripts import script_sentences, scripts
from curate.models.tokens import count_tokens, tokens
from curate.pipeline.material import proof_inputs
from curate.pipeline.race import PART as RACE
from curate.pipeline.race import hold_race
from curate.pipeline.run import LOG, Run
from curate.proof.halves import CHOICE
from curate.proof.preferences import pair_ranking
from curate.proof.race import RaceCandidate, race
from curate.selectors.compared import selection_names
from curate.selectors.comparison import write_comparison
from curate.selectors.coverage import measure_coverage
from curate.selectors.languages import TARGET, languages
from curate.selectors.planner import PAIR_FLOOR
from curate.selectors.quantiles import PARTS, measure_quantiles
from curate.selectors.race import RaceParams
from curate.selectors.selection import SelectionResult, choice_remarks, rank_by, select_by
from curate.selectors.setmeasures import measure_sets
from curate.selectors.source_nearness import measure_sources


def select_rows(run: Run) -> Artifact:
    """Make the run's own selection and return its ranking."""
    if run.config.counts_tokens:
        run.tokens = count_tokens(run, run.rows, run.kept)
    else:
        run.tokens = run(tokens, run.kept)
    _warn_of_imitations(run.tokens.artifact)
    if run.config.race is not None:
        run.part = RACE
        _hold_race(run, run.config.race)
        run.part = "select"
    params, counts = run.own_select, run.tokens.artifact.counts
    LOG.info(
        "select: %s, %s of %s rows%s",
        params.method,
        params.budget,
        f"{run.kept.height:,}",
        f" with {counts['tokens']:,} tokens" if "tokens" in counts else "",
    )
    return _choose(run, params, select_by)


def _warn_of_imitations(counted: Artifact) -> None:
    if FILE in counted.files:
        for sentence in imitation_sentences(read_table(counted.file(FILE))):
            LOG.warning("tokens: %s", sentence)


def warn_of_scripts(run: Run) -> None:
    """List the rows that an embedder of the run does not cover, if it met some."""
    covered = [
        artifact.counts["covered"] for artifact in run.artifacts if "covered" in artifact.counts
    ]
    if covered:
        listed = run(scripts, run.rows, min(covered, key=len))
        run.findings["scripts"] = listed.artifact
        for sentence in script_sentences(listed.read()):
            LOG.warning("embed: %s", sentence)


Choose = Callable[[ScoreRun, Selector, Table, Table | None], SelectionResult]


def _choose(run: Run, params: Selector, choose: Choose) -> Artifact:
    result = _rank(run, params, choose)
    names = selection_names(run.config.select, run.config.compare)
    run.selections[names[len(run.selections)]] = result
    return result.selection


def _rank(run: Run, params: Selector, choose: Choose) -> SelectionResult:
    return rank_scores(run, params, params.score_rows(run), choose)


def rank_scores(run: Run, params: Selector, scores: Table, choose: Choose) -> SelectionResult:
    """Rank rows by scores that are there, with the pairs that diversity needs."""
    pairs = _find_pairs(run, params.diversity) if params.diversity else None
    result = choose(run, params, scores, pairs)
    for remark in choice_remarks(params, result.selection.counts):
        LOG.warning("%s: %s", run.part, remark)
    return result


def _hold_race(run: Run, params: RaceParams) -> None:
    """Let brief proofs on half of the eval set choose what the run's selection is made by."""
    assert run.config.prove is not None
    settings = run.config.prove

    def prove(chosen: Mapping[str, SelectionResult]) -> Artifact:
        values = settings.values
        candidates = {
            name: RaceCandidate(one.params, pair_ranking(run, one.ranking, values, name))
            for name, one in chosen.items()
        }
        material = proof_inputs(run, settings, CHOICE)
        return race(run, candidates, material, values, params.rounds)

    run.race = hold_race(params, partial(run.side_by_side, _select_at), prove)
    run.findings["race"] = run.race.standings
    # The pairs that the candidates had to choose between are not those of the selection.
    run.prepared.pop("select", None)


def _find_pairs(run: Run, diversity: Diversity) -> Table:
    """Return the pairs of similar rows that an earlier selection used as well, or make them."""
    for selection in run.selections.values():
        if selection.pairs is not None and selection.params.diversity == diversity:
            return selection.pairs
    prepared = _similar_pairs(run, diversity)
    if not run.selections:
        run.prepared["select"] = prepared
    return prepared["pairs"]


def compare_selections(run: Run) -> None:
    """Let the other methods choose, and measure all selections against each other and the target."""
    names = selection_names(run.config.select, run.config.compare)[1:]
    results = run.side_by_side(_compare, list(zip(count(), names, run.config.compare)))
    run.selections.update(zip(names, results, strict=True))
    rankings = {name: chosen.ranking for name, chosen in run.selections.items()}
    if names:
        run.part = "comparison"
        run.findings["comparison"] = run(write_comparison, run.rows, run.kept, run.tokens, rankings)
    if run.target is not None:
        run.part = "coverage"
        run.findings["coverage"] = measure_coverage(run, rankings).artifact
        nearness = measure_sources(run)
        if nearness is not None:
            run.findings["sources"] = nearness.artifact
        _measure_quantiles(run)
        own = next(iter(rankings.values()))
        if own.artifact.counts["not_selected"]:
            run.findings["set_measures"] = measure_sets(run, rankings).artifact
        _find_languages(run, run.target)


def _measure_quantiles(run: Run) -> None:
    """Measure the parts of the order of the run's own selection; a plain draw has none."""
    own, prove = next(iter(run.selections.values())), run.config.prove
    parts = (prove.quantiles if prove else None) or PARTS
    measured = measure_quantiles(run, own.ranking, parts) if own.params.needs_scores else None
    if measured is not None:
        run.findings["quantiles"] = measured.artifact


def _find_languages(run: Run, target: Table) -> None:
    """Find in which languages the examples, the pool and the run's own selection are."""
    run.part = "languages"
    sets = {TARGET: target} | ({"eval": run.eval} if run.eval is not None else {})
    own = next(iter(run.selections.values()))
    run.findings["languages"] = run(languages, sets, run.rows, own.ranking, run.seed).artifact


def _compare(run: Run, compared: tuple[int, str, Selector]) -> SelectionResult:
    """Return the selection of a method of `compare`: its number, its name, its settings."""
    number, name, params = compared
    run.part = name
    LOG.info("compare: %s", name)
    return _select_at(run, (f"compare.{number} ({name})", params))


def _select_at(run: Run, placed: tuple[str, Selector]) -> SelectionResult:
    """Return the selection of a method that stands at a place of the recipe, which its errors name."""
    place, params = placed
    try:
        return _rank(run, params, rank_by)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _similar_pairs(run: Run, diversity: Diversity) -> Mapping[str, Table]:
    """Return the pairs of kept rows that a selection with diversity must choose between."""
    floor = min(diversity.most, PAIR_FLOOR)
    stage = SemanticStage(
        threshold=diversity.most,
        floor=floor,
        embedder=diversity.embedder,
        system=False,
        numbers=False,
        responses=False,
    )
    data = stage_inputs(run.rows, run.evidence, {}, stage.uses)
    return {"pairs": stage.prepare(run, data)["pairs"]}
