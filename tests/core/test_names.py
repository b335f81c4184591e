"""Names may be written in any script, and never lead to another folder."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.names import LONGEST_BYTES, check_name

LETTERS = ["übung", "数据", "данные", "بيانات", "हिन्दी", "ไทย", "tiếng-Việt", "a.b_c-1", "..a"]


@pytest.mark.parametrize("name", LETTERS)
def test_names_in_any_script_stand_in_both_unicode_forms(name: str) -> None:
    composed = unicodedata.normalize("NFC", name)
    assert check_name(name) == composed
    assert check_name(unicodedata.normalize("NFD", name)) == composed


@pytest.mark.parametrize(
    "name", ["", ".", "..", "...", "a/b", "a b", "a\n", "\u202e", "a\x00", "😀"]
)
def test_a_name_that_could_lead_or_look_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use letters, digits"):
        check_name(name)


def test_a_name_too_long_for_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="too long: 181 bytes"):
        check_name("a" * (LONGEST_BYTES + 1))
    with pytest.raises(ValueError, match="too long: 183 bytes"):
        check_name("数" * 61)


@given(st.text(max_size=40))
def test_a_checked_name_stays_as_it_is(text: str) -> None:
    try:
        name = check_name(text)
    except ValueError:
        return
    assert check_name(name) == name
