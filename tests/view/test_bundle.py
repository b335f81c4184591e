"""A bundle: what is written, what is refused, and that it tells nothing of the machine."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.report.embedded_rows import RowLimits
from curate.runs.folder import RunFolder, open_run
from curate.runs.vectors import find_vectors
from curate.view import bundlepage
from curate.view.bundle import write_bundle


@pytest.fixture
def run(mapped_run: Path) -> RunFolder:
    return open_run(mapped_run)


def data(page: str, name: str) -> dict[str, list[object]]:
    match = re.search(
        rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL
    )
    assert match is not None
    columns: dict[str, list[object]] = json.loads(match[1])
    return columns


def test_a_bundle_has_all_rows_and_points(run: RunFolder, tmp_path: Path) -> None:
    page, points = write_bundle(run, tmp_path / "shared")
    ledger = pl.read_parquet(run.path / "ledger.parquet")
    text = page.read_text()
    rows = data(text, "rows-data")["columns"]
    by_key = {one["key"]: one["values"] for one in rows}  # type: ignore[index]
    assert sorted(by_key["row_id"]) == sorted(ledger["row_id"])
    assert all(by_key["prompt"])
    assert len(data(text, "points-data")["id"]) == pl.read_parquet(points).height
    assert "All rows are here" in text
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [
        "bundle.json", "index.html", "map.parquet"
    ]  # fmt: skip


def test_what_a_copy_leaves_out_stands_in_it(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the map by anything but fate" in write_bundle(run, tmp_path / "mapped")[0].read_text()
    without = replace(find_vectors(run), spaces=())
    monkeypatch.setattr(bundlepage, "find_vectors", lambda run: without)
    page = write_bundle(run, tmp_path / "plain")[0].read_text()
    assert "a map, since the run has no vectors" in page and 'id="plane"' not in page


def test_nothing_is_told_of_the_machine(run: RunFolder, tmp_path: Path) -> None:
    for path in write_bundle(run, tmp_path / "shared"):
        assert str(run.path.parent).encode() not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
    recipe = bundlepage.public_recipe(run)
    assert "path: pool.jsonl" in recipe
    assert "store" not in recipe


def test_a_bundle_is_written_anew_and_what_is_gone_goes(
    run: RunFolder, view_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    write_bundle(run, folder)
    lost = RunFolder(view_run, {**open_run(view_run).manifest, "store": str(tmp_path / "gone")})
    assert write_bundle(lost, folder) == [folder / "index.html"]
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "index.html"]
    assert "real" in (folder / "index.html").read_text()


def test_a_folder_of_other_files_is_refused(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("a")
    with pytest.raises(UserError, match="no bundle of curate"):
        write_bundle(run, tmp_path / "mine")
    with pytest.raises(UserError, match="that is a file"):
        write_bundle(run, tmp_path / "mine" / "thesis.txt")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert write_bundle(run, tmp_path / "empty")


def test_of_more_rows_than_fit_a_sample_is_there_and_says_so(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundlepage, "LIMITS", RowLimits(most_bytes=20_000, following=10**9))
    monkeypatch.setattr(bundlepage, "MOST_POINTS", 50)
    page, _ = write_bundle(run, tmp_path / "shared")
    text = unescape(page.read_text())
    assert "This is a sample." in text
    assert "curate view RUN" in text
    assert "50 of " in text
    assert len(data(page.read_text(), "points-data")["id"]) == 52


def test_the_policy_allows_the_pages_own_parts_alone(run: RunFolder, tmp_path: Path) -> None:
    page, _ = write_bundle(run, tmp_path / "shared")
    text = page.read_text()
    match = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert match is not None
    policy = unescape(match[1])
    assert policy.count("sha256-") == 3
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert not re.search(r"<[^>]+ (style|on\w+)=", text)


def test_hostile_texts_end_no_element(mapped_run: Path, tmp_path: Path) -> None:
    shutil.copytree(mapped_run, tmp_path / "run")
    ledger = tmp_path / "run" / "ledger.parquet"
    hostile = "</script><script>alert(1)</script><!--"
    pl.read_parquet(ledger).with_columns(source=pl.lit(hostile)).write_parquet(ledger)
    page, _ = write_bundle(open_run(tmp_path / "run"), tmp_path / "shared")
    text = page.read_text()
    assert "<script>alert" not in text
    assert hostile in json.dumps(data(text, "points-data")["source"])


def test_the_verdict_heads_the_page_and_a_leak_stands_in_it(
    run: RunFolder, tmp_path: Path, mapped_run: Path
) -> None:
    page, _ = write_bundle(run, tmp_path / "shared")
    assert '<h2 class="verdict">No proof was asked for</h2>' in page.read_text()
    shutil.copytree(mapped_run, tmp_path / "run")
    leaks = {"leaking_rows": {"arm": 0}, "leaking_sets": "the eval set"}
    proof = {"verdict": "better", "sentence": "So <it> is.", "leaks": leaks}
    record = tmp_path / "run" / "proof.json"
    record.write_text(json.dumps(proof))
    page, _ = write_bundle(open_run(tmp_path / "run"), tmp_path / "shared")
    assert '<h2 class="verdict good">The selection is better than random</h2>' in page.read_text()
    assert "So &lt;it&gt; is." in page.read_text()
    leaks["leaking_rows"] = {"arm": 2}
    record.write_text(json.dumps(proof))
    page, _ = write_bundle(open_run(tmp_path / "run"), tmp_path / "shared")
    heading = "The selection is better than random, but the eval set leaks"
    assert f'<h2 class="verdict">{heading}</h2>' in page.read_text()
