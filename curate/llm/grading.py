"""Grades: what a language model says of a row, criterion by criterion, the reason before the number.

    rubric   criteria, each with a weight w, on one scale from low to high
    vote     one answer: for each criterion a short reason, then a whole number
    grade    sum(w * number) / sum(w), averaged over the votes that are of use

The one place that asks for grades: of the stage `rubric` and of the selector `judge`. Votes are drawn
(temperature 0.7) by seeds that hang on the row's text alone. A vote counts as a whole or not at all;
a row without one has no grade and says why.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, ValidationError, model_validator

from curate.core.errors import UserError
from curate.core.localfiles import MIB, read_text
from curate.core.params import Params, first_fault
from curate.core.rows import Message, content_hash, prompt_text, response_text
from curate.core.yamltext import YamlFault, load_yaml
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all
from curate.llm.prompts import MethodPrompts
from curate.llm.requests import Request, Sampling, chat
from curate.llm.schemas import record
from curate.llm.structured import Answer

RUBRICS = Path(__file__).parent / "rubrics"
METHOD = "judge"
REASON_LETTERS, SHORT_REASON_LETTERS = 160, 100
VOTE_TOKENS, CRITERION_TOKENS = 128, 80
SAMPLING = {"temperature": 0.7, "top_p": 0.95}
PROMPT_LETTERS = 6_000
# Rows whose requests are held at a time.
BATCH_ROWS = 10_000
SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "grade": pl.Float64(),
        "spread": pl.Float64(),
        "votes": pl.Int64(),
        "why": pl.String(),
        "criteria": pl.List(
            pl.Struct({"criterion": pl.String, "grade": pl.Float64, "reason": pl.String})
        ),
    }
)


class Criterion(Params):
    """One thing that is judged."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = Field(min_length=1, description="what a good response does, in a sentence")
    weight: float = Field(1.0, gt=0)


class Rubric(Params):
    """What is judged, and on which scale."""

    criteria: list[Criterion] = Field(min_length=1)
    low: int = Field(1, ge=0)
    high: int = Field(5, ge=1)
    threshold: float | None = Field(None, description="rows with a lower grade are bad")

    @model_validator(mode="after")
    def _check(self) -> "Rubric":
        names = [criterion.name for criterion in self.criteria]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two criteria are called {twice!r}; name each once")
        if self.high <= self.low:
            raise ValueError(f"high {self.high} is not above low {self.low}")
        if self.threshold is not None and not self.low <= self.threshold <= self.high:
            raise ValueError(
                f"threshold {self.threshold:g} is not on the scale from {self.low} to {self.high}"
            )
        return self


def read_rubric(name: str) -> Rubric:
    """Return one of our rubrics by its name, or the one of a YAML file.

    Raises:
        UserError: there is no such file, or it is no rubric.
    """
    own = RUBRICS / f"{name}.yaml"
    path = own if own.is_file() and own.parent == RUBRICS else Path(name)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in RUBRICS.glob("*.yaml")))
        raise UserError(
            f"rubric: there is no file {name}; give a YAML file, or one of ours: {names}"
        )
    try:
        return Rubric.model_validate(load_yaml(read_text(path, "the rubric", most=MIB))[0])
    except YamlFault as error:
        raise UserError(f"{path}:{error.line}: not valid YAML: {error.problem}") from error
    except ValidationError as error:
        place, message = first_fault(error, Rubric)
        raise UserError(f"{path}: {place}: {message}" if place else f"{path}: {message}") from error


def grade_rows(
    client: EngineClient,
    batches: Iterable[pl.DataFrame],
    rubric: Rubric,
    *,
    votes: int,
    seed: int,
    prompts: MethodPrompts,
) -> pl.DataFrame:
    """Return the grades of rows, in their order.

    Args:
        client: the judge.
        batches: row_id and messages.
        rubric: what is judged.
        votes: answers to a row.
        seed: of the run.
        prompts: rate and rate_each.

    Returns:
        row_id; grade, null without a vote; spread, the standard deviation of the votes' grades; votes
        that are of use; why there is none; criteria with their mean grades, each with the first
        vote's reason.

    Raises:
        UserError: the engine no longer answers.
    """
    parts = [SCHEMA.to_frame()]
    for batch in batches:
        requests = [_request(m, rubric, votes, seed, prompts) for m in batch["messages"].to_list()]
        answers = ask_all(client, requests, METHOD)
        pairs = zip(batch["row_id"], answers, strict=True)
        lines = [{"row_id": row_id, **_grade(row, rubric)} for row_id, row in pairs]
        parts.append(pl.DataFrame(lines, schema=SCHEMA))
    return pl.concat(parts)


def _request(
    messages: Sequence[Message], rubric: Rubric, votes: int, seed: int, prompts: MethodPrompts
) -> Request:
    """Return a row's request; its seed is made of the run's seed and the row's text alone."""
    own = (int(content_hash(messages)[:7], 16) + seed) % 2**31
    several = len(rubric.criteria) > 1
    tokens = CRITERION_TOKENS * len(rubric.criteria) if several else VOTE_TOKENS
    slots: dict[str, Any] = {
        "low": rubric.low,
        "high": rubric.high,
        "prompt": prompt_text(messages)[:PROMPT_LETTERS],
        "response": response_text(messages)[:PROMPT_LETTERS],
    }
    turns = (
        prompts["rate_each"].fill(criteria=rubric.criteria, **slots)
        if several
        else prompts["rate"].fill(rubric=rubric.criteria[0].description, **slots)
    )
    sampling = Sampling(**SAMPLING, max_tokens=max(tokens, VOTE_TOKENS), n=votes, seed=own)
    return chat(turns, sampling=sampling, schema=schema_of(rubric))


def schema_of(rubric: Rubric) -> dict[str, Any]:
    """Return the form of a vote: reason and score, of each criterion if there are several."""
    several = len(rubric.criteria) > 1
    letters = SHORT_REASON_LETTERS if several else REASON_LETTERS
    form = record(
        reason={"type": "string", "maxLength": letters},
        score={"type": "integer", "minimum": rubric.low, "maximum": rubric.high},
    )
    return record(**{c.name: form for c in rubric.criteria}) if several else form


def _grade(answers: Sequence[Answer], rubric: Rubric) -> dict[str, Any]:
    """Return what the votes on a row come to."""
    names = [criterion.name for criterion in rubric.criteria]
    weights = np.array([criterion.weight for criterion in rubric.criteria])
    votes = [a.value if len(names) > 1 else {names[0]: a.value} for a in answers if a.ok]
    if not votes:
        return {"grade": None, "spread": None, "votes": 0, "why": answers[0].reason, "criteria": []}
    numbers = np.array(
        [[vote[name]["score"] for name in names] for vote in votes], dtype=np.float64
    )
    grades = numbers @ weights / weights.sum()
    means = numbers.mean(axis=0)
    return {
        "grade": float(grades.mean()),
        "spread": float(grades.std()),
        "votes": len(votes),
        "why": None,
        "criteria": [
            {"criterion": name, "grade": float(mean), "reason": votes[0][name]["reason"]}
            for name, mean in zip(names, means, strict=True)
        ],
    }


def grading_prompts(folder: str | None) -> MethodPrompts:
    """Return the prompts that ask for grades.

    Raises:
        UserError: the folder is none.
    """
    return MethodPrompts(METHOD, Path(folder) if folder else None)
