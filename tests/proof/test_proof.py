"""The proof: refused on a leak, judged against both controls, and told as it was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from curate.core.calls import CachedCall, Table
from curate.core.keyed import ModelSource
from curate.core.selectparams import Budget
from curate.core.store import Artifact, Computation, Store, write_json
from curate.proof.contamination import write_leaks
from curate.proof.others import ArmSources
from curate.proof.proof import ProofInputs, prove
from curate.proof.settings import ProofSettings
from curate.proof.shared_controls import SharedControls
from curate.proof.statistics import WITHIN, judge_all
from curate.proof.values import WatchSetValues
from curate.proof.watch_sets import WatchInputs
from curate.proof.written import draw_examples
from tests.conftest import RowsRun, row, stored_rows, stored_table, turns

COUNT = 40
EVALS = 12
LEAK = "This very prompt of the eval set has quite a few more than eight words"
Loss = Callable[[Sequence[str]], float]
ROWS, TOKENS = Budget(rows=10), Budget(tokens=200)


Write = Callable[[Path, Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class ReplacedCall:
    """A cached call whose result something else writes, under the key that it has."""

    call: CachedCall[Any]
    function: Write

    @property
    def name(self) -> str:
        return self.call.name

    @property
    def version(self) -> int:
        return self.call.version

    @property
    def inputs(self) -> dict[str, Artifact]:
        return self.call.inputs

    @property
    def reads(self) -> list[Artifact]:
        return self.call.reads

    @property
    def params(self) -> dict[str, Any]:
        return self.call.params

    @property
    def key(self) -> str:
        return self.call.key

    def write(self, out: Path) -> dict[str, Any]:
        return self.function(out, self.call.arguments)


def tuned_on(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the fine-tune among the arguments of a call has learned."""
    if arguments["tuned"] is None:
        return {"ids": [], "number": 0}
    learned: dict[str, Any] = orjson.loads(
        arguments["tuned"].file("adapter.safetensors").read_bytes()
    )
    return learned


def rows_of(artifact: Artifact) -> pl.DataFrame:
    return Table(artifact, "rows").read()


@dataclass(kw_only=True)
class MeasuredRun(RowsRun):
    """A run whose fine-tunes are replaced by losses that are known beforehand.

    Everything else of the proof is the real part: arms, leak search, statistics, files.
    """

    loss: Loss
    length: int = 10
    seeds: list[list[int]] = field(default_factory=list)
    trained: list[list[str]] = field(default_factory=list)

    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        return super().execute_all([self.replace(c) for c in computations])

    def replace(self, computation: Computation) -> Computation:
        """Return a computation, or what is known beforehand in place of what takes a model."""
        work: dict[str, Write] = {
            "finetune": self.train,
            "measure": self.measure,
            "base": self.measure,
            "written": self.write,
            # Without a model there is no tokenizer; tests/proof/test_trainable.py has the real one.
            "proof-labels": self.label,
        }
        if computation.name not in work:
            return computation
        assert isinstance(computation, CachedCall)
        return ReplacedCall(computation, work[computation.name])

    @property
    def base(self) -> ModelSource:
        return ModelSource({"weights": "none"}, Path("nowhere"))

    def label(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        columns = {"name": "selected", "seed": 0, "rows": 1, "unlabelled": 0}
        pl.DataFrame([columns]).write_parquet(out / "labels.parquet")
        return {}

    def train(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        ids = list(arguments["texts"].row_ids)
        self.trained.append(ids)
        self.seeds.append(arguments["seed"])
        write_json(out / "adapter.safetensors", {"ids": ids, "number": len(self.trained)})
        return {"steps": len(ids), "rows_in": len(ids), "tokens": 10 * len(ids)}

    def write(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with what the model was trained on."""
        trained = "nothing"
        if arguments["tuned"] is not None:
            trained = arguments["tuned"].file("adapter.safetensors").read_text()
        rows = rows_of(arguments["eval"])
        drawn = draw_examples(rows, arguments["examples"], arguments["seed"])
        drawn.select(eval_id="row_id").with_columns(
            text=pl.lit(trained), tokens=3, cut=False
        ).write_parquet(out / "written.parquet")
        return {}

    def measure(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        trained = tuned_on(arguments)
        eval_ids = rows_of(arguments["eval"])["row_id"]
        hard = np.random.default_rng(9).normal(0, 0.2, len(eval_ids))
        noise = np.random.default_rng([trained["number"], 3]).normal(0, 0.01, len(eval_ids))
        loss = self.loss(trained["ids"]) + hard + noise
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
    """Any set of rows has a worth of its own."""
    return 1.0 + 0.1 * float(np.random.default_rng(list("".join(sorted(ids)).encode())).normal())


def watch_of(store: Store, sets: Mapping[str, Sequence[str]]) -> WatchInputs:
    """Return watch sets with a margin of .1: the prompts of each by its name."""
    rows = [
        row(f"{name}/w:{i}", turns(prompt, "y"), source=name)
        for name, prompts in sets.items()
        for i, prompt in enumerate(prompts)
    ]
    lines: list[WatchSetValues] = [
        {"source": name, "margin": 0.1, "metric": "loss"} for name in sets
    ]
    return WatchInputs(stored_rows(store, "watch", rows), None, lines)


Proven = tuple[dict[str, Any], Artifact, MeasuredRun]


def run_proof(
    store: Store,
    loss: Loss = helpful,
    *,
    pool_leak: str | None = None,
    target_leak: bool = False,
    tokens: Callable[[int], int] = lambda i: 10,
    length: int = 10,
    extra_evals: Sequence[str] = (),
    budget: Budget = ROWS,
    chosen: range = range(10),
    judged: int = 1,
    watch: Mapping[str, Sequence[str]] | WatchInputs | None = None,
    controls: SharedControls | None = None,
    texts: Mapping[str, str] | None = None,
    **settings: Any,
) -> Proven:
    """Prove a selection of the ten good rows among forty; `pool_leak` names a row that leaks."""
    ids = [f"{'g' if i < 10 else 'b'}{i:02}" for i in range(COUNT)] + ["dropped"]
    prompts = {i: f"text of {i}" for i in ids} | dict(texts or {})
    prompts |= {pool_leak: LEAK} if pool_leak else {}
    rows = [row(i, turns(prompts[i], "an answer")) for i in ids]
    target = [row("t0", turns("fine", "x")), row("t1", turns(LEAK if target_leak else "ok", "x"))]
    evals = [row(f"e{i:02}", turns(LEAK if i == 0 else f"eval {i}", "y")) for i in range(EVALS)]
    evals += [row(i, turns(f"eval {i}", "y")) for i in extra_evals]
    run = MeasuredRun(store, loss=loss, length=length)
    run.rows, run.target = stored_rows(store, "pool", rows), stored_rows(store, "target", target)
    ranking = pl.DataFrame(
        {
            "row_id": ids[:COUNT],
            "rank": range(1, COUNT + 1),
            "selected": [i in chosen for i in range(COUNT)],
            "tokens": [tokens(i) for i in range(COUNT)],
            "score": [float(i < 10) for i in range(COUNT)],
        }
    )
    params = ProofSettings.model_validate({"draws": 6, **settings})
    artifact = prove(
        run,
        stored_table(store, "ranking", ranking),
        ProofInputs(
            stored_rows(store, "eval", evals),
            watch=watch_of(store, watch) if isinstance(watch, Mapping) else watch,
        ),
        params.values,
        budget,
        judged,
        controls,
    )
    return orjson.loads(artifact.file("proof.json").read_bytes()), artifact, run


def longer_if_good(position: int) -> int:
    """Return the tokens of a row of a pool in which as many rows are not as many tokens."""
    return 20 if position < 10 else 10


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """The proof of a selection that helps, as it is without any setting."""
    return run_proof(Store(tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """The same where the selected rows are longer than the others."""
    return run_proof(Store(tmp_path_factory.mktemp("uneven")), tokens=longer_if_good)


@pytest.fixture(scope="module")
def too_long(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same where one more eval example is too long to be measured."""
    return run_proof(Store(tmp_path_factory.mktemp("long")), extra_evals=["too-long"])[0]


@pytest.mark.parametrize(
    ("loss", "verdict", "words"),
    [
        (helpful, "better", "The selection is better than random: loss lower by +0."),
        (harmful, "worse", "The selection is worse than random: loss lower by -0."),
        (indifferent, WITHIN, "The selection is within the range of random draws: loss lower by "),
    ],
)
def test_the_verdict_is_that_of_the_measured_losses(
    plain: Proven, store: Store, loss: Loss, verdict: str, words: str
) -> None:
    proof, artifact, _ = plain if loss is helpful else run_proof(store, loss)
    assert proof["verdict"] == artifact.counts["verdict"] == verdict
    assert proof["sentence"].startswith(words)
    assert proof["sentence"] == artifact.counts["sentence"]


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        (
            1,
            "It is measured on a single example: whether it holds for others is not known, and the",
        ),
        (4, "It is measured on 4 examples: whether it holds for others is not known."),
        (5, ""),
    ],
)
def test_a_verdict_on_few_examples_says_what_is_not_known(
    store: Store, examples: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random draws are measured on the same ones, so that the verdict itself is no less sure."""
    monkeypatch.setattr("tests.proof.test_proof.EVALS", examples)
    proof, _, _ = run_proof(store)
    assert proof["verdict"] == "better"
    assert words in proof["sentence"]
    assert ("It is measured on" in proof["sentence"]) == bool(words)


@pytest.mark.parametrize(("rows", "is_said"), [(COUNT, True), (COUNT - 1, False)])
def test_a_selection_of_every_row_is_told_to_show_nothing(
    store: Store, caplog: pytest.LogCaptureFixture, rows: int, is_said: bool
) -> None:
    run_proof(store, budget=Budget(rows=rows), chosen=range(rows), draws=2, seeds=1)
    assert ("the selection takes every row" in caplog.text) == is_said


@pytest.mark.parametrize(("budget", "control"), [(ROWS, "random_rows"), (TOKENS, "random_tokens")])
def test_one_control_is_drawn_in_full_and_the_other_three_times(
    uneven: Proven, store: Store, budget: Budget, control: str
) -> None:
    of_tokens = budget == TOKENS
    proof, _, run = run_proof(store, tokens=longer_if_good, budget=budget) if of_tokens else uneven
    assert len(run.trained) == 6 + 3 + 3
    assert run.trained.count([f"g{i:02}" for i in range(10)]) == 3
    assert proof["control"] == control
    counts = {arm["arm"]: len(arm["steps"]) for arm in proof["arms"]}
    other = {"random_rows", "random_tokens"} - {control}
    assert counts == {"base": 0, "selected": 3, control: 6, other.pop(): 3}


def test_controls_are_trained_before_the_selection(uneven: Proven) -> None:
    _, _, run = uneven
    chosen = [f"g{i:02}" for i in range(10)]
    assert run.trained[-3:] == [chosen] * 3
    assert chosen not in run.trained[:-3]


def test_two_controls_that_drew_the_same_rows_are_tuned_once(store: Store) -> None:
    """Where all rows are equally long, as many rows are as many tokens."""
    proof, _, run = run_proof(store, tokens=lambda i: 64, draws=4)
    assert len(run.trained) == 4 + 3
    by_rows, by_tokens = (c for c in proof["comparisons"] if c["metric"] == "loss")
    assert by_rows["mean_difference"] == by_tokens["mean_difference"]


def test_every_run_of_an_arm_has_a_seed_of_its_own_and_the_selection_shares_none(
    uneven: Proven,
) -> None:
    _, _, run = uneven
    seeds = [tuple(seed) for seed in run.seeds]
    assert sorted(set(seeds[:6])) == [(0, n) for n in range(6)]
    assert seeds[6:9] == [(0, n) for n in range(3)], "pairs are trained alike"
    assert len(set(seeds[9:])) == 3
    assert not set(seeds[9:]) & set(seeds[:9])


def test_a_second_method_trains_nothing_but_its_own_selection(store: Store) -> None:
    _, _, first = run_proof(store, tokens=lambda i: 64)
    _, _, second = run_proof(store, tokens=lambda i: 64, chosen=range(5, 15))
    assert len(first.trained) == 6 + 3
    assert second.trained == [second.trained[0]] * 3
    assert set(second.trained[0]) == {f"{'g' if i < 10 else 'b'}{i:02}" for i in range(5, 15)}


def test_another_eval_set_trains_nothing(plain: Proven) -> None:
    _, _, first = plain
    _, _, again = run_proof(first.store, extra_evals=["more"])
    assert first.trained != []
    assert again.trained == []


def test_the_figures_are_those_of_the_measured_losses(uneven: Proven) -> None:
    proof, artifact, _ = uneven
    effects = pl.read_parquet(artifact.file("effects.parquet"))
    assert effects.height == (1 + 6 + 3 + 3) * EVALS

    def means(arm: str) -> np.ndarray[Any, Any]:
        by_run = effects.filter(arm=arm).group_by("seed").agg(pl.mean("loss")).sort("seed")
        return by_run["loss"].to_numpy()

    rows, pairs, chosen = means("random_rows"), means("random_tokens"), means("selected").mean()
    compared = {c["control"]: c for c in proof["comparisons"] if c["metric"] == "loss"}
    assert compared["random_rows"]["mean_difference"] == pytest.approx(rows.mean() - chosen)
    moved = rows.mean() + (pairs - rows[:3]).mean()
    assert compared["random_tokens"]["mean_difference"] == pytest.approx(moved - chosen)
    spread, factor = rows.std(ddof=1), 2.5706 * math.sqrt(7 / 6)
    assert compared["random_rows"]["half"] == pytest.approx(factor * spread, rel=1e-4)
    wider = math.sqrt(spread**2 * 7 / 6 + (pairs - rows[:3]).var(ddof=1) / 3)
    assert compared["random_tokens"]["half"] == pytest.approx(2.5706 * wider, rel=1e-4)
    low, high = compared["random_rows"]["another_draw"]
    assert (low + high) / 2 == pytest.approx(rows.mean())
    assert proof["spread"]["sd"] == pytest.approx(spread)
    assert proof["spread"]["detectable"] == pytest.approx(factor * spread, rel=1e-4)
    assert proof["rank"] == {"place": 1, "of": 7, "p": pytest.approx(2 / 7)}
    for comparison in compared.values():
        estimate = comparison["estimate"]
        assert estimate["low"] < comparison["mean_difference"] < estimate["high"]
        assert comparison["verdict"] == "better"
    secondary = [c["verdict"] for c in proof["comparisons"] if c["metric"] == "exact_match"]
    assert secondary == [None, None], "one metric decides"
    shares = [c["another_draw"] for c in proof["comparisons"] if c["metric"] == "exact_match"]
    assert all(0 <= low <= high <= 1 for low, high in shares), "a share is none below 0 or above 1"
    for arm in proof["arms"]:
        of_arm = effects.filter(arm=arm["arm"])
        assert arm["loss"] == pytest.approx(of_arm["loss"].mean())
        assert arm["exact_match"] == pytest.approx(of_arm["exact_match"].mean())


def test_a_score_that_tells_what_training_is_worth_is_called_valid(tmp_path: Path) -> None:
    validity = run_proof(Store(tmp_path / "a"), draws=9)[0]["score_validity"]
    assert validity["draws"] == 9
    assert validity["correlation"] > 0.9
    assert validity["p"] < 0.05
    harm = run_proof(Store(tmp_path / "b"), harmful, draws=9)[0]["score_validity"]
    assert harm["correlation"] < -0.9


def test_the_strict_level_and_several_selections_ask_for_more(plain: Proven) -> None:
    usual, _, run = plain
    strict, one_of_four = (
        run_proof(run.store, **settings)[0] for settings in ({"strict": True}, {"judged": 4})
    )
    assert (usual["alpha"], strict["alpha"], one_of_four["alpha"]) == (0.05, 0.03, 0.0125)
    halves = [p["comparisons"][0]["half"] for p in (usual, strict, one_of_four)]
    assert halves == sorted(halves)
    assert "judged at 1.2 % because 4 selections share the level" in one_of_four["sentence"]


def test_few_draws_say_what_they_cannot_show(store: Store, plain: Proven) -> None:
    compared = run_proof(store, draws=2)[0]["sentence"]
    assert "2 draws show only differences above 15.6 times their spread" in compared
    assert "smaller ones are not shown to be absent" in compared
    assert "not shown to be absent" not in plain[0]["sentence"]


def test_the_arms_are_told_with_their_sizes(store: Store) -> None:
    proof, _, _ = run_proof(store, seeds=2, draws=3, tokens=lambda i: 20 if i < 10 else 10)
    arms = {arm["arm"]: arm for arm in proof["arms"]}
    assert list(arms) == ["base", "selected", "random_rows", "random_tokens"]
    assert arms["base"]["rows"] == arms["base"]["steps"] == []
    assert arms["selected"]["rows"] == [10, 10]
    assert arms["random_rows"]["rows"] == [10, 10, 10]
    assert arms["selected"]["tokens"] == [200, 200]
    assert all(190 <= t <= 210 for t in arms["random_tokens"]["tokens"])
    assert all(n > 10 for n in arms["random_tokens"]["rows"])


def test_a_selection_that_only_wins_by_longer_rows_is_not_called_better(store: Store) -> None:
    """Here the loss falls with the tokens seen, whichever they are."""
    lengths = {f"{'g' if i < 10 else 'b'}{i:02}": 100 if i < 10 else 10 for i in range(COUNT)}

    def by_tokens(ids: Sequence[str]) -> float:
        return 2.0 - 0.1 * math.log1p(sum(lengths[i] for i in ids))

    # A pool of many more long rows, so that as many tokens can be drawn at random.
    proof, _, _ = run_proof(store, by_tokens, tokens=lambda i: 100 if i < 10 else 10, draws=9)
    primary = {c["control"]: c for c in proof["comparisons"] if c["metric"] == "loss"}
    gains = [primary[name]["mean_difference"] for name in ("random_rows", "random_tokens")]
    assert gains[0] > 3 * gains[1]
    verdicts = [c["verdict"] for c in primary.values()]
    assert proof["verdict"] == judge_all(verdicts)


@pytest.mark.parametrize(
    ("metric", "length", "metrics"),
    [
        ("auto", 64, ["loss", "exact_match", "loss_per_token"]),
        ("auto", 65, ["loss", "loss_per_token"]),
        ("loss", 10, ["loss", "exact_match", "loss_per_token"]),
        ("loss_per_token", 65, ["loss_per_token", "loss"]),
        ("exact_match", 65, ["exact_match", "loss", "loss_per_token"]),
    ],
)
def test_the_metric_that_decides_comes_first(
    tmp_path_factory: pytest.TempPathFactory, metric: str, length: int, metrics: list[str]
) -> None:
    # What is trained, measured and found to leak does not depend on the metric.
    store = Store(tmp_path_factory.getbasetemp() / f"answers of {length} tokens")
    proof, _, _ = run_proof(store, metric=metric, length=length)
    assert proof["metric"] == metrics[0]
    assert list(dict.fromkeys(c["metric"] for c in proof["comparisons"])) == metrics


def test_more_exact_matches_are_better_too(plain: Proven) -> None:
    proof, _, _ = run_proof(plain[2].store, metric="exact_match")
    assert all(c["mean_difference"] > 0 for c in proof["comparisons"])
    assert "exact match higher by +0." in proof["sentence"]
    assert "share of eval examples" in proof["sentence"]


def test_eval_examples_that_are_too_long_are_counted_not_scored(too_long: dict[str, Any]) -> None:
    assert too_long["eval_examples"] == EVALS
    assert too_long["eval_examples_too_long"] == 1
    assert too_long["verdict"] == "better"


def test_no_eval_response_within_the_limit_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="raise that limit"):
        run_proof(store, length=0)


def test_the_same_proof_twice_gives_the_same_bytes(store: Store, plain: Proven) -> None:
    assert run_proof(store)[1].digest == plain[1].digest


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


def test_a_control_row_that_is_an_eval_prompt_makes_the_proof_refuse(
    store: Store, plain: Proven
) -> None:
    _, _, clean = plain
    control = sorted({i for ids in clean.trained for i in ids if i.startswith("b")})[0]
    proof, _, _ = run_proof(store, pool_leak=control)
    assert proof["verdict"] == "refused"


def test_a_leak_in_a_row_that_no_arm_holds_is_no_matter(store: Store) -> None:
    assert run_proof(store, pool_leak="dropped")[0]["verdict"] == "better"


@pytest.mark.parametrize("pairs", [True, None])
def test_a_leak_in_a_rejected_answer_counts_where_it_is_trained_on(
    store: Store, pairs: bool | None
) -> None:
    worse = turns("", f"They asked: {LEAK}")[1:]
    rows = stored_rows(store, "pool", [row("p", turns("a", "b"), rejected=worse)])
    arm = {"arm": ["selected"], "seed": [0], "row_id": ["p"]}
    leaks = MeasuredRun(store, loss=helpful).result(
        write_leaks.call(
            ArmSources(rows),
            stored_table(store, "arms", pl.DataFrame(arm)),
            stored_rows(store, "eval", [row("e", turns(LEAK, "y"))]),
            pairs=pairs,
        )
    )
    assert leaks.counts["leaking_rows"] == {"arm": 1 if pairs else 0}


def test_a_leak_that_was_allowed_is_told_with_a_warning(store: Store) -> None:
    proof, _, run = run_proof(store, target_leak=True, pool_leak="g03", allow_leaks=True)
    assert proof["verdict"] == "better"
    assert "the eval set leaks, which was allowed: do not trust this" in proof["sentence"]
    assert proof["leaks"]["leaking_rows"] == {"target": 1, "arm": 1}
    assert proof["leaks"]["allowed"] is True
    assert run.trained != []


def test_without_a_leak_there_is_no_warning(plain: Proven) -> None:
    proof, _, _ = run_proof(plain[2].store, allow_leaks=True)
    assert "leak" not in proof["sentence"]


def test_what_base_selection_and_one_draw_wrote_stands_beside_what_they_score(
    plain: Proven,
) -> None:
    proof, artifact, _ = run_proof(plain[2].store, written=5)
    table = pl.read_parquet(artifact.file("written.parquet"))
    effects = pl.read_parquet(artifact.file("effects.parquet"))
    assert table["arm"].unique(maintain_order=True).to_list() == ["base", "selected", "random_rows"]
    assert table.group_by("arm").len()["len"].to_list() == [5, 5, 5]
    assert "g00" in table.filter(arm="selected")["text"][0]
    assert table.filter(arm="base")["text"][0] == "nothing"
    scored = table.join(effects.filter(seed=0), on=["arm", "eval_id"])
    assert scored["loss"].to_list() == scored["loss_right"].to_list()
    assert proof["written"]["examples"] == 5
    assert proof["written"]["selected_against"]["base"] == {"better": 5, "worse": 0, "same": 0}


def test_nothing_is_written_where_nobody_asks(plain: Proven) -> None:
    proof, artifact, _ = run_proof(plain[2].store, written=0)
    assert proof["written"] is None
    assert "written.parquet" not in artifact.files


def test_a_row_that_is_a_prompt_of_a_watch_set_makes_the_proof_refuse_and_names_the_set(
    store: Store,
) -> None:
    sets = {"general": ["a walk", "b"], "refusals": [LEAK, "other"]}
    proof, _, run = run_proof(store, pool_leak="g03", watch=sets)
    assert proof["verdict"] == "refused"
    # LEAK is the first eval prompt too.
    begin = "No proof: the eval set and the watch set 'refusals' leak into 1 training rows"
    assert proof["sentence"].startswith(begin)
    assert run.trained == []


def test_a_leak_of_a_watch_set_alone_is_not_that_of_the_eval_set(store: Store) -> None:
    sets = {"general": ["What a long and winding road this is to the harbour of the town", "b"]}
    row_text = "What a long and winding road this is to the harbour of the town"
    proof, _, _ = run_proof(store, watch=sets, texts={"g03": row_text})
    assert proof["sentence"].startswith("No proof: the watch set 'general' leaks into 1 training")
    allowed, _, _ = run_proof(store, watch=sets, texts={"g03": row_text}, allow_leaks=True)
    assert "the watch set 'general' leaks, which was allowed" in allowed["sentence"]


def test_the_answer_spans_and_examples_are_counted_in_the_proof(too_long: dict[str, Any]) -> None:
    questions = too_long["questions"]
    assert (questions["examples"], questions["answers"], questions["options"]) == (13, 13, 13)
    assert questions["measured"] == {"loss": 12, "exact_match": 12, "loss_per_token": 12}
    assert {c["examples"] for c in too_long["comparisons"]} == {12}
