"""What tells similar rows apart: other system turns, numbers, responses; and the list of such pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from curate.clean.guards import DIFFERING_SCHEMA, GuardedDedupParams, guard_keys
from curate.core.rows import Message
from curate.core.store import Artifact, Store
from tests.conftest import StoreRun, frame, row, run_stage, stored_rows, turns

PASSAGE = (
    "The harbour was dug by hand when the wool trade made the town rich. Its basin is deep at low "
    "water, and the eastern wall was rebuilt in granite after the storm. A mill stood at the inner end "
    "until the family of the miller sold it to the rope makers, who dried hemp in its loft. "
)
RULES = "Answer as the keeper of the town archive would, in plain words and at no great length."


def exchange(question: str, answer: str, system: str = "") -> list[Message]:
    head: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*head, *turns(PASSAGE + question, answer)]


def judge(store: Store, chats: Sequence[list[Message]], **params: Any) -> Artifact:
    rows = [row(f"r{i}", chat) for i, chat in enumerate(chats)]
    return run_stage(StoreRun(store), params, stored_rows(store, "pool", rows), {})


def dropped(artifact: Artifact) -> dict[str, str]:
    verdicts = pl.read_parquet(artifact.file("evidence.parquet")).filter(~pl.col("keep"))
    return dict(verdicts.select("row_id", "duplicate_of").iter_rows())


def listed(store: Store, kind: str) -> list[tuple[str, str, str]]:
    [folder] = store.root.glob(f"{kind}-pairs-*")
    table = pl.read_parquet(folder / "differing.parquet")
    assert table.schema == pl.Schema(DIFFERING_SCHEMA)
    return sorted(table.select("row_id", "other_id", "differs").iter_rows())


KINDS = pytest.mark.parametrize("kind", ["fuzzy", "semantic"])


@KINDS
def test_questions_about_one_passage_are_rows_of_their_own(store: Store, kind: str) -> None:
    chats = [
        exchange("When was the wall rebuilt?", "After the storm."),
        exchange("Who bought the mill?", "The rope makers."),
        exchange("What was dried in the loft?", "Hemp."),
    ]
    assert dropped(judge(store, chats, kind=kind)) == {}
    assert listed(store, kind) == [
        ("r0", "r1", "responses"), ("r0", "r2", "responses"), ("r1", "r2", "responses"),
    ]  # fmt: skip


@KINDS
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("all things considered, the answer is (A).", "all things considered, the answer is (B)."),
        ("so the statement that was given is true.", "so the statement that was given is false."),
        ("so the wall was rebuilt.", "so the wall was not rebuilt."),
    ],
)
def test_long_responses_that_conclude_otherwise_are_no_duplicates(
    store: Store, kind: str, one: str, other: str
) -> None:
    chats = [exchange("Judge that.", PASSAGE + one), exchange("Judge this.", PASSAGE + other)]
    assert dropped(judge(store, chats, kind=kind)) == {}
    assert listed(store, kind) == [("r0", "r1", "responses")]
    alone = judge(Store(store.root / "alone"), chats, kind=kind, responses=False)
    assert dropped(alone) == {"r1": "r0"}


@KINDS
@pytest.mark.parametrize(
    "question",
    [
        "If the mill ground {seven} sacks a day, would the town have had enough?",
        "磨坊每天磨{三}袋麦子，镇上有{两}个面包师，每个面包师每天用掉同样多的面粉，够不够？",
    ],
)
def test_numbers_in_words_are_numbers(store: Store, kind: str, question: str) -> None:
    texts = [question.format(**NUMBERED[i]) for i in (0, 1)]
    chats = [turns(PASSAGE + text, "Think it over.") for text in texts]
    assert dropped(judge(store, chats, kind=kind)) == {}


NUMBERED = ({"seven": "seven", "三": "三", "两": "两"}, {"seven": "nine", "三": "三", "两": "四"})


@KINDS
def test_an_option_brings_the_verdict_on_texts_alone_back(store: Store, kind: str) -> None:
    chats = [
        exchange("Who bought the mill?", "The rope makers."),
        exchange("Who sold it?", "A family."),
    ]
    assert dropped(judge(store, chats, kind=kind, responses=False)) == {"r1": "r0"}
    assert listed(store, kind) == []


@KINDS
def test_problems_that_differ_in_a_number_or_its_sign_are_not_the_same(
    store: Store, kind: str
) -> None:
    question = "Is {} plus the depth of the basin more than the height of the wall above the water?"
    chats = [exchange(question.format(n), "Yes, it is.") for n in ("12", "13", "-12", "12.5", "١٢")]
    assert dropped(judge(store, chats, kind=kind)) == {}
    texts_alone = dropped(judge(store, chats, kind=kind, numbers=False))
    assert set(texts_alone) == {"r1", "r2", "r3", "r4"}


def test_near_prompts_with_other_numbers_are_listed(store: Store) -> None:
    chats = [exchange(f"Is it {n} feet deep or is it not?", "Yes, it is.") for n in (12, 13)]
    judge(store, chats, kind="fuzzy")
    assert listed(store, "fuzzy") == [("r0", "r1", "numbers")]


@KINDS
def test_rows_that_differ_in_the_system_turn_are_told_apart(store: Store, kind: str) -> None:
    question = ("Who bought the mill?", "The rope makers.")
    systems = ["", RULES, RULES.replace("no great", "any"), f"  {RULES}\n"]
    chats = [exchange(*question, system=system) for system in systems]
    assert dropped(judge(store, chats, kind=kind)) == {"r3": "r1"}
    assert {differs for _, _, differs in listed(store, kind)} == {"system"}
    other = dropped(judge(store, chats, kind=kind, system=False))
    assert other == {"r1": "r0", "r2": "r0", "r3": "r0"}


@KINDS
@pytest.mark.parametrize("compare", ["prompt", "response"])
def test_what_is_not_compared_tells_nothing_apart(store: Store, kind: str, compare: str) -> None:
    long = "They were the rope makers of the town, who dried their hemp in the loft of the mill"
    asks = [
        exchange("Who bought the mill?", "They did."),
        exchange("Who bought the mill?", "Hemp."),
    ]
    answers = [exchange("Who?", long), [*turns("Tell me.", long)], exchange("Who?", long, RULES)]
    chats, gone = (
        (asks, {"r1": "r0"}) if compare == "prompt" else (answers, {"r1": "r0", "r2": "r0"})
    )
    assert dropped(judge(store, chats, kind=kind, compare=compare)) == gone


@KINDS
def test_near_copies_go_whose_responses_are_near_copies_too(store: Store, kind: str) -> None:
    answer = (
        "The mill was sold to the rope makers by the family of the miller, and they used the loft to "
        "dry the hemp that they needed for the ropes of the boats in the harbour of the town."
    )
    chats = [
        exchange("Who bought the mill?", answer),
        exchange("Who bought the old mill?", answer.replace("needed", "wanted")),
        exchange("Who bought the mill?", f"«{answer}»"),
        exchange("Who bought the mill?", "The rope makers."),
        exchange("Who bought the mill", "The rope makers!"),
        exchange("Who bought the mill?", "The rope maker."),
    ]
    gone = dropped(judge(store, chats, kind=kind))
    assert {"r1": "r0", "r2": "r0", "r4": "r3"}.items() <= gone.items()
    assert "r3" not in gone
    assert ("r5" in gone) <= (kind == "semantic")


def test_a_threshold_counts_for_the_responses_as_well(store: Store) -> None:
    """A pair is as similar as the less similar of its texts and its responses."""
    answer = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi"
    chats = [exchange("Who?", answer), exchange("Who?", answer + " omicron pi rho")]
    artifact = judge(store, chats, kind="fuzzy")
    score = pl.read_parquet(artifact.file("evidence.parquet"))["score"].to_list()
    assert score == [0.0, pytest.approx(10 / 13)]
    assert dropped(artifact) == {"r1": "r0"}
    assert dropped(judge(store, chats, kind="fuzzy", threshold=0.8)) == {}


def test_all_turns_of_the_assistant_are_the_response(store: Store) -> None:
    chats = [
        [*exchange("Who bought it?", answer), *turns("Thanks!", "You are welcome.")]
        for answer in ("The rope makers.", "A family.")
    ]
    assert dropped(judge(store, chats, kind="fuzzy")) == {}


def test_copies_are_copies_only_if_nothing_tells_them_apart(store: Store) -> None:
    """Also where one text, cut at another place, makes a prompt and a response."""
    words = PASSAGE.split()
    chats = [
        turns(" ".join(words[:40]), " ".join(words[40:])),
        turns(" ".join(words[:20]), " ".join(words[20:])),
        turns(" ".join(words[:40]), " ".join(words[40:]).upper()),
    ]
    assert dropped(judge(store, chats, kind="fuzzy")) == {"r2": "r0"}


def test_keys_are_equal_for_what_says_the_same() -> None:
    def keys(text: str, answer: str) -> tuple[Any, ...]:
        rows = frame([row("r", turns(text, answer))])
        return rows.select(**guard_keys("prompt", GuardedDedupParams().guards)).row(0)

    assert keys("in 1999 and 3.5", "The  Answer.") == keys("1999, then 3,5", "the answer")
    assert keys("Seven mills", "a")[1] == keys("the seven of them", "a")[1]
    assert keys("三明治和七夕", "a")[1] == keys("someone often weighs tents", "a")[1]
    for words in ("万一下雨", "千万別忘", "十分重要", "万分感谢，十分高兴"):
        assert keys(f"三个人，{words}，五天", "a")[1] == keys("三个人，五天", "a")[1]
        assert keys(words, "a")[1] == keys("如果下雨", "a")[1]
    for one, two in (
        ("x + 5", "x - 5"),
        ("5-3", "5+3"),
        ("1 2", "2 1"),
        ("12", "1 2"),
        ("x²", "x³"),
        ("Seven mills", "nine mills"),
        ("三个磨坊", "五个磨坊"),
        ("一只猫", "两只猫"),
        ("十人", "九人"),
        ("第三章讲什么", "第四章讲什么"),
        ("三十五加二十七", "三十五加二十八"),
        ("百分之三", "百分之五"),
        ("三分之一", "四分之一"),
        ("星期三见", "星期四见"),
        ("三千万人", "三百万人"),
        ("十分之一", "五分之一"),
        ("十分钟后", "五分钟后"),
        ("二十分钟后", "三十分钟后"),
    ):
        assert keys(one, "a")[1] != keys(two, "a")[1], (one, two)
    for one, two in (("C", "C++"), ("-5", "5"), ("A", "B"), ("a.b", "ab")):
        assert keys("q", one)[2] != keys("q", two)[2], (one, two)


def test_guards_are_those_that_what_is_compared_has() -> None:
    assert GuardedDedupParams().guards == ["system", "numbers", "responses"]
    assert GuardedDedupParams(compare="prompt").guards == ["system", "numbers"]
    assert GuardedDedupParams(compare="response").guards == ["numbers"]
    assert GuardedDedupParams(system=False, numbers=False, responses=False).guards == []
