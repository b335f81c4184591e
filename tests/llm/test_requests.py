"""Requests: what may be asked, and what of it decides the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from curate.llm.requests import Call, Request, Sampling, chat, raw


def test_a_text_is_the_users_only_turn() -> None:
    request = chat("Hi", system="Be brief.")
    assert [m["role"] for m in request.messages] == ["system", "user"]
    assert request.sampling.n == 1


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda: Request(), "either messages or a raw prompt"),
        (lambda: Request(chat("a").messages, "b"), "either messages or a raw prompt"),
        (lambda: chat([{"role": "assistant", "content": "a"}]), "as prefix"),
        (lambda: chat("a", prefix="b", schema={}), "without a schema"),
        (lambda: chat("a", sampling=Sampling(stop=("",))), "stop string is empty"),
        (lambda: chat("a", sampling=Sampling(repeats=1)), "repeats is 1"),
    ],
)
def test_a_request_that_means_nothing_is_refused(what: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        what()


def test_sampling_is_checked() -> None:
    for bad in ({"temperature": -1}, {"top_p": 0}, {"max_tokens": 0}, {"n": 0}, {"colour": 1}):
        with pytest.raises(ValidationError):
            Sampling(**bad)


def test_each_draw_has_randomness_of_its_own() -> None:
    request = raw("a", sampling=Sampling(seed=3))
    calls = [Call(request, s, a) for s in range(3) for a in range(3)]
    calls.append(Call(raw("a", sampling=Sampling(seed=4))))
    assert len({call.server_seed for call in calls}) == len(calls)
    assert Call(request, 1).server_seed == Call(request, 1).server_seed < 2**31
    assert Call(request, 1).generator().random() == Call(request, 1).generator().random()


def test_content_is_what_decides_the_answer() -> None:
    base = raw("a", sampling=Sampling(seed=3))
    same = replace(base, sampling=Sampling(seed=3, n=5))
    assert Call(base).content() == Call(same).content()
    others = [
        Call(base, 1),
        Call(base, 0, 1),
        Call(raw("b", sampling=base.sampling)),
        Call(chat("a", sampling=base.sampling)),
        Call(replace(base, schema={"type": "object"})),
        Call(replace(base, sampling=Sampling(seed=4))),
        Call(replace(base, sampling=Sampling(seed=3, stop=("x",)))),
    ]
    assert all(other.content() != Call(base).content() for other in others)


def test_greedy_answers_do_not_depend_on_the_draw() -> None:
    greedy = [raw("a", sampling=Sampling(temperature=0, seed=s)) for s in (1, 2)]
    assert Call(greedy[0], 0).content() == Call(greedy[1], 7).content()


def test_the_order_of_a_schemas_properties_counts() -> None:
    schemas: list[dict[str, Any]] = [{"properties": {k: {} for k in keys}} for keys in ("ab", "ba")]
    one, other = (Call(raw("x", schema=schema)) for schema in schemas)
    assert one.content() != other.content()
