"""The proof: refused on a leak, judged against both controls, and told as it was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from curate.config import Prove
from curate.prove.proof import prove
from curate.store import Artifact, Step, Store, write_json
from tests.conftest import row, stored, stored_rows, turns

COUNT = 40
EVALS = 12
LEAK = "This very prompt of the eval set has quite a few more than eight words"
Loss = Callable[[Sequence[str]], float]


@dataclass
class MeasuredRun:
    """A run whose fine-tunes are replaced by losses that are known beforehand.

    Everything else of the proof is the real part: arms, leak search, statistics, files.
    """

    store: Store
    rows: Artifact
    target: Artifact | None
    loss: Loss
    length: int = 10
    seed: int = 0
    kept: Any = None
    tokens: Any = None
    trained: list[list[str]] = field(default_factory=list)

    def execute(self, step: Step) -> Artifact:
        # Without a model there is no tokenizer; tests/prove/test_trainable.py has the real one.
        real = step.name != "proof-labels"
        return self.store.ensure(step if real else replace(step, function=self.label))

    def label(
        self, out: Path, inputs: Mapping[str, Artifact], params: Any, hints: Any
    ) -> dict[str, Any]:
        columns = {"name": "selected", "seed": 0, "rows": 1, "unlabelled": 0}
        pl.DataFrame([columns]).write_parquet(out / "labels.parquet")
        return {}

    def execute_all(self, steps: Sequence[Step]) -> list[Artifact]:
        work = {"finetune": self.train, "measure": self.measure, "base": self.measure}
        return [self.store.ensure(replace(step, function=work[step.name])) for step in steps]

    def train(
        self, out: Path, inputs: Any, params: Any, hints: Mapping[str, Any]
    ) -> dict[str, Any]:
        ids = list(hints["row_ids"])
        self.trained.append(ids)
        write_json(out / "adapter.safetensors", {"ids": ids, "number": len(self.trained)})
        return {"steps": len(ids)}

    def model_identity(self) -> dict[str, Any]:
        return {"weights": "none"}

    def model_hints(self) -> dict[str, Any]:
        return {"folder": "", "trust": False}

    def measure(
        self, out: Path, inputs: Mapping[str, Artifact], params: Any, hints: Any
    ) -> dict[str, Any]:
        told = {"ids": [], "number": 0}
        if "tuned" in inputs:
            told = orjson.loads(inputs["tuned"].file("adapter.safetensors").read_bytes())
        eval_ids = pl.read_parquet(inputs["eval"].file("rows.parquet"))["row_id"]
        hard = np.random.default_rng(9).normal(0, 0.2, len(eval_ids))
        noise = np.random.default_rng([told["number"], 3]).normal(0, 0.01, len(eval_ids))
        loss = self.loss(told["ids"]) + hard + noise
        tokens = [0 if i == "too-long" else self.length for i in eval_ids]
        pl.DataFrame(
            {
                "eval_id": eval_ids,
                "loss": [x if t else None for x, t in zip(loss, tokens, strict=True)],
                "exact": loss < 0.7,
                "response_tokens": tokens,
            }
        ).write_parquet(out / "results.parquet")
        return {}


def share_of_good(ids: Sequence[str]) -> float:
    """Rows g... help, rows b... hurt."""
    return sum(i.startswith("g") for i in ids) / max(len(ids), 1)


def helpful(ids: Sequence[str]) -> float:
    return 1.0 - 0.5 * share_of_good(ids)


def harmful(ids: Sequence[str]) -> float:
    return 1.0 + 0.5 * share_of_good(ids)


def indifferent(ids: Sequence[str]) -> float:
    return 1.0


def run_proof(
    store: Store,
    loss: Loss = helpful,
    *,
    pool_leak: str | None = None,
    target_leak: bool = False,
    tokens: Callable[[int], int] = lambda i: 10,
    length: int = 10,
    extra_evals: Sequence[str] = (),
    **settings: Any,
) -> tuple[dict[str, Any], Artifact, MeasuredRun]:
    """Prove a selection of the ten good rows among forty; `pool_leak` names a row that leaks."""
    ids = [f"{'g' if i < 10 else 'b'}{i:02}" for i in range(COUNT)] + ["dropped"]
    rows = [row(i, turns(LEAK if i == pool_leak else f"text of {i}", "an answer")) for i in ids]
    target = [row("t0", turns("fine", "x")), row("t1", turns(LEAK if target_leak else "ok", "x"))]
    evals = [row(f"e{i:02}", turns(LEAK if i == 0 else f"eval {i}", "y")) for i in range(EVALS)]
    evals += [row(i, turns(f"eval {i}", "y")) for i in extra_evals]
    run = MeasuredRun(
        store, stored_rows(store, "pool", rows), stored_rows(store, "target", target), loss, length
    )
    ranking = pl.DataFrame(
        {
            "row_id": ids[:COUNT],
            "rank": range(1, COUNT + 1),
            "selected": [i < 10 for i in range(COUNT)],
            "tokens": [tokens(i) for i in range(COUNT)],
        }
    )
    params = Prove.model_validate({"resamples": 500, "seeds": 4, **settings})
    artifact = prove(
        run,
        stored(store, "select", {"ranking": ranking}),
        stored_rows(store, "eval", evals),
        params.model_dump(mode="json"),
    )
    return orjson.loads(artifact.file("proof.json").read_bytes()), artifact, run


@pytest.mark.parametrize(
    ("loss", "verdict", "words"),
    [
        (helpful, "better", "The selection is better than random: loss lower by +0."),
        (harmful, "worse", "The selection is worse than random: loss lower by -0."),
        (indifferent, "no difference shown", "No difference from random shown: loss lower by "),
    ],
)
def test_the_verdict_is_that_of_the_measured_losses(
    store: Store, loss: Loss, verdict: str, words: str
) -> None:
    proof, artifact, _ = run_proof(store, loss)
    assert proof["verdict"] == artifact.counts["verdict"] == verdict
    assert proof["sentence"].startswith(words)
    assert proof["sentence"] == artifact.counts["sentence"]


def test_every_arm_is_tuned_once_for_each_seed_and_the_base_once(store: Store) -> None:
    _, _, run = run_proof(store, tokens=lambda i: 20 if i < 10 else 10)
    assert len(run.trained) == 3 * 4
    assert run.trained.count([f"g{i:02}" for i in range(10)]) == 4


def test_two_controls_that_drew_the_same_rows_are_tuned_once(store: Store) -> None:
    """Where all rows are equally long, as many rows are as many tokens."""
    proof, _, run = run_proof(store, tokens=lambda i: 10)
    assert len(run.trained) == 2 * 4
    by_rows, by_tokens = (c for c in proof["comparisons"] if c["metric"] == "loss")
    assert by_rows["mean_difference"] == by_tokens["mean_difference"]


def test_the_differences_are_those_between_the_arms_of_one_seed(store: Store) -> None:
    proof, artifact, _ = run_proof(store)
    effects = pl.read_parquet(artifact.file("effects.parquet"))
    assert effects.height == (1 + 3 * 4) * EVALS

    def losses(arm: str, seed: int) -> np.ndarray[Any, Any]:
        return effects.filter(arm=arm, seed=seed).sort("eval_id")["loss"].to_numpy()

    for told in (c for c in proof["comparisons"] if c["metric"] == "loss"):
        by_seed = [float(np.mean(losses(told["control"], s) - losses("selected", s)))
                   for s in range(4)]  # fmt: skip
        assert told["by_seed"] == pytest.approx(by_seed)
        assert told["mean_difference"] == pytest.approx(np.mean(by_seed))
        assert told["low"] < told["mean_difference"] < told["high"]
        assert told["verdict"] == "better"
    for arm in proof["arms"]:
        mine = effects.filter(arm=arm["arm"])
        assert arm["loss"] == pytest.approx(mine["loss"].mean())
        assert arm["exact_match"] == pytest.approx(mine["exact_match"].mean())


def test_the_arms_are_told_with_their_sizes(store: Store) -> None:
    proof, _, _ = run_proof(store, seeds=2, tokens=lambda i: 20 if i < 10 else 10)
    arms = {arm["arm"]: arm for arm in proof["arms"]}
    assert list(arms) == ["base", "selected", "random_rows", "random_tokens"]
    assert arms["base"]["rows"] == arms["base"]["steps"] == []
    assert arms["selected"]["rows"] == arms["random_rows"]["rows"] == [10, 10]
    assert arms["selected"]["tokens"] == [200, 200]
    assert all(180 < t <= 200 for t in arms["random_tokens"]["tokens"])
    assert all(n > 10 for n in arms["random_tokens"]["rows"])


def test_a_selection_that_only_wins_by_longer_rows_is_not_called_better(store: Store) -> None:
    """Here the loss falls with the tokens seen, whichever they are."""
    lengths = {f"{'g' if i < 10 else 'b'}{i:02}": 100 if i < 10 else 10 for i in range(COUNT)}

    def by_tokens(ids: Sequence[str]) -> float:
        return 2.0 - 0.1 * math.log1p(sum(lengths[i] for i in ids))

    proof, _, _ = run_proof(
        store, by_tokens, tokens=lambda i: 100 if i < 10 else 10, resamples=2_000
    )
    primary = {c["control"]: c["verdict"] for c in proof["comparisons"] if c["metric"] == "loss"}
    assert primary["random_rows"] == "better"
    assert proof["verdict"] == ("better" if set(primary.values()) == {"better"} else
                                "no difference shown")  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "length", "told"),
    [
        ("auto", 64, ["loss", "exact_match"]),
        ("auto", 65, ["loss"]),
        ("loss", 10, ["loss"]),
        ("exact_match", 10, ["exact_match", "loss"]),
    ],
)
def test_the_metric_that_decides_comes_first(
    store: Store, metric: str, length: int, told: list[str]
) -> None:
    proof, _, _ = run_proof(store, metric=metric, length=length)
    assert proof["metric"] == told[0]
    assert list(dict.fromkeys(c["metric"] for c in proof["comparisons"])) == told


def test_more_exact_matches_are_better_too(store: Store) -> None:
    proof, _, _ = run_proof(store, metric="exact_match", resamples=2_000)
    assert all(c["mean_difference"] > 0 for c in proof["comparisons"])
    assert "exact match higher by +0." in proof["sentence"]
    assert "share of eval examples" in proof["sentence"]


def test_eval_examples_that_are_too_long_are_counted_not_scored(store: Store) -> None:
    proof, _, _ = run_proof(store, extra_evals=["too-long"])
    assert proof["eval_examples"] == EVALS
    assert proof["eval_examples_too_long"] == 1
    assert proof["verdict"] == "better"


def test_no_eval_response_within_the_limit_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="raise that limit"):
        run_proof(store, length=0)


def test_the_same_proof_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    made = [run_proof(Store(tmp_path / name))[1] for name in "ab"]
    assert made[0].digest == made[1].digest


# --- leaks --------------------------------------------------------------------------------------


def test_a_target_example_that_is_an_eval_prompt_makes_the_proof_refuse(store: Store) -> None:
    proof, artifact, run = run_proof(store, target_leak=True)
    assert proof["verdict"] == artifact.counts["verdict"] == "refused"
    assert proof["sentence"].startswith("No proof: the eval set leaks into 1 target examples")
    assert "allow_leaks" in proof["sentence"]
    assert proof["leaks"]["leaking_rows"] == {"target": 1, "arm": 0}
    [example] = proof["leaks"]["examples"]
    assert (example["row_id"], example["eval_id"], example["place"]) == ("t1", "e00", "target")
    assert run.trained == [], "nothing may be measured"
    assert set(artifact.files) == {"proof.json"}


def test_a_selected_row_that_is_an_eval_prompt_makes_the_proof_refuse(store: Store) -> None:
    proof, _, run = run_proof(store, pool_leak="g03")
    assert proof["verdict"] == "refused"
    assert "1 training rows" in proof["sentence"]
    assert proof["leaks"]["leaking_rows"] == {"target": 0, "arm": 1}
    assert run.trained == []


def test_a_control_row_that_is_an_eval_prompt_makes_the_proof_refuse(store: Store) -> None:
    _, _, clean = run_proof(store)
    control = sorted({i for ids in clean.trained for i in ids if i.startswith("b")})[0]
    proof, _, _ = run_proof(store, pool_leak=control)
    assert proof["verdict"] == "refused"


def test_a_leak_in_a_row_that_no_arm_holds_is_no_matter(store: Store) -> None:
    assert run_proof(store, pool_leak="dropped")[0]["verdict"] == "better"


def test_a_leak_that_was_allowed_is_told_with_a_warning(store: Store) -> None:
    proof, _, run = run_proof(store, target_leak=True, pool_leak="g03", allow_leaks=True)
    assert proof["verdict"] == "better"
    assert "the eval set leaks, which was allowed: do not trust this" in proof["sentence"]
    assert proof["leaks"]["leaking_rows"] == {"target": 1, "arm": 1}
    assert proof["leaks"]["allowed"] is True
    assert run.trained != []


def test_without_a_leak_there_is_no_warning(store: Store) -> None:
    proof, _, _ = run_proof(store, allow_leaks=True)
    assert "leak" not in proof["sentence"]
