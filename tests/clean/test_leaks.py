"""Leaks: the rule of Tulu 3, checked against a plain implementation and hand-made cases."""

from __future__ import annotations

import logging
import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.clean.leaks import LeaksStage
from curate.core.calls import Table
from curate.core.reasons import EXPLAINED, Reason
from curate.core.rows import Message
from curate.core.stage import StageData
from curate.core.store import Artifact, Store
from curate.overlap.index import LeakIndex
from tests.clean.leakpairs import find_leaks
from tests.conftest import StoreRun, examples, frame, row, run_stage, stored_rows, turns

PROMPT = (
    "A farmer sells 12 baskets of apples at the market every Saturday morning and each basket "
    "holds 15 apples. How many apples does he sell in 4 weeks?"
)
OTHER = (
    "Name three rivers that flow through more than two countries in Europe and say in which sea "
    "each one of them ends, please, with the names of the mouths."
)


def words_of(text: str) -> list[str]:
    """Lower-cased runs of letters, marks and digits; everything else parts them."""
    text = unicodedata.normalize("NFC", text).lower()
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split(" ")


@dataclass(frozen=True)
class Leak:
    """What is known of a leak: coverage, and how many words the longest shared run has."""

    reason: str
    coverage: Any
    run: int


def longest(one: list[str], other: list[str]) -> int:
    return SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size


def naive_leaks(
    rows: list[tuple[str, list[str]]],
    evals: list[tuple[str, str]],
    ngram: int = 8,
    threshold: float = 0.5,
    any_ngram: int | None = None,
) -> dict[tuple[str, str], Leak]:
    """Return every (row, eval) pair that leaks, comparing each with each."""
    leaks = {}
    for row_id, texts in rows:
        row_turns = [[w for w in words_of(t) if w] for t in texts]
        for eval_id, prompt in evals:
            prompt_words = [w for w in words_of(prompt) if w]
            covered: set[int] = set()
            for i in range(len(prompt_words) - ngram + 1):
                gram = prompt_words[i : i + ngram]
                if any(
                    turn[k : k + ngram] == gram
                    for turn in row_turns
                    for k in range(len(turn) - ngram + 1)
                ):
                    covered |= set(range(i, i + ngram))
            if not prompt_words:
                continue
            coverage = len(covered) / len(prompt_words)
            run = max(longest(prompt_words, turn) for turn in row_turns)
            if prompt_words in row_turns:
                leaks[row_id, eval_id] = Leak("leak_exact", 1.0, run)
            elif coverage > threshold:
                leaks[row_id, eval_id] = Leak("leak_ngram", coverage, run)
            elif any_ngram is not None and run >= any_ngram:
                leaks[row_id, eval_id] = Leak("leak_run", coverage, run)
    return leaks


def leaks_by_pair(hits: pl.DataFrame) -> dict[tuple[str, str], Leak]:
    """Return a table of hits in the form of the plain implementation."""
    columns = ("row_id", "eval_id", "reason", "coverage", "span")
    return {
        (row_id, eval_id): Leak(reason, pytest.approx(coverage), len(span.split()))
        for row_id, eval_id, reason, coverage, span in hits.select(columns).iter_rows()
    }


def hits(*texts: str, prompt: str = PROMPT) -> list[tuple[str, float, str]]:
    """Return reason, coverage and span of the leaks of one eval prompt into one row."""
    leaks = find_leaks(
        frame([row("r", turns(*texts))]).lazy(), frame([row("e", turns(prompt, "720"))])
    )
    return list(leaks.select("reason", "coverage", "span").iter_rows())


def test_a_clean_row_has_no_hit() -> None:
    assert hits(OTHER, "Danube, Rhine, Elbe") == []
    assert hits("How many apples does he sell?", "That depends on the week.") == []


def test_a_verbatim_prompt_is_an_exact_leak() -> None:
    [(reason, coverage, span)] = hits(PROMPT, "720")
    assert (reason, coverage) == ("leak_exact", 1.0)
    assert span.split() == words_of(PROMPT.rstrip("?").replace(". ", " "))


@pytest.mark.parametrize(
    "variant",
    [
        PROMPT.upper(),
        PROMPT.replace(" ", "\n\t "),
        PROMPT.replace(".", "!").rstrip("?"),
        f"**{PROMPT}**",
    ],
    ids=["case", "space", "marks", "markdown"],
)
def test_case_space_and_punctuation_do_not_hide_a_prompt(variant: str) -> None:
    assert [h[0] for h in hits(variant, "x")] == ["leak_exact"]


def test_a_prompt_inside_a_longer_turn_is_covered_whole() -> None:
    assert [h[:2] for h in hits(f"Solve this: {PROMPT} Think first.", "x")] == [("leak_ngram", 1.0)]


def test_any_turn_can_leak() -> None:
    assert hits("Give me a sum about apples.", f"Sure. {PROMPT}") != []
    assert hits("Hi", "Hello", f"And now: {PROMPT}", "720") != []
    system: list[Message] = [{"role": "system", "content": PROMPT}, *turns("a", "b")]
    evals = frame([row("e", turns(PROMPT, "720"))])
    assert find_leaks(frame([row("r", system)]).lazy(), evals)["reason"].to_list() == ["leak_exact"]


def test_a_system_turn_of_one_eval_example_is_part_of_what_may_not_be_known() -> None:
    own: list[Message] = [{"role": "system", "content": PROMPT}, *turns("Go on.", "720")]
    common: list[Message] = [{"role": "system", "content": OTHER}, *turns("And this?", "x")]
    again: list[Message] = [{"role": "system", "content": OTHER}, *turns("Or that?", "x")]
    evals = frame([row("e1", own), row("e2", common), row("e3", again)])
    rows = frame([row("r", turns(f"Sum: {PROMPT}", "x")), row("s", turns(OTHER, "x"))])
    assert find_leaks(rows.lazy(), evals).select("row_id", "eval_id").rows() == [("r", "e1")]


def test_the_answer_of_an_eval_example_is_no_leak() -> None:
    """Only prompts are searched: short answers are in every pool."""
    evals = frame([row("e", turns(PROMPT, OTHER))])
    rows = frame([row("r", turns("Say it.", OTHER)), row("s", turns("How many?", "720"))])
    assert find_leaks(rows.lazy(), evals).height == 0


def test_the_first_15_words_of_27_cover_more_than_half() -> None:
    prefix = " ".join(PROMPT.split()[:15])
    [(reason, coverage, span)] = hits(f"{prefix} and so on, you know the rest of it.", "x")
    assert reason == "leak_ngram"
    assert coverage == pytest.approx(15 / len(PROMPT.split()))
    assert span == prefix.lower()


def test_the_first_13_words_of_27_do_not() -> None:
    assert hits(" ".join(PROMPT.split()[:13]), "x") == []


def test_every_tenth_word_changed_is_found_by_8_grams_and_missed_by_13_grams() -> None:
    text = (PROMPT + " " + OTHER).split()
    changed = " ".join("zebra" if i % 10 == 9 else w for i, w in enumerate(text))
    rows = frame([row("r", turns(changed, "x"))]).lazy()
    evals = frame([row("e", turns(" ".join(text), "y"))])
    eight = find_leaks(rows, evals)
    assert eight["reason"].to_list() == ["leak_ngram"]
    # Five runs of nine words are left, and one of seven, which is too short.
    assert eight["coverage"][0] == pytest.approx(45 / 57)
    assert find_leaks(rows, evals, ngram=13).height == 0


def test_a_changed_number_uncovers_only_the_words_around_it() -> None:
    changed = PROMPT.replace("15 apples", "16 apples")
    assert changed != PROMPT
    [(reason, coverage, _)] = hits(changed, "x")
    assert reason == "leak_ngram"
    assert coverage == pytest.approx(1 - 1 / len(PROMPT.split()))


def test_exactly_half_covered_is_no_hit_and_a_word_more_is() -> None:
    prompt = " ".join(f"w{i}" for i in range(16))
    words = prompt.split()
    assert hits(" ".join(words[:8]) + " and more", "x", prompt=prompt) == []
    assert [h[1] for h in hits(" ".join(words[:9]) + " and more", "x", prompt=prompt)] == [9 / 16]
    assert hits(" ".join(words[:8]), " ".join(words[8:11]), prompt=prompt) == []
    assert [h[1] for h in hits(" ".join(words[:8]), " ".join(words[8:]), prompt=prompt)] == [1.0]


def test_short_facts_and_their_question_are_a_leak_in_one_sentence_too() -> None:
    prompt = (
        "You are told: ripe berries are bright red. Small birds like bright berries. "
        "What colour do small birds like?"
    )
    leak = (
        "If ripe berries are bright red, and small birds like bright berries, then what colour "
        "do small birds like?"
    )
    [(reason, coverage, _)] = hits(leak, "x", prompt=prompt)
    assert reason == "leak_ngram"
    assert coverage > 0.8
    others = (
        "If ripe plums are dark blue, and big bats like dark plums, then what colour do bats like?"
    )
    assert hits(others, "x", prompt=prompt) == []


def test_words_repeated_in_a_prompt_count_at_every_place() -> None:
    eight = "one two three four five six seven eight"
    assert [h[1] for h in hits(f"{eight}!", "x", prompt=f"{eight} {eight} nine")] == [16 / 17]


@pytest.mark.parametrize(
    "text",
    [
        "what is  a COMET",
        "Tell me: What is a comet?",
        "Question: What is a comet?\nAnswer:",
        "Q: What is a star?\nA: Gas.\nQ: What is a comet?\nA:",
        'My son asked me "what is a comet?", and I could not say.',
        "Answer the question. What is a comet? Give one word.",
        "- What is a star?\n- What is a comet?",
        "**What is a comet?**",
    ],
)
def test_a_prompt_under_8_words_leaks_where_a_turn_holds_it_by_itself(text: str) -> None:
    prompt = "What is a comet?"
    assert hits(text, "Ice.", prompt=prompt) != []
    assert hits("Ask me.", text, prompt=prompt) != []


def test_a_prompt_under_8_words_does_not_leak_as_the_start_of_another_question() -> None:
    prompt = "What is a comet?"
    assert hits("What is a comet made of?", "Ice.", prompt=prompt) == []
    assert hits("So what is a comet made of?", "Ice.", prompt=prompt) == []


def test_a_prompt_of_6_words_leaks_inside_of_a_sentence_too() -> None:
    text = "Please tell me what is the capital of Peru and how many people live there"
    prompt = "What is the capital of Peru?"
    [(reason, coverage, span)] = hits(text, "Lima", prompt=prompt)
    assert (reason, coverage, span) == ("leak_slot", 1.0, "what is the capital of peru")
    assert hits(text.replace("Peru", "Chile"), "Santiago", prompt=prompt) == []


def test_words_that_many_rows_hold_inside_of_sentences_are_common_speech() -> None:
    evals = frame([row("e", turns("Write a story about a dog.", "x"))])
    rows = [
        row(f"r{i}", turns(f"Write a story about a dog who has {i} bones", "x")) for i in range(20)
    ]
    alone = row("s", turns("Please! Write a story about a dog.", "x"))
    assert find_leaks(frame([*rows, alone]).lazy(), evals)["row_id"].to_list() == ["s"]
    assert find_leaks(frame(rows[:5]).lazy(), evals).height == 5


@pytest.mark.parametrize(
    "other", ["12 + 3 = ?", "-12 * 3 = ?", "12 / 3 = ?", "12, 3", "1.2 * 3 = ?"]
)
def test_short_sums_that_differ_in_their_signs_are_not_the_same(other: str) -> None:
    """A target example `12 + 3 = ?` must not make the proof refuse an eval prompt `12 * 3 = ?`."""
    assert hits(other, "x", prompt="12 * 3 = ?") == []


def test_a_prompt_without_any_word_leaks_verbatim() -> None:
    assert [h[0] for h in hits("😀 + 😀 = ?", "x", prompt="😀 + 😀 = ?")] == ["leak_exact"]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Où est né l'évêque Özgür à Ærø?", "OÙ EST NÉ L'ÉVÊQUE ÖZGÜR À ÆRØ?"),
        ("cafe\u0301 déjà vu", "caf\u00e9 de\u0301ja\u0300 vu"),
        ("Где находится Байкал?", "где находится байкал"),
        ("富士山の高さは？", "富士山の高さは"),
        ("हिन्दी में पाँच शब्द", "हिन्दी में पाँच शब्द!"),
    ],
)
def test_prompts_in_any_script_are_found(prompt: str, text: str) -> None:
    assert [h[0] for h in hits(text, "x", prompt=prompt)] == ["leak_exact"]
    assert hits(text[:-3] + "zz", "x", prompt=prompt) == []


# --- template -----------------------------------------------------------------------------------


def walk(number: int) -> str:
    """Return steps that are this number's alone, of words that all of them have."""
    rng = random.Random(number)
    return " ".join(
        f"Take {rng.randint(1, 20)} steps {rng.choice(['left', 'right'])}." for _ in range(6)
    )


def navigation(number: int) -> str:
    question = "If you follow these instructions, do you return to the starting point?"
    return f"{question} {walk(number)}\nOptions:\n- Yes\n- No"


def templated(rows: Sequence[str], evals: Sequence[str]) -> dict[str, str]:
    """Return the reason of each row that leaks one of many prompts."""
    leaking = find_leaks(
        frame([row(f"r{i:02}", turns(text, "x")) for i, text in enumerate(rows)]).lazy(),
        frame([row(f"e{i}", turns(text, "x")) for i, text in enumerate(evals)]),
    )
    return dict(leaking.select("row_id", "reason").iter_rows())


NAVIGATION = [navigation(i) for i in range(20)]


def test_rows_of_the_eval_sets_template_are_no_leaks() -> None:
    assert templated([navigation(i) for i in range(20, 80)], NAVIGATION) == {}


def test_an_eval_prompt_under_another_template_is_a_leak() -> None:
    others = [
        NAVIGATION[3],
        f"Where does this lead? {walk(3)}",
        f"Question: {NAVIGATION[3]}\nAnswer:",
        f"Q: {navigation(30)}\nA: No\n\nQ: {NAVIGATION[3]}\nA:",
        f'He said "{walk(3)}", and I went home.',
    ]
    assert [*templated(others, NAVIGATION)] == ["r00", "r01", "r02", "r03", "r04"]


def test_a_template_in_the_pool_tells_nothing_of_a_single_eval_prompt() -> None:
    rows = [navigation(i) for i in range(20, 90)]
    assert templated(rows, NAVIGATION[:1]) == {}
    assert templated([*rows, f"Go. {walk(0)} Stop."], NAVIGATION[:1]) == {"r70": "leak_ngram"}


def test_what_many_pool_rows_hold_counts_in_rows_that_are_few() -> None:
    pool = frame([row(f"r{i}", turns(navigation(i + 20), "x")) for i in range(70)])
    evals = frame([row("e", turns(NAVIGATION[0], "x"))])
    target = frame([row("t", turns(navigation(95), "x")), row("u", turns(NAVIGATION[0], "x"))])
    counts = LeakIndex(evals).count(pool.lazy())
    assert find_leaks(target.lazy(), evals, counts=counts)["row_id"].to_list() == ["u"]


def test_a_prompt_that_many_rows_hold_from_end_to_end_is_still_a_leak() -> None:
    rows = [f"{i} of many: {PROMPT} Think." for i in range(120)]
    assert len(templated(rows, [PROMPT])) == 120


BRACKETS = "Complete the rest of the sequence, so that the parentheses are closed properly. Input: "
SIGNS = ["[ [", "( [", "{ [ (", "< (", "( ( {", "[ { (", "< < [", "{ {"]


def test_a_slot_of_signs_alone_decides() -> None:
    evals = [BRACKETS + signs for signs in SIGNS]
    clean = [BRACKETS + signs for signs in ("< [ [", "( [ (", "{ ( {", "[ [ <")]
    assert templated(clean, evals) == {}
    assert templated([BRACKETS + "( [", "Close these:\n( [\nPlease."], evals) == {
        "r00": "leak_exact",
        "r01": "leak_slot",
    }


PRONOUNS = (
    "Say which thing the pronoun in the following sentence refers to, or that it is unclear.\n"
)
SENTENCES = [
    f"The {one} called the {other} because {who} had a question about the {thing}."
    for one, other, who, thing in zip(
        ["nurse", "cook", "judge", "clerk", "guard", "pilot", "baker", "miner"],
        ["doctor", "waiter", "lawyer", "banker", "warden", "captain", "farmer", "smith"],
        ["she", "he", "they", "she", "he", "they", "she", "he"],
        ["dose", "menu", "case", "loan", "keys", "route", "flour", "shaft"],
        strict=True,
    )
]


def test_a_slot_that_differs_in_a_word_is_another_row() -> None:
    evals = [PRONOUNS + sentence for sentence in SENTENCES]
    others = [s.replace("because she", "because he") for s in SENTENCES if "because she" in s]
    assert templated([PRONOUNS + sentence for sentence in others], evals) == {}
    again = templated([f"Consider this. {SENTENCES[0]} Who?", SENTENCES[4].upper()], evals)
    assert again == {"r00": "leak_slot", "r01": "leak_slot"}


def test_template_around_a_name_counts_for_nothing_of_the_piece_that_holds_it() -> None:
    names = [
        "ann ash",
        "bo birk",
        "cy cole",
        "di dorn",
        "ed elm",
        "fay fir",
        "gus gale",
        "hal holm",
    ]
    lives = [
        f"{name} (born {1900 + i}) is a painter of the {'abcdefgh'[i]} school from town {i}{i}."
        for i, name in enumerate(names)
    ]
    evals = [
        f"What key details about {name}\n can be extracted from the following bio?\n\nBio: {life}"
        for name, life in zip(names, lives, strict=True)
    ]
    again = [
        f"What type of details about {name}\n can be gathered from the following bio?\n\nBio: {life}"
        for name, life in zip(names, lives, strict=True)
    ]
    assert set(templated(again, evals).values()) == {"leak_slot"}
    assert len(templated(again, evals)) == 8
    # The name stands in a line of its own that the row lacks.
    assert "almost all" in EXPLAINED[Reason.LEAK_SLOT]
    swapped = [text.replace(lives[i], lives[i - 1]) for i, text in enumerate(again)]
    other = [re.sub(r"\(.*", "is a cook.", text) for text in swapped]
    assert templated(other, evals) == {}


def test_a_line_that_many_prompts_hold_counts_for_nothing_in_a_short_one() -> None:
    rng = random.Random(4)
    long = [" ".join(f"w{rng.randrange(10**6)}" for _ in range(40)) for _ in range(10)]
    line = "In the light of what is said above:"
    evals = [f"{text}.\n\n{line} Why {i}?" for i, text in enumerate(long)]
    short = "Sue got a rise.\n\n{} Where did she go?"
    assert [*templated([short.format("Tell me.")], [*evals, short.format(line)])] == ["r00"]


def test_choices_that_all_prompts_list_make_them_a_template_without_their_choices_too() -> None:
    colours = "\nOptions:" + "".join(
        f"\n({letter}) the colour {letter}" for letter in "ABCDEFGHIJKL"
    )
    rng = random.Random(3)
    words = [[f"w{rng.randrange(10**6)}" for _ in range(40)] for _ in range(10)]
    evals = [f"{' '.join(text)}{colours}" for text in words]
    part = [f"{' '.join(text[:26])} and then something else{colours}" for text in words]
    assert templated(part, evals) == {}
    assert len(templated([" ".join(text) for text in words], evals)) == 10
    assert len(templated(part, [" ".join(text) for text in words])) == 10


def test_the_same_passage_with_another_question_is_a_leak() -> None:
    passage = f"{PROMPT} {OTHER} " * 2
    evals = [f"Read the passage and answer.\n{passage}\nWho is sold {i} apples?" for i in range(3)]
    [reason] = templated([f"Passage: {passage}\nWhat does the farmer sell?"], evals).values()
    assert reason == "leak_ngram"


CHOICES = "Which planet of ours has the most moons?\nA) Mars\nB) Saturn\nC) Venus\nD) Mercury"


@pytest.mark.parametrize(
    "text",
    [
        "Which planet of ours has the most moons?\nA) Saturn\nB) Venus\nC) Mars\nD) Mercury",
        "Which planet of ours has the most moons?\n(1) Saturn\n(2) Jupiter",
        "Which planet of ours has the most moons?",
        "Think. Which planet of ours has the most moons?\nOptions:\n- Venus\n- Saturn\nAnswer:",
    ],
)
@pytest.mark.parametrize("end", ["", "\nAnswer:"])
def test_choices_in_another_order_or_none_do_not_hide_a_question(text: str, end: str) -> None:
    assert hits(text, "Saturn", prompt=CHOICES + end) != []
    assert hits("What has most moons?\nA) Mars\nB) Saturn", "Saturn", prompt=CHOICES + end) == []


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (
            "请问一列火车以每小时六十公里的速度行驶，三小时后它走了多少公里？",
            "下面是一道题。请问:一列火车以每小时六十公里的速度行驶;三小时后它走了多少公里 请回答。",
        ),
        (
            "富士山の高さは何メートルですか？",
            "次に答えてください。富士山の高さは、何メートルですか。",
        ),
        ("ทำไมท้องฟ้าจึงเป็นสีฟ้าในตอนกลางวัน", "ช่วยตอบ: ทำไมท้องฟ้าจึงเป็นสีฟ้าในตอนกลางวัน? ขอบคุณ"),
        ("法国的首都是哪里？", "问题：法国的首都是哪里？\n答案："),
        ("왜 하늘은 낮에 파란색으로 보이나요?", "질문: 왜 하늘은 낮에 파란색으로 보이나요?\n답:"),
        (
            "Quelle est la température d'ébullition de l'eau au sommet de la montagne ?",
            "Dis-moi : quelle est la temperature d’ebullition de l’eau au sommet de la montagne ?",
        ),
    ],
    ids=["chinese", "japanese", "thai", "short chinese", "korean", "accents"],
)
def test_prompts_in_any_script_are_found_in_longer_turns(prompt: str, text: str) -> None:
    assert hits(text, "x", prompt=prompt) != []
    assert hits("今天天气怎么样？富士山に登りたい。ท้องฟ้า 오늘은", "x", prompt=prompt) == []


VOCABULARY = ["the", "cat", "sat", "Mat", "7", "é"]
TEXT = st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join)
ROWS = st.lists(st.lists(TEXT, min_size=2, max_size=4), max_size=6)
# No more prompts than may share an n-gram.
EVALS = st.lists(TEXT.filter(bool), min_size=1, max_size=3)


@examples(3)
@given(
    ROWS,
    EVALS,
    st.integers(1, 4),
    st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    st.sampled_from([None, 0, 1, 4]),
)
def test_agrees_with_comparing_every_row_with_every_prompt(
    texts: list[list[str]], prompts: list[str], ngram: int, threshold: float, longer: int | None
) -> None:
    """Few words that repeat: runs overlap, stand at several places and end at every edge."""
    rows = [(f"r{i}", row_texts) for i, row_texts in enumerate(texts)]
    evals = [(f"e{i}", prompt) for i, prompt in enumerate(prompts)]
    any_ngram = None if longer is None else ngram + longer
    leaks = find_leaks(
        frame([row(i, turns(*t)) for i, t in rows]).lazy(),
        frame([row(i, turns(p, "x")) for i, p in evals]),
        ngram=ngram,
        threshold=threshold,
        any_ngram=any_ngram,
    )
    assert leaks_by_pair(leaks) == naive_leaks(rows, evals, ngram, threshold, any_ngram)
    assert leaks.select("row_id", "eval_id").rows() == sorted(leaks_by_pair(leaks))


def planted() -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    """200 random rows, 20 eval prompts, a part of each third one copied into some row."""
    rng = random.Random(5)
    prompts = [[f"w{rng.randrange(40)}" for _ in range(rng.randrange(4, 30))] for _ in range(20)]
    rows = []
    for i in range(200):
        text = [f"w{rng.randrange(40)}" for _ in range(rng.randrange(1, 30))]
        if i % 3 == 0:
            prompt = prompts[rng.randrange(20)]
            start = rng.randrange(len(prompt))
            text[len(text) // 2 : len(text) // 2] = prompt[start : start + rng.randrange(40)]
        rows.append((f"r{rng.randrange(10**6):06}-{i}", [" ".join(text), "a", "b c", "d"]))
    return rows, [(f"e{i}", " ".join(p)) for i, p in enumerate(prompts)]


def planted_frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    rows, evals = planted()
    return (
        frame([row(i, turns(*t)) for i, t in rows]),
        frame([row(i, turns(p, "x")) for i, p in evals]),
    )


@pytest.mark.parametrize("any_ngram", [None, 13, 8])
def test_agrees_with_the_plain_implementation_on_200_rows(any_ngram: int | None) -> None:
    expected = naive_leaks(*planted(), any_ngram=any_ngram)
    assert 10 < len(expected) < 80, "the case must have hits and misses"
    rows, evals = planted_frames()
    assert leaks_by_pair(find_leaks(rows.lazy(), evals, any_ngram=any_ngram)) == expected


def test_any_batches_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, evals = planted_frames()
    whole = find_leaks(rows.lazy(), evals, threshold=0.0)
    for size in (37, 199, 200):
        monkeypatch.setattr("curate.overlap.index.BATCH_ROWS", size)
        assert find_leaks(rows.lazy(), evals, threshold=0.0).equals(whole)


def test_the_order_of_rows_and_prompts_changes_nothing() -> None:
    rows, evals = planted_frames()
    whole = find_leaks(rows.lazy(), evals)
    for seed in range(3):
        mixed = rows.sample(fraction=1, shuffle=True, seed=seed)
        others = evals.sample(fraction=1, shuffle=True, seed=seed)
        assert find_leaks(mixed.lazy(), others).equals(whole)


def test_the_span_is_the_longest_shared_run() -> None:
    words = [f"w{i}" for i in range(34)]
    text = " ".join([*words[:8], "x", *words[10:22], "y", *words[24:]])
    assert [h[2] for h in hits(text, "a", prompt=" ".join(words))] == [" ".join(words[10:22])]


def test_the_span_is_one_that_the_row_holds_in_one_piece() -> None:
    """Two runs that touch in the prompt cover it as one, but the row holds them apart."""
    words = [f"w{i}" for i in range(20)]
    text = " ".join([*words[11:], "x", *words[:11]])
    [(_, coverage, span)] = hits(text, "a", prompt=" ".join(words))
    assert coverage == 1.0
    assert span == " ".join(words[:11])


def test_a_response_that_quotes_the_question_and_its_answer_is_a_leak() -> None:
    quoted = f"Of course. Question: {PROMPT}\nAnswer: 12 * 15 * 4 = 720"
    assert [h[:2] for h in hits("Make up a sum for my class.", quoted)] == [("leak_ngram", 1.0)]


def test_a_prompt_of_several_turns_is_found_in_the_same_turns() -> None:
    short = ("What is a comet?", "Ice.", "And a star?", "Gas.")
    evals = frame([row("e", turns(*short))])
    for texts, reasons in [
        (short, ["leak_exact"]),
        (("What is a comet?", "A ball of ice", "and a star", "A ball of gas"), ["leak_exact"]),
        (("What is a comet?", "Ice."), []),
        (("What is a comet?\nAnd a star?", "x"), ["leak_exact"]),
        (("And a star?", "Gas.", "What is a comet?", "Ice."), ["leak_slot"]),
    ]:
        assert (
            find_leaks(frame([row("r", turns(*texts))]).lazy(), evals)["reason"].to_list()
            == reasons
        )


def test_a_run_of_13_words_is_a_leak_where_the_rule_says_so_and_12_are_none() -> None:
    prompt = " ".join(f"w{i}" for i in range(40))
    rows = frame(
        [
            row(f"r{n}", turns(" ".join(f"w{i}" for i in range(5, 5 + n)) + " end", "x"))
            for n in (12, 13, 21)
        ]
    ).lazy()
    evals = frame([row("e", turns(prompt, "y"))])
    leaks = find_leaks(rows, evals, any_ngram=13)
    assert leaks.select("row_id", "reason").rows() == [("r13", "leak_run"), ("r21", "leak_ngram")]
    assert leaks["coverage"].to_list() == pytest.approx([13 / 40, 21 / 40])
    assert find_leaks(rows, evals)["row_id"].to_list() == ["r21"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"any_ngram": 5}, "any_ngram 5 is below ngram 8"),
        ({"embedder": "static"}, "embedder is given without warn"),
        ({"warn": 0.0}, "greater than 0"),
        ({"warn": 1.1}, "less than or equal to 1"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LeaksStage(**bad)


# --- the stage ----------------------------------------------------------------------------------

Texts = Mapping[str, Sequence[str]]


def rows_of(store: Store, name: str, texts: Texts, source: str = "test") -> Table:
    return stored_rows(store, name, [row(i, turns(*t), source=source) for i, t in texts.items()])


def judge(
    run: StoreRun,
    pool: Texts,
    evals: Texts,
    protected: Sequence[tuple[str, Texts]] = (),
    target: Texts | None = None,
    **params: Any,
) -> Artifact:
    """Return the artifact of the stage on a pool, an eval set, protected sets and a target."""
    examples = {"eval": rows_of(run.store, "eval", evals, "eval")} if evals else {}
    if protected:
        rows = [row(i, turns(*t), source=s) for s, texts in protected for i, t in texts.items()]
        examples["protected"] = stored_rows(run.store, "protected", rows)
    if target is not None:
        examples["target"] = rows_of(run.store, "target", target)
    stage = {"kind": "leaks", **params}
    return run_stage(run, stage, rows_of(run.store, "pool", pool), examples)


def table(artifact: Artifact, name: str) -> pl.DataFrame:
    return pl.read_parquet(artifact.file(f"{name}.parquet"))


def test_the_stage_judges_every_row_in_order_and_names_the_prompt_hit_most(store: Store) -> None:
    both = f"{' '.join(PROMPT.split()[:20])} {OTHER} end"
    pool = {"b": (both, "x"), "c": ("clean", "x"), "a": (PROMPT, "x")}
    artifact = judge(StoreRun(store), pool, {"e1": (PROMPT, "x"), "e2": (OTHER, "x")})
    verdicts = table(artifact, "evidence").to_dicts()
    assert [v["row_id"] for v in verdicts] == ["b", "c", "a"]
    assert [v["keep"] for v in verdicts] == [False, True, False]
    assert [v["duplicate_of"] for v in verdicts] == ["e2", None, "e1"]
    assert [v["reason"] for v in verdicts] == ["leak_ngram", None, "leak_exact"]
    assert [v["score"] for v in verdicts] == [1.0, 0.0, 1.0]
    assert {v["threshold"] for v in verdicts} == {0.5}
    hits = table(artifact, "hits")
    assert hits.columns == ["row_id", "eval_id", "eval_source", "reason", "coverage", "span"]
    assert hits.select("row_id", "eval_id").rows() == [("b", "e1"), ("b", "e2"), ("a", "e1")]


def test_a_row_that_leaks_by_a_run_names_that_prompt_and_not_one_that_it_covers_more(
    store: Store,
) -> None:
    near = " ".join(f"n{i}" for i in range(20))
    far = " ".join(f"f{i}" for i in range(60))
    text = f"{' '.join(near.split()[:9])} and {' '.join(far.split()[:14])}"
    artifact = judge(
        StoreRun(store), {"r": (text, "x")}, {"near": (near, "x"), "far": (far, "x")}, any_ngram=13
    )
    [verdict] = table(artifact, "evidence").to_dicts()
    assert (verdict["reason"], verdict["duplicate_of"]) == ("leak_run", "far")
    assert verdict["score"] == pytest.approx(14 / 60)
    assert verdict["threshold"] is None
    assert artifact.counts["dropped"] == {"leak_run": 1}


def test_kept_rows_keep_their_coverage_so_that_the_threshold_can_be_moved(store: Store) -> None:
    pool = {"a": (" ".join(PROMPT.split()[:13]), "x")}
    evidence = table(judge(StoreRun(store), pool, {"e": (PROMPT, "x")}), "evidence")
    assert evidence["keep"].to_list() == [True]
    assert evidence["score"].to_list() == [pytest.approx(13 / len(PROMPT.split()))]


@pytest.mark.parametrize(("threshold", "limit"), [(0.5, 0.8), (0.9, 0.9)])
def test_the_limit_of_a_verdict_is_the_one_that_was_applied(
    threshold: float, limit: float, store: Store
) -> None:
    slots = [f"zebra{i} otter{i} walrus{i} lemur{i} gecko{i}" for i in range(8)]
    instruction = "Read the following text and name the animals in it, one after the other:"
    evals = {f"e{i}": (f"{instruction} {slot}", "x") for i, slot in enumerate(slots)}
    evals["long"] = (PROMPT, "x")
    pool = {"slot": (f"Animals: {slots[3]}", "x"), "long": (" ".join(PROMPT.split()[:-1]), "x")}
    artifact = judge(StoreRun(store), pool, evals, threshold=threshold)
    limits = dict(table(artifact, "evidence").select("row_id", "threshold").rows())
    assert limits == {"slot": limit, "long": threshold}


@pytest.mark.parametrize("sign", ["\u200b", "\u200d", "\u00ad", "\ufeff", "\u2060"])
def test_signs_that_nobody_sees_hide_no_prompt(sign: str) -> None:
    assert [h[0] for h in hits(sign.join(PROMPT), "x")] == ["leak_exact"]
    short = "Who dug the canal of Corinth?"
    assert [h[0] for h in hits(f"{sign}{short.replace('a', f'a{sign}')}", "x", prompt=short)]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("What's the capital of Chad?", "Q: What&#39;s the capital of Chad?"),
        ("What's the capital of Chad?", "What&amp;#x27;s the **cap**ital of *Chad*?"),
        ("What's the capital of Chad?", "<p>What's the <b>capital</b> of Chad?</p><p>Answer.</p>"),
        ("What's the capital of Chad?", "> What's_the_capital_of_Chad?"),
        ("What's the capital of Chad?", "[INST] What's the capital of Chad [/INST]"),
        ("The capital of Chad is ____.", r"1. The capital of [Chad](https://a.org) is \_\_\_"),
        ("ما هي عاصمة تشاد؟", "> ما هي عاصمة تشاد"),
        ("ما هي عاصمة تشاد؟", "请教您。ما هي عاصمة تشاد؟请详细解答"),
        ("ما هي عاصمة تشاد؟", "لدي سؤال؛ ما هي عاصمة تشاد؟ شكرا"),
        ("चाड की राजधानी क्या है?", "एक सवाल। चाड की राजधानी क्या है। धन्यवाद"),
        ("የቻድ ዋና ከተማ ማን ናት፧", "ሰላም። የቻድ ዋና ከተማ ማን ናት፧ አመሰግናለሁ"),
        ("3 - 12 * (4 + 7) =", "<|im_start|>user\n3 \u2212 12 * (4 + 7) =<|im_end|>"),
    ],
)
def test_markup_and_marks_of_any_script_hide_no_short_prompt(prompt: str, text: str) -> None:
    assert len(hits(text, "N.", prompt=prompt)) == 1


def test_an_index_of_prompts_serves_several_sets_of_rows() -> None:
    evals = frame([row("e", turns(PROMPT, "x"))])
    index = LeakIndex(evals)
    for text, leaking in ((PROMPT, ["r"]), ("clean", []), (f"{OTHER} {PROMPT}", ["r"])):
        part = frame([row("r", turns(text, "x"))]).lazy()
        assert index.find(part).equals(find_leaks(part, evals))
        assert index.find(part)["row_id"].to_list() == leaking


def test_another_threshold_or_target_searches_no_text_anew(store: Store) -> None:
    run = StoreRun(store)
    pool = {"a": (" ".join(PROMPT.split()[:13]), "x"), "b": ("clean", "x")}
    evals = {"e": (PROMPT, "x")}
    assert judge(run, pool, evals).counts["rows_out"] == 2
    assert run.executed_steps == ["leaks-overlaps", "leaks"]
    run.executed_steps.clear()
    assert judge(run, pool, evals, threshold=0.4).counts["rows_out"] == 1
    assert judge(run, pool, evals, any_ngram=13).counts["rows_out"] == 1
    assert run.executed_steps == ["leaks", "leaks"]
    run.executed_steps.clear()
    judge(run, pool, evals, target={"t": ("fine", "x")})
    assert run.executed_steps == ["leaks-target-overlaps", "leaks"]
    run.executed_steps.clear()
    judge(run, pool, evals, ngram=7)
    judge(run, pool, {"e": (OTHER, "x")})
    assert run.executed_steps == ["leaks-overlaps", "leaks"] * 2


def test_a_pair_leaks_by_either_of_its_answers(store: Store) -> None:
    clean, leaking = turns("", "Take the ferry.")[1:], turns("", f"You ask: {PROMPT}")[1:]
    rows = [
        row("chosen", turns("Hi", f"You ask: {PROMPT}"), rejected=clean),
        row("rejected", turns("Hi", "Take the ferry."), rejected=leaking),
        row("later", turns("Hi", "Hm."), rejected=[*clean, *turns(PROMPT, "720")]),
        row("neither", turns("Hi", "Take the tram."), rejected=clean),
        row("alone", turns("Hi", "Take the tram.")),
    ]
    examples = {"eval": rows_of(store, "eval", {"e": (PROMPT, "720")}, "eval")}
    artifact = run_stage(
        StoreRun(store), {"kind": "leaks"}, stored_rows(store, "pool", rows), examples
    )
    verdicts = table(artifact, "evidence")
    assert verdicts["row_id"].to_list() == [one["row_id"] for one in rows]
    assert verdicts["reason"].to_list() == ["leak_ngram", "leak_ngram", "leak_exact", None, None]


def test_overlaps_are_listed_for_kept_rows_too(store: Store) -> None:
    run = StoreRun(store)
    pool = {"a": (" ".join(PROMPT.split()[:13]), "x"), "b": ("clean", "x")}
    judge(run, pool, {"e": (PROMPT, "x")})
    [file] = store.root.glob("leaks-overlaps-*/overlaps.parquet")
    [pair] = pl.read_parquet(file).to_dicts()
    assert pair == {
        "row_id": "a",
        "eval_id": "e",
        "whole": False,
        "slot": False,
        "coverage": pytest.approx(13 / len(PROMPT.split())),
        "limit": None,
        "run": 13,
        "span": " ".join(PROMPT.lower().split()[:13]),
    }


def test_figures_are_told_for_each_set_in_order_of_appearance(store: Store) -> None:
    pool = {
        "r1": (PROMPT, "x"),
        "r2": (f"please: {PROMPT}", "x"),
        "r3": (OTHER, "x"),
        "r4": ("What is a comet?", "x"),
        "r5": (f"{OTHER} {PROMPT}", "x"),
        "r6": ("clean", "x"),
    }
    sets = [
        ("rivers", {"p1": (OTHER, "x")}),
        ("sky", {"s1": ("What is a comet?", "x"), "s2": ("And a star?", "x")}),
        ("aloof", {"q1": ("Nobody has ever asked this.", "x")}),
    ]
    evals = {"e1": (PROMPT, "x"), "e2": ("Quite another question.", "x")}
    artifact = judge(StoreRun(store), pool, evals, sets)
    assert table(artifact, "sets").rows() == [
        ("eval", 2, 1, 0.5, 3, None),
        ("rivers", 1, 1, 1.0, 2, None),
        ("sky", 2, 1, 0.5, 1, None),
        ("aloof", 1, 0, 0.0, 0, None),
    ]
    assert table(artifact, "sets").columns == [
        "source", "examples", "leaked", "share", "rows", "warned",
    ]  # fmt: skip
    assert dict(table(artifact, "hits").select("eval_id", "eval_source").iter_rows()) == {
        "e1": "eval", "p1": "rivers", "s1": "sky",
    }  # fmt: skip
    assert artifact.counts["rows_out"] == 1


def test_protected_sets_are_enough(store: Store) -> None:
    artifact = judge(StoreRun(store), {"r": (PROMPT, "x")}, {}, [("mine", {"p": (PROMPT, "x")})])
    assert table(artifact, "evidence")["duplicate_of"].to_list() == ["p"]
    assert table(artifact, "sets")["source"].to_list() == ["mine"]


def test_a_target_that_holds_eval_prompts_is_listed_and_warned_of_on_every_run(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    target = {"t1": ("fine", "x"), "t2": (PROMPT, "x"), "t3": ("Say:", f"{OTHER} Or not.")}
    sets = [("rivers", {"p": (OTHER, "x")})]
    for _ in range(2):
        caplog.clear()
        artifact = judge(
            StoreRun(store), {"r": ("clean", "x")}, {"e": (PROMPT, "x")}, sets, target=target
        )
        assert "eval prompts stand in 2 of the 3 target examples (t2 holds e)" in caplog.text
    assert table(artifact, "target").select(
        "row_id", "eval_id", "eval_source", "reason"
    ).rows() == [
        ("t2", "e", "eval", "leak_exact"),
        ("t3", "p", "rivers", "leak_ngram"),
    ]
    assert table(artifact, "hits").height == 0
    assert artifact.counts["rows_out"] == 1


def test_a_clean_target_is_no_news(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    artifact = judge(
        StoreRun(store), {"r": ("a", "b")}, {"e": (PROMPT, "x")}, target={"t": ("fine", "x")}
    )
    assert table(artifact, "target").height == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_prompts_of_watch_sets_are_protected_like_the_others(store: Store) -> None:
    run = StoreRun(store)
    pool = rows_of(store, "pool", {"r": (PROMPT, "x"), "s": (OTHER, "x"), "t": ("clean", "x")})
    watch = stored_rows(store, "watch", [row("general/a:1", turns(OTHER, "y"), source="general")])
    examples = {"eval": rows_of(store, "eval", {"e": (PROMPT, "x")}, "eval"), "watch": watch}
    artifact = run_stage(run, {"kind": "leaks"}, pool, examples)
    kept = table(artifact, "evidence").filter("keep")["row_id"].to_list()
    assert kept == ["t"]
    assert table(artifact, "sets").select("source", "rows").rows() == [("eval", 1), ("general", 1)]


def test_rows_that_are_only_similar_are_listed_and_kept(store: Store) -> None:
    question = "How many apples does a farmer sell in four weeks?"
    pool = {
        "same": (question, "x"),
        "like": ("In four weeks, how many apples will a farmer sell?", "x"),
        "late": ("Hello there", "Hi", "In four weeks, how many apples will a farmer sell?", "x"),
        "far": ("Name the capital of Peru.", "x"),
        "said": ("Ask me.", "In four weeks, how many apples will a farmer sell?"),
    }
    run = StoreRun(store)
    sets = [("other", {"p": ("Write a poem about the sea.", "x")})]
    artifact = judge(run, pool, {"e": (question, "x")}, sets, warn=0.8)
    warnings = table(artifact, "warnings")
    assert warnings.select("row_id", "eval_id").rows() == [("like", "e"), ("late", "e")]
    assert warnings["similarity"].is_between(0.8, 1.0).all()
    assert warnings["similarity"].n_unique() == 1, "a turn is compared by itself"
    evidence = table(artifact, "evidence").filter(~pl.col("keep"))
    assert evidence["row_id"].to_list() == ["same"]
    assert table(artifact, "sets").select("source", "rows", "warned").rows() == [
        ("eval", 1, 2), ("other", 0, 0),
    ]  # fmt: skip
    run.executed_steps.clear()
    assert table(judge(run, pool, {"e": (question, "x")}, sets, warn=1.0), "warnings").height == 0
    assert run.executed_steps == ["leaks"]


def test_no_rows_means_no_hits(store: Store) -> None:
    artifact = judge(StoreRun(store), {}, {"e": (PROMPT, "x")}, target={}, warn=0.5)
    assert table(artifact, "evidence").height == 0
    assert table(artifact, "warnings").height == 0
    evals = frame([row("e", turns(PROMPT, "x"))])
    assert find_leaks(frame([]).lazy(), evals).height == 0


def test_the_stage_without_an_eval_set_is_an_error() -> None:
    with pytest.raises(ValueError, match="leaks needs an eval set"):
        LeaksStage().decide(StageData(frame([]).lazy(), None, None))
