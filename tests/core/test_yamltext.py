"""YAML within limits: what would take all memory or never end is one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.yamltext import YamlFault, load_setting, load_yaml


def laughs(levels: int, times: int, merge: bool = False) -> str:
    """Return a text of few lines that stands for times ** levels values."""
    lines = ["a0: &a0 {x: y}" if merge else "a0: &a0 [x]"]
    for i in range(1, levels + 1):
        many = ", ".join([f"*a{i - 1}"] * times)
        lines.append(f"a{i}: &a{i} " + (f"{{<<: [{many}]}}" if merge else f"[{many}]"))
    return "\n".join(lines)


FAULTS = {
    "laughs": (laughs(9, 9), 6, "more than 20,000 values, those that aliases repeat"),
    "merged laughs": (laughs(20, 9, merge=True), 5, "more than 20,000 values"),
    "loop": ("a: &a [*a]", 1, "an anchor holds itself"),
    "loop by merge": ("x: 1\na: &a {<<: *a}", 2, "an anchor holds itself"),
    "long loop": ("x: 1\na: &a {b: &b {c: [*b, *a]}}", 2, "an anchor holds itself"),
    "deep": ("a: " + "[" * 10_000, 1, "nested more than 64 deep"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(300)), 64, "nested more than 64 deep"),
    "many": ("[" + "a," * 30_000 + "]", 1, "more than 20,000 values"),
    "large": ("a" * 2_000_000, 1, "more than 1,048,576 characters"),
    "digits": ("a: " + "1" * 10_000, 1, "a number of more than 100 digits"),
    "hex": ("a: 0x" + "f" * 10_000, 1, "a number of more than 100 digits"),
    "sixties": ("a: 1" + ":59" * 10_000, 1, "a number of more than 100 digits"),
    "sixties float": ("a: 1" + ":59" * 10_000 + ".5", 1, "a number of more than 100 digits"),
    "binary": ("a: !!binary aGVsbG8=", 1, "the tag !!binary is not read"),
    "set": ("a: !!set {x, y}", 1, "the tag !!set is not read"),
    "object": ("a: !!python/object:os.system {}", 1, "could not determine a constructor"),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_beyond_the_limits_is_told_with_its_line(name: str) -> None:
    text, line, problem = FAULTS[name]
    with pytest.raises(YamlFault) as caught:
        load_yaml(text)
    assert problem in caught.value.problem
    assert caught.value.line == line
    with pytest.raises(UserError, match=r"^--set x=1: the value is not valid YAML"):
        load_setting("x=1", text)


def test_aliases_and_merges_within_the_limits_are_followed() -> None:
    text = "base: &b {x: 1}\nmore: {<<: *b, y: 2}\nlist: [*b, *b]"
    value, node = load_yaml(text)
    assert value == {"base": {"x": 1}, "more": {"x": 1, "y": 2}, "list": [{"x": 1}] * 2}
    assert node is not None


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_are_read_as_the_safe_loader_reads_them(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert load_yaml(text)[0] == yaml.safe_load(text)


@given(
    st.lists(
        st.sampled_from(
            ["a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!int ", "!!set ",
             "? ", ", ", "'", '"', "#", "|", ">", "%", "---", "1:1", "0x", "2024-99-99", ".nan",
             "!!timestamp ", "!!float ", "\t", "!<x> ", "~"]
        ) | st.text(max_size=2),
        max_size=14,
    ).map("".join)
)  # fmt: skip
def test_any_text_is_a_value_or_a_fault(text: str) -> None:
    try:
        load_yaml(text)
    except YamlFault as fault:
        assert fault.line >= 1
