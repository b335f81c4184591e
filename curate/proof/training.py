"""The fine-tunes of a proof, and what each of them reaches on the eval set.

With `then`, every fine-tune is continued on further rows (the target examples, say): the second phase
starts from the adapter of the first and has an order of its own. What is measured is the second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from curate.core.calls import CachedCall, Table
from curate.core.jsontypes import JSON
from curate.core.keyed import ModelSource
from curate.core.run import ScoreRun, StepRun
from curate.core.store import Artifact
from curate.models.finetune import finetune
from curate.models.finetune_pairs import finetune_pairs
from curate.models.lora_values import LoraValues
from curate.models.losses import named_model
from curate.models.preferences import pair_rows
from curate.models.training import TrainingRows, training_rows
from curate.proof import harness, preferences, written_metrics
from curate.proof.functions import KEY
from curate.proof.harness import Task, file_digests
from curate.proof.measure import measurement
from curate.proof.results import BASE, TrainedModels, tuned_name
from curate.proof.values import MetricSetting
from curate.proof.written import written
from curate.proof.written_metrics import written_examples, written_metric

# Behind the run's seed and a number: trainings of fixed rows share no seed with a draw.
FIXED_SEED = 1
# Behind the seed of the first phase.
THEN_SEED = 2

T = TypeVar("T")
FineTunes = Mapping[str, CachedCall[Artifact]]


def tuned_model(run: ScoreRun, name: str | None) -> ModelSource:
    """Return the model that a proof tunes: the run's base, or another one by name.

    Raises:
        UserError: there is no such model.
    """
    return run.base if name is None else named_model(run, name)


@dataclass(frozen=True)
class Training:
    """How a proof trains and measures: the model, the LoRA settings, the eval set, a second phase.

    eval_rows: as the model reads them.
    lora: the recipe's `prove.lora`.
    then: the rows of the second phase, None without one.
    beta: of a proof by preference pairs; None where responses are learned and measured.
    metric: the recipe's `prove.metric`; by one of written answers, every measured model writes some.
    questions: the options of the eval set's examples.
    tasks: of lm-evaluation-harness, as read, which every measured model takes.
    key: of the metric in the recipe, for errors.
    """

    run: ScoreRun
    model: ModelSource
    lora: LoraValues
    eval_rows: Table
    then: TrainingRows | None = None
    metric: MetricSetting = "auto"
    questions: Table | None = None
    tasks: Sequence[Task] = ()
    key: str = KEY
    beta: float | None = None

    def pool_rows(self, row_ids: Iterable[str]) -> TrainingRows:
        """Return rows of the pool to train on."""
        return training_rows([self.run.rows], list(row_ids))

    def call(self, rows: TrainingRows, number: int, *, drawn: bool) -> CachedCall[Artifact]:
        """Return the fine-tune on rows; those of a draw have another seed than those of fixed rows."""
        seed = [self.run.seed, number, *([] if drawn else [FIXED_SEED])]
        if self.beta is not None:
            pairs = pair_rows(rows.tables, rows.row_ids)
            return finetune_pairs.call(pairs, self.lora, self.beta, seed, self.model)
        return finetune.call(rows, self.lora, seed, self.model)

    def tune(self, calls: FineTunes) -> TrainedModels:
        """Return fine-tunes by name, and what each reaches on the eval set."""
        tuned = _results(self.run, calls)
        if self.then is None:
            return TrainedModels(tuned, results=self.measure(tuned))
        first, seconds = tuned, {}
        for name, call in calls.items():
            seed = [*call.arguments["seed"], THEN_SEED]
            seconds[name] = finetune.call(self.then, self.lora, seed, self.model, first[name])
        tuned = _results(self.run, seconds)
        return TrainedModels(tuned, first, self.measure(tuned))

    def tune_target(self, runs: int, arm: str) -> TrainedModels:
        """Return the second phase by itself, from the untuned model."""
        assert self.then is not None
        calls = {}
        for number in range(runs):
            seed = [self.run.seed, number, FIXED_SEED, THEN_SEED]
            calls[tuned_name(arm, number)] = finetune.call(self.then, self.lora, seed, self.model)
        tuned = _results(self.run, calls)
        return TrainedModels(tuned, results=self.measure(tuned))

    def measure_base(self) -> TrainedModels:
        """Return what the untuned model reaches on the eval set."""
        return TrainedModels(results=self.measure({BASE: None}))

    def measure(self, models: Mapping[str, Artifact | None]) -> dict[str, Table]:
        """Return what models reach on the eval set; None is the untuned one."""
        limit = int(self.lora["max_length"])
        calls = {
            name: measurement(self.eval_rows, tuned, limit, self.model, self.questions)
            for name, tuned in models.items()
        }
        results = _results(self.run, calls)
        if self.beta is not None:
            results = self._measure_pairs(models, results, self.beta)
        if isinstance(self.metric, Mapping):
            return self._score(models, results, self.metric)
        return self._take_tasks(models, results) if self.tasks else results

    def _measure_pairs(
        self, models: Mapping[str, Artifact | None], results: Mapping[str, Table], beta: float
    ) -> dict[str, Table]:
        """Return what models reach on the eval set and on its pairs, against the untuned one."""
        rows, limit = self.eval_rows.artifact, int(self.lora["max_length"])
        calls = {
            name: preferences.likelihoods.call(rows, limit, self.model, tuned)
            for name, tuned in {BASE: None, **models}.items()
        }
        likelihoods = _results(self.run, calls)
        base = likelihoods[BASE]
        return _results(
            self.run,
            {
                name: preferences.results.call(results[name], likelihoods[name], base, beta)
                for name in models
            },
        )

    def _take_tasks(
        self, models: Mapping[str, Artifact | None], results: Mapping[str, Table]
    ) -> dict[str, Table]:
        """Return what models reach on the eval set and in tasks."""
        digests = file_digests(self.tasks)
        calls = {
            name: harness.results.call(results[name], self.tasks, digests, self.model, tuned)
            for name, tuned in models.items()
        }
        return _results(self.run, calls)

    def _score(
        self,
        models: Mapping[str, Artifact | None],
        results: Mapping[str, Table],
        setting: Mapping[str, JSON],
    ) -> dict[str, Table]:
        """Return what models reach with a metric of what they write to some of the eval set."""
        answers = self.write(models, written_examples(setting))
        metric = written_metric(setting, self.key)
        calls = {
            name: written_metrics.results.call(results[name], answers[name], self.eval_rows, metric)
            for name in models
        }
        return _results(self.run, calls)

    def write(self, models: Mapping[str, Artifact | None], examples: int) -> dict[str, Table]:
        """Return what models write to so many eval examples; nothing for 0."""
        if not examples:
            return {}
        rows, seed = self.eval_rows.artifact, self.run.seed
        calls = {
            name: written.call(rows, examples, seed, self.model, tuned)
            for name, tuned in models.items()
        }
        return _results(self.run, calls)


def _results(run: StepRun, calls: Mapping[str, CachedCall[T]]) -> dict[str, T]:
    """Return the stored results of independent calls, by their names."""
    return dict(zip(calls, run.results([*calls.values()]), strict=True))
