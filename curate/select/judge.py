"""A language model as judge: rows by the score that it gives them under a rubric.

Chen et al. 2023, "AlpaGasus", arXiv:2307.08701: a model grades each pair of prompt and response, and
the best graded are trained on. The score is the mean of `votes` answers, each a JSON object whose
reason comes before its number. A row whose answers are all useless has no score and says why.

Cost: a call of the engine for each row and vote; answers are kept, so another budget or a rerun costs
none. Pitfalls: grades of one model crowd on one or two values, where ties decide (votes spread them);
judges like long answers; a model of 135M parameters grades next to chance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.generate.engines.config import EngineParams, TransformersParams
from curate.registry import ScoreRun, Selector, SelectParams, add_selector
from curate.select.similarities import rank_scores
from curate.store import Artifact, Counts, Step

VERSION = 1
RUBRIC = "Judge whether the response is correct, complete and helpful, and the prompt clear."
REASON_LETTERS = 160
SAMPLING = {"temperature": 0.7, "top_p": 0.95, "max_tokens": 128}
PROMPT_LETTERS = 6_000


class JudgeParams(SelectParams):
    """Best rows by the grades of a language model."""

    method: Literal["judge"] = "judge"
    engine: EngineParams = TransformersParams()
    rubric: str = Field(RUBRIC, description="what is judged, in a sentence or more")
    low: int = Field(1, ge=0)
    high: int = Field(5, ge=1)
    votes: int = Field(1, ge=1, description="answers whose mean is a row's score")
    prompts: str | None = Field(None, description="folder whose judge/rate.j2 comes before ours")


def score(run: ScoreRun, params: JudgeParams) -> Artifact:
    """Ask for the grades of all kept rows."""
    from curate.generate.prompts import Prompts

    identity, hints = run.engine(params.engine)
    prompts = Prompts("judge", Path(params.prompts) if params.prompts else None)
    told = {
        "engine": identity,
        "prompts": dict(prompts.digests()),
        "seed": run.seed,
        **params.model_dump(include={"rubric", "low", "high", "votes"}),
    }
    inputs = {"rows": run.rows, "kept": run.kept}
    step = Step(
        "score-judge", VERSION, write_scores, inputs, told, {**hints, "prompts": params.prompts}
    )
    return run.execute(step)


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, score, nearest_id (null), reason (of a row without a score), told.

    `told` is the first vote's reason.
    """
    from curate.generate.ask import Asker, manifest_of
    from curate.generate.cache import Cache
    from curate.generate.engines import engine_of

    kept = pl.scan_parquet(inputs["kept"].file("kept.parquet")).select("row_id")
    rows = pl.scan_parquet(inputs["rows"].file("rows.parquet")).select("row_id", "messages")
    table = rows.join(kept, on="row_id", how="semi", maintain_order="left").collect()
    with Asker(engine_of(hints), cache=Cache(Path(hints["cache"]))) as asker:
        answers = asker.ask(_requests(table, params, hints["prompts"]), stage="judge")
        bill = manifest_of(asker)["bill"]["total"]
    votes = [[a.value for a in row if a.ok] for row in answers]
    means = [float(np.mean([v["score"] for v in row])) if row else None for row in votes]
    frame = pl.DataFrame(
        {
            "row_id": table["row_id"],
            "score": pl.Series(means, dtype=pl.Float64),
            "nearest_id": pl.Series([None] * table.height, dtype=pl.String),
            "reason": pl.Series(
                [None if row else told[0].reason for row, told in zip(votes, answers, strict=True)],
                dtype=pl.String,
            ),
            "told": pl.Series(
                [row[0]["reason"] if row else None for row in votes], dtype=pl.String
            ),
        }
    )
    frame.write_parquet(out / "scores.parquet")
    return {
        "rows_in": frame.height,
        "rows_out": frame.height,
        "unscored": frame["score"].null_count(),
        "llm": {
            "calls": bill["calls"],
            "tokens": bill["prompt_tokens"] + bill["completion_tokens"],
            "cost": bill["cost"],
        },
    }


def _requests(table: pl.DataFrame, params: Mapping[str, Any], folder: str | None) -> Sequence[Any]:
    """Return one request a row; its seed is made of the run's seed and the row's text alone."""
    from curate.generate.prompts import Prompts
    from curate.generate.requests import Sampling, chat
    from curate.rows import content_hash, prompt_text, response_text

    prompt = Prompts("judge", Path(folder) if folder else None)["rate"]
    requests = []
    for messages in table["messages"].to_list():
        seed = (int(content_hash(messages)[:7], 16) + params["seed"]) % 2**31
        sampling = Sampling(**SAMPLING, n=params["votes"], seed=seed)
        turns = prompt.fill(
            rubric=params["rubric"],
            low=params["low"],
            high=params["high"],
            prompt=prompt_text(messages)[:PROMPT_LETTERS],
            response=response_text(messages)[:PROMPT_LETTERS],
        )
        requests.append(
            chat(turns, sampling=sampling, schema=schema_of(params["low"], params["high"]))
        )
    return requests


def schema_of(low: int, high: int) -> dict[str, Any]:
    """Return the form of an answer: a short reason, then the score."""
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": REASON_LETTERS},
            "score": {"type": "integer", "minimum": low, "maximum": high},
        },
        "required": ["reason", "score"],
        "additionalProperties": False,
    }


def rank(scores: pl.DataFrame, params: JudgeParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers, best first; ties go to the smaller row_id, rows without a score last."""
    return rank_scores(scores)


add_selector(Selector(JudgeParams, VERSION, False, score, rank))
