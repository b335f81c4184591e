"""Leaks: the rule of Tulu 3, checked against a plain implementation and hand-made cases."""

from __future__ import annotations

import random
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.clean.leaks import LeaksParams, find_leaks, leaks
from curate.registry import StageData
from tests.conftest import frame, row, turns

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


def naive_leaks(
    rows: list[tuple[str, list[str]]], evals: list[tuple[str, str]], ngram: int, threshold: float
) -> dict[tuple[str, str], float]:
    """Return the coverage of every (row, eval) pair that leaks, comparing each with each."""
    found = {}
    for row_id, texts in rows:
        row_turns = [[w for w in words_of(t) if w] for t in texts]
        for eval_id, prompt in evals:
            wanted = [w for w in words_of(prompt) if w]
            covered: set[int] = set()
            for i in range(len(wanted) - ngram + 1):
                gram = wanted[i : i + ngram]
                if any(
                    turn[k : k + ngram] == gram
                    for turn in row_turns
                    for k in range(len(turn) - ngram + 1)
                ):
                    covered |= set(range(i, i + ngram))
            if wanted and wanted in row_turns:
                found[row_id, eval_id] = 1.0
            elif wanted and len(covered) / len(wanted) > threshold:
                found[row_id, eval_id] = len(covered) / len(wanted)
    return found


def hits(*texts: str, prompt: str = PROMPT) -> list[tuple[str, float, str]]:
    """Return reason, coverage and span of the leaks of one eval prompt into one row."""
    found = find_leaks(
        frame([row("r", turns(*texts))]).lazy(), frame([row("e", turns(prompt, "720"))])
    )
    return list(found.select("reason", "coverage", "span").iter_rows())


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


def test_any_turn_but_the_systems_can_leak() -> None:
    assert hits("Give me a sum about apples.", f"Sure. {PROMPT}") != []
    assert hits("Hi", "Hello", f"And now: {PROMPT}", "720") != []
    system = [{"role": "system", "content": PROMPT}, *turns("a", "b")]
    evals = frame([row("e", turns(PROMPT, "720"))])
    assert find_leaks(frame([row("r", system)]).lazy(), evals).height == 0


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
    assert hits(" ".join(words[:8]), " ".join(words[8:15]), prompt=prompt) == []
    assert [h[1] for h in hits(" ".join(words[:8]), " ".join(words[8:]), prompt=prompt)] == [1.0]


def test_words_repeated_in_a_prompt_count_at_every_place() -> None:
    eight = "one two three four five six seven eight"
    assert [h[1] for h in hits(f"{eight}!", "x", prompt=f"{eight} {eight} nine")] == [16 / 17]


def test_a_prompt_under_8_words_leaks_only_as_a_whole_turn() -> None:
    prompt = "What is a comet?"
    assert hits("What is a comet?", "Ice.", prompt=prompt)[0][0] == "leak_exact"
    assert hits("Ask me.", "what is  a COMET?", prompt=prompt)[0][0] == "leak_exact"
    assert hits("What is a comet made of?", "Ice.", prompt=prompt) == []
    assert hits("Tell me: What is a comet?", "Ice.", prompt=prompt) == []


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


VOCABULARY = ["the", "cat", "sat", "Mat", "7", "é"]
TEXT = st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join)
ROWS = st.lists(st.lists(TEXT, min_size=2, max_size=4), max_size=6)
EVALS = st.lists(TEXT.filter(bool), min_size=1, max_size=4)


@settings(max_examples=60)
@given(ROWS, EVALS, st.integers(2, 4), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_agrees_with_comparing_every_row_with_every_prompt(
    texts: list[list[str]], prompts: list[str], ngram: int, threshold: float
) -> None:
    rows = [(f"r{i}", row_texts) for i, row_texts in enumerate(texts)]
    evals = [(f"e{i}", prompt) for i, prompt in enumerate(prompts)]
    found = find_leaks(
        frame([row(i, turns(*t)) for i, t in rows]).lazy(),
        frame([row(i, turns(p, "x")) for i, p in evals]),
        ngram=ngram,
        threshold=threshold,
    )
    got = {(r, e): c for r, e, c in found.select("row_id", "eval_id", "coverage").iter_rows()}
    assert got == pytest.approx(naive_leaks(rows, evals, ngram, threshold))
    assert len(got) == found.height
    assert list(got) == sorted(got)


def planted() -> tuple[pl.DataFrame, pl.DataFrame, dict[tuple[str, str], float]]:
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
    evals = [(f"e{i}", " ".join(p)) for i, p in enumerate(prompts)]
    expected = naive_leaks(rows, evals, 8, 0.5)
    return (
        frame([row(i, turns(*t)) for i, t in rows]),
        frame([row(i, turns(p, "x")) for i, p in evals]),
        expected,
    )


def test_agrees_with_the_plain_implementation_on_200_rows_in_any_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, evals, expected = planted()
    assert 10 < len(expected) < 60, "the case must have hits and misses"
    whole = find_leaks(rows.lazy(), evals)
    got = {(r, e): c for r, e, c in whole.select("row_id", "eval_id", "coverage").iter_rows()}
    assert got == pytest.approx(expected)
    for size in (1, 7, 199, 200):
        monkeypatch.setattr("curate.clean.leaks.BATCH_ROWS", size)
        assert find_leaks(rows.lazy(), evals).equals(whole)


def test_the_order_of_rows_and_prompts_changes_nothing() -> None:
    rows, evals, _ = planted()
    whole = find_leaks(rows.lazy(), evals)
    for seed in range(3):
        mixed = rows.sample(fraction=1, shuffle=True, seed=seed)
        others = evals.sample(fraction=1, shuffle=True, seed=seed)
        assert find_leaks(mixed.lazy(), others).equals(whole)


def test_the_span_is_the_longest_shared_run() -> None:
    words = [f"w{i}" for i in range(34)]
    text = " ".join([*words[:8], "x", *words[10:22], "y", *words[24:]])
    assert [h[2] for h in hits(text, "a", prompt=" ".join(words))] == [" ".join(words[10:22])]


# --- the stage ----------------------------------------------------------------------------------


def test_the_stage_judges_every_row_in_order_and_names_the_prompt_hit_most() -> None:
    evals = frame([row("e1", turns(PROMPT, "x")), row("e2", turns(OTHER, "x"))])
    both = f"{' '.join(PROMPT.split()[:20])} {OTHER} end"
    rows = frame(
        [row("b", turns(both, "x")), row("c", turns("clean", "x")), row("a", turns(PROMPT, "x"))]
    )
    result = leaks(StageData(rows.lazy(), None, evals), LeaksParams())
    verdicts = result.evidence.to_dicts()
    assert [v["row_id"] for v in verdicts] == ["b", "c", "a"]
    assert [v["keep"] for v in verdicts] == [False, True, False]
    assert [v["twin_id"] for v in verdicts] == ["e2", None, "e1"]
    assert [v["reason"] for v in verdicts] == ["leak_ngram", None, "leak_exact"]
    assert [v["score"] for v in verdicts] == [1.0, 0.0, 1.0]
    assert {v["threshold"] for v in verdicts} == {0.5}
    assert result.tables["hits"].height == 3


def test_kept_rows_keep_their_coverage_so_that_the_threshold_can_be_moved() -> None:
    evals = frame([row("e", turns(PROMPT, "x"))])
    rows = frame([row("a", turns(" ".join(PROMPT.split()[:13]), "x"))])
    result = leaks(StageData(rows.lazy(), None, evals), LeaksParams())
    assert result.evidence["keep"].to_list() == [True]
    assert result.evidence["score"].to_list() == [pytest.approx(13 / len(PROMPT.split()))]


def test_no_rows_means_no_hits() -> None:
    evals = frame([row("e", turns(PROMPT, "x"))])
    result = leaks(StageData(frame([]).lazy(), None, evals), LeaksParams())
    assert result.evidence.height == 0
    assert find_leaks(frame([]).lazy(), evals).height == 0


def test_the_stage_without_an_eval_set_is_an_error() -> None:
    with pytest.raises(ValueError, match="leaks needs an eval set"):
        leaks(StageData(frame([]).lazy(), None, None), LeaksParams())
