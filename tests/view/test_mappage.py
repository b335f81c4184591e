"""The map's page: figures as in the table of points, faults as sentences, the Parquet of the points."""

from __future__ import annotations

import io
import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
from starlette.testclient import TestClient

from curate.config.recipe import Config
from curate.models.embed import embed_texts
from curate.view.app import build_app
from curate.view.context import open_context
from tests.report.realrun import finish, recipe, write_inputs


def cells(page: str, table: str) -> list[list[str]]:
    """Return the texts of a table's cells, found by a class or a label."""
    start = page.index(table)
    body = page[start : page.index("</table>", start)]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    texts = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in texts]


def test_the_map_has_the_counts_of_the_ledger(mapped_client: TestClient, mapped_run: Path) -> None:
    page = mapped_client.get("/map")
    assert page.status_code == 200
    counts = dict(pl.read_parquet(mapped_run / "ledger.parquet").group_by("fate").len().iter_rows())
    expected = {
        "selected": counts["selected"],
        "not selected": counts["not_selected"],
        "dropped": counts["dropped"],
        "target examples": 2,
    }
    assert {row[0]: int(row[1]) for row in cells(page.text, 'class="legend"')[1:]} == expected
    assert '<a href="/map" aria-current="page">Map</a>' in page.text


def test_a_brushed_area_lists_its_rows_with_links(mapped_client: TestClient) -> None:
    page = mapped_client.get("/map?left=-1&right=0").text
    lines = cells(page, '<th scope="col">row</th>')
    assert len(lines) > 5
    row_id = lines[-1][0]
    assert f"/row?id={row_id.replace('/', '%2F').replace(':', '%3A')}" in page
    assert mapped_client.get("/map?left=2&right=3").text.count("0 points in the area") == 1


def test_a_limit_that_is_no_number_is_a_sentence(mapped_client: TestClient) -> None:
    page = mapped_client.get("/map?left=<b>x")
    assert page.status_code == 400
    assert "left: &lt;b&gt;x is no number" in page.text


def test_other_vectors_are_another_map(mapped_client: TestClient) -> None:
    page = mapped_client.get("/map?vectors=nothing")
    assert page.status_code == 400
    assert "the run has none of this name" in page.text


def test_a_point_says_what_it_is(mapped_client: TestClient, mapped_run: Path) -> None:
    first = pl.read_parquet(mapped_run / "ledger.parquet").row(0, named=True)
    point = mapped_client.get("/map/point?point=0").json()
    assert point["row_id"] == first["row_id"]
    assert point["facts"].startswith(first["fate"].replace("_", " "))
    assert "Answer 0." in point["text"]
    for number in ("-1", "x", "9999999", "", "٣"):
        assert mapped_client.get(f"/map/point?point={number}").status_code == 400


def test_the_parquet_has_places_scores_and_texts(
    mapped_client: TestClient, mapped_run: Path
) -> None:
    answer = mapped_client.get("/map/rows.parquet")
    assert 'filename="mapped-map.parquet"' in answer.headers["content-disposition"]
    table = pl.read_parquet(io.BytesIO(answer.content))
    ledger = pl.read_parquet(mapped_run / "ledger.parquet")
    own = table.filter(pl.col("fate") != "target")
    assert own["row_id"].to_list() == ledger["row_id"].to_list()
    assert own["x"].is_finite().all()
    fuzzy = pl.read_parquet(mapped_run / "evidence" / "fuzzy.parquet").select("row_id", "score")
    joined = own.join(fuzzy, on="row_id", how="left", maintain_order="left")
    assert joined["fuzzy_score"].equals(joined["score_right"], null_equal=True)
    assert table.filter(fate="target")["text"].str.ends_with("Eval answer.").all()
    assert own["text"].null_count() == 0
    vectors = table["vector"].to_list()
    expected = embed_texts(table["text"].to_list(), "static")
    near = [float(one @ other) for one, other in zip(expected, np.array(vectors), strict=True)]
    exact = table["stage"].is_in(["exact", "fuzzy"]).fill_null(False)
    assert min(pl.Series(near).filter(~exact)) > 0.9999
    assert min(near) > 0.5


def test_a_run_without_vectors_says_which_step_would_store_some(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path)
    settings = recipe(tmp_path, tiny, [{"kind": "exact"}]).model_dump(mode="json")
    run = finish(Config.model_validate(settings | {"target": None}), tmp_path / "plain")
    page = TestClient(build_app(open_context(run))).get("/map").text
    assert "<code>semantic</code>" in page
    assert "curate run RECIPE --set" in page


def test_a_store_that_lost_the_vectors_says_so(mapped_run: Path, tmp_path: Path) -> None:
    shutil.copytree(mapped_run.parent / "store", tmp_path / "store")
    shutil.copytree(mapped_run, tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(
        manifest.read_text().replace(str(mapped_run.parent / "store"), str(tmp_path / "store"))
    )
    for path in (tmp_path / "store").glob("embed-*"):
        shutil.rmtree(path)
    client = TestClient(build_app(open_context(tmp_path / "run")))
    assert "has lost" in client.get("/map").text
    shutil.rmtree(tmp_path / "store")
    client = TestClient(build_app(open_context(tmp_path / "run")))
    assert "has lost the rows" in client.get("/map").text
