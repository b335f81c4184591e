"""A finished run in a notebook: what it shows, and the viewer that it opens."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

import curate
from curate.core.errors import UserError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> curate.FinishedRun:
    monkeypatch.chdir(tmp_path)
    pool = [{"prompt": f"What is {i % 3} + <b>?", "response": "It is so."} for i in range(10)]
    Path("pool.jsonl").write_text("\n".join(map(json.dumps, pool)))
    recipe = {
        "pool": "pool.jsonl",
        "stages": ["exact"],
        "select": {"method": "random", "budget": 2},
    }
    return curate.run({"name": "small", **recipe})


def test_a_run_shows_its_verdict_its_funnel_and_what_is_worth_a_look(
    run: curate.FinishedRun,
) -> None:
    html = run._repr_html_()
    assert "<b>2 rows selected; no proof was asked for</b>" in html
    assert '<td><meter value="3" max="10"></meter></td>' in html
    assert "exact_duplicate 7" in html
    assert "exact dropped 7 of 10 rows" in html
    assert 'href="runs/small/report/index.html"' in html
    assert repr(run) == "runs/small: 2 rows selected; no proof was asked for"


@pytest.mark.system
def test_a_viewer_answers_to_its_address_until_it_is_closed(run: curate.FinishedRun) -> None:
    with run.view() as viewer:
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        assert b"Open the run" in browser.open(viewer.url).read()
        assert b"small" in browser.open(viewer.url.partition("?")[0]).read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(viewer.url.partition("?")[0])
        assert f'href="{viewer.url}"' in viewer._repr_html_()
    assert viewer._repr_html_() == "<p>runs/small is closed</p>"
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(viewer.url)
    viewer.close()


def test_a_viewer_beside_a_folder_without_a_run_is_refused(run: curate.FinishedRun) -> None:
    with pytest.raises(UserError, match="is no finished run"):
        run.view(other="runs")
