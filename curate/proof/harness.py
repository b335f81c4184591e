"""Tasks of lm-evaluation-harness as a metric: every measured model takes them, in memory.

    prove: {metric: lm_eval, tasks: [arithmetic.yaml, {task: sums, dataset_path: json, ...}]}

A task is a YAML file or its content, with files of its own (dataset_kwargs.data_files, relative to the
working directory), or the name of one that the harness brings, whose data come from the hub. Its items
are eval examples of their own, TASK/NUMBER, beside those of the eval set, which keep their losses. What
counts is the task's first metric and first filter. https://github.com/EleutherAI/lm-evaluation-harness
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from curate.core.calls import Counted, Table, cached
from curate.core.digests import digest_file
from curate.core.errors import UserError
from curate.core.faults import one_line
from curate.core.keyed import ModelSource
from curate.core.store import Artifact
from curate.core.wants import ONE_GPU
from curate.models.finetune import load_measured
from curate.models.load import load_tokenizer
from curate.proof.metrics import LM_EVAL

VERSION = 1
Task = str | dict[str, Any]


def read_tasks(tasks: Sequence[Task]) -> list[Task]:
    """Return tasks with the content of their files in place of the names of these.

    Raises:
        UserError: the harness is not installed, or a file is missing or no task.
    """
    if find_spec("lm_eval") is None:
        raise UserError(
            "prove.metric lm_eval needs the package lm-eval, which is not installed: "
            "pip install 'curate-data[eval]'"
        )
    return [_read_task(f"prove.tasks.{i}", task) for i, task in enumerate(tasks)]


def _read_task(place: str, task: Task) -> Task:
    if isinstance(task, str) and not task.endswith((".yaml", ".yml")):
        return task
    if isinstance(task, str):
        try:
            content = yaml.safe_load(Path(task).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{place}: {task} cannot be read: {one_line(error)}") from error
    else:
        content = task
    if not isinstance(content, dict) or "task" not in content:
        raise UserError(f"{place}: a task of lm-evaluation-harness has a name, `task: NAME`")
    for file in _data_files(content):
        if not Path(file).is_file():
            raise UserError(f"{place}: there is no file {file} (dataset_kwargs.data_files)")
    return content


def _data_files(task: Task) -> Iterator[str]:
    """Yield the local files of a task's data."""
    if isinstance(task, str) or task.get("dataset_path") not in ("json", "csv", "parquet", "text"):
        return
    files = (task.get("dataset_kwargs") or {}).get("data_files") or {}
    for value in files.values() if isinstance(files, dict) else [files]:
        yield from [value] if isinstance(value, str) else value


def file_digests(tasks: Sequence[Task]) -> dict[str, str]:
    """Return the digests of the local files of tasks' data."""
    return {file: digest_file(Path(file)) for task in tasks for file in _data_files(task)}


@cached(version=VERSION, name="lm-eval", wants=ONE_GPU)
def results(
    results: Table,
    tasks: Sequence[Task],
    files: Mapping[str, str],
    model: ModelSource,
    tuned: Artifact | None = None,
) -> Counted[pl.DataFrame]:
    """Return what a model reaches on the eval set, and a line for each item of the tasks.

    Args:
        results: on the eval set.
        tasks: as read_tasks returns them.
        files: of their data, with digests (file_digests).
        model: that is or was tuned.
        tuned: the fine-tune; None for the base model.

    Raises:
        UserError: the harness refuses a task, or an item has no number.
    """
    measured = results.read()
    tokenizer = load_tokenizer(model.folder, model.trust)
    items = pl.DataFrame(
        take_tasks(load_measured(tuned, model), tokenizer, tasks),
        schema={"eval_id": pl.String, LM_EVAL.column: pl.Float64},
        orient="row",
    )
    counts = {"rows_in": measured.height, "rows_out": items.height}
    return Counted(pl.concat([measured, items], how="diagonal"), counts)


def take_tasks(model: Any, tokenizer: Any, tasks: Sequence[Task]) -> list[tuple[str, float]]:
    """Return id and number of every item of the tasks for a model in memory."""
    if all(isinstance(task, dict) for task in tasks):
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from lm_eval import simple_evaluate  # noqa: PLC0415
    from lm_eval.models.huggingface import HFLM  # noqa: PLC0415

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    adapted = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device=str(model.device))
    try:
        # Copies, since the harness writes into what it is given.
        given = [dict(task) if isinstance(task, dict) else task for task in tasks]
        evaluated = simple_evaluate(
            model=adapted, tasks=given, bootstrap_iters=0, log_samples=True,
            apply_chat_template=True, task_manager=_task_manager(all(map(_is_whole, tasks))),
        )  # fmt: skip
    except Exception as error:
        raise UserError(
            f"prove.tasks: lm-evaluation-harness: {type(error).__name__}: {one_line(error)}"
        ) from error
    return [
        item for name, samples in evaluated["samples"].items() for item in _items(name, samples)
    ]


def _is_whole(task: Task) -> bool:
    """Return whether a task names no other: groups and bare names do."""
    return isinstance(task, dict) and isinstance(task["task"], str) and "group" not in task


@lru_cache
def _task_manager(is_whole: bool) -> Any:
    """Return the harness's index of tasks, of its own 14,000 files only where a task may name them.

    One serves all models of a proof: it takes ten seconds of a core.
    """
    from lm_eval.tasks import TaskManager  # noqa: PLC0415

    return TaskManager(include_defaults=not is_whole)


def _items(name: str, samples: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Yield the items of one task, in order, by the first filter and the first metric."""
    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    for sample in sorted(first, key=lambda sample: sample["doc_id"]):
        metric = sample["metrics"][0]
        value = sample[metric]
        if not isinstance(value, int | float):
            raise UserError(
                f"prove.tasks: {name}: its first metric, {metric}, has no number for each item; put one "
                "first in metric_list that has (acc, exact_match)"
            )
        yield f"{name}/{sample['doc_id']}", float(value)
