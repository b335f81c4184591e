"""The table and a row in full, as pages: contents, links, and that texts are no markup."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from starlette.testclient import TestClient

from curate.view.app import build_app
from curate.view.context import ViewContext, open_context
from tests.report.realrun import finish, recipe, write_inputs

HOSTILE = "<script>alert(1)</script><b onclick=x>\u202egnp.exe\u202c{{ 7*7 }}"


def links(page: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'href="([^"]*)"', page)]


def row_links(page: str) -> list[tuple[str, str]]:
    """Return id and filter of the links to rows."""
    queries = [parse_qs(urlsplit(link).query) for link in links(page) if link.startswith("/row?")]
    return [(query["id"][0], query.get("rows", [""])[0]) for query in queries]


def ledger(context: ViewContext, **values: str) -> list[dict[str, Any]]:
    return context.rows.ledger.filter(**values).to_dicts()


def test_the_table_has_each_row_with_fate_and_texts(
    view_client: TestClient, view_context: ViewContext
) -> None:
    page = view_client.get("/rows?fate=dropped&stage=fuzzy").text
    dropped = ledger(view_context, stage="fuzzy")
    assert f"{len(dropped)} of {view_context.rows.height} rows" in page
    for row in dropped[:50]:
        assert (row["row_id"], "fate=dropped&stage=fuzzy") in row_links(page)
    responses = view_context.rows.frame(["stage", "response"]).filter(stage="fuzzy")["response"]
    assert str(responses[0]) in page
    assert "it shares most of its n-grams" in page
    assert "fate = &#39;dropped&#39; AND stage = &#39;fuzzy&#39;" in page


def test_evidence_that_the_address_speaks_of_is_a_column(view_client: TestClient) -> None:
    page = view_client.get("/rows?column=fuzzy.score&low=0.7&where=rules.copied IS NOT NULL").text
    heads = re.findall(r"<th scope=\"col\".*?<bdi>(.*?)</bdi>", page)
    assert heads == [
        "row", "fate", "score", "rank", "fuzzy.score", "rules.copied", "prompt", "response",
    ]  # fmt: skip


def test_a_condition_at_fault_stays_in_its_field_with_a_sentence(view_client: TestClient) -> None:
    page = view_client.get("/rows", params={"where": "sorce = 'web'"})
    assert page.status_code == 400
    assert 'value="sorce = &#39;web&#39;"' in page.text
    assert "Did you mean source" in page.text
    assert "0 of " in page.text


def test_pages_lead_to_one_another_and_the_last_is_the_end(view_client: TestClient) -> None:
    page = view_client.get("/rows").text
    assert "/rows?page=2" in links(page)
    assert "Page 1 of 4" in page
    assert "Page 4 of 4" in view_client.get("/rows?page=999").text


def test_every_link_of_the_table_is_a_page(view_client: TestClient) -> None:
    page = view_client.get("/rows?fate=dropped&text=may&sort=-score").text
    paths = {link for link in links(page) if link.startswith("/")}
    assert len(paths) > 10
    assert {path: view_client.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


def test_a_duplicate_is_beside_the_row_that_it_repeats(
    view_client: TestClient, view_context: ViewContext
) -> None:
    row = next(r for r in ledger(view_context, stage="fuzzy") if r["score"] < 1)
    page = view_client.get("/row", params={"id": row["row_id"]}).text
    assert "Dropped by the stage fuzzy" in page
    assert (row["duplicate_of"], "") in row_links(page)
    assert "<mark>" in page
    kept = view_client.get("/row", params={"id": row["duplicate_of"]}).text
    assert "Dropped in its favour" in kept
    assert (row["row_id"], "") in row_links(kept)
    table = next(link for link in links(kept) if link.startswith("/rows?where="))
    assert parse_qs(urlsplit(table).query)["where"] == [f"duplicate_of = '{row['duplicate_of']}'"]
    assert view_client.get(table).status_code == 200


def test_a_leak_has_its_words_marked_in_the_row_and_in_the_example(
    view_client: TestClient, view_context: ViewContext
) -> None:
    row = next(r for r in ledger(view_context, stage="leaks") if r["reason"] != "leak_exact")
    page = view_client.get("/row", params={"id": row["row_id"]}).text
    assert "Holds the prompt of the eval example" in page
    marked = re.findall("<mark>(.*?)</mark>", page)
    assert len(marked) == 2
    assert marked[0] == marked[1]


def test_rows_before_and_after_are_those_of_the_filter(
    view_client: TestClient, view_context: ViewContext
) -> None:
    dropped = [row["row_id"] for row in ledger(view_context, stage="fuzzy")]
    page = view_client.get("/row", params={"id": dropped[1], "rows": "stage=fuzzy"}).text
    for name, row_id in (("prev", dropped[0]), ("next", dropped[2])):
        link = re.search(f'<a rel="{name}" href="([^"]*)"', page)
        assert link is not None
        assert parse_qs(urlsplit(html.unescape(link[1])).query) == {
            "id": [row_id], "rows": ["stage=fuzzy"],
        }  # fmt: skip
    assert (
        'rel="prev"'
        not in view_client.get("/row", params={"id": dropped[0], "rows": "stage=fuzzy"}).text
    )


def test_examples_of_the_target_have_a_page_and_other_ids_a_sentence(
    view_client: TestClient,
) -> None:
    page = view_client.get("/row?id=target/target.jsonl:1")
    assert page.status_code == 200
    assert "An example of the target; such rows are never selected" in page.text
    page = view_client.get("/row?id=<b>")
    assert page.status_code == 400
    assert "has no row" in page.text
    assert "<b>" not in page.text


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_inputs(folder, taint=f" {HOSTILE}", rows=8)
    (folder / "pool.jsonl").open("a").write(
        '{"prompt": "long", "completion": "' + "W" * 2**20 + '"}\n'
    )
    stages: list[dict[str, Any]] = [{"kind": "exact"}, {"kind": "leaks", "warn": 0.3}]
    return finish(recipe(folder, tiny, stages), folder / "run")


def test_texts_of_rows_are_no_markup_and_their_control_signs_are_seen(hostile_run: Path) -> None:
    context = open_context(hostile_run)
    client = TestClient(build_app(context))
    texts = [client.get(f"/rows{query}").text for query in ("", f"?text={quote(HOSTILE)}")]
    ids = context.rows.ledger["row_id"].to_list()
    texts += [client.get("/row", params={"id": row_id}).text for row_id in ids[:30]]
    for page in texts:
        assert "<script>alert" not in page
        assert "<b onclick" not in page
        assert "\u202e" not in page
        assert "49" not in re.findall("gnp.exe(.{0,20})", page)
    assert "&lt;script&gt;alert(1)" in texts[-1]
    assert "\\u202egnp.exe\\u202c{{ 7*7 }}" in texts[-1]


def test_a_text_of_a_megabyte_is_cut_until_all_of_it_is_asked_for(hostile_run: Path) -> None:
    context = open_context(hostile_run)
    client = TestClient(build_app(context))
    row_id = context.rows.ledger["row_id"][-1]
    page = client.get("/row", params={"id": row_id}).text
    assert len(page) < 50_000
    link = next(link for link in links(page) if "all=1" in link)
    assert "W" * 2**20 in client.get(link).text
    assert len(client.get("/rows?text=WWWWWW").text) < 100_000


def test_texts_that_are_gone_are_said_and_the_rest_is_there(view_run: Path, tmp_path: Path) -> None:
    shutil.copytree(view_run, tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    text = manifest.read_text()
    store = re.search(r'"store": ?"([^"]*)"', text)
    assert store is not None
    manifest.write_text(text.replace(store[1], str(tmp_path / "gone")))
    client = TestClient(build_app(open_context(tmp_path / "run")))
    answer = client.get("/rows?stage=fuzzy")
    page = answer.text
    assert answer.status_code == 200
    assert "the texts of its rows are gone" in page
    assert "fuzzy duplicate" in page
    assert client.get("/rows?text=may").status_code == 400
    ledger = open_context(tmp_path / "run").rows.ledger
    dropped, chosen = (ledger.filter(fate=fate)["row_id"][0] for fate in ("dropped", "selected"))
    assert "no longer in the store" in client.get("/row", params={"id": dropped}).text
    assert "Answer" in client.get("/row", params={"id": chosen}).text
