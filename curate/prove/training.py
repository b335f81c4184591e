"""The fine-tunes of a proof, and what each of them reaches on the eval set.

With `then`, every fine-tune is continued on further rows (the target examples, say): the second phase
starts from the adapter of the first and has an order of its own. What is measured is the second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.registry import ScoreRun
from curate.core.store import Artifact, Step, digest_of
from curate.models.finetune import finetune_step
from curate.models.losses import LanguageModel, base_model, named_model
from curate.models.training import read_messages
from curate.prove.functions import KEY
from curate.prove.harness import Task, harness_step
from curate.prove.measure import measure_step
from curate.prove.results import first_name, measured_name, tuned_name, written_name
from curate.prove.written import written_step
from curate.prove.written_metrics import scored_step, written_examples

# Behind the run's seed and a number: trainings of fixed rows share no seed with a draw.
FIXED_SEED = 1
# Behind the seed of the first phase.
THEN_SEED = 2


def tuned_model(run: ScoreRun, name: str | None) -> LanguageModel:
    """Return the model that a proof tunes: the run's base, or another one by name.

    Raises:
        UserError: there is no such model.
    """
    return base_model(run) if name is None else named_model(run, name)


@dataclass(frozen=True)
class Rows:
    """Rows to train on: their ids, in order, and the tables that hold them."""

    ids: Sequence[str]
    tables: Sequence[Path]


@dataclass(frozen=True)
class Training:
    """How a proof trains and measures: the model, the LoRA settings, the eval set, a second phase.

    eval_rows: as the model reads them.
    lora: the recipe's `prove.lora`.
    then: the rows of the second phase, None without one.
    metric: the recipe's `prove.metric`; by one of written answers, every measured model writes some.
    questions: the options of the eval set's examples.
    tasks: of lm-evaluation-harness, as read, which every measured model takes.
    key: of the metric in the recipe, for errors.
    """

    run: ScoreRun
    model: LanguageModel
    lora: Mapping[str, int | float]
    eval_rows: Artifact
    then: Rows | None = None
    metric: str | Mapping[str, Any] = "auto"
    questions: Artifact | None = None
    tasks: Sequence[Task] = ()
    key: str = KEY

    def step(self, rows: Rows, number: int, *, drawn: bool) -> Step:
        """Return the fine-tune on rows; those of a draw have another seed than those of fixed rows."""
        seed = [self.run.seed, number, *([] if drawn else [FIXED_SEED])]
        return self._step(rows, seed)

    def tune(self, steps: Mapping[str, Step]) -> dict[str, Artifact]:
        """Return fine-tunes by name, and under `measured_name` what each reaches on the eval set."""
        first = self.run.execute_all(list(steps.values()))
        if self.then is None:
            tuned = dict(zip(steps, first, strict=True))
            return {**tuned, **self.measure(tuned)}
        seconds = [
            self._step(self.then, [*step.params["seed"], THEN_SEED], start)
            for step, start in zip(steps.values(), first, strict=True)
        ]
        tuned = dict(zip(steps, self.run.execute_all(seconds), strict=True))
        kept = {first_name(name): start for name, start in zip(steps, first, strict=True)}
        return {**tuned, **kept, **self.measure(tuned)}

    def tune_target(self, runs: int, arm: str) -> dict[str, Artifact]:
        """Return the second phase by itself, from the untuned model."""
        assert self.then is not None
        seeds = [[self.run.seed, n, FIXED_SEED, THEN_SEED] for n in range(runs)]
        tuned = self.run.execute_all([self._step(self.then, seed) for seed in seeds])
        named = {tuned_name(arm, n): artifact for n, artifact in enumerate(tuned)}
        return {**named, **self.measure(named)}

    def measure(self, models: Mapping[str, Artifact | None]) -> dict[str, Artifact]:
        """Return what models reach on the eval set; None is the untuned one."""
        steps = [
            measure_step(
                self.eval_rows,
                model,
                max_length=int(self.lora["max_length"]),
                identity=self.model.identity,
                runtime=self.model.runtime,
                questions=self.questions,
            )
            for model in models.values()
        ]
        results = self.run.execute_all(steps)
        if isinstance(self.metric, Mapping):
            return self._score(models, results, self.metric)
        if self.tasks:
            steps = [
                harness_step(
                    measured,
                    model,
                    self.tasks,
                    identity=self.model.identity,
                    runtime=self.model.runtime,
                )
                for model, measured in zip(models.values(), results, strict=True)
            ]
            results = self.run.execute_all(steps)
        return {measured_name(n): result for n, result in zip(models, results, strict=True)}

    def _score(
        self,
        models: Mapping[str, Artifact | None],
        measured: Sequence[Artifact],
        metric: Mapping[str, Any],
    ) -> dict[str, Artifact]:
        """Return what models reach with a metric of what they write to some of the eval set."""
        written = self.write(models, written_examples(metric))
        steps = [
            scored_step(results, written[written_name(name)], self.eval_rows, metric, self.key)
            for name, results in zip(models, measured, strict=True)
        ]
        return dict(zip(map(measured_name, models), self.run.execute_all(steps), strict=True))

    def write(self, models: Mapping[str, Artifact | None], examples: int) -> dict[str, Artifact]:
        """Return what models write to so many eval examples, by `written_name`; nothing for 0."""
        if not examples:
            return {}
        steps = [
            written_step(
                self.eval_rows,
                model,
                examples=examples,
                seed=self.run.seed,
                identity=self.model.identity,
                runtime=self.model.runtime,
            )
            for model in models.values()
        ]
        return dict(zip(map(written_name, models), self.run.execute_all(steps), strict=True))

    def _step(self, rows: Rows, seed: Sequence[int], start: Artifact | None = None) -> Step:
        return finetune_step(
            rows.ids,
            digest_of(read_messages(rows.tables, rows.ids)),
            lora=self.lora,
            seed=seed,
            identity=self.model.identity,
            runtime={**self.model.runtime, "rows": [str(table) for table in rows.tables]},
            start=start,
        )
