"""The public face: rows of any kind in, frames out, the same results as of recipes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

import curate
from curate.core.errors import UserError
from curate.core.rows import Message
from curate.core.turntext import conversations
from tests.conftest import turns
from tests.hubcache import cache_dataset

RECORDS = [
    {"prompt": "What is two plus two, my friend?", "completion": "It is four, as ever."},
    {"prompt": "What is two plus two, my friend?", "completion": "It is four, as ever."},
    {"prompt": "Name a river of France.", "completion": "The Loire."},
    {"prompt": "", "completion": "to nothing"},
    {"prompt": "Name a colour of the sky.", "completion": "Blue."},
]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the default store lie in a folder of the test."""
    monkeypatch.chdir(tmp_path)


def written(path: Path, rows: list[list[Message]]) -> str:
    path.write_text("\n".join(json.dumps({"messages": row}) for row in rows))
    return str(path)


@pytest.mark.system
def test_importing_curate_loads_nothing_heavy_and_names_everything() -> None:
    code = (
        "import sys, curate; heavy = {'torch', 'polars', 'prefect', 'numpy'} & set(sys.modules); "
        "print(sorted(heavy), sorted(set(curate.__all__) - set(dir(curate))), curate.dedup.__name__)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout.split("\n")[0] == "[] [] dedup"
    with pytest.raises(AttributeError, match="no attribute 'dedupe'"):
        _ = curate.dedupe


def as_dataset(records: list[dict[str, str]]) -> Any:
    return pytest.importorskip("datasets").Dataset.from_list(records)


def as_iterable(records: list[dict[str, str]]) -> Any:
    return as_dataset(records).to_iterable_dataset()


def as_mapped_iterable(records: list[dict[str, str]]) -> Any:
    """A data set whose columns are not known before it is read."""
    return as_iterable(records).map(dict)


def as_selection(records: list[dict[str, str]]) -> Any:
    """A data set whose rows are not in the order of its table, which holds others too."""
    backwards = [*reversed(records), {"prompt": "?", "completion": "."}]
    return as_dataset(backwards).select(range(len(records) - 1, -1, -1))


def as_pandas(records: list[dict[str, str]]) -> Any:
    return pytest.importorskip("pandas").DataFrame(records)


def as_arrow(records: list[dict[str, str]]) -> Any:
    return pl.DataFrame(records).to_arrow()


def as_lazy(records: list[dict[str, str]]) -> pl.LazyFrame:
    return pl.LazyFrame(records)


FORMS = [list, pl.DataFrame, as_lazy, as_arrow, as_dataset, as_pandas, as_iterable,
         as_mapped_iterable, as_selection]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_read_from_whatever_holds_them(form: Any) -> None:
    rows = curate.read(form(RECORDS), max_rejected=0.5)
    assert len(rows) == 4
    assert rows.rejects["reason"].to_list() == ["empty_prompt"]
    assert conversations(rows.frame)[1] == turns(*RECORDS[1].values())
    assert "4 rows, 1 rejected" in repr(rows)
    assert "<table" in rows._repr_html_()


def test_a_dataset_is_written_by_batches_and_keeps_the_names_of_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["bad", "good"])
    reviews = [{"text": f"film {i}", "label": i % 2} for i in range(2_500)]

    def loaded() -> Any:
        return datasets.Dataset.from_list(reviews).cast_column("label", names)

    Path("review.j2").write_text("Judge: {{ text }} ||| {{ label }}")
    rows = curate.read(loaded(), template="review.j2")
    assert len(rows) == 2_500
    assert conversations(rows.frame)[1] == turns("Judge: film 1", "good")
    # Loaded again it is the same file, and of its table no more than a batch was held.
    assert len(curate.read(loaded(), template="review.j2")) == 2_500
    [file] = (tmp_path / ".curate" / "inputs").iterdir()
    assert pq.ParquetFile(file).metadata.num_row_groups == 3


def test_a_data_set_of_the_hub_is_read_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = json.dumps(RECORDS[2]).encode()
    cache_dataset(tmp_path / "hub", "o/n", {"train.jsonl": line, "test.jsonl": line}, "c" * 40)
    rows = curate.read("o/n", split="test", revision="c" * 40)
    assert rows.frame["row_id"].to_list() == ["n/test/test.jsonl:1"]
    with pytest.raises(UserError, match=r"several splits \(train, test\)"):
        curate.read("o/n")
    with pytest.raises(UserError, match="take no split; read them anew"):
        curate.read(rows, split="train")


def test_a_dataset_of_several_splits_is_told(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    both = datasets.DatasetDict(train=as_dataset(RECORDS), test=as_dataset(RECORDS))
    with pytest.raises(
        UserError, match=r"splits \(train, test\); give one, e.g. dataset\['train'\]"
    ):
        curate.read(both)
    assert len(curate.read(datasets.DatasetDict(train=as_dataset(RECORDS[:2])))) == 2


def test_rows_with_many_rejected_records_are_read_once_allowed_so() -> None:
    records = [{"prompt": "a", "completion": "b"}, {"prompt": "", "completion": "c"}]
    rows = curate.read(records, max_rejected=0.5)
    assert len(curate.dedup(rows).kept) == 1
    assert curate.select(rows, method="random", rows=1).indices == [0]


def test_rows_are_read_from_files(tmp_path: Path) -> None:
    one = written(tmp_path / "one.jsonl", [turns("a", "b")])
    two = written(tmp_path / "two.jsonl", [turns("c", "d")])
    assert curate.read(one).frame["row_id"].to_list() == ["one/one.jsonl:1"]
    assert len(curate.read(Path(one))) == 1
    assert len(curate.read([one, Path(two)])) == 2
    named = [{"q": "a", "a": "b"}]
    fields = {"prompt": "q", "response": "a"}
    assert curate.read(named, fields=fields).frame.pipe(conversations)[0] == turns("a", "b")


def test_nested_columns_of_pandas_are_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    records = [turns("a", "b"), turns("c", "d")]
    pl.DataFrame({"messages": records}).write_parquet(tmp_path / "pool.parquet")
    frame = pandas.read_parquet(tmp_path / "pool.parquet")
    assert conversations(curate.read(frame).frame) == records


def test_what_a_frame_holds_is_lost_in_no_silence() -> None:
    pandas = pytest.importorskip("pandas")
    stamps = [pandas.Timestamp("2026-01-01"), None]
    frame = pandas.DataFrame({"prompt": ["a", "c"], "completion": ["b", "d"], "when": stamps})
    metas = [json.loads(meta) for meta in curate.read(frame).frame["meta"]]
    assert metas == [{"when": "2026-01-01 00:00:00"}, {"when": None}]
    doubled = pandas.DataFrame([["a", "b", "c"]], columns=["prompt", "completion", "completion"])
    with pytest.raises(UserError, match="two columns of the frame have the name 'completion'"):
        curate.read(doubled)


def test_records_are_read_or_rejected_as_those_of_a_file_are() -> None:
    records = [
        {"prompt": "a", "completion": "b", "id": 10**30, "took": timedelta(1)},
        {"prompt": "half \ud83d", "completion": "d"},
    ]
    rows = curate.read(records, max_rejected=0.5)
    assert json.loads(rows.frame["meta"][0]) == {"id": 10**30, "took": "1 day, 0:00:00"}
    assert rows.rejects["reason"].to_list() == ["bad_json"]


def test_what_json_cannot_say_is_a_sentence() -> None:
    with pytest.raises(UserError, match="a record cannot be written as JSON"):
        curate.read([{"prompt": "a", "completion": {1, 2}}])


@pytest.mark.parametrize("form", [list, pl.DataFrame, as_dataset])
def test_indices_are_of_the_records_given_also_behind_a_rejected_one(form: Any) -> None:
    """Numbers of rows that were read would name the wrong records of a Dataset."""
    names = [str(n) for n in range(30)]
    records = [{"prompt": f"Say {n}", "completion": n} for n in names]
    records[4] = {"prompt": "", "completion": "rejected"}
    records[9] = records[3]
    expected = [n for n in range(30) if n not in (4, 9)]
    verdicts = curate.dedup(form(records), fuzzy=None)
    assert verdicts.indices == expected
    selection = curate.select(form(records), method="random", rows=29)
    assert [names[i] if i != 9 else "3" for i in selection.indices] == [
        messages[-1]["content"] for messages in selection.rows["messages"]
    ]
    rows = curate.read(form(records))
    again = curate.dedup(rows, fuzzy=None)
    kept = again.kept.frame["messages"]
    assert rows.frame[again.indices]["messages"].to_list() == kept.to_list()


@pytest.mark.parametrize("source", [3, [1, 2], {"a": 1}, object()])
def test_a_source_without_rows_is_a_sentence(source: Any) -> None:
    with pytest.raises(UserError, match="rows are given as a path, a list of dicts, a frame"):
        curate.read(source)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"fields": {"prompt": "q", "answer": "a"}},
            r"^fields.answer: unknown key; known keys: mess",
        ),
        ({"fields": "q"}, r"^fields: Input should be a mapping of keys \(got 'q'\)$"),
        ({"labels": {"a": 7}}, r"^labels.a"),
    ],
)
def test_settings_that_are_none_are_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        curate.read(RECORDS, **settings)


def test_dedup_says_which_rows_are_left_and_why(tmp_path: Path) -> None:
    records = [r for r in RECORDS if r["prompt"]]
    verdicts = curate.dedup(records)
    assert verdicts.indices == [0, 2, 3]
    assert [records[i]["completion"] for i in verdicts.indices] == [
        row[-1]["content"] for row in verdicts.kept.frame["messages"]
    ]
    line = verdicts.dropped.row(0, named=True)
    assert (line["stage"], line["reason"]) == ("exact", "exact_duplicate")
    assert line["duplicate_of"].endswith(":1")
    assert repr(verdicts) == "3 rows kept, 1 dropped (1 exact_duplicate)"
    assert "<table" in verdicts._repr_html_()
    assert curate.dedup(records, exact=False, fuzzy=None).indices == [0, 1, 2, 3]
    assert len(curate.dedup(verdicts.kept).kept) == 3


def test_kept_rows_keep_turns_origin_and_upstream_fields_and_name_the_row_read_first() -> None:
    records = [
        {"messages": turns(f"question {n}", "a"), "origin": "forum", "topic": {"n": n}}
        for n in (1, 1, 2)
    ]
    first = curate.read(records).frame
    kept = curate.rules(curate.dedup(records, fuzzy=None).kept, length=False).kept.frame
    assert kept["messages"].to_list() == first["messages"].gather([0, 2]).to_list()
    assert kept["origin"].to_list() == first["origin"].gather([0, 2]).to_list()
    upstream = [json.loads(meta) for meta in kept["meta"]]
    assert [fields.pop("row_id") for fields in upstream[:1]] == first["row_id"].head(1).to_list()
    assert upstream[0] == json.loads(first["meta"][0])


def test_a_threshold_moves_from_what_is_stored(tmp_path: Path) -> None:
    long = " ".join(
        f"{a}{b}"
        for a in ["river", "stone", "cloud", "lamp"]
        for b in ("let", "ing", "y", "ful", "ish", "er")
    )
    pool = [turns(f"{long} here", "yes"), turns(f"{long} there", "yes"), turns("another", "no")]
    verdicts = curate.dedup(written(tmp_path / "pool.jsonl", pool), fuzzy=0.7)
    assert len(verdicts.kept) == 2
    similarity = verdicts.pairs["similarity"][0]
    assert len(verdicts.rethreshold(similarity + 0.01).kept) == 3
    assert len(verdicts.rethreshold(0.65).kept) == 2
    with pytest.raises(UserError, match="the last stage has no threshold"):
        curate.rules([{"prompt": "a b", "completion": "c d"}]).rethreshold(0.5)
    with pytest.raises(UserError, match="there are no pairs"):
        _ = curate.rules([{"prompt": "a b", "completion": "c d"}]).pairs


def test_leaks_and_rules_judge_as_their_stages_do() -> None:
    prompt = "Which of these eight words does the eval set hold as well"
    rows = [{"prompt": prompt, "completion": "a"}, {"prompt": "Tell me more", "completion": "b"}]
    assert curate.leaks(rows, [{"prompt": prompt}]).indices == [1]
    broken = [{"prompt": "Say it", "completion": "As an AI language model, I cannot do that."}]
    verdicts = curate.rules([*rows, *broken], length=False)
    assert verdicts.dropped["reason"].to_list() == ["refusal"]


def test_a_selection_has_rows_ranking_and_other_plans() -> None:
    pool = [
        {"prompt": f"Tell me of {w}", "completion": "Yes."} for w in ("rivers", "stones", "rain")
    ]
    target = [{"prompt": "What of rivers", "completion": "They flow."}]
    selection = curate.select(pool, target, method="bm25", rows=1)
    assert selection.indices == [0]
    assert selection.rows["messages"][0][0]["content"] == "Tell me of rivers"
    assert selection.ranking.height == 3
    evidence = selection.explain(selection.rows["row_id"][0])
    assert (evidence["rank"], evidence["selected"]) == (1, True)
    assert selection.plan(rows=2).indices[0] == 0
    assert selection.plan(rows=2).rows.height == 2
    assert "1 of 3 rows by bm25" in repr(selection)
    with pytest.raises(UserError, match="there is no row 'x'; ids look like rows/"):
        selection.explain("x")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "rsd"}, r"^select: unknown 'method' 'rsd'; known: .*rds"),
        ({"method": "bm25"}, r"^select.method: 'bm25' needs `target:` examples"),
        ({"method": "random", "hue": 1}, r"^select.hue: unknown key"),
        ({"method": "random", "tokens": 5}, r"exactly one of rows, tokens and fraction"),
    ],
)
def test_a_wrong_setting_is_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        curate.select([RECORDS[2]], rows=1, **settings)


def test_a_proof_needs_a_target_and_says_its_verdict(tiny: Path) -> None:
    words = ("river", "stone", "cloud", "lamp", "paper", "glass", "field", "tree")
    pool = [
        {"prompt": f"Tell me of the {one} and the {two}", "completion": f"The {one} is a {two}."}
        for one in words
        for two in words[:4]
    ]
    examples = [{"prompt": f"Say more of {w}", "completion": f"More of {w}."} for w in words]
    models = {"base": str(tiny), "dtype": "float32", "embedder": "static"}
    selection = curate.select(pool, examples[:3], method="bm25", rows=6, models=models)
    lora = {"rank": 2, "epochs": 1, "batch_rows": 4, "max_length": 128}
    proof = curate.prove(selection, examples[3:], draws=2, seeds=1, written=0, lora=lora)
    assert str(proof) == proof.details["sentence"]
    low, high = proof.interval["random_rows"]
    assert low == -high < 0
    assert f"±{high:.3f}" in proof.sentence
    assert proof.verdict in proof._repr_html_()
    alone = curate.select(pool, method="random", rows=6)
    with pytest.raises(UserError, match="a proof is of a skill"):
        curate.prove(alone, examples[3:])


def test_a_recipe_runs_from_a_dictionary_and_from_a_file(tmp_path: Path) -> None:
    recipe = {
        "name": "small",
        "pool": written(tmp_path / "pool.jsonl", [turns("a", "b"), turns("c", "d")]),
        "select": {"method": "random", "budget": 1},
    }
    result = curate.run(recipe)
    assert result.folder == Path("runs/small")
    assert result.selected.height == 1
    assert result.ledger.height == 2
    assert result.sentence == "1 row selected; no proof was asked for"
    assert "report" in result._repr_html_()
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    again = curate.run("recipe.yaml", out="elsewhere")
    assert again.selected.equals(result.selected)
