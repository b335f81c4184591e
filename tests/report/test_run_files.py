from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from curate.report.run_files import PAGE, file_links
from curate.runs.folder import open_run

MakeRun = Callable[..., Path]


def test_every_file_is_linked_from_where_the_page_lies(make_run: MakeRun) -> None:
    run = make_run()
    (run / "report").mkdir()
    (run / PAGE).write_text("page")
    odd = run / "evidence/a b#1?%.parquet"
    odd.write_bytes(b"12345")
    links = file_links(open_run(run))
    assert [link.name for link in links][:5] == [
        "ledger.parquet", "selected.parquet", "rejects.parquet", "proof.json", "manifest.json",
    ]  # fmt: skip
    assert PAGE not in [link.name for link in links]
    for link in links:
        target = (run / "report" / unquote(link.href)).resolve()
        assert target == (run / link.name).resolve() and target.stat().st_size == link.size
    assert next(link for link in links if link.name.startswith("evidence/a")).href == (
        "../evidence/a%20b%231%3F%25.parquet"
    )


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "javascript:alert(1)"])
def test_names_that_lead_out_of_the_folder_are_not_linked(make_run: MakeRun, name: str) -> None:
    run = make_run()
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"files": [name, "ledger.parquet"]}))
    assert [link.name for link in file_links(open_run(run))] == ["ledger.parquet", "manifest.json"]
