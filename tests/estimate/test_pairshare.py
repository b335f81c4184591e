"""A proof by pairs is priced by its pairs: exactly where they are known, and told where not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.config.recipe import Config
from curate.estimate.lines import EstimateLine
from curate.estimate.recipe import estimate


def write(path: Path, pairs: int, plain: int) -> str:
    rows = [{"prompt": f"Add {i}.", "chosen": f"{i + 1}", "rejected": "no"} for i in range(pairs)]
    rows += [{"prompt": f"Say {i}.", "completion": f"{i}"} for i in range(plain)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def proof_lines(
    folder: Path, model: Path, pool: tuple[int, int], held_out: tuple[int, int], **more: object
) -> dict[str, EstimateLine]:
    """Return the lines of a proof: its pool and eval set have so many pairs and other rows."""
    (folder / "t.jsonl").write_text(json.dumps({"prompt": "Spell 9.", "completion": "nine"}))
    target = {"path": str(folder / "t.jsonl"), "eval": write(folder / "e.jsonl", *held_out)}
    recipe = {
        "name": "pairs",
        "pool": write(folder / "p.jsonl", *pool),
        "target": target,
        "models": {"base": str(model), "embedder": "static"},
        "select": {"method": "bm25", "budget": 8},
        "prove": {"objective": "dpo", "draws": 3, "written": 0},
        **more,
    }
    return {line.stage: line for line in estimate(Config.model_validate(recipe))}


def test_rows_that_are_no_pairs_are_not_priced(tmp_path: Path, tiny: Path) -> None:
    of_pairs = proof_lines(tmp_path, tiny, (40, 0), (12, 0))
    mixed = proof_lines(tmp_path, tiny, (10, 30), (12, 0))
    tuned = mixed["proof: tune"]
    assert tuned.tokens == pytest.approx(of_pairs["proof: tune"].tokens / 4, rel=0.01)
    assert "likely as many as in the pool, 10 of 40 rows" in tuned.does
    assert tuned.seconds.low < tuned.seconds.likely < tuned.seconds.high
    assert "likely" not in of_pairs["proof: tune"].does


def test_the_pairs_of_an_eval_set_are_known(tmp_path: Path, tiny: Path) -> None:
    """The chosen answers of all examples are read once, both answers of the pairs once more."""
    of_pairs = proof_lines(tmp_path, tiny, (40, 0), (12, 0))["proof: measure"].tokens
    mixed = proof_lines(tmp_path, tiny, (40, 0), (4, 8))["proof: measure"].tokens
    assert mixed / of_pairs == pytest.approx((12 + 2 * 4) / (12 * 3), rel=0.1)


def test_a_run_that_may_make_pairs_is_priced_as_if_all_rows_were_some(
    tmp_path: Path, tiny: Path
) -> None:
    generate = {"methods": [{"method": "paraphrase"}]}
    tuned = proof_lines(tmp_path, tiny, (10, 30), (12, 0), generate=generate)["proof: tune"]
    assert "as if all rows were pairs: the run may make some" in tuned.does


@pytest.mark.parametrize(
    ("pairs", "stages", "words"),
    [
        (10, ["exact", "rules", "leaks", "pii"], "of 10 preference pairs rules reads the chosen"),
        (10, ["exact", "leaks", "pii"], ""),
        (0, ["rules"], ""),
    ],
)
def test_stages_that_read_chosen_answers_alone_are_named(
    tmp_path: Path, tiny: Path, pairs: int, stages: list[str], words: str
) -> None:
    more = {"stages": stages, "prove": None}
    line = proof_lines(tmp_path, tiny, (pairs, 30), (12, 0), **more)["pool"]
    assert words in line.does
    assert ("chosen answers alone" in line.does) == bool(words)
