"""The built-in personas, and which are near a topic."""

from __future__ import annotations

from pathlib import Path

from curate.generate.personas import Personas, read_personas
from tests.generate.generations import by_words


def test_the_built_in_list_is_short_and_names_nobody() -> None:
    people = read_personas(None)
    assert 55 <= len(people) <= 80
    assert len(set(people)) == len(people)
    for person in people:
        assert person.split()[0] in {"a", "an", "the"}
        # Nobody's name: all words are small, and few.
        assert person == person.lower()
        assert len(person.split()) <= 12


def test_the_nearest_come_first_and_ties_in_their_order(tmp_path: Path) -> None:
    people = ["a cook of soups", "a pilot", "a cook", "a cook"]
    personas = Personas(people, by_words).nearest(["cook", "a pilot"], 3)
    assert personas[0] == ["a cook", "a cook", "a cook of soups"]
    assert personas[1][0] == "a pilot"
    assert Personas(people, by_words).nearest([], 3) == []
    assert Personas(people, by_words).nearest(["cook"], 9)[0][-1] == "a pilot"
