"""Sources: measures of groups against plain computations, coverage, trials, and a whole run."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.distance import cdist, jensenshannon, pdist

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.rows import Message
from curate.core.section import DataTable, Heading
from curate.core.store import Store
from curate.models.embed import embed_texts
from curate.pipeline.curation import run_curation
from curate.proof.statistics import estimate
from curate.report.data import gather
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from curate.selectors.group_measures import Measure, jensen_shannon, measures, row_groups
from curate.selectors.pool_target import embed_pool_and_target
from curate.selectors.source_choice import choices
from curate.selectors.source_nearness import measure_sources
from curate.selectors.sources import SourcesSelector
from curate.selectors.trials import Trial, draw_rows, effect_of, measure_trials, train_trials
from tests.conftest import row, stored_rows, stored_table, turns
from tests.report.sections import blocks_of
from tests.selectors.lossruns import ModelRun
from tests.selectors.poolruns import WORDS, PoolRun, make_run, selector_of

TARGET = [
    turns(f"Tell me about {word} please.", f"{word} soup") for word in ("garlic", "flour", "oven")
]
WITHIN = {"method": "embed"}


def topic_rows(seed: int = 0, each: int = 12) -> list[dict[str, Any]]:
    """Return rows of four sources, each of one topic, mixed."""
    rng = random.Random(seed)
    rows = []
    for number in range(4 * each):
        topic = list(WORDS)[number % 4]
        words = rng.sample(WORDS[topic].split(), 4)
        texts = turns(f"Tell me about {words[0]} and {words[1]} please.", " ".join(words[1:]))
        rows.append(row(f"r{number * 37 % 101:03}", texts, source=topic))
    return rows


def source_run(store: Store, rows: Sequence[dict[str, Any]]) -> PoolRun:
    run = make_run(store, rows)
    run.target = stored_rows(store, "target", [row(f"t{i}", text) for i, text in enumerate(TARGET)])
    return run


def groups_of(
    run: PoolRun, which: Sequence[Measure] = ("embedding", "ngrams", "mmd")
) -> pl.DataFrame:
    groups = run(row_groups, run.rows, run.kept, "source", None)
    embedded = embed_pool_and_target(run)
    return run(measures, run.rows, run.tokens, groups, embedded, list(which)).read()


def texts_of(rows: Sequence[dict[str, Any]], source: str) -> list[str]:
    return [text_of(one["messages"]) for one in rows if one["source"] == source]


def text_of(messages: Sequence[Message]) -> str:
    return "\n".join(message["content"] for message in messages)


def ngram_counts(texts: Sequence[str]) -> Counter[tuple[str, ...]]:
    words = [re.findall(r"\w+|[^\w\s]+", text.lower()) for text in texts]
    return Counter(g for w in words for g in [*zip(w, strict=False), *pairwise(w)])


@pytest.mark.parametrize("measure", ["embedding", "ngrams", "mmd"])
def test_the_related_group_is_the_nearest_by_each_measure(store: Store, measure: Measure) -> None:
    table = groups_of(source_run(store, topic_rows()), [measure])
    assert table.filter(pl.col(f"{measure}_rank") == 1)["group"].to_list() == ["cooking"]
    assert sorted(table[f"{measure}_rank"].to_list()) == [1, 2, 3, 4]


def test_measures_are_those_of_plain_computations(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many that no two n-grams share one.
    monkeypatch.setattr("curate.selectors.group_measures.BUCKETS", 1_000_003)
    rows = topic_rows()
    table = groups_of(source_run(store, rows))
    target = embed_texts([text_of(one) for one in TARGET], "static").astype(float)
    everything = embed_texts([text_of(one["messages"]) for one in rows], "static").astype(float)
    width = np.median(pdist(np.concatenate([target, everything]), "euclidean")) ** 2
    target_grams = ngram_counts([text_of(one) for one in TARGET])
    for line in table.to_dicts():
        texts = texts_of(rows, line["group"])
        vectors = embed_texts(texts, "static").astype(float)
        one, other = vectors.mean(axis=0), target.mean(axis=0)
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert line["embedding"] == pytest.approx(cosine, abs=2e-6)
        grams = ngram_counts(texts)
        names = sorted({*grams, *target_grams}, key=str)
        shares = [[c[g] / c.total() for g in names] for c in (grams, target_grams)]
        assert line["ngrams"] == pytest.approx(jensenshannon(*shares, base=2) ** 2, abs=2e-6)
        kernels = [
            np.exp(-cdist(a, b, "sqeuclidean") / (2 * width))
            for a, b in ((vectors, vectors), (target, target), (vectors, target))
        ]
        off = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernels[:2]]
        assert line["mmd"] == pytest.approx(off[0] + off[1] - 2 * kernels[2].mean(), abs=1e-5)
        assert line["nearest"] == pytest.approx((vectors @ target.T).max(axis=0), abs=2e-6)
        assert (line["rows"], line["tokens"]) == (12, sum(len(t) - 1 for t in texts))


def test_the_divergence_is_none_of_equal_shares_and_one_of_others() -> None:
    one = np.array([1, 2, 0, 0])
    assert jensen_shannon(one, 3 * one) == pytest.approx(0)
    assert jensen_shannon(one, one[::-1]) == pytest.approx(1)
    assert np.isnan(jensen_shannon(one, 0 * one))


def test_the_order_of_the_pool_changes_nothing(store: Store) -> None:
    rows = topic_rows()
    mixed = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    one, other = (source_run(store, side) for side in (rows, mixed))
    assert groups_of(one).equals(groups_of(other))
    tables = [
        selector_of("sources", keep=2, within=WITHIN).score_rows(run).read().sort("row_id")
        for run in (one, other)
    ]
    assert tables[0].equals(tables[1])


def test_a_pool_of_one_source_has_no_list_of_sources(store: Store) -> None:
    rows = topic_rows()
    table = measure_sources(source_run(store, rows))
    assert table is not None
    assert table.read()["embedding_rank"].to_list().index(1) == sorted(WORDS).index("cooking")
    assert measure_sources(source_run(store, [{**one, "source": "web"} for one in rows])) is None


def test_a_row_alone_in_its_group_has_no_discrepancy_and_comes_last(store: Store) -> None:
    rows = [*topic_rows(), row("s", TARGET[0], source="single")]
    line = groups_of(source_run(store, rows)).filter(group="single").row(0, named=True)
    assert line["mmd"] is None
    assert (line["mmd_rank"], line["embedding_rank"]) == (5, 1)


def test_more_groups_than_can_be_compared_are_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.selectors.group_measures.MOST_GROUPS", 3)
    with pytest.raises(UserError, match="source makes 4 groups of 48 rows, and at most 3 are"):
        groups_of(source_run(store, topic_rows()))


def test_rows_of_other_groups_have_no_score_and_a_reason(store: Store) -> None:
    rows = topic_rows()
    run = source_run(store, rows)
    selector = selector_of("sources", keep=1, within=WITHIN)
    table = selector.score_rows(run).read()
    sources = {one["row_id"]: one["source"] for one in rows}
    reasons = dict(zip(table["row_id"], selector.unscored(table), strict=True))
    assert {i for i, reason in reasons.items() if reason is None} == {
        i for i, source in sources.items() if source == "cooking"
    }
    assert {r for r in reasons.values() if r} == {
        "other groups are nearer to the target, or help it more"
    }
    inner = selector_of("embed").score_rows(run).read().filter(pl.col("row_id").is_in(
        [i for i, source in sources.items() if source == "cooking"]))  # fmt: skip
    expected = inner["row_id"].gather(selector_of("embed").rank(inner, 0)).to_list()
    kept = table.filter(pl.col("reason").is_null())
    assert kept["row_id"].gather(selector.rank(kept, 0)).to_list() == expected


def measured_table(store: Store, nearest: Sequence[Sequence[float]]) -> Any:
    names = [f"g{i}" for i in range(len(nearest))]
    table = pl.DataFrame(
        {
            "group": names,
            "rows": [5] * len(names),
            "embedding_rank": range(1, len(names) + 1),
            "nearest": pl.Series(nearest, dtype=pl.Array(pl.Float32, len(nearest[0]))),
        }
    )
    return stored_table(store, "measures", table.sample(fraction=1, shuffle=True, seed=0))


@given(
    st.lists(
        st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=2, max_size=2), min_size=1, max_size=6
    )
)
def test_coverage_stops_before_the_first_group_without_a_nearer_row(
    tmp_path_factory: pytest.TempPathFactory, nearest: list[list[float]]
) -> None:
    table = measured_table(Store(tmp_path_factory.mktemp("choice")), nearest)
    best, expected = [-2.0, -2.0], []
    for number, line in enumerate(nearest):
        if all(new <= old for new, old in zip(line, best, strict=True)):
            break
        best = [max(pair) for pair in zip(line, best, strict=True)]
        expected.append(f"g{number}")
    assert choices(table, "embedding", "coverage").filter("kept")["group"].to_list() == expected


def test_helpful_groups_go_by_their_effect_and_harmful_ones_are_left_out(store: Store) -> None:
    table = measured_table(store, [[0.9]] * 6)
    effects = {
        "g0": [-0.2, -0.3, -0.1], "g1": [0.1, -0.1, 0.3], "g2": [0.2, 0.1, 0.3],
        "g3": [0.2, -0.1, 0.5], "g4": [0.4, 0.1, 0.7],
    }  # fmt: skip
    groups = choices(table, "embedding", 4, effects)
    # Of neutral groups the nearer one comes first, whatever their effects.
    assert groups["group"].to_list() == ["g4", "g2", "g1", "g3", "g0", "g5"]
    assert groups["kind"].to_list() == ["helpful"] * 2 + ["neutral"] * 2 + ["harmful", None]
    assert groups["kept"].to_list() == [True] * 4 + [False] * 2
    assert groups["reason"].to_list()[4:] == [
        "learning rows of its group raised the loss of the target examples",
        "its group is not among the nearest ones, which alone were tried",
    ]
    with pytest.raises(UserError, match="each of the 1 groups that were tried is harmful"):
        choices(table, "embedding", 1, {"g0": [-0.2, -0.3, -0.1]})


@pytest.mark.parametrize("shape", [(2, 7), (1, 5), (3, 1)])
def test_an_effect_has_the_interval_of_the_proof(shape: tuple[int, int]) -> None:
    gains = np.random.default_rng(0).normal(0.1, 0.3, shape)
    effect, expected = effect_of(gains), estimate(gains, np.zeros(shape))
    assert [effect.mean, effect.low, effect.high] == pytest.approx(
        [expected.difference, expected.low, expected.high], abs=1e-6
    )


def test_an_effect_without_an_interval_has_no_class(store: Store) -> None:
    # One row, learned by both trials, and one example: nothing says how much is noise.
    effect = effect_of(np.array([[0.3], [0.3]]))
    assert (effect.mean, effect.low, effect.high) == (0.3, None, None)
    values: dict[str, Sequence[float | None]] = {"g1": [0.1, 0.05, 0.15]}
    values["g0"] = [effect.mean, effect.low, effect.high]
    table = choices(measured_table(store, [[0.9]] * 2), "embedding", 2, values)
    assert table.select("group", "kind").rows() == [("g1", "helpful"), ("g0", "neutral")]


def test_a_single_trial_on_a_single_example_is_refused_before_anything(store: Store) -> None:
    run = source_run(store, topic_rows())
    run.target = stored_rows(store, "single", [row("t0", TARGET[0])])
    selector = selector_of("sources", keep=1, within=WITHIN, trial={"seeds": 1})
    with pytest.raises(UserError, match=r"one target example has no interval.*give seeds: 2"):
        selector.score_rows(run)
    assert not run.executed_steps


def test_an_example_without_a_response_does_not_count() -> None:
    gains = np.array([[0.1, np.nan, 0.4], [0.2, np.nan, 0.1]])
    assert effect_of(gains) == effect_of(gains[:, [0, 2]])
    with pytest.raises(UserError, match="no loss of a target example is a finite number"):
        effect_of(gains[:, [1]])


def test_rows_are_drawn_whatever_their_order() -> None:
    ids = pl.Series([f"r{i}" for i in range(20)])
    assert draw_rows(ids, 5, [0]) == draw_rows(ids.reverse(), 5, [0])
    assert draw_rows(ids, 5, [0]) != draw_rows(ids, 5, [1])
    assert draw_rows(ids, 50, [0]) == sorted(ids)


def test_a_group_without_a_response_to_learn_has_no_effect(store: Store, tiny: Path) -> None:
    good = [turns(f"Say {n}", f"{n} {n}") for n in range(6)]
    endless = [turns("word " * 1_100, "never read")] * 2
    run = ModelRun(store, folder=tiny, texts=[*good, *endless], targets=good[:2])
    names = ["good"] * 6 + ["endless"] * 2
    groups = pl.DataFrame({"row_id": [f"r{i:03}" for i in range(8)], "group": names})
    assert run.target is not None
    trained = train_trials(run, run.rows, groups, Trial(rows=4, seeds=1), ["good", "endless"])
    gains = measure_trials(run, run.target, *trained)
    assert gains.shape == (2, 2)
    assert gains[0].any()
    assert not gains[1].any()


@pytest.mark.model
def test_a_group_with_swapped_responses_is_harmful(store: Store, smollm: Path) -> None:
    """Rows that repeat a word help where that is asked; rows that say another word instead harm."""
    words = "river stone lamp cloud paper garden music tree chair window bread horse".split()  # noqa: SIM905
    right = [turns(f"Repeat: {a} {b}", f"{a} {b}") for a, b in zip(words, words[3:], strict=False)]
    wrong = [turns(f"Repeat: {a} {b}", f"{words[i]} {words[-i]}") for i, (a, b) in
             enumerate(zip(words[1:], words[5:], strict=False))]  # fmt: skip
    targets = [
        turns(f"Repeat: {a} {b}", f"{a} {b}") for a, b in zip(words, words[7:], strict=False)
    ]
    run = ModelRun(store, folder=smollm, texts=[*right, *wrong], targets=targets, dtype="bfloat16")
    table = run.rows.read()
    named = pl.Series(["right"] * len(right) + ["wrong"] * len(wrong))
    run.rows = stored_table(store, "rows", table.with_columns(source=named))
    trial = {"top": 2, "rows": 8, "seeds": 1}
    selector = selector_of("sources", trial=trial, keep=2, within=WITHIN)
    scores = selector.score_rows(run)
    groups = pl.read_parquet(scores.artifact.file("groups.parquet"))
    kinds = dict(groups.select("group", "kind").iter_rows())
    assert kinds["wrong"] == "harmful", groups
    assert kinds["right"] != "harmful", groups
    assert set(scores.read().filter(pl.col("reason").is_null())["group"]) == {"right"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"within": {"method": "nothing"}}, "within: unknown key; known keys: all, blend"),
        ({"within": {"method": "embed", "combine": "odd"}}, "combine"),
        ({"measure": ["mmd", "mmd"]}, "each of them once"),
        ({"keep": 0}, "keep must be 1 or more"),
        ({"keep": 4, "trial": {"top": 3}}, "give top: 4 or more"),
        ({"by": "odd"}, "by"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        SourcesSelector.model_validate({"budget": {"rows": 1}, **settings})


def test_trials_are_part_of_the_cost() -> None:
    plain = selector_of("sources", within=WITHIN)
    tried = selector_of("sources", within=WITHIN, trial={})
    assert plain.cost(1_000).read_rows == 0
    assert plain.cost(1_000).embedded_rows == 1_000
    # A warm-up of 4 x 48 rows and 6 x 2 trials of 48; to learn a row takes five readings.
    assert tried.cost(1_000).read_rows == 5 * 48 * (4 + 12)
    assert [one.method for one, _ in tried.members()] == ["sources", "embed"]


def write_rows(path: Path, rows: Sequence[Sequence[Message]]) -> str:
    path.write_text("".join(json.dumps({"messages": list(one)}) + "\n" for one in rows))
    return str(path)


@pytest.mark.system
def test_a_run_lists_its_groups_and_says_why_rows_are_left(tmp_path: Path, tiny: Path) -> None:
    rows = topic_rows()
    pool = []
    for name in WORDS:
        own = [one["messages"] for one in rows if one["source"] == name]
        pool.append({"path": write_rows(tmp_path / f"{name}.jsonl", own), "source": name})
    recipe = {
        "name": "sources",
        "pool": pool,
        "target": {"path": write_rows(tmp_path / "target.jsonl", TARGET)},
        "models": {"base": str(tiny), "dtype": "float32"},
        "select": {"method": "sources", "keep": 1, "within": WITHIN, "budget": 20,
                   "trial": {"top": 2, "rows": 4, "seeds": 2}},
        "store": str(tmp_path / "store"),
    }  # fmt: skip
    run_curation(Config.model_validate(recipe), tmp_path / "run")
    run = open_run(tmp_path / "run")
    groups = run.table("evidence/scores-groups").collect()
    assert groups["group"].len() == 4
    assert groups["effect"].count() == 2
    kept = groups.filter("kept")["group"].to_list()
    selected = pl.read_parquet(tmp_path / "run" / "selected.parquet")
    assert set(selected["source"]) == set(kept)
    assert selected.height == 12
    left = next(name for name in WORDS if name not in kept)
    line = "\n".join(explain_row(run, f"{left}/{left}.jsonl:1"))
    assert "not selected: it could not be scored by sources: " in line
    section = gather(tmp_path / "run").selection_sections[0]
    table = blocks_of(section, DataTable)[0]
    assert [line[0] for line in table.lines] == groups["group"].to_list()
    assert table.chosen == {0}
    assert [line[-2] for line in table.lines[2:]] == ["not tried", "not tried"]
    # Every run with several sources and a target says how near these are.
    nearness = run.table("evidence/sources").collect().sort("group")
    measured = groups.select("group", "rows", "embedding", "embedding_rank").sort("group")
    assert nearness.equals(measured)
    heads = [
        block.text for block in blocks_of(gather(tmp_path / "run").selection_sections[1], Heading)
    ]
    assert "Sources by how near they are to the target" in heads
