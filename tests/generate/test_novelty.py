"""ROUGE-L against the textbook table of longest common subsequences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.generate import novelty
from curate.generate.novelty import RougeIndex, words_of

TEXTS = st.lists(st.sampled_from(["one", "two", "three", "four", "Ünite", "5"]), max_size=12).map(
    " ".join
)


def lcs(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


def plain(one: str, other: str) -> float:
    a, b = words_of(one), words_of(other)
    return 2 * lcs(a, b) / (len(a) + len(b)) if a and b else 0.0


def rouge_l(one: str, other: str) -> float:
    nearest = RougeIndex([one]).nearest(other)
    return nearest[0] if nearest else 0.0


@given(TEXTS, TEXTS)
def test_rouge_l_is_the_formula(one: str, other: str) -> None:
    assert rouge_l(one, other) == pytest.approx(plain(one, other))


@given(TEXTS, st.lists(TEXTS, max_size=6), st.sampled_from([0.0, 0.3, 0.7]))
def test_the_nearest_is_the_largest_above_the_limit(
    text: str, others: list[str], above: float
) -> None:
    match = RougeIndex(others).nearest(text, above=above)
    best = max((plain(text, other) for other in others), default=0.0)
    if best > above + 1e-9:
        assert match is not None
        assert match[0] == pytest.approx(best)
        assert plain(text, others[match[1]]) == pytest.approx(best)
    else:
        assert match is None


def test_what_is_exactly_at_the_limit_is_new() -> None:
    """Seven of ten words in order on either side: F1 is 0.7."""
    one = "a b c d e f g h i j"
    at, above = "a b c d e f g x y z", "a b c d e f g h y z"
    assert rouge_l(one, at) == pytest.approx(0.7)
    assert RougeIndex([one]).nearest(at, above=0.7) is None
    assert RougeIndex([one]).nearest(above, above=0.7) is not None


@given(st.lists(TEXTS, max_size=10))
def test_kept_texts_are_all_apart(texts: list[str]) -> None:
    index, kept = RougeIndex(), list[str]()
    for text in texts:
        if index.nearest(text, above=0.7) is None:
            index.add([text])
            kept.append(text)
    for i, one in enumerate(kept):
        for other in kept[:i]:
            assert plain(one, other) <= 0.7 + 1e-9


def test_words_of_any_script_count_and_case_does_not() -> None:
    assert rouge_l("Straße über ALLES", "strasse ÜBER alles") == 1.0
    assert rouge_l("你好 世界", "你好 世界") == 1.0
    assert rouge_l("...", "...") == 0.0


def test_more_words_than_characters_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "CODES", 3)
    assert RougeIndex(["a b c d e"]).nearest("a b c d e") == (1.0, 0)
    surrogates = RougeIndex([" ".join(f"w{i}" for i in range(0xD7F0, 0xD810))])
    assert len(surrogates) == 1
