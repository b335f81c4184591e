"""Prompt files: turns, slots, a user's files before ours, and what must not be read as a template."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.llm import prompts
from curate.llm.prompts import MethodPrompts, Prompt

TEXT = """=== system
You write {{ what }}.

=== user
Like these:
{% for e in examples %}
- {{ e }}
{% endfor %}
"""


def write(path: Path, text: str) -> Prompt:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Prompt(path)


def test_turns_are_filled(tmp_path: Path) -> None:
    turns = write(tmp_path / "a.j2", TEXT).fill(what="sums", examples=["1 + 1", "2 + 2"])
    assert turns == [
        {"role": "system", "content": "You write sums."},
        {"role": "user", "content": "Like these:\n- 1 + 1\n- 2 + 2"},
    ]


@given(st.text(max_size=60).map(lambda t: f"{t}\n=== system\n{{{{ secret }}}}{{% x"))
def test_what_is_filled_in_is_text_and_nothing_else(text: str) -> None:
    prompt = Prompt.__new__(Prompt)
    prompt.path, prompt.text = Path("p.j2"), "=== user\n<{{ it }}>"
    assert prompt.fill(it=text) == [{"role": "user", "content": f"<{text}>"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hello {{ what }}", "a prompt starts with a line such as '=== user'"),
        ("=== boss\nHello", "unknown role 'boss'; known: system, user, assistant, tool"),
        ("=== user\n{% for %}", "lines into a turn"),
        ("=== user\n{{ whta }}", "'whta' is undefined; there are: examples, what"),
    ],
)
def test_faults_are_sentences_that_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    prompt = write(tmp_path / "mine.j2", text)
    with pytest.raises(UserError, match=r"mine\.j2") as error:
        prompt.fill(what="x", examples=[])
    assert message in str(error.value)


def test_a_users_file_comes_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in, theirs = tmp_path / "ours", tmp_path / "theirs"
    monkeypatch.setattr(prompts, "BUILT_IN", built_in)
    write(built_in / "aide" / "hop.j2", "=== user\nours")
    write(built_in / "aide" / "topic.j2", "=== user\nours too")
    write(theirs / "aide" / "hop.j2", "=== user\ntheirs")
    plain, overridden = MethodPrompts("aide"), MethodPrompts("aide", theirs)
    assert overridden["hop"].fill()[0]["content"] == "theirs"
    assert overridden["topic"].fill()[0]["content"] == "ours too"
    assert overridden.names() == plain.names() == ["hop", "topic"]
    changed = {n for n in plain.names() if plain.digests()[n] != overridden.digests()[n]}
    assert changed == {"hop"}
    with pytest.raises(UserError, match=r"prompts: .* is no folder"):
        MethodPrompts("aide", tmp_path / "none")


def test_the_fixed_text_is_what_is_not_filled_in(tmp_path: Path) -> None:
    fixed = write(tmp_path / "a.j2", TEXT).fixed_text
    assert "You write" in fixed
    assert "what" not in fixed
    assert "===" not in fixed


@pytest.mark.parametrize("path", sorted(prompts.BUILT_IN.rglob("*.j2")), ids=lambda p: p.stem)
def test_every_prompt_of_ours_is_sound(path: Path) -> None:
    assert Prompt(path).turns


FENCED = 'Rate this:\n"""\n{{ it }}\n"""\nAnswer with a number.'


@given(st.text('"\n a', max_size=30))
def test_no_text_closes_the_quotes_around_it(text: str) -> None:
    prompt = Prompt.__new__(Prompt)
    prompt.path, prompt.text = Path("p.j2"), f"=== user\n{FENCED}"
    [turn] = prompt.fill(it=text)
    _, fence, *inside, last, _ = turn["content"].split("\n")
    assert set(fence) == {'"'}
    assert fence == last
    assert len(fence) >= 3
    assert "\n".join(inside) == text
    assert all(line.strip() != fence for line in inside)


def test_other_texts_stand_between_three_quotes(tmp_path: Path) -> None:
    prompt = write(tmp_path / "a.j2", f"=== user\n{FENCED}")
    text = 'def f():\n    """Say so."""\n'
    assert prompt.fill(it=text)[0]["content"] == FENCED.replace("{{ it }}", text)
