"""Agreement: nearest prompts by brute force, responses by cosine, same questions by value."""

from __future__ import annotations

import numpy as np
import pytest

from curate.judge.agreement import agree, find_neighbours, paired_cosines
from curate.models.embed import unit


def vectors(rows: int, width: int = 8, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32))


def plain_near(prompts: np.ndarray, k: int, floor: float) -> dict[int, list[int]]:
    """Return each row's neighbours by sorting all other rows."""
    neighbours = {}
    for i in range(len(prompts)):
        cosines = [(-round(float(prompts[i] @ prompts[j]), 6), j) for j in range(len(prompts))]
        best = sorted(pair for pair in cosines if pair[1] != i and -pair[0] >= floor)[:k]
        neighbours[i] = [j for _, j in best]
    return neighbours


@pytest.mark.parametrize(("k", "floor"), [(1, 0.1), (3, 0.3), (5, 0.6), (100, 0.2), (2, 0.999)])
def test_neighbours_are_the_nearest_others_above_the_floor(k: int, floor: float) -> None:
    prompts = vectors(60)
    prompts[7] = prompts[3]
    prompts[9] = 0
    near = find_neighbours(prompts, k, floor)
    neighbours = {i: near.other[near.row == i].tolist() for i in range(60)}
    assert neighbours == plain_near(prompts, k, floor)
    assert near.cosine.min() >= floor


def test_many_copies_of_a_prompt_never_count_the_row_itself() -> None:
    prompts = np.repeat(vectors(1), 12, axis=0)
    near = find_neighbours(prompts, 3, 0.9)
    assert (near.row != near.other).all()
    assert np.bincount(near.row).tolist() == [3] * 12


@pytest.mark.parametrize("rows", [0, 1])
def test_a_pool_of_one_row_has_no_neighbours(rows: int) -> None:
    near = find_neighbours(vectors(rows), 5, 0.1)
    agreement, _ = agree(near, ["q"] * rows, ["a"] * rows, vectors(rows))
    assert np.isnan(agreement).all() and len(agreement) == rows


def test_agreement_is_the_mean_cosine_of_responses() -> None:
    prompts, responses = vectors(40, seed=1), vectors(40, seed=2)
    near = find_neighbours(prompts, 4, 0.5)
    texts = [f"word{i} " * 20 for i in range(40)]
    agreement, _ = agree(near, texts, texts, responses)
    for i, others in plain_near(prompts, 4, 0.5).items():
        if others:
            expected = np.mean([float(responses[i] @ responses[j]) for j in others])
            assert agreement[i] == pytest.approx(expected, abs=1e-5)
        else:
            assert np.isnan(agreement[i])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("42", "The answer is 42.", 1.0),
        ("42", "43", 0.0),
        ("B", "(B)", 1.0),
        ("positive", "Positive.", 1.0),
        ("positive", "negative", 0.0),
        ("We add 2 and 3.\n#### 5", "Five is 1 + 4, so 5.\n#### 5", 1.0),
        ("It depends on the day, and on much else.", "That is not for me to say at all.", None),
    ],
)
def test_the_same_question_is_compared_by_value(
    one: str, other: str, expected: float | None
) -> None:
    prompts, responses = np.repeat(vectors(1), 2, axis=0), vectors(2, seed=4)
    near = find_neighbours(prompts, 5, 0.6)
    agreement, _ = agree(near, ["What is 2 and 3?", "what is 2 and 3"], [one, other], responses)
    plain = float(responses[0] @ responses[1])
    assert agreement[0] == pytest.approx(plain if expected is None else expected, abs=1e-5)


@pytest.mark.parametrize(
    ("checker", "one", "other", "expected", "unread"),
    [
        ("auto", "12 hours", "12 apples", None, 2),
        ("math", r"\sqrt{12}", r"2\sqrt{3}", 1.0, 0),
        ("numeric", r"\sqrt{12}", r"2\sqrt{3}", None, 0),
        ("math", r"\sqrt{12}", "I do not know", None, 1),
        ("numeric", "5", "x^2+5", None, 1),
    ],
)
def test_what_is_not_comparable_counts_by_its_words_and_is_told(
    checker: str, one: str, other: str, expected: float | None, unread: int
) -> None:
    prompts, responses = np.repeat(vectors(1), 2, axis=0), vectors(2, seed=4)
    near = find_neighbours(prompts, 5, 0.6)
    agreement, count = agree(near, ["same?"] * 2, [one, other], responses, checker)  # type: ignore[arg-type]
    plain = float(responses[0] @ responses[1])
    assert agreement[0] == pytest.approx(plain if expected is None else expected, abs=1e-5)
    assert count == unread


def test_other_numbers_make_another_question() -> None:
    prompts, responses = np.repeat(vectors(1), 2, axis=0), vectors(2, seed=4)
    near = find_neighbours(prompts, 5, 0.6)
    agreement, _ = agree(near, ["2 + 3?", "2 + 4?"], ["5", "6"], responses)
    assert agreement[0] == pytest.approx(float(responses[0] @ responses[1]), abs=1e-5)


def test_cosines_of_pairs_are_missing_where_a_text_is_unknown() -> None:
    one, other = vectors(3), vectors(3, seed=1)
    other[1] = 0
    cosines = paired_cosines(one, other)
    assert cosines[0] == pytest.approx(float(one[0] @ other[0]), abs=1e-5)
    assert np.isnan(cosines[1])
