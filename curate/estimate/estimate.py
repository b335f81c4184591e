"""What a recipe would do and cost, from its inputs and a short speed test; nothing is kept."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.clean.semantic import MODEL, MODEL_LENGTH, SemanticParams
from curate.config.recipe import Config
from curate.core.lazy import lazy_module
from curate.core.registry import (
    SELECTORS,
    Budget,
    Params,
    ResponseLimit,
    check_stages,
    find_stage,
)
from curate.core.store import Artifact, Store
from curate.core.tables import read_table
from curate.core.workspace import workspace
from curate.estimate.pace import Range, exactly, mean_of_sample, measure_pace
from curate.estimate.writing_cost import writing_cost
from curate.generate.generation import GenerateParams, find_generator
from curate.generate.settings import GenerationSettings
from curate.judge.confidence import ConfidenceParams
from curate.models.acceptance import accepted_messages
from curate.models.chat import tokenise
from curate.models.embed import covered_by, embed_texts, read_texts
from curate.models.imitations import find_imitations, imitation_sentences
from curate.models.load import (
    choose_dtype,
    device,
    find_model,
    identify,
    load_causal,
    load_tokenizer,
    load_trunk,
    prepare,
)
from curate.models.refusals import refused_rows, template_steps
from curate.models.scripts import LATIN, script_sentences, uncovered_rows
from curate.models.unread import MethodTokenizers, unread_sentences
from curate.pipeline.inputs import input_steps, proof_steps
from curate.prove.arms import CONTROLS, arm_runs
from curate.prove.curve import LEAST_ROWS, divisors_of
from curate.prove.halves import CHOICE, VERDICT, check_halves, half_step
from curate.prove.halving import most_finetunes, trainings_in
from curate.prove.harness import read_tasks
from curate.prove.inputs import check_proof
from curate.prove.looks import looks_of
from curate.prove.metrics import deciding_metric
from curate.prove.others import FULL, TARGET_ONLY, TARGET_PLUS
from curate.prove.questions import count_questions, find_questions
from curate.prove.settings import Lora
from curate.prove.spread import last_spread, power_sentence, setting_of
from curate.prove.statistics import level
from curate.prove.watch_power import watch_power
from curate.prove.watch_sets import metric_key, written_setting
from curate.prove.written import draw_examples
from curate.prove.written_metrics import check_metric, written_examples
from curate.select.compared import candidate_names, scoring, selection_names
from curate.select.parts import response_limits
from curate.select.race import RaceParams
from curate.select.vectors import VectorParams
from curate.text.compared import Compared

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")

SAMPLE_ROWS = 500
EMBEDDED_ROWS = 64
DROPS = "drops rows, keeps the reason"
EMBEDDED_BATCH = 8
# Batches of short, middle and long rows, each of about so many tokens.
PROBE_SHARES, PROBE_TOKENS, PROBE_LENGTH = (0.1, 0.5, 0.9), 512, 512
PROBE_SECONDS = 1.5
# A LoRA step against a forward pass without the head, measured: activations back through all layers.
TRAINING_COST = 5.0
# A measurement likewise: adapters beside every layer, and the head.
MEASURING_COST = 1.8
# The options of a question, whose context is read once and by itself.
OPTIONS_COST = 2.5
TOKEN_LETTERS = 4


@dataclass(frozen=True)
class EstimateLine:
    """One stage of the estimate; rows is an upper bound, seconds are for that many rows, roughly.

    up_to: a model makes some of the rows, so that there may be far fewer. For the making itself the
    tokens are the most that can be written, and seconds are not told. asks: a model is called for the
    rows, whose seconds are not told either.
    """

    stage: str
    rows: int
    does: str
    tokens: int = 0
    seconds: Range = field(default_factory=Range)
    up_to: bool = False
    asks: bool = False


def forward_pace(name: str, dtype: str, lengths: Sequence[int], trust: bool = False) -> Range:
    """Return seconds a token of the model's forward pass without its vocabulary head.

    Args:
        name: of the model.
        dtype: in which it computes.
        lengths: of rows, in tokens; batches are as long as short, middle and long ones.
        trust: run code that comes with the model.
    """
    model = load_trunk(prepare(find_model(name)), choose_dtype(dtype), trust)

    def work(ids: torch.Tensor) -> None:
        model(input_ids=ids, use_cache=False).last_hidden_state.sum().item()

    batches = []
    for length in np.quantile(lengths, PROBE_SHARES).astype(int).clip(1, PROBE_LENGTH):
        shape = (max(PROBE_TOKENS // length, 1), length)
        ids = torch.randint(0, model.config.vocab_size, shape).to(device())
        batches.append((float(ids.numel()), partial(work, ids)))
    with torch.inference_mode():
        batches[0][1]()
        return measure_pace(batches, seconds=PROBE_SECONDS)


def estimate(config: Config) -> list[EstimateLine]:
    """Read all inputs, check them as a run would, and return what each stage would do and cost.

    A model is loaded only where the recipe's own steps would run it.

    Raises:
        UserError: an input is at fault.
    """
    check_stages(config.stages)
    place = Path(tempfile.gettempdir()) / f"curate-check-{os.getuid()}"
    with workspace(place) as folder:
        store = Store(folder)
        inputs = {name: store.ensure(step) for name, step in input_steps(config).items()}
        if config.prove is not None:
            check_proof(config.prove, inputs, config.seed)
        if isinstance(config.select, RaceParams):
            inputs |= _halves(inputs["eval"], config.seed, store)
        arms = {f"arm {name}": store.ensure(s) for name, s in proof_steps(config).items()}
        refused = _refused(config, inputs, store) if config.reads_base else None
        imitations = _imitations(inputs["pool"], config) if config.counts_tokens else []
        first, *others = _lines(config, {**inputs, **arms}, BaseModel(config, inputs))
        scripts = _scripts(inputs["pool"], config)
        beside = [*([refused] if refused else []), *imitations, *scripts]
        lines = [replace(first, does="; ".join([first.does, *beside])), *others]
    with suppress(OSError):
        place.rmdir()
    return lines


def _halves(eval_rows: Artifact, seed: int, store: Store) -> dict[str, Artifact]:
    """Return the halves of an eval set by which a race chooses and its winner is judged."""
    check_halves(eval_rows)
    steps = {half: half_step(eval_rows, eval_rows, half, seed) for half in (CHOICE, VERDICT)}
    return {f"eval: {half}": store.ensure(step) for half, step in steps.items()}


def _refused(config: Config, inputs: Mapping[str, Artifact], store: Store) -> str | None:
    """Return what is to be told of rows that the chat template refuses.

    Raises:
        UserError: it refuses every row, or an example that the base model would read.
    """
    models = config.models
    runtime = {"folder": str(prepare(find_model(models.base))), "trust": models.trust_remote_code}
    examples = {name: inputs[name] for name in config.judged_examples if name in inputs}
    # The store is thrown away, so nothing but this model can be behind a key.
    steps = template_steps(inputs["pool"], examples, {}, runtime, models.system)
    return refused_rows([store.ensure(step) for step in steps], config.rendered_examples)


def _scripts(rows: Artifact, config: Config) -> list[str]:
    """Return what is to be told of rows that an embedder of the recipe does not cover."""
    path = rows.file("rows.parquet")
    names = _embedders(config)
    if not names or not uncovered_rows(path, [LATIN]).height:
        return []
    covered = min((covered_by(name) for name in sorted(names)), key=len)
    return script_sentences(uncovered_rows(path, covered))


def _embedders(config: Config) -> set[str]:
    """Return the sentence embedders that the steps of a recipe run."""
    parts: list[Any] = [*config.stages, *(params for _, params in config.choices)]
    users = [p for p in parts if isinstance(p, SemanticParams | ConfidenceParams | VectorParams)]
    users += [p for p in parts if getattr(p, "warn", None) is not None]
    names = {getattr(part, "embedder", None) or config.models.embedder for part in users}
    if config.target is not None or any(getattr(p, "diversity", None) for p in parts):
        names.add(config.models.embedder)
    return names - {MODEL}


def _imitations(rows: Artifact, config: Config) -> list[str]:
    """Return what is to be told of rows that imitate the chat template."""
    tokenizer = load_tokenizer(
        prepare(find_model(config.models.base)), config.models.trust_remote_code
    )
    table = read_table(rows.file("rows.parquet"), columns=["row_id", "messages"])
    imitations = find_imitations(tokenizer, table["row_id"], table["messages"].to_list())
    return imitation_sentences(imitations)


def minutes_range(lines: Sequence[EstimateLine]) -> tuple[float, float]:
    """Return least and most minutes of an estimate whose stages drop no row."""
    total = sum((line.seconds for line in lines), Range())
    return total.low / 60, total.high / 60


@dataclass
class BaseModel:
    """The base model as far as an estimate needs it: how fast it reads, how long rows are to it."""

    config: Config
    inputs: Mapping[str, Artifact]
    lengths: dict[str, list[int]] = field(default_factory=dict)

    @cached_property
    def pace(self) -> Range:
        """Return seconds a token of a forward pass, measured at the first use."""
        models = self.config.models
        lengths = self._lengths("pool")
        return forward_pace(models.base, models.dtype, lengths, models.trust_remote_code)

    @cached_property
    def load(self) -> float:
        """Return seconds to load the model for a fine-tune or its measurement."""
        models = self.config.models
        folder, dtype = prepare(find_model(models.base)), choose_dtype(models.dtype)
        started = perf_counter()
        load_causal(folder, dtype, models.trust_remote_code)
        return perf_counter() - started

    def seconds(self, tokens: Range) -> Range:
        """Return how long it takes to read so many tokens; none take no time and no model."""
        return tokens * self.pace if tokens.high else Range()

    def mean_tokens(self, name: str, most: int | None = None) -> Range:
        """Return the mean length of the rows of an input, cut at `most`, from a sample of them."""
        lengths = self._lengths(name)
        cut = [length if most is None else min(length, most) for length in lengths]
        return mean_of_sample(cut, self.inputs[name].counts["rows_out"])

    def unread(self, name: str, limits: Sequence[ResponseLimit]) -> list[str]:
        """Return what is to be told of the rows of an input that methods cannot score."""
        if not limits:
            return []
        models, path = self.config.models, self.inputs[name].file("rows.parquet")
        return [
            sentence
            for limit in limits
            for sentence in unread_sentences(
                path,
                MethodTokenizers(
                    self._tokenizer(models.base), models.system, self._tokenizer(limit.model)
                ),
                limit,
            )
        ]

    def _tokenizer(self, model: str | None) -> Any:
        trust = self.config.models.trust_remote_code
        return load_tokenizer(prepare(find_model(model)), trust) if model else None

    def _lengths(self, name: str) -> list[int]:
        if name not in self.lengths:
            self.lengths[name] = _sample_lengths(self.inputs[name], self.config)
        return self.lengths[name]


def _sample_lengths(rows: Artifact, config: Config) -> list[int]:
    tokenizer = load_tokenizer(
        prepare(find_model(config.models.base)), config.models.trust_remote_code
    )
    frame = read_table(rows.file("rows.parquet"), columns=["messages"])
    sample = frame.sample(min(SAMPLE_ROWS, frame.height), seed=0)["messages"].to_list()
    read = [accepted_messages(tokenizer, messages, config.models.system) for messages in sample]
    taken = [messages for messages in read if messages is not None]
    return [len(ids) for ids in tokenise(tokenizer, taken, None)] or [0]


def _lines(config: Config, inputs: Mapping[str, Artifact], base: BaseModel) -> list[EstimateLine]:
    examples = dict(inputs)
    pool = examples.pop("pool")
    rows = pool.counts["rows_out"]
    bad = sum(pool.counts["rejected"].values())
    summary = f"{bad:,} of {pool.counts['rows_in']:,} records rejected"
    if empty := pool.counts.get("empty_files"):
        summary += f"; files without any record: {empty:,}"
    lines = [EstimateLine("pool", rows, summary)]
    for name, artifact in examples.items():
        lines.append(EstimateLine(name, artifact.counts["rows_out"], "examples read"))
    if config.generate is not None:
        targets = examples["target"].counts["rows_out"] if "target" in examples else 0
        lines += generation_lines(config.generate, targets, rows)
        rows = lines[-1].rows
    read = pool.counts["rows_out"]
    later = _later_lines(config, pool, rows, examples, base)
    return lines + [replace(line, up_to=line.rows > read) for line in later]


def _later_lines(
    config: Config,
    pool: Artifact,
    rows: int,
    examples: Mapping[str, Artifact],
    base: BaseModel,
) -> list[EstimateLine]:
    """Return the lines of what follows reading and making: stages, selections, proof."""
    lines = [_stage_line(params, config, pool, rows, base) for params in config.stages]
    embedding = Embedding(pool, rows, config.models.embedder)
    lines += _choice_lines(config, rows, base, embedding)
    if "target" in examples:
        summary = f"nearness to the target examples; {config.models.embedder}"
        lines.append(
            EstimateLine("coverage", rows, summary, seconds=embedding.seconds("example", None))
        )
    if config.prove and "eval" in examples:
        lines += _proof_lines(config, rows, examples, base)
    return lines


def generation_lines(
    settings: GenerationSettings, targets: int, pool_rows: int
) -> list[EstimateLine]:
    """Return a line for each method that makes rows, and one for the pool with these."""
    lines = [_method_line(params, settings, targets, pool_rows) for params in settings.methods]
    generated_rows = sum(line.rows for line in lines)
    summary = f"{pool_rows:,} of the pool and up to {generated_rows:,} made"
    limits = [(name, getattr(settings.limits, name)) for name in ("calls", "tokens", "cost")]
    set_limits = ", ".join(f"{limit:,} {name}" for name, limit in limits if limit is not None)
    if set_limits:
        summary += f"; the limits: {set_limits}"
    return [*lines, EstimateLine("joined", pool_rows + generated_rows, summary, up_to=True)]


def _method_line(
    params: GenerateParams, settings: GenerationSettings, targets: int, pool_rows: int
) -> EstimateLine:
    """Return what a method asks and makes at most, within the limits."""
    name, limits = params.model_dump()["method"], settings.limits
    generator = find_generator(name)
    most = generator.most_calls(params, targets, pool_rows)
    calls = most if limits.calls is None else min(most, limits.calls)
    rows = (generator.most_rows or generator.most_calls)(params, targets, pool_rows)
    # Where the limit cuts calls off, no more rows can come than those calls would bring.
    rows = min(rows, -(-rows // max(most, 1)) * calls)
    longest = getattr(params, "max_tokens", 0)
    tokens = calls * longest
    summary = f"{name}, at most {calls:,} calls"
    summary += f" (limits.calls; {most:,} without)" if calls < most else " and answers drawn anew"
    summary += f", answers up to {longest:,} tokens" if longest else ""
    if limits.tokens is not None:
        tokens = min(tokens, limits.tokens)
    return EstimateLine("generate", rows, summary, tokens, up_to=True)


@dataclass
class Embedding:
    """What it takes to embed so many rows like the pool's; what was embedded before takes nothing."""

    pool: Artifact
    rows: int
    default: str
    done: set[tuple[Compared, str]] = field(default_factory=set)

    def seconds(self, compare: Compared, embedder: str | None) -> Range:
        """Return the seconds of embedding all rows, 0 the second time."""
        setting = compare, embedder or self.default
        if setting in self.done:
            return Range()
        self.done.add(setting)
        return _embedding_pace(self.pool, *setting) * self.rows


def _choice_lines(
    config: Config, rows: int, base: BaseModel, embedding: Embedding
) -> Iterator[EstimateLine]:
    """Yield a line for the selection and for each compared one; what is scored alike costs once."""
    names = selection_names(config.select, config.compare)
    if isinstance(config.select, RaceParams):
        names = [*candidate_names(config.select), *names[1:]]
    raced = len(config.choices) - len(config.compare)
    scored: list[dict[str, Any]] = []
    for i, (name, (_, params)) in enumerate(zip(names, config.choices, strict=True)):
        stage = "compare" if i >= raced else "select"
        fixed, tokens, seconds = scoring(params), Range(), Range()
        if fixed not in scored and "max_length" in fixed:
            tokens = base.mean_tokens("pool", fixed["max_length"]) * rows
        if isinstance(params, VectorParams):
            seconds = embedding.seconds(params.compare, params.embedder)
        scored.append(fixed)
        does = "; ".join(
            [f"{name}, budget {params.budget}", *base.unread("pool", response_limits(params))]
        )
        yield EstimateLine(stage, rows, does, round(tokens.likely), base.seconds(tokens) + seconds)


def _stage_line(
    params: Params, config: Config, pool: Artifact, rows: int, base: BaseModel
) -> EstimateLine:
    """Return a stage's line, with seconds where a model reads or embeds the rows."""
    kind = params.model_dump()["kind"]
    if isinstance(params, ConfidenceParams):
        # Once with prompts, once without them; the second pass is the shorter one.
        tokens = base.mean_tokens("pool", params.max_length) * (2 * rows)
        name = params.embedder or config.models.embedder
        seconds = base.seconds(tokens) + _embedding_pace(pool, "example", name) * rows
        unread = base.unread("pool", [ResponseLimit(params.max_length)])
        does = "; ".join([f"scores rows; {config.models.base}, {name}", *unread])
        return EstimateLine(kind, rows, does, round(tokens.likely), seconds)
    calls = find_stage(kind).calls
    if calls is not None:
        summary = f"at most {calls(params, rows):,} calls of a model; {DROPS}"
        return EstimateLine(kind, rows, summary, asks=True)
    if not isinstance(params, SemanticParams):
        return EstimateLine(kind, rows, DROPS)
    if params.embedder == MODEL:
        tokens = base.mean_tokens("pool", MODEL_LENGTH) * rows
        seconds = base.seconds(tokens)
        return EstimateLine(
            kind, rows, f"{DROPS}; {config.models.base}", round(tokens.likely), seconds
        )
    name = params.embedder or config.models.embedder
    seconds = _embedding_pace(pool, params.compare, name) * rows
    return EstimateLine(kind, rows, f"{DROPS}; {name}", seconds=seconds)


def _embedding_pace(pool: Artifact, compare: Compared, name: str) -> Range:
    """Return seconds that it takes to embed a row, from a few batches of rows of the pool."""
    drawn = np.random.default_rng(0).permutation(pool.counts["rows_out"])[:EMBEDDED_ROWS]
    texts = read_texts(pool.file("rows.parquet"), np.sort(drawn).tolist(), compare)
    # The first ones wait for the model to load.
    embed_texts(texts[:2], {"name": name})
    parts = [texts[i : i + EMBEDDED_BATCH] for i in range(0, len(texts), EMBEDDED_BATCH)]
    return measure_pace([(len(part), partial(embed_texts, part, {"name": name})) for part in parts])


def _proof_lines(
    config: Config, rows: int, examples: Mapping[str, Artifact], base: BaseModel
) -> list[EstimateLine]:
    assert config.prove is not None
    eval_rows = examples.get(f"eval: {VERDICT}", examples["eval"])
    lora, budget = config.prove.lora, config.select.budget
    look = looks_of(config.prove.draws)[-1]
    settings = {**config.prove.model_dump(), "draws": look.draws}
    by_arm = arm_runs(settings, by_tokens=budget.tokens is not None)
    methods = len(config.proved_names)
    draws, others = _control_runs(config, by_arm)
    runs = draws + others + methods * by_arm["selected"]
    most = "up to " if methods > 1 or look.of > 1 else ""
    chosen = _largest_choice(config, rows, base)
    further = _further_arms(config, rows, chosen, examples)
    read = runs * chosen + config.prove.seeds * sum(further.values())
    runs += config.prove.seeds * len(further)
    # What a race has trained of its winner is not trained again; it is measured on the other half.
    again = min(_race_trainings(config), config.prove.seeds)
    read = read - again * chosen + (runs - again) * _then_rows(config, examples)
    trained, tuning = _tuning_cost(lora, read, runs - again, base)
    measured, measuring = _measuring_cost(lora, eval_rows, runs + 1, base)
    load = exactly(base.load)
    curve = _curve_cost(config, chosen)
    more = curve.runs + _ablation_runs(config)
    limit = ResponseLimit(lora.max_length, model=config.prove.base, setting="prove.lora.max_length")
    tune, measure = ("; ".join(["", *base.unread(name, [limit])]) for name in ("pool", "eval"))
    return [
        *_race_lines(config, examples, base, chosen),
        EstimateLine("proof: tune", chosen,
             f"{most}{runs - again} fine-tunes, {lora.epochs} epochs each"
             f"{_shared_runs(draws, others, methods)}{tune}",
             round(trained.likely), tuning),
        EstimateLine("proof: measure", eval_rows.counts["rows_out"],
             f"{runs + 1} models on the eval set; "
             f"{_power(config, eval_rows, config.judged_count)}{measure}",
             round(measured.likely), measuring),
        *_curve_lines(config, curve, examples, base),
        *_ablation_lines(config, chosen, examples, base),
        *_option_lines(config, examples, base, runs + 1 + more),
        *_watch_lines(config, examples, runs + 1, base, load, config.judged_count),
        *_task_lines(config, runs + 1 + more),
        *_written_lines(config, eval_rows, runs + more, methods, load),
    ]  # fmt: skip


def _control_runs(config: Config, by_arm: Mapping[str, int]) -> tuple[int, int]:
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


def _watch_lines(
    config: Config,
    examples: Mapping[str, Artifact],
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
    table = read_table(watch.file("rows.parquet"))
    rows_of = [table.filter(source=watched.source_name) for watched in config.prove.watch]
    sets = []
    for watched, part in zip(config.prove.watch, rows_of, strict=True):
        answered = written_examples(written_setting(watched.judged_by["metric"], part.height))
        count = min(answered or part.height, part.height)
        sets.append({**watched.judged_by, "examples": count})
    alpha = level(config.prove.strict, judged)
    power = watch_power(Path(config.store), _setting(config), watch.key, sets, alpha)
    names = ", ".join(str(line["source"]) for line in sets)
    rows = watch.counts["rows_out"]
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
        drawn["messages"].to_list(),
        model=config.prove.base or config.models.base,
        dtype=config.models.dtype,
        trust=config.models.trust_remote_code,
        system=config.models.system,
    )
    summary = f"{models} models write greedy answers of {cost.limit} tokens at most{does}"
    seconds = (cost.seconds + load) * models
    return EstimateLine("proof: write", drawn.height, summary, cost.tokens * models, seconds)


def _option_lines(
    config: Config, examples: Mapping[str, Artifact], base: BaseModel, models: int
) -> list[EstimateLine]:
    """Return the line of the options of eval examples; none where no example has any."""
    assert config.prove is not None
    rows = {
        name: read_table(
            examples[name].file("rows.parquet"), columns=["row_id", "messages", "meta"]
        )
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


def _largest_choice(config: Config, rows: int, base: BaseModel) -> int:
    """Return how many rows the run's own selection has; of a race, those of the largest candidate."""
    budgets = [p.budget for place, p in config.choices if place[0] == "select"]
    length = base.mean_tokens("pool").likely
    return max(_budget_rows(budget, rows, length) for budget in budgets)


def _then_rows(config: Config, examples: Mapping[str, Artifact]) -> int:
    """Return how many rows the second phase of a fine-tune has."""
    if config.prove is None or config.prove.then is None:
        return 0
    return int(examples.get("arm then", examples["target"]).counts["rows_out"])


def _race_trainings(config: Config) -> int:
    """Return how often the winner of a race is trained by its end; 0 without one."""
    return trainings_in(config.select.rounds) if isinstance(config.select, RaceParams) else 0


def _race_lines(
    config: Config, examples: Mapping[str, Artifact], base: BaseModel, chosen: int
) -> list[EstimateLine]:
    """Return the lines of a race: its fine-tunes, at most, and their measurement on one half."""
    race = config.select
    if not isinstance(race, RaceParams):
        return []
    assert config.prove is not None
    lora, half = config.prove.lora, examples[f"eval: {CHOICE}"]
    runs = most_finetunes(len(race.of), race.rounds)
    read = runs * (chosen + _then_rows(config, examples))
    trained, tuning = _tuning_cost(lora, read, runs, base)
    measured, measuring = _measuring_cost(lora, half, runs, base)
    return [
        EstimateLine("race: tune", chosen,
             f"up to {runs} fine-tunes of {len(race.of)} candidates in {race.rounds} rounds; of the "
             "winner's, none is made again by the proof",
             round(trained.likely), tuning),
        EstimateLine("race: measure", half.counts["rows_out"],
             f"up to {runs} models on one half of the eval set", round(measured.likely), measuring),
    ]  # fmt: skip


def _tuning_cost(lora: Lora, read: int, runs: int, base: BaseModel) -> tuple[Range, Range]:
    """Return tokens and seconds of fine-tunes on so many rows, all of them together."""
    length = base.mean_tokens("target", lora.max_length) if "target" in base.inputs else Range()
    trained = length * (lora.epochs * read)
    # Loaded after the pace of the model is known, for which it was imported.
    return trained, base.seconds(trained * TRAINING_COST) + exactly(base.load) * runs


def _measuring_cost(
    lora: Lora, eval_rows: Artifact, models: int, base: BaseModel
) -> tuple[Range, Range]:
    """Return tokens and seconds of so many models on the eval set."""
    held_out = eval_rows.counts["rows_out"]
    measured = base.mean_tokens("eval", lora.max_length) * (models * held_out)
    return measured, base.seconds(measured * MEASURING_COST) + exactly(base.load) * models


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
    config: Config, cost: CurveCost, examples: Mapping[str, Artifact], base: BaseModel
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
    lora, eval_rows = config.prove.lora, examples.get(f"eval: {VERDICT}", examples["eval"])
    read = cost.each * sum(cost.sizes) + cost.runs * _then_rows(config, examples)
    trained, tuning = _tuning_cost(lora, read, cost.runs, base)
    measured, measuring = _measuring_cost(lora, eval_rows, cost.runs, base)
    most = "up to " if looks_of(config.prove.draws)[-1].of > 1 else ""
    numbers = " and ".join(f"{size:,}" for size in cost.sizes)
    summary = f"{most}{cost.runs} more fine-tunes and measurements, with {numbers} rows"
    tokens = round(trained.likely + measured.likely)
    return [EstimateLine("proof: curve", cost.sizes[0], summary, tokens, tuning + measuring)]


def _ablation_runs(config: Config) -> int:
    """Return how many fine-tunes an ablation takes, at most."""
    assert config.prove is not None
    return config.prove.seeds * len(config.ablated_stages) if config.ablates else 0


def _ablation_lines(
    config: Config, chosen: int, examples: Mapping[str, Artifact], base: BaseModel
) -> list[EstimateLine]:
    """Return the line of an ablation: a selection without each stage, trained and measured."""
    assert config.prove is not None
    runs = _ablation_runs(config)
    if not runs:
        return []
    lora, eval_rows = config.prove.lora, examples.get(f"eval: {VERDICT}", examples["eval"])
    read = runs * (chosen + _then_rows(config, examples))
    trained, tuning = _tuning_cost(lora, read, runs, base)
    measured, measuring = _measuring_cost(lora, eval_rows, runs, base)
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
    methods = dict.fromkeys(str(params.model_dump()["method"]) for params in own)
    scoring_methods = [name for name in methods if SELECTORS[name].needs_scores]
    whole = [name for name in scoring_methods if SELECTORS[name].score_more is None]
    if whole:
        return f", {', '.join(whole)} scores all rows again for each"
    return ", rows that come back are scored once" if scoring_methods else ""


def _further_arms(
    config: Config, rows: int, chosen: int, examples: Mapping[str, Artifact]
) -> dict[str, int]:
    """Return how many rows each arm beside selection and controls has."""
    assert config.prove is not None
    target = examples["target"].counts["rows_out"]
    row_counts = {TARGET_ONLY: target, TARGET_PLUS: chosen + target, FULL: rows}
    files = {name.removeprefix("arm "): a.counts["rows_out"] for name, a in examples.items()}
    counts = {
        name: row_counts.get(name, files.get(name, chosen)) for name in config.prove.other_arms
    }
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
    config: Config, eval_rows: Artifact, runs: int, methods: int, load: Range
) -> Iterator[EstimateLine]:
    """Yield the lines of what models write: all of them by some metrics, a few to be read."""
    assert config.prove is not None
    metric = config.prove.model_dump()["metric"]
    scored, read = written_examples(metric), config.prove.written
    counts = {scored: runs + 1, **({read: 2 + methods} if read != scored else {})}
    table = read_table(eval_rows.file("rows.parquet"), columns=["row_id", "messages"])
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
    return setting_of(budget, identity, config.prove.model_dump(mode="json"))


def _power(config: Config, eval_rows: Artifact, judged: int) -> str:
    """Return what difference the proof could show, by the draws of the last one of its kind."""
    assert config.prove is not None
    look = looks_of(config.prove.draws)[-1]
    metric = deciding_metric(config.prove.model_dump()["metric"]).name
    setting = {**_setting(config), "metric": metric}
    spread = last_spread(Path(config.store), setting, eval_rows.key)
    if spread is None:
        return "what difference can be shown is told after the random draws"
    return power_sentence(spread, look.draws, level(config.prove.strict, judged) * look.share)


def _budget_rows(budget: Budget, rows: int, mean_tokens: float) -> int:
    if budget.rows is not None:
        return min(budget.rows, rows)
    if budget.fraction is not None:
        return max(round(budget.fraction * rows), 1)
    return min(max(round((budget.tokens or 0) / mean_tokens), 1), rows)
