"""Shots: drawn, nearest and covering ones against plain computations, and in every method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.keyed import EmbedderSource
from curate.core.methods import methods_in
from curate.generate.generation import Generation, Generator, SeedExample
from curate.generate.methods.answer import AnswerGenerator
from curate.generate.methods.back_translate import BackTranslateFilters, BackTranslateGenerator
from curate.generate.shots import Shots, ShotsBy, ShotSettings, token_encoder
from curate.generate.step import MethodSource
from curate.llm.requests import Call
from curate.testing import FakeRun, check_generator
from tests.generate.generations import by_words, example, generate, generation, word_tokens
from tests.generate.scripted import Reply, ScriptedEngine, texts_of
from tests.text.plaincover import plain_cover

TEXTS = (
    "tides of the northern sea at full moon",
    "tides of the northern sea at new moon",
    "bees in late summer",
    "bread with a crust",
    "bees and bread at noon",
)
QUERY = "tides of the northern sea and bees in summer"


def few(texts: Sequence[str] = TEXTS) -> list[SeedExample]:
    return [example(f"t/{i}", text, f"{text}, no. {i}") for i, text in enumerate(texts)]


def run_of(method: str = "craft", **params: Any) -> Generation:
    settings = {"corpus": "none.txt"} if method == "craft" else {}
    return generation(method, ScriptedEngine([]), target=few(), params=settings | params)[0]


def chosen(by: ShotsBy, count: int, query: str | None = QUERY, **more: Any) -> list[str]:
    run = run_of(shots_by=by)
    shots = Shots(run, by, run.target).choose(count, run.rng("x"), query, **more)
    return [shot.row_id for shot in shots]


def test_drawn_shots_are_the_permutation_of_the_request() -> None:
    drawn = run_of().rng("x").permutation(len(TEXTS))[:3]
    assert chosen("random", 3) == [f"t/{i}" for i in drawn]
    others = [0, 1, 3, 4]
    drawn = run_of().rng("x").permutation(len(others))[:3]
    assert chosen("random", 3, beside=few()[2]) == [f"t/{others[i]}" for i in drawn]


def test_the_nearest_shots_have_the_largest_cosines_and_the_best_is_last() -> None:
    products = by_words(TEXTS) @ by_words([QUERY])[0]
    order = np.argsort(-products, kind="stable")
    assert chosen("nearest", 3) == [f"t/{i}" for i in order[:3]][::-1]
    assert chosen("nearest", 9, beside=few()[order[0]]) == [f"t/{i}" for i in order[1:]][::-1]


def test_covering_shots_are_the_greedy_set_of_token_recalls() -> None:
    tokens = word_tokens([QUERY])[0]
    recall = np.array([(tokens @ own.T).max(axis=1) for own in word_tokens(TEXTS)])
    order = plain_cover(recall.astype(np.float32))
    assert chosen("coverage", 4) == [f"t/{i}" for i in order[:4]][::-1]
    # The two on tides are nearest, and the second adds nothing to the first.
    assert set(chosen("nearest", 2)) == {"t/0", "t/1"}
    assert set(chosen("coverage", 2)) == {"t/0", "t/2"}


def test_what_is_shown_anyway_covers_its_tokens_first() -> None:
    assert chosen("coverage", 1, beside=few()[1]) == ["t/2"]
    assert chosen("coverage", 1) == ["t/0"]


@pytest.mark.parametrize("by", ["nearest", "coverage"])
def test_a_request_about_nothing_is_about_an_example_that_is_drawn(by: ShotsBy) -> None:
    anchor = int(run_of().rng("x").permutation(len(TEXTS))[0])
    assert chosen(by, 3, None)[-1] == f"t/{anchor}"
    assert chosen(by, 3, None) == chosen(by, 3, TEXTS[anchor])


@pytest.mark.parametrize("by", ["random", "nearest", "coverage"])
def test_there_may_be_no_example_or_none_to_show(by: ShotsBy) -> None:
    run = run_of(shots_by=by)
    assert Shots(run, by, []).choose(3, run.rng("x"), QUERY) == []
    assert chosen(by, 0) == []
    assert len(chosen(by, 9)) == len(TEXTS)


def test_a_run_without_an_encoder_says_so() -> None:
    run = run_of()
    with pytest.raises(UserError, match="no encoder of tokens"):
        Shots(run, "coverage", run.target).choose(1, run.rng("x"), QUERY)


def test_a_default_is_no_part_of_what_results_are_stored_under() -> None:
    def identity(**params: Any) -> dict[str, Any]:
        whole = AnswerGenerator(**params).model_dump(mode="json")
        stored: dict[str, Any] = MethodSource(whole, None).identity["params"]
        return stored

    assert "shots" not in identity()
    assert "shots_by" not in identity()
    assert identity(shots=2)["shots"] == 2
    assert identity(shots=2, shots_by="nearest")["shots_by"] == "nearest"
    for generator in methods_in(Generator).values():
        assert set(generator.later) <= set(generator.model_fields)


# --- in the methods -------------------------------------------------------------------------------

PARAMS: dict[str, dict[str, Any]] = {
    "aide": {},
    "answer": {"shots": 2},
    "back_translate": {"shots": 2, "filters": {"response_words": (3, 90)}},
    "craft": {"shots": 2},
    "expand": {"mode": "pairs", "shots": 3},
    "search_instruct": {"seeds": 2},
    "self_guide": {"demos": 2},
    "self_instruct": {"demos": 2, "machine_demos": 0},
    "taxonomy": {"shots": 2, "subjects": [QUERY]},
}
# The prompt of each shot, as a request of the first stage has it.
FIRST_STAGE = sorted(set(PARAMS) - {"aide"})


def test_every_method_that_shows_examples_has_the_setting() -> None:
    names = {n for n, one in methods_in(Generator).items() if issubclass(one, ShotSettings)}
    assert names == set(PARAMS)


def first_calls(method: str, by: ShotsBy, folder: Path) -> list[Call]:
    corpus = folder / "corpus.txt"
    corpus.write_text(QUERY)
    params = PARAMS[method] | {"shots_by": by}
    params |= {"corpus": str(corpus)} if method in ("craft", "search_instruct") else {}
    engine = ScriptedEngine([], strict=False)
    run, generator = generation(
        method,
        engine,
        target=few(),
        unanswered=[SeedExample("p/1", [{"role": "user", "content": QUERY}])],
        pool=[("Say something.", QUERY)],
        params=params,
    )
    generator.generate(run)
    return engine.calls


def examples_in(call: Call) -> set[int]:
    whole = "\n".join(texts_of(call))
    return {i for i, text in enumerate(TEXTS) if text in whole}


@pytest.mark.parametrize("method", FIRST_STAGE)
def test_requests_show_what_is_chosen(method: str, tmp_path: Path) -> None:
    call = first_calls(method, "coverage", tmp_path)[0]
    about_nothing = method in ("search_instruct", "self_guide", "self_instruct")
    sets = [examples_in(call) for call in first_calls(method, "coverage", tmp_path)]
    if method == "expand":
        # What covers the first line's own prompt beside it.
        assert {0, 1} <= sets[0]
    elif about_nothing:
        expected = [set(map(int, (i[2:] for i in chosen("coverage", 2, text)))) for text in TEXTS]
        assert all(one in expected for one in sets)
    else:
        assert examples_in(call) == {0, 2}
        assert examples_in(first_calls(method, "nearest", tmp_path)[0]) == {0, 1}


def test_an_answer_after_shots_has_them_as_parents_and_not_as_turns() -> None:
    prompt = SeedExample(
        "p/1", [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUERY}]
    )
    engine = ScriptedEngine([(QUERY, "They rise, and bees fly.")])
    run = generate(
        "answer",
        engine,
        target=few(),
        unanswered=[prompt],
        params={"shots": 2, "shots_by": "coverage"},
    )
    (call,) = engine.calls
    turns = [(m["role"], m["content"]) for m in call.request.messages]
    assert turns == [
        ("system", "Be brief."),
        *(("user", TEXTS[2]), ("assistant", f"{TEXTS[2]}, no. 2")),
        *(("user", TEXTS[0]), ("assistant", f"{TEXTS[0]}, no. 0")),
        ("user", QUERY),
    ]
    (candidate,) = run.candidates
    assert candidate.parents == ("p/1", "t/2", "t/0")
    assert [m["role"] for m in candidate.messages] == ["system", "user", "assistant"]
    assert AnswerGenerator(shots=1).needed() == ("prompts", "target")
    assert AnswerGenerator().needed() == ("prompts",)


@pytest.mark.parametrize("by", ["random", "nearest", "coverage"])
def test_a_prompt_is_not_shown_with_its_own_answer(by: ShotsBy) -> None:
    prompt = SeedExample("p/1", [{"role": "user", "content": f" {TEXTS[1]} "}])
    engine = ScriptedEngine([(TEXTS[1], "They rise, and bees fly.")])
    params = {"shots": len(TEXTS), "shots_by": by}
    run = generate("answer", engine, target=few(), unanswered=[prompt], params=params)
    (candidate,) = run.candidates
    others = {f"t/{i}" for i in range(len(TEXTS)) if i != 1}
    assert {*candidate.parents} == {"p/1", *others}


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "answer"},
        {"method": "back_translate", "shots": 0},
        {"method": "expand", "shots": 3},
    ],
)
def test_a_choice_of_shots_where_none_is_shown_is_refused(settings: dict[str, Any]) -> None:
    generator = methods_in(Generator)[settings.pop("method")]
    assert generator.model_validate(settings)
    with pytest.raises(ValidationError, match="shots_by chooses the"):
        generator.model_validate(settings | {"shots_by": "nearest"})


@pytest.mark.parametrize(("own", "encoder"), [("static", "minilm"), ("of/mine", "of/mine")])
def test_tokens_are_those_of_the_recipes_embedder_where_it_has_some(own: str, encoder: str) -> None:
    run: Any = SimpleNamespace(embedder=lambda name=own: EmbedderSource({}, name))
    assert token_encoder(run).name == encoder


@pytest.mark.model
def test_covering_shots_by_the_real_encoder(tmp_path: Path) -> None:
    """Examples in other words than the response cover it by meaning; books are kept as always."""
    target = [
        ("Who keeps bees?", "A beekeeper looks after hives."),
        ("What moves the tide?", "The moon draws the ocean to and fro."),
        ("What moves the water?", "The moon draws the sea up and down."),
    ]
    pool = [("Tell me.", "Apiarists own honeybees, and lunar gravity pulls at the sea.")]
    run = FakeRun.of(tmp_path, pool, target)
    method = BackTranslateGenerator(
        shots=2, shots_by="coverage", filters=BackTranslateFilters(response_words=(3, 90))
    )

    def engine() -> ScriptedEngine:
        def reply(call: Call) -> str:
            is_request = "request" in str(call.request.schema)
            return json.dumps({"request": "What?"} if is_request else {"reason": "so", "grade": 5})

        return ScriptedEngine([(lambda call: True, reply)])

    checked = check_generator(method, run, engine)
    (candidate,) = checked.candidates
    assert "t0" in candidate.parents
    assert len(set(candidate.parents) & {"t1", "t2"}) == 1


def test_a_failed_answer_leaves_no_row() -> None:
    engine = ScriptedEngine([(QUERY, Reply(finish="empty"))])
    prompt = SeedExample("p/1", [{"role": "user", "content": QUERY}])
    run = generate("answer", engine, target=few(), unanswered=[prompt], params={"shots": 1})
    assert run.kept == []
