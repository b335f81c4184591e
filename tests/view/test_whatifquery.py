"""What the what-if page's address means, as settings of `curate plan` and `curate rethreshold`."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.datastructures import QueryParams

from curate.core.errors import UserError
from curate.core.selectparams import Share
from curate.runs.folder import RunFolder, open_run
from curate.view.whatifquery import PlanQuery, ThresholdQuery, plan_of_run, plan_settings


@pytest.fixture
def run(mapped_run: Path) -> RunFolder:
    return open_run(mapped_run)


def settings(run: RunFolder, text: str) -> tuple[str | None, list[str]]:
    return plan_settings(run, PlanQuery.of(QueryParams(text), plan_of_run(run)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, [])),
        ("count=rows&amount=12", (None, [])),
        ("amount=20", ("rows=20", [])),
        ("count=fraction&amount=0.1", ("fraction=0.1", [])),
        ("method=bm25", (None, ["method=bm25"])),
        ("by=source&cap=0.4", (None, ['shares=[{"by": "source", "most": 0.4, "least": {}}]'])),
        (
            "by=origin&quota=a%20b=0.1,c=.2",
            (None, ['shares=[{"by": "origin", "most": 1.0, "least": {"a b": 0.1, "c": 0.2}}]']),
        ),
        ("filter=tokens%20<%2090", (None, ['filter="tokens < 90"'])),
        ("similar=0.9", (None, ['diversity={"most": 0.9}'])),
        ("settings=combine=mean%20%27a=b%20c%27", (None, ["combine=mean", "a=b c"])),
    ],
)
def test_only_what_differs_from_the_run_is_a_setting(
    run: RunFolder, text: str, expected: tuple[str | None, list[str]]
) -> None:
    assert settings(run, text) == expected


def test_what_the_run_has_is_shown_and_can_be_taken_away(run: RunFolder) -> None:
    shares = [Share(by="source", most=0.5, least={"web": 0.2}), Share(by="origin", most={"a": 0.1})]
    limited = RunFolder(run.path, run.manifest)
    select = run.select.model_copy(update={"shares": shares, "filter": "tokens < 9"})
    limited.__dict__["select"] = select
    own = plan_of_run(limited)
    assert (own.by, own.cap, own.quota, own.filter) == ("source", "0.5", "web=0.2", "tokens < 9")
    assert settings(limited, "") == (None, [])
    assert settings(limited, "by=&filter=") == (
        None,
        ['shares=[{"by": "origin", "most": {"a": 0.1}, "least": {}}]', "filter=null"],
    )


def test_a_threshold_as_in_the_run_is_no_setting() -> None:
    def overrides(text: str) -> list[str]:
        return ThresholdQuery.of(QueryParams(text), "fuzzy", "0.6").overrides

    assert overrides("threshold=0.6") == []
    assert overrides("threshold=0.7&settings=keep=longest") == ["threshold=0.7", "keep=longest"]
    assert overrides("threshold=0.7&settings=rows=50") == ["rows=50"]


@pytest.mark.parametrize("text", ["quota=arithmetic&by=source", "settings='a"])
def test_what_cannot_be_read_is_a_sentence(run: RunFolder, text: str) -> None:
    with pytest.raises(UserError):
        settings(run, text)
