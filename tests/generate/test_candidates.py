"""Ids, rows and the table of candidates."""

from __future__ import annotations

import orjson
import pyarrow as pa

from curate.core.rows import SCHEMA
from curate.core.turntext import plain_messages
from curate.generate.candidates import Candidate, RejectReason, pair, rows_of, table_of


def candidate(prompt: str = "2 + 2?", response: str = "4", **more: object) -> Candidate:
    return Candidate(pair(prompt, response), "aide", **{"parents": ("t/1",), **more})  # type: ignore[arg-type]


def test_an_id_says_what_it_was_made_from() -> None:
    assert candidate().row_id == candidate(notes={"grade": 7}).row_id
    others = [
        candidate("2 + 3?"),
        candidate(parents=("t/2",)),
        candidate(hop=2),
        Candidate(candidate().messages, "x"),
    ]
    assert len({candidate().row_id, *(o.row_id for o in others)}) == 5
    assert candidate(parents=("a", "b")).row_id == candidate(parents=("b", "a")).row_id
    assert candidate().row_id.startswith("aide/")


def test_kept_candidates_become_rows_once() -> None:
    kept = candidate(hop=2, notes={"topic": "sums", "n": 1})
    frame = rows_of([kept, candidate(), candidate("x?").drop(RejectReason.NOT_NEW), kept], "made")
    assert frame["row_id"].to_list() == [kept.row_id, candidate().row_id]
    first = frame.row(0, named=True)
    assert plain_messages(first["messages"]) == pair("2 + 2?", "4")
    assert (first["parents"], first["method"], first["hop"]) == (["t/1"], "aide", 2)
    assert orjson.loads(first["meta"]) == {"topic": "sums", "n": 1}
    assert first["source"] == "made"
    arrow = frame.to_arrow()
    assert arrow.column_names == SCHEMA.names
    assert arrow.schema.field("hop").type == pa.int32()
    assert rows_of([], "made").schema == frame.schema


def test_every_candidate_is_in_the_table_with_its_flaw() -> None:
    alone = Candidate(
        [{"role": "user", "content": "Only asked"}], "evolve", reject_reason=RejectReason.TRUNCATED
    )
    table = table_of([candidate(), candidate("y?").drop(RejectReason.LOW_GRADE, "3 of 10"), alone])
    assert table["flaw"].to_list() == [None, "low_grade", "truncated"]
    assert table["detail"].to_list() == ["", "3 of 10", ""]
    assert table["response"].to_list() == ["4", "4", ""]
    assert table_of([]).schema == table.schema


def test_tools_are_of_the_row_and_stand_in_the_first_turn_that_a_template_sees() -> None:
    plain, declaring = candidate(), candidate(tools='[{"name": "add"}]')
    assert plain.conversation == plain.messages
    assert [turn.get("tools") for turn in declaring.conversation] == [declaring.tools, None]
    assert "tools" not in declaring.messages[0]
    frame = rows_of([plain, declaring], "generated")
    assert frame["tools"].to_list() == [None, declaring.tools]
    assert frame["content_hash"].n_unique() == frame["text_hash"].n_unique() == 2
    assert plain.row_id != declaring.row_id
