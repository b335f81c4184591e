"""What the model knows: categories by counting, caps that add up, no gold in a probe, made rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import Table
from curate.core.rows import SCHEMA, Message, content_hash
from curate.core.store import Store
from curate.core.turntext import plain_messages
from curate.judge.knowledge import (
    CATEGORIES,
    KnowledgeStage,
    beyond_caps,
    bound_of,
    category_of,
    room_of,
)
from curate.judge.probes import Exemplars, Probe, probe_of
from curate.llm.prompts import MethodPrompts
from tests.conftest import row, stored_rows, turns
from tests.generate.scripted import Reply, ScriptedEngine, text_of, texts_of
from tests.judge.clearruns import EngineRun, judge_stage, real_run, use

# Sums: what the model knows of them is by their first number.
SUMS = [(f"{a} + {b}?", str(a + b)) for a in (1, 2, 3, 4) for b in (10, 20, 30)]
LONG = (
    "Tell me a story.",
    "Once there was a fox who lived in a wood and never was seen by anyone.",
)


def terms(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def is_greedy(call: Any) -> bool:
    return bool(call.sampling.temperature == 0)


def model(call: Any) -> str:
    """Know 1 + b always, 2 + b in half of the greedy answers, 3 + b in one sample of a prompt."""
    a, b = terms(text_of(call))[:2]
    first = texts_of(call)[0]
    # Which of the sets it is shows in its examples alone.
    number = sum(map(ord, first)) % 2
    right = {
        1: True,
        2: is_greedy(call) and number == 0,
        3: not is_greedy(call) and call.sample == 1,
        4: False,
    }[a]
    return f"It is {a + b}." if right else f"It is {a + b + 1}."


def pool_of(run: EngineRun, pairs: Sequence[tuple[str, str]] = (*SUMS, LONG)) -> Table:
    return stored_rows(
        run.store, "pool", [row(f"r{i:02}", turns(*pair)) for i, pair in enumerate(pairs)]
    )


def run_knowledge(
    store: Store,
    monkeypatch: Any,
    answer: Callable[[Any], Any] = model,
    pairs: Sequence[tuple[str, str]] = (*SUMS, LONG),
    rules: Sequence[tuple[Any, Any]] = (),
    **params: Any,
) -> tuple[pl.DataFrame, pl.DataFrame, Mapping[str, Table], ScriptedEngine]:
    """Return verdicts, the table of what is known, all that was prepared, and the engine."""
    engine = use(monkeypatch, [*rules, (lambda call: True, answer)])
    run = EngineRun(store)
    stage = {"kind": "knowledge", **params}
    verdicts, prepared = judge_stage(run, pool_of(run, pairs), stage)
    return verdicts.read(), prepared["known"].read(), prepared, engine


# --- categories ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("greedy", "sampled", "category"),
    [
        ([True, True], [], "highly_known"),
        ([True, True], [False], "highly_known"),
        ([True, False], [], "maybe_known"),
        ([False, True], [True, True], "maybe_known"),
        ([False, False], [False, True], "weakly_known"),
        ([False, False], [False, False], "unknown"),
        ([], [], None),
        ([False], [], None),
    ],
)
def test_truth_table(greedy: list[bool], sampled: list[bool], category: str | None) -> None:
    assert category_of(greedy, sampled) == category


@given(st.lists(st.booleans(), min_size=1), st.lists(st.booleans(), min_size=1))
def test_sampling_only_where_no_greedy_answer_is_right_changes_no_category(
    greedy: list[bool], sampled: list[bool]
) -> None:
    early = [] if any(greedy) else sampled
    assert category_of(greedy, early) == category_of(greedy, sampled)


def test_the_rule_of_three() -> None:
    assert bound_of(160) == pytest.approx(0.01875)
    assert bound_of(2) == 1.0
    # 0.05 = (1 - p)^n at the exact bound, which 3/n is a little above.
    assert all(1 - 0.05 ** (1 / n) <= bound_of(n) < 1.2 * (1 - 0.05 ** (1 / n)) for n in (16, 160))


def test_rows_are_sorted_by_what_the_model_answers(store: Store, monkeypatch: Any) -> None:
    evidence, category_table, prepared, engine = run_knowledge(store, monkeypatch)
    by_row = dict(category_table.select("row_id", "category").iter_rows())
    categories = [by_row[f"r{i:02}"] for i in range(13)]
    answers = prepared["answers"].read()
    # The same by hand, from the stored answers.
    for row_id, row_answers in answers.group_by("row_id"):
        greedy = row_answers.filter(pl.col("sample").is_null())["right"].to_list()
        drawn = row_answers.filter(pl.col("sample").is_not_null())["right"].to_list()
        assert len(greedy) == 4
        assert len(drawn) == (0 if any(greedy) else 16)
        assert by_row[str(row_id[0])] == category_of(greedy, drawn)
    assert categories[:3] == ["highly_known"] * 3
    assert set(categories[3:6]) <= {"highly_known", "maybe_known", "unknown"}
    assert categories[6:9] == ["weakly_known"] * 3
    assert categories[9:12] == ["unknown"] * 3
    assert categories[12] is None
    assert (
        category_table["why"].to_list()[12]
        == "its response is no short answer that could be compared"
    )
    assert category_table.filter(category="unknown")["bound"].to_list()[0] == 3 / 16
    assert evidence["keep"].all()
    assert evidence["score"].to_list()[:3] == [1.0] * 3
    assert evidence["score"].to_list()[12] is None
    calls = answers.height
    assert len(engine.calls) <= calls
    assert prepared["known"].artifact.counts["llm"]["calls"] == len(engine.calls)
    assert sum(prepared["known"].artifact.counts["categories"].values()) == 12


def test_a_call_that_failed_is_not_counted_as_wrong(store: Store, monkeypatch: Any) -> None:
    lost = Reply("", "failed", error="no line")
    rules = [(lambda call: text_of(call) == "1 + 10?", lost)]
    evidence, category_table, _, _ = run_knowledge(store, monkeypatch, rules=rules)
    first = category_table.row(0, named=True)
    assert (first["category"], first["greedy"]) == (None, 0)
    assert first["why"] == "no answer came: no line"
    assert evidence.row(0, named=True)["keep"]
    cut = [(lambda call: text_of(call) == "1 + 10?", Reply("It is 11", "truncated"))]
    assert run_knowledge(store, monkeypatch, rules=cut, samples=3)[1]["category"][0] == "unknown"


def test_an_answer_that_is_not_comparable_is_neither_right_nor_wrong(
    store: Store, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    said = {"1 + 10?": "The answer is x^2+11", "2 + 10?": "12 eggs", "3 + 10?": "14"}
    rules = [(lambda call: text_of(call) in said, lambda call: said[text_of(call)])]
    pairs = [("1 + 10?", "11"), ("2 + 10?", "12 hours"), ("3 + 10?", "13"), ("4 + 10?", "14")]
    _, category_table, prepared, _ = run_knowledge(
        store, monkeypatch, pairs=pairs, rules=rules, sets=2, samples=3
    )
    assert category_table["category"].to_list() == [None, None, "unknown", "unknown"]
    assert category_table["not_comparable"].to_list() == [8, 8, 0, 0]
    assert category_table["why"].to_list() == [
        *["8 of its answers cannot be compared"] * 2,
        None,
        None,
    ]
    assert prepared["known"].artifact.counts["not_comparable"] == 16
    assert "16 of 32 answers name nothing comparable" in caplog.text
    answers = prepared["answers"].read()
    assert answers.filter(row_id="r00")["right"].to_list() == [None] * 8


@pytest.mark.parametrize(
    ("checker", "gold", "answer", "right"),
    [
        ("numeric", "x^2 + 9", "x^2 + 7", None),
        ("math", "x^2 + 9", "9 + x^2", True),
        ("math", "x^2 + 9", "x^2 + 7", False),
        ("math", "6 * 7 = 42 #### 42", "so it is 84/2", True),
        ("auto", "42", "That makes 42.", True),
        ("auto", "42", "That makes 24.", False),
        ("auto", "42", "420", False),
        ("auto", "6 * 7 = 42 #### 42", "6 * 7 = 43, so the answer is 43", False),
        ("auto", "6 * 7 = 42 #### 42", "by counting, the answer is 42", True),
        ("auto", "Paris", "paris.", True),
        ("auto", "no", "nonagon", False),
        ("auto", "(B)", "B) because of it", True),
        ("auto", "(B)", "A", False),
        ("exact", "a long text of some words", "A long text of some words.", True),
        ("exact", "a long text of some words", "A long text of some word", False),
        ("numeric", "54 pounds make 864 ounces.", "864", True),
        ("numeric", "54 pounds make 864 ounces.", "54 pounds make 865 ounces.", False),
    ],
)
def test_only_the_value_counts(checker: Any, gold: str, answer: str, right: bool | None) -> None:
    probe = probe_of(row("r", turns("?", gold)), checker)
    assert (probe is None) == (right is None)
    assert probe is None or probe.compare(answer) is right


def test_aliases_are_right_too_and_hostile_ones_are_left_out() -> None:
    meta = '{"aliases": ["NYC", 7, null, ["x"]]}'
    probe = probe_of(row("r", turns("Largest city?", "New York"), meta=meta), "auto")
    assert probe is not None
    assert probe.golds == ("New York", "NYC")
    assert probe.is_right("nyc")
    assert probe_of(row("r", turns("?", "x"), meta='{"aliases": "x"}'), "auto") is not None


def test_long_texts_and_own_rows_are_not_probed() -> None:
    assert probe_of(row("r", turns(*LONG)), "auto") is None
    assert probe_of(row("r", turns("?", "x" * 201)), "exact") is None
    assert probe_of(row("r", turns("?", "no number")), "numeric") is None
    assert probe_of(row("r", turns("?", "4"), method="knowledge"), "auto") is None


# --- probes -------------------------------------------------------------------------------------


def test_the_gold_answer_stands_in_no_probe(store: Store, monkeypatch: Any) -> None:
    pairs = [(f"Word {i}?", f"gold{i}") for i in range(12)]
    doubled = [*pairs, ("word 3?", "gold3 indeed")]
    _, _, _, engine = run_knowledge(store, monkeypatch, lambda call: "x", doubled, rehearse=True)
    probes = [c for c in engine.calls if "Correct answer:" not in texts_of(c)[-1]]
    assert {len(texts_of(call)) for call in probes} == {1, 9}
    for call in probes:
        number = terms(text_of(call))[0]
        assert all(f"gold{number}" not in text.split() for text in texts_of(call))


def test_examples_are_of_the_rows_own_origin_and_the_same_in_any_order() -> None:
    rows = [
        row(f"{o}{i}", turns(f"{o} {i}?", str(i)), origin=o) for o in ("a", "b") for i in range(9)
    ]
    probes = [p for r in rows if (p := probe_of(r, "auto"))]

    def draw_examples(order: Sequence[Probe]) -> list[list[Any]]:
        drawn = Exemplars(0, 3, 4)
        for probe in order:
            drawn.add(probe)
        return [drawn.turns(probe, k) for probe in probes for k in range(3)]

    examples = draw_examples(probes)
    assert examples == draw_examples(probes[::-1])
    for i, example in enumerate(examples):
        probe = probes[i // 3]
        assert len(example) == 8
        assert all(m["content"].startswith(probe.group[1]) for m in example[::2])
        assert probe.messages[0] not in example
    assert any(examples[i] != examples[i + 1] for i in range(0, len(examples), 3)), "sets differ"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), st.integers(0, 3))
def test_examples_are_those_of_least_digest_with_other_prompts(
    pairs: list[tuple[int, int]], shots: int
) -> None:
    rows = [row(f"r{i:02}", turns(f"{a}?", str(b))) for i, (a, b) in enumerate(pairs)]
    probes = [p for r in rows if (p := probe_of(r, "auto"))]
    drawn = Exemplars(5, 1, shots)
    for probe in probes:
        drawn.add(probe)
    for probe in probes:
        prompts = [m["content"] for m in drawn.turns(probe, 0)[::2]]
        others = {p.prompt for p in probes} - {probe.prompt}
        assert len(prompts) == len(set(prompts)) == min(shots, len(others))
        assert probe.messages[0]["content"] not in prompts


def test_system_turns_and_earlier_turns_stay_where_they_are(store: Store, monkeypatch: Any) -> None:
    engine = use(monkeypatch, [(lambda call: True, "9")])
    run = EngineRun(store)
    brief: Message = {"role": "system", "content": "Be brief."}
    talk = [brief, *turns("2 + 2?", "4", "and 5 more?", "9")]
    rows = [row(f"r{i}", turns(*SUMS[i])) for i in range(6)] + [row("talk", talk)]
    judge_stage(run, stored_rows(store, "pool", rows), {"kind": "knowledge", "sets": 1})
    call = next(c for c in engine.calls if text_of(c) == "and 5 more?")
    roles = [m["role"] for m in call.request.messages]
    assert roles == ["system", *["user", "assistant"] * 5, "user"]
    assert texts_of(call)[0] == "Be brief."
    assert texts_of(call)[-3:] == ["2 + 2?", "4", "and 5 more?"]


# --- caps ---------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from(CATEGORIES), st.integers(0, 60)),
    st.dictionaries(st.sampled_from(["unknown", "weakly_known"]), st.floats(0, 1), min_size=1),
)
def test_caps_hold_together_and_leave_no_room(
    sizes: dict[str, int], caps: dict[str, float]
) -> None:
    room = room_of(sizes, caps)
    kept = {name: room.get(name, size) for name, size in sizes.items()}
    total = sum(kept.values())
    for name, share in caps.items():
        assert room[name] <= sizes.get(name, 0)
        assert room[name] <= share * total + 1e-6
    # The largest total of all that the caps allow.
    others = sum(size for name, size in sizes.items() if name not in caps)
    for larger in range(total + 1, sum(sizes.values()) + 1):
        allowed = (min(sizes.get(n, 0), int(s * larger + 1e-9)) for n, s in caps.items())
        assert others + sum(allowed) < larger


def test_a_tenth_of_what_stays_may_be_unknown() -> None:
    assert room_of({"unknown": 50, "highly_known": 90}, {"unknown": 0.1}) == {"unknown": 10}
    assert room_of({"unknown": 50, "maybe_known": 90}, {"unknown": 0.0}) == {"unknown": 0}
    assert room_of({"unknown": 5}, {"unknown": 0.1}) == {"unknown": 0}
    assert room_of({"unknown": 5}, {"unknown": 1.0}) == {"unknown": 5}


def test_of_capped_rows_the_likeliest_stay() -> None:
    frame = pl.DataFrame(
        {
            "row_id": ["a", "b", "c", "d", "e"],
            "content_hash": ["5", "4", "3", "2", "1"],
            "category": ["weakly_known"] * 3 + ["highly_known", None],
            "sampled_right": [1, 3, 1, 0, 0],
            "sampled": [16, 16, 16, 0, 0],
        }
    )
    assert beyond_caps(frame, {"weakly_known": 0.7}).to_list() == ["a"]
    assert beyond_caps(frame, {"weakly_known": 0.5}).to_list() == ["c", "a"]
    assert beyond_caps(frame, {}).to_list() == []


def test_a_cap_drops_what_is_beyond_it(store: Store, monkeypatch: Any) -> None:
    evidence, category_table, _, _ = run_knowledge(store, monkeypatch, cap={"unknown": 0.1})
    unknown = category_table.filter(category="unknown").sort("content_hash")["row_id"].to_list()
    dropped = evidence.filter(~pl.col("keep"))
    room = int(0.1 * (12 - dropped.height))
    assert len(unknown) - dropped.height == room == 1
    assert sorted(dropped["row_id"]) == sorted(unknown[room:])
    assert set(dropped["reason"]) == {"unknown_to_model"}


def test_a_stage_has_one_use() -> None:
    with pytest.raises(ValueError, match="refusal and rehearse are given, but a stage has one use"):
        KnowledgeStage(refusal="unsure", rehearse=True)
    with pytest.raises(ValueError, match="Input should be"):
        KnowledgeStage.model_validate({"cap": {"highly_known": 0.1}})


# --- made rows ----------------------------------------------------------------------------------


def new_rows_by_parent(prepared: Mapping[str, Table]) -> dict[str, dict[str, Any]]:
    """Return the new rows by their parent."""
    rows = prepared["made"].read()
    assert rows.columns == [field.name for field in SCHEMA]
    rows_by_parent = {line["parents"][0]: line for line in rows.to_dicts()}
    for line in rows_by_parent.values():
        assert (line["method"], line["hop"], line["source"]) == ("knowledge", 1, "test")
        assert line["content_hash"] == content_hash(line["messages"])
    return rows_by_parent


def test_unknown_rows_refuse_in_one_of_sixteen_ways(store: Store, monkeypatch: Any) -> None:
    evidence, category_table, prepared, _ = run_knowledge(store, monkeypatch, refusal="unknown")
    new_rows, unknown = (
        new_rows_by_parent(prepared),
        category_table.filter(category="unknown")["row_id"].to_list(),
    )
    sentences = MethodPrompts("knowledge")["refusals"].fill()[0]["content"].splitlines()
    assert len(set(sentences)) == 16
    assert sorted(new_rows) == unknown
    assert all(line["messages"][-1]["content"] in sentences for line in new_rows.values())
    dropped = evidence.filter(~pl.col("keep"))
    assert dropped["row_id"].to_list() == unknown
    assert set(dropped["reason"]) == {"relabelled"}
    assert dropped["duplicate_of"].to_list() == [new_rows[i]["row_id"] for i in unknown]
    again = run_knowledge(store, monkeypatch, refusal="unknown")[2]["made"]
    assert again.artifact.digest == prepared["made"].artifact.digest


def test_every_row_says_whether_the_model_knew(store: Store, monkeypatch: Any) -> None:
    evidence, category_table, prepared, _ = run_knowledge(store, monkeypatch, refusal="unsure")
    new_rows = new_rows_by_parent(prepared)
    assert len(new_rows) == 12
    assert evidence["keep"].to_list() == [False] * 12 + [True]
    for line in category_table.drop_nulls("category").to_dicts():
        turns_ = new_rows[line["row_id"]]["messages"]
        sure = line["greedy_right"] >= 2
        assert turns_[-1]["content"] == (
            "I knew it for certain." if sure else "It was partly a guess."
        )
        assert turns_[-3]["content"] == SUMS[int(line["row_id"][1:])][1], "the gold answer stays"
    routes = Counter(prepared["routes"].read()["route"])
    assert routes["sure"] + routes["unsure"] == 12
    assert min(routes.values()) >= 3


def wavering(call: Any) -> str:
    """Answer alone: always the same wrong sum for 3 + b and 4 + b, another one in each sample else."""
    a, b = terms(text_of(call))[:2]
    if is_greedy(call) or len(texts_of(call)) > 1:
        return f"It is {a + b}."
    return f"It is {a + b + 1 if a > 2 else a + b + call.sample}."


def test_how_alike_answers_are_says_whether_the_model_is_sure(
    store: Store, monkeypatch: Any
) -> None:
    evidence, _, prepared, engine = run_knowledge(store, monkeypatch, wavering, refusal="uncertain")
    routes = dict(prepared["routes"].read().select("row_id", "route").iter_rows())
    # Sure of what it always says alike, right or wrong.
    assert {i: name == "sure" for i, name in routes.items()} == {
        f"r{i:02}": terms(prompt)[0] > 2 for i, (prompt, _) in enumerate(SUMS)
    }
    new_rows = new_rows_by_parent(prepared)
    assert new_rows["r00"]["messages"][-1]["content"] == "It was partly a guess."
    assert new_rows["r11"]["messages"][-3]["content"] == SUMS[11][1], "the gold answer stays"
    assert evidence["keep"].to_list() == [False] * 12 + [True]
    drawn = [c for c in engine.calls if c.sampling.temperature == 0.7]
    assert len(drawn) == 12 * 5
    assert len({c.sampling.seed for c in drawn}) >= 12
    again = run_knowledge(store, monkeypatch, wavering, refusal="uncertain")
    assert again[2]["made"].artifact.digest == prepared["made"].artifact.digest
    assert again[3].calls == []


def rehearsing(call: Any) -> str:
    """Be right alone on 1 + b, after examples on 2 + b, in other words on 3 + b, never on 4 + b."""
    prompt, examples = text_of(call), len(texts_of(call)) > 1
    a, b = terms(prompt)[:2]
    rephrasing = "Correct answer:" in prompt
    right = {1: not rephrasing, 2: examples, 3: rephrasing, 4: False}[a]
    return f"My own words: {a + b if right else a + b + 100}"


def test_the_first_right_answer_replaces_the_gold_one(store: Store, monkeypatch: Any) -> None:
    evidence, _, prepared, engine = run_knowledge(store, monkeypatch, rehearsing, rehearse=True)
    new_rows = new_rows_by_parent(prepared)
    routes = prepared["routes"].read()
    assert routes["route"].to_list() == [
        *["self"] * 6, *["paraphrase"] * 3, *["gold"] * 3
    ]  # fmt: skip
    assert routes["new_id"].null_count() == 3
    assert sorted(new_rows) == [f"r{i:02}" for i in range(9)]
    for i in range(9):
        assert new_rows[f"r{i:02}"]["messages"][-1]["content"] == f"My own words: {SUMS[i][1]}"
        assert plain_messages(new_rows[f"r{i:02}"]["messages"][:-1]) == turns(SUMS[i][0])
    assert evidence["keep"].to_list() == [False] * 9 + [True] * 4
    assert set(evidence["reason"].drop_nulls()) == {"rehearsed"}
    rephrasings = [text_of(c) for c in engine.calls if "Correct answer:" in text_of(c)]
    assert len(rephrasings) == 6, "only where no answer of its own is right"


def test_an_answer_equal_to_gold_makes_no_row(store: Store, monkeypatch: Any) -> None:
    def gold(call: Any) -> str:
        return str(sum(terms(text_of(call))[:2]))

    evidence, _, prepared, _ = run_knowledge(store, monkeypatch, gold, rehearse=True)
    assert evidence["keep"].all()
    assert prepared["made"].read().height == 0
    assert set(prepared["routes"].read()["route"]) == {"self"}


def test_made_rows_are_not_judged_again(store: Store, monkeypatch: Any) -> None:
    use(monkeypatch, [(lambda call: True, model)])
    run = EngineRun(store)
    rows = pool_of(run)
    verdicts, prepared = judge_stage(run, rows, {"kind": "knowledge", "refusal": "unsure"})
    tables = (rows.read(), prepared["made"].read())
    joined = stored_rows(store, "joined", [line for t in tables for line in t.to_dicts()])
    assert joined.height == 25
    _, later = judge_stage(run, joined, {"kind": "knowledge"}, {"knowledge": verdicts})
    assert later["known"].read()["category"].to_list() == [None] * 13


def test_a_second_use_costs_no_call(store: Store, monkeypatch: Any) -> None:
    _, _, _, engine = run_knowledge(store, monkeypatch)
    assert engine.calls
    again = run_knowledge(store, monkeypatch, cap={"unknown": 0.5})[3]
    assert again.calls == []
    assert run_knowledge(store, monkeypatch, refusal="unsure")[3].calls == []


def test_users_prompts_come_before_ours(store: Store, monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "refusals.j2").write_text("=== assistant\nKeine Ahnung.\n", "utf-8")
    prepared = run_knowledge(store, monkeypatch, refusal="unknown", prompts=str(tmp_path))[2]
    said = {line["messages"][-1]["content"] for line in new_rows_by_parent(prepared).values()}
    assert said == {"Keine Ahnung."}


# --- the real model -----------------------------------------------------------------------------

FACTS = [
    ("What is the capital of France?", "Paris"), ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Spain?", "Madrid"), ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Germany?", "Berlin"), ("What is the capital of Egypt?", "Cairo"),
    ("What is the capital of Quorvenia?", "Brimhollow"), ("What is the capital of Zanthor?", "Ulmek"),
]  # fmt: skip


@pytest.mark.model
def test_the_real_model_knows_capitals_and_no_made_up_ones(store: Store, smollm: Path) -> None:
    run = real_run(store, smollm)
    stage = {"kind": "knowledge", "engine": {"kind": "transformers"}, "sets": 2, "samples": 2,
             "max_tokens": 12}  # fmt: skip
    _, prepared = judge_stage(run, pool_of(run, FACTS), stage)
    categories = prepared["known"].read()["category"].to_list()
    assert categories[6:] == ["unknown"] * 2
    recalled = [c for c in categories[:6] if c in ("highly_known", "maybe_known")]
    assert len(recalled) >= 3


@pytest.mark.model
def test_the_models_own_words_are_likelier_to_it_than_gold_ones(store: Store, smollm: Path) -> None:
    from curate.models.chat import build_example
    from curate.models.forward import forward
    from curate.models.load import load_causal, load_tokenizer

    run = real_run(store, smollm)
    pairs = [(q, f"The answer is: {i + 3}") for i, q in enumerate(
        ["What is 1 + 2?", "What is 2 + 2?", "What is 3 + 2?", "What is 3 + 3?", "What is 5 + 2?"]
    )]  # fmt: skip
    few = {"sets": 1, "samples": 1, "max_tokens": 48, "checker": "numeric"}
    stage = {"kind": "knowledge", "engine": {"kind": "transformers"}, "rehearse": True, **few}
    _, prepared = judge_stage(run, pool_of(run, pairs), stage)
    routes = prepared["routes"].read().filter(route="self").drop_nulls("new_id")
    assert routes.height >= 1
    new = prepared["made"].read().join(routes, left_on="row_id", right_on="new_id")
    gold = [turns(*pairs[int(line["parents"][0][1:])]) for line in new.to_dicts()]
    tokenizer, model_ = load_tokenizer(smollm), load_causal(smollm, "float32")

    def mean_loss(rows: Sequence[Any]) -> float:
        examples = [build_example(tokenizer, messages, 512) for messages in rows]
        losses = forward(model_.eval(), examples, ["response"], 512).table
        return float((losses["response_sum"] / losses["response_tokens"]).mean())  # type: ignore[arg-type]

    assert mean_loss(new["messages"].to_list()) < mean_loss(gold)
