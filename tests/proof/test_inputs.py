"""Held-out sets that a proof cannot measure by are refused before anything is scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.estimate.recipe import estimate

PAIR = {"prompt": "How many legs has a spider?", "completion": "Eight."}
PROMPT = {"key": 1, "prompt": "Write two lines about a quay, without a comma."}
OPEN = {"messages": [{"role": "user", "content": "What is a quay?"}]}


def recipe(folder: Path, *held_out: dict[str, Any]) -> dict[str, Any]:
    (folder / "pool.jsonl").write_text(json.dumps(PAIR))
    (folder / "eval.jsonl").write_text("\n".join(map(json.dumps, held_out)))
    return {
        "name": "x",
        "pool": str(folder / "pool.jsonl"),
        "target": {"path": str(folder / "pool.jsonl"), "eval": str(folder / "eval.jsonl")},
        "select": {"method": "random", "budget": {"rows": 1}},
    }


@pytest.mark.parametrize("held_out", [[PROMPT], [PAIR, PROMPT], [OPEN]])
def test_a_proof_refuses_prompts_without_an_answer(
    tmp_path: Path, held_out: list[dict[str, Any]]
) -> None:
    proved = {**recipe(tmp_path, *held_out), "prove": {}}
    with pytest.raises(UserError) as caught:
        estimate(Config.model_validate(proved))
    position = len(held_out)
    assert str(caught.value) == (
        f"target.eval: 1 of {position} examples are prompts without an answer (the first is "
        f"eval/eval.jsonl:{position}), and a proof measures by answers: give a set that has them; "
        "`protected:` takes prompts alone, for the leak check"
    )


def test_the_leak_check_takes_them_in_every_eval_set(tmp_path: Path) -> None:
    turns = {"question_id": 1, "turns": ["Tell of a boat.", "Now in one line."], "reference": ["b"]}
    tasks = {"canary": "none", "examples": [{"input": "not ( True ) is", "target": "False"}] * 2}
    (tmp_path / "bench.jsonl").write_text(json.dumps(turns))
    (tmp_path / "task.json").write_text(json.dumps(tasks))
    unproved = recipe(tmp_path, PAIR, PROMPT, OPEN)
    protected = [str(tmp_path / "bench.jsonl"), str(tmp_path / "task.json")]
    lines = estimate(
        Config.model_validate({**unproved, "protected": protected, "stages": ["leaks"]})
    )
    rows = {line.stage: line.rows for line in lines}
    assert (rows["eval"], rows["protected"]) == (3, 3)


@pytest.mark.parametrize("key", ["target.eval", "prove.watch"])
def test_held_out_examples_that_are_of_the_target_too_are_refused(
    tmp_path: Path, tiny: Path, key: str
) -> None:
    ant = {"prompt": "How many legs has an ant?", "completion": "Six."}
    crab = {"prompt": "How many legs has a crab?", "completion": "Ten."}
    given = recipe(tmp_path, *([PAIR, ant] if key == "target.eval" else [ant]))
    given["models"] = {"base": str(tiny)}
    (tmp_path / "watch.jsonl").write_text("\n".join(map(json.dumps, [PAIR, crab])))
    watch = [] if key == "target.eval" else [str(tmp_path / "watch.jsonl")]
    with pytest.raises(UserError, match=rf"^{key}: 1 of 2 examples are examples of the target too"):
        estimate(Config.model_validate({**given, "prove": {"watch": watch}}))
    allowed = {"watch": watch, "allow_leaks": True}
    assert estimate(Config.model_validate({**given, "prove": allowed}))
