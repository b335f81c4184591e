"""What a proof takes: fine-tunes, measurements, written answers."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.config.recipe import Config
from curate.core.bucket import local_folder
from curate.core.calls import Table
from curate.core.numerals import counted
from curate.core.turntext import CONVERSATION, conversations
from curate.core.workload import ResponseLimit
from curate.estimate.base_model import TOKEN_LETTERS, BaseModel
from curate.estimate.fewexamples import few_clause
from curate.estimate.finetunes import MEASURING_COST, measuring_cost, tuning_cost
from curate.estimate.lines import EstimateLine
from curate.estimate.pace import Range, exactly
from curate.estimate.pairshare import pairs_clause
from curate.estimate.selection import largest_choice
from curate.estimate.writing_cost import writing_cost
from curate.models.load import choose_dtype, find_model, identify
from curate.proof.arms import CONTROLS, TAKES_ALL, arm_runs
from curate.proof.curve import LEAST_ROWS, divisors_of
from curate.proof.described import CountedSet
from curate.proof.halves import CHOICE, VERDICT
from curate.proof.halving import most_finetunes, trainings_in
from curate.proof.harness import read_tasks
from curate.proof.looks import looks_of
from curate.proof.metrics import deciding_metric
from curate.proof.others import FULL, TARGET_ONLY, TARGET_PLUS
from curate.proof.questions import count_questions, find_questions
from curate.proof.spread import last_spread, power_sentence, setting_of
from curate.proof.statistics import level
from curate.proof.trend import power_of_parts
from curate.proof.values import tuning_of
from curate.proof.watch_power import watch_power
from curate.proof.watch_sets import metric_key, written_setting
from curate.proof.written import draw_examples
from curate.proof.written_metrics import check_metric, written_examples
from curate.selectors.compared import selection_names

# The options of a question, whose context is read once and by itself.
OPTIONS_COST = 2.5


def proof_lines(
    config: Config, rows: int, examples: Mapping[str, Table], base: BaseModel
) -> list[EstimateLine]:
    """Return the lines of a proof: fine-tunes and measurements of its arms, and what models write."""
    assert config.prove is not None
    eval_rows = examples.get(f"eval: {VERDICT}", examples["eval"])
    lora, budget = config.prove.lora, config.select.budget
    look = looks_of(config.prove.draws)[-1]
    by_arm = arm_runs(look.draws, config.prove.seeds, by_tokens=budget.tokens is not None)
    methods = len(config.proved_names)
    draws, others = control_runs(config, by_arm)
    runs = draws + others + methods * by_arm["selected"]
    most = "up to " if methods > 1 or look.of > 1 else ""
    chosen = largest_choice(config, rows, base)
    further = _further_arms(config, rows, chosen, examples)
    read = runs * chosen + config.prove.seeds * sum(further.values())
    runs += config.prove.seeds * len(further)
    # What a race has trained of its winner is not trained again; it is measured on the other half.
    again = min(_race_trainings(config), config.prove.seeds)
    read = read - again * chosen + (runs - again) * _then_rows(config, examples)
    trained, tuning = tuning_cost(config.prove, read, runs - again, base)
    measured, measuring = measuring_cost(config.prove, eval_rows, runs + 1, base)
    load = exactly(base.load)
    curve = _curve_cost(config, chosen)
    more = curve.runs + _quantile_runs(config, rows, chosen) + _ablation_runs(config)
    limit = ResponseLimit(lora.max_length, model=config.prove.base, setting="prove.lora.max_length")
    tune, measure = ("; ".join(["", *base.unread(name, limit)]) for name in ("pool", "eval"))
    few = few_clause(config.prove, eval_rows, examples)
    whole = f"; {TAKES_ALL}" if chosen >= rows else ""
    return [
        *_race_lines(config, examples, base, chosen),
        EstimateLine("proof: tune", chosen,
             f"{most}{runs - again} fine-tunes{pairs_clause(config.prove, base)}, "
             f"{lora.epochs} epochs each{_shared_runs(draws, others, methods)}{whole}{tune}",
             round(trained.likely), tuning),
        EstimateLine("proof: measure", eval_rows.height,
             f"{runs + 1} models on the eval set; "
             f"{_power(config, eval_rows, config.judged_count)}{few}{measure}",
             round(measured.likely), measuring),
        *_curve_lines(config, curve, examples, base),
        *_quantile_lines(config, rows, chosen, examples, base),
        *_ablation_lines(config, chosen, examples, base),
        *_option_lines(config, examples, base, runs + 1 + more),
        *_watch_lines(config, examples, runs + 1, base, load, _judged_on_watch(config)),
        *_task_lines(config, runs + 1 + more),
        *_written_lines(config, eval_rows, runs + more, methods, load),
    ]  # fmt: skip


def control_runs(config: Config, by_arm: Mapping[str, int]) -> tuple[int, int]:
    """Return how many draws of the main and of the other control a proof trains at most.

    Methods of one budget have them in common; the other one is drawn at the two ends of several.
    """
    main, few = (pick(by_arm[c] for c in CONTROLS) for pick in (max, min))
    names = selection_names(config.select, config.compare)
    proved = config.proved_names
    pairs = zip(names, config.selections, strict=True)
    budgets = Counter(str(params.budget) for name, (_, params) in pairs if name in proved)
    return main * len(budgets), sum(min(count, 2) * few for count in budgets.values())


def _shared_runs(draws: int, others: int, methods: int) -> str:
    """Return what several methods have in common, as the end of a sentence."""
    if methods == 1:
        return ""
    return (
        f"; the {methods} methods share {draws} random draws and {others} of another size (the fewest "
        "and the most tokens, or rows, of any method)"
    )


def _judged_on_watch(config: Config) -> int:
    """Return how many verdicts share the level on each watch set."""
    return config.judged_count * (1 + len(config.rehearse.arms if config.rehearse else ()))


def _watch_lines(
    config: Config,
    examples: Mapping[str, Table],
    models: int,
    base: BaseModel,
    load: Range,
    judged: int,
) -> list[EstimateLine]:
    """Return the line of measuring models on the watch sets; none where nothing is watched."""
    assert config.prove is not None
    if not config.prove.watch:
        return []
    watch, lora = examples["watch"], config.prove.lora
    table = watch.read()
    rows_of = [table.filter(source=watched.source_name) for watched in config.prove.watch]
    sets: list[CountedSet] = []
    for watched, part in zip(config.prove.watch, rows_of, strict=True):
        answered = written_examples(written_setting(watched.judged_by["metric"], part.height))
        count = min(answered or part.height, part.height)
        sets.append({**watched.judged_by, "examples": count})
    alpha = level(config.prove.strict, judged)
    power = watch_power(
        local_folder(config.store), _setting(config), watch.artifact.key, sets, alpha
    )
    names = ", ".join(str(line["source"]) for line in sets)
    rows = watch.height
    tokens = base.mean_tokens("watch", lora.max_length) * (models * rows)
    seconds = base.seconds(tokens * MEASURING_COST) + load * models
    summary = "; ".join([f"{models} models on {names}", *power])
    return [
        EstimateLine("proof: watch", rows, summary, round(tokens.likely), seconds),
        *_watch_writing(config, rows_of, models, load),
    ]


def _watch_writing(
    config: Config, rows_of: Sequence[pl.DataFrame], models: int, load: Range
) -> Iterator[EstimateLine]:
    """Yield a line for each watch set that is judged by what models write."""
    assert config.prove is not None
    for number, (watched, rows) in enumerate(zip(config.prove.watch, rows_of, strict=True)):
        setting = written_setting(watched.judged_by["metric"], rows.height)
        if written_examples(setting):
            drawn = draw_examples(rows, written_examples(setting), config.seed)
            does = f" to {watched.source_name}; {check_metric(setting, drawn, metric_key(number))}"
            yield _writing_line(config, drawn, models, does, load)


def _writing_line(
    config: Config, drawn: pl.DataFrame, models: int, does: str, load: Range
) -> EstimateLine:
    """Return the line of answers that so many models write to drawn examples."""
    assert config.prove is not None
    cost = writing_cost(
        conversations(drawn),
        model=config.prove.base or config.models.base,
        dtype=config.models.dtype,
        trust=config.models.trust_remote_code,
        system=config.models.system,
    )
    summary = f"{models} models write greedy answers of {cost.limit} tokens at most{does}"
    seconds = (cost.seconds + load) * models
    return EstimateLine("proof: write", drawn.height, summary, cost.tokens * models, seconds)


def _option_lines(
    config: Config, examples: Mapping[str, Table], base: BaseModel, models: int
) -> list[EstimateLine]:
    """Return the line of the options of eval examples; none where no example has any."""
    assert config.prove is not None
    rows = {
        name: examples[name].read(["row_id", "messages", "meta"])
        for name in ("eval", "target")
        if name in examples
    }
    questions = find_questions(rows["eval"], rows.get("target"))
    counts = count_questions(questions)
    if not counts["options"]:
        return []
    letters = int(questions["options"].drop_nulls().explode().str.len_chars().sum())
    context = base.mean_tokens("eval", config.prove.lora.max_length) * counts["options"]
    tokens = (context + exactly(letters / TOKEN_LETTERS)) * models
    does = (
        f"{models} models on the options of {counts['options']:,} eval examples, by log-likelihood"
    )
    seconds = base.seconds(tokens * OPTIONS_COST)
    return [EstimateLine("proof: options", counts["options"], does, round(tokens.likely), seconds)]


def _then_rows(config: Config, examples: Mapping[str, Table]) -> int:
    """Return how many rows the second phase of a fine-tune has."""
    if config.prove is None or config.prove.then is None:
        return 0
    return int(examples.get("arm then", examples["target"]).height)


def _race_trainings(config: Config) -> int:
    """Return how often the winner of a race is trained by its end; 0 without one."""
    return trainings_in(config.race.rounds) if config.race is not None else 0


def _race_lines(
    config: Config, examples: Mapping[str, Table], base: BaseModel, chosen: int
) -> list[EstimateLine]:
    """Return the lines of a race: its fine-tunes, at most, and their measurement on one half."""
    race = config.race
    if race is None:
        return []
    assert config.prove is not None
    half = examples[f"eval: {CHOICE}"]
    runs = most_finetunes(len(race.of), race.rounds)
    read = runs * (chosen + _then_rows(config, examples))
    trained, tuning = tuning_cost(config.prove, read, runs, base)
    measured, measuring = measuring_cost(config.prove, half, runs, base)
    return [
        EstimateLine("race: tune", chosen,
             f"up to {runs} fine-tunes of {len(race.of)} candidates in {race.rounds} rounds; of the "
             "winner's, none is made again by the proof",
             round(trained.likely), tuning),
        EstimateLine("race: measure", half.height,
             f"up to {runs} models on one half of the eval set", round(measured.likely), measuring),
    ]  # fmt: skip


@dataclass(frozen=True)
class CurveCost:
    """The fine-tunes of a learning curve beside whole arms: the rows of each smaller size, how often."""

    whole: int
    sizes: Sequence[int] = ()
    each: int = 0

    @property
    def runs(self) -> int:
        """Return the number of its fine-tunes."""
        return self.each * len(self.sizes)


def _curve_cost(config: Config, chosen: int) -> CurveCost:
    """Return what the curve of a selection of so many rows trains; nothing without `prove.curve`."""
    assert config.prove is not None
    if config.prove.curve is None:
        return CurveCost(chosen)
    parts = [chosen // divisor for divisor in divisors_of(config.prove.curve)]
    draws = looks_of(config.prove.draws)[-1].draws
    sizes = [size for size in parts if size >= LEAST_ROWS]
    return CurveCost(chosen, sizes, config.prove.seeds + draws)


def _curve_lines(
    config: Config, cost: CurveCost, examples: Mapping[str, Table], base: BaseModel
) -> list[EstimateLine]:
    """Return the line of a curve: smaller parts of selection and control, trained and measured."""
    assert config.prove is not None
    if config.prove.curve is None:
        return []
    if not cost.sizes:
        share = f"1/{config.prove.curve} of {cost.whole:,} rows"
        return [
            EstimateLine("proof: curve", cost.whole, f"no curve: {share} is too few to train on")
        ]
    eval_rows = examples.get(f"eval: {VERDICT}", examples["eval"])
    read = cost.each * sum(cost.sizes) + cost.runs * _then_rows(config, examples)
    trained, tuning = tuning_cost(config.prove, read, cost.runs, base)
    measured, measuring = measuring_cost(config.prove, eval_rows, cost.runs, base)
    most = "up to " if looks_of(config.prove.draws)[-1].of > 1 else ""
    numbers = " and ".join(f"{size:,}" for size in cost.sizes)
    summary = f"{most}{cost.runs} more fine-tunes and measurements, with {numbers} rows"
    tokens = round(trained.likely + measured.likely)
    return [EstimateLine("proof: curve", cost.sizes[0], summary, tokens, tuning + measuring)]


def _quantile_runs(config: Config, rows: int, chosen: int) -> int:
    """Return how many fine-tunes the parts of the order take, at most; none on parts of few rows."""
    assert config.prove is not None
    parts = config.prove.quantiles
    if parts is None or min(chosen, rows // parts) < LEAST_ROWS:
        return 0
    return config.prove.seeds * parts


def _quantile_lines(
    config: Config, rows: int, chosen: int, examples: Mapping[str, Table], base: BaseModel
) -> list[EstimateLine]:
    """Return the line of parts of the order, trained and measured; none without `prove.quantiles`."""
    assert config.prove is not None
    runs, parts = _quantile_runs(config, rows, chosen), config.prove.quantiles
    if parts is None:
        return []
    size = min(chosen, rows // parts)
    if not runs:
        summary = (
            f"nothing is trained: a part would give {counted(size, 'row')}, fewer than {LEAST_ROWS}"
        )
        return [EstimateLine("proof: quantiles", size, summary)]
    eval_rows = examples.get(f"eval: {VERDICT}", examples["eval"])
    trained, tuning = tuning_cost(
        config.prove, runs * (size + _then_rows(config, examples)), runs, base
    )
    measured, measuring = measuring_cost(config.prove, eval_rows, runs, base)
    summary = (
        f"{runs} more fine-tunes and measurements, on up to {size:,} rows of each of {parts} parts of "
        f"the order; {power_of_parts(parts)}"
    )
    tokens = round(trained.likely + measured.likely)
    return [EstimateLine("proof: quantiles", size, summary, tokens, tuning + measuring)]


def _ablation_runs(config: Config) -> int:
    """Return how many fine-tunes an ablation takes, at most."""
    assert config.prove is not None
    return config.prove.seeds * len(config.ablated_stages) if config.ablates else 0


def _ablation_lines(
    config: Config, chosen: int, examples: Mapping[str, Table], base: BaseModel
) -> list[EstimateLine]:
    """Return the line of an ablation: a selection without each stage, trained and measured."""
    assert config.prove is not None
    runs = _ablation_runs(config)
    if not runs:
        return []
    eval_rows = examples.get(f"eval: {VERDICT}", examples["eval"])
    read = runs * (chosen + _then_rows(config, examples))
    trained, tuning = tuning_cost(config.prove, read, runs, base)
    measured, measuring = measuring_cost(config.prove, eval_rows, runs, base)
    summary = (
        f"up to {runs} more fine-tunes and measurements, without {', '.join(config.ablated_stages)}, "
        f"one at a time; none where the same rows are selected; later stages judge again"
        f"{_scored_again(config)}"
    )
    tokens = round(trained.likely + measured.likely)
    return [EstimateLine("proof: ablation", chosen, summary, tokens, tuning + measuring)]


def _scored_again(config: Config) -> str:
    """Return which rows are scored for an ablation, as the end of a sentence; none for a draw."""
    own = [params for place, params in config.choices if place[0] == "select"]
    scoring = {params.method: params for params in own if params.needs_scores}
    whole = [name for name, params in scoring.items() if not params.scores_alone]
    if whole:
        return f", {', '.join(whole)} scores all rows again for each"
    return ", rows that come back are scored once" if scoring else ""


def _further_arms(
    config: Config, rows: int, chosen: int, examples: Mapping[str, Table]
) -> dict[str, int]:
    """Return how many rows each arm beside selection and controls has."""
    assert config.prove is not None
    target = examples["target"].height
    row_counts = {TARGET_ONLY: target, TARGET_PLUS: chosen + target, FULL: rows}
    files = {name.removeprefix("arm "): a.height for name, a in examples.items()}
    counts = {
        name: row_counts.get(name, files.get(name, chosen)) for name in config.prove.other_arms
    }
    if config.rehearse is not None:
        mixed = chosen + max(1, round(config.rehearse.share * chosen))
        counts |= dict.fromkeys(config.rehearse.arms, mixed)
    return counts if config.prove.then is None else {TARGET_ONLY: 0, **counts}


def _task_lines(config: Config, models: int) -> list[EstimateLine]:
    """Return the line of lm-evaluation-harness, whose seconds nobody knows beforehand."""
    assert config.prove is not None
    if not config.prove.tasks:
        return []
    read_tasks(config.prove.tasks)
    summary = f"{models} models take {len(config.prove.tasks)} tasks; their time is not known"
    return [EstimateLine("proof: lm-eval", 0, summary, asks=True)]


def _written_lines(
    config: Config, eval_rows: Table, runs: int, methods: int, load: Range
) -> Iterator[EstimateLine]:
    """Yield the lines of what models write: all of them by some metrics, a few to be read."""
    assert config.prove is not None
    metric = config.prove.model_dump()["metric"]
    scored, read = written_examples(metric), config.prove.written
    counts = {scored: runs + 1, **({read: 2 + methods} if read != scored else {})}
    table = eval_rows.read(["row_id", *CONVERSATION])
    for examples, models in counts.items():
        if not examples:
            continue
        drawn = draw_examples(table, examples, config.seed)
        does = f"; {check_metric(metric, drawn)}" if examples == scored else ""
        yield _writing_line(config, drawn, models, does, load)


def _setting(config: Config) -> dict[str, Any]:
    """Return what results of earlier runs have to have been made with to be quoted."""
    assert config.prove is not None
    models, budget = config.models, config.select.budget.model_dump(mode="json")
    identity = identify(find_model(config.prove.base or models.base), choose_dtype(models.dtype))
    prove = config.prove.values
    return setting_of(budget, identity, tuning_of(prove), prove["then"])


def _power(config: Config, eval_rows: Table, judged: int) -> str:
    """Return what difference the proof could show, by the draws of the last one of its kind."""
    assert config.prove is not None
    look = looks_of(config.prove.draws)[-1]
    metric = deciding_metric(config.prove.model_dump()["metric"]).name
    spread = last_spread(local_folder(config.store), _setting(config), eval_rows.artifact.key)
    if spread is None or spread["metric"] != metric:
        return "what difference can be shown is told after the random draws"
    return power_sentence(spread, look.draws, level(config.prove.strict, judged) * look.share)
