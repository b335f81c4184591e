"""No stored step changes unnoticed: versions.lock against the code and its results."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import lock, step_sources
from tests.golden import golden_results, same_figures, shape_of
from tests.lock import (
    current_sources,
    foreign_versions,
    moved_results,
    read_lock,
    unversioned_changes,
)
from tests.step_sources import REPO, source_digest

RDS, LENGTH = ("curate.selectors.rds", "scores"), ("curate.selectors.length", "scores")
SIMILARITIES = "curate/selectors/similarities.py"
pinned = pytest.mark.skipif(foreign_versions() != [], reason="the lock is of other versions")


@pinned
def test_every_step_is_in_the_lock_with_its_version_and_source() -> None:
    """Where results stay the same, `make lock` confirms what moved; where not, a version has to rise."""
    locked = {name: (line["version"], line["source"]) for name, line in read_lock().items()}
    current = current_sources()
    assert sorted(set(locked) ^ set(current)) == [], "run `make lock`"
    moved = [name for name in current if current[name] != locked[name]]
    assert moved == [], "run `make lock`, which says whether results moved too"


def test_no_step_has_the_name_of_a_stage() -> None:
    """The manifest of a run would count the rows of both as the stage's."""
    names = set(current_sources())
    assert [name for name in sorted(names) if f"stage:{name}" in names] == []


@pinned
@pytest.mark.system
def test_results_are_those_of_the_lock(tmp_path: Path, tiny: Path) -> None:
    golden = golden_results(tmp_path, tiny)
    moved = moved_results(golden, read_lock())
    assert moved == [], f"raise the versions of {unversioned_changes(golden, read_lock())}"
    assert set(golden) == {name for name, line in read_lock().items() if line["figures"]}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that may be changed."""
    for package in ("curate", "flows"):
        shutil.copytree(REPO / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(step_sources, "REPO", tmp_path)
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    for remembered in vars(step_sources).values():
        if hasattr(remembered, "cache_clear"):
            remembered.cache_clear()


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    _forget()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DECIMALS = 6", "DECIMALS = 5"),
        ("similar.argmax(axis=1)", "similar.argmin(axis=1)"),
        ("order.index(name)", "order.index(name) + 1"),
    ],
)
def test_a_change_of_what_is_reached_through_another_module_moves_the_source(
    checkout: Path, before: str, after: str
) -> None:
    digests = [source_digest([place]) for place in (RDS, LENGTH)]
    change(checkout / SIMILARITIES, before, after)
    assert source_digest([RDS]) != digests[0]
    assert source_digest([LENGTH]) == digests[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DECIMALS = 6", "# why\nDECIMALS = 6"),
        ('"""Return the number of each target row\'s task', '"""Number the target rows\' tasks'),
        ("def task_numbers(origins: pl.Series)", "def task_numbers(origins: object)"),
        ("def rank_scores(", "def rank_by_score("),
    ],
)
def test_comments_docstrings_types_and_what_is_not_reached_move_nothing(
    checkout: Path, before: str, after: str
) -> None:
    digest = source_digest([RDS])
    change(checkout / SIMILARITIES, before, after)
    assert source_digest([RDS]) == digest


def test_a_reversed_sort_of_a_ranking_moves_the_method_that_ranks_by_it(checkout: Path) -> None:
    rank = ("curate.selectors.rds", "RdsSelector.rank")
    digest = source_digest([rank])
    change(checkout / "curate" / "selectors" / "rounds.py", 'kind="stable"', 'kind="heapsort"')
    assert source_digest([rank]) != digest


def test_what_moved_with_its_code_needs_a_version_and_what_lies_behind_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = {"artifacts": 1, "digest": "ab", "numbers": 2, "size": 1.0, "shape": 1.5}
    line = {"version": "1", "source": "x", "figures": figures}
    locked = {"same": line, "changed": line, "behind": line, "raised": line, "rounded": line}
    golden = {name: figures for name in locked} | {
        "changed": {**figures, "shape": 1.6},
        "behind": {**figures, "artifacts": 2},
        "raised": {**figures, "digest": "cd"},
        "rounded": {**figures, "size": 1.0001},
    }
    sources = {
        name: ("2" if name == "raised" else "1", "y" if name in ("changed", "rounded") else "x")
        for name in locked
    }
    monkeypatch.setattr(lock, "current_sources", lambda: sources)
    assert moved_results(golden, locked) == ["changed", "behind", "raised"]
    assert unversioned_changes(golden, locked) == ["changed"]
    monkeypatch.setattr(lock, "current_sources", lambda: {name: ("1", "x") for name in locked})
    assert unversioned_changes(golden, locked) == ["changed", "behind", "raised"]


def test_figures_notice_another_order_and_a_small_change_of_one_value() -> None:
    values = np.random.default_rng(0).random(50)
    one = {"artifacts": 1, "digest": "", "numbers": 50, "size": 0.0, "shape": shape_of(values)}
    assert not same_figures(one, {**one, "shape": shape_of(values[::-1])})
    assert same_figures(one, {**one, "shape": shape_of(values * (1 + 1e-6))})
