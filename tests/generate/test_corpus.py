"""A corpus: which files are read, how documents are cut, what a bad file is told."""

from __future__ import annotations

import gzip
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.generate.corpus import CorpusFiles, cut, read_passages
from curate.generate.methods.craft import CraftGenerator
from curate.generate.step import method_source
from curate.text.words import count_words
from tests.httpserver import serving
from tests.hubcache import cache_dataset


def test_json_lines_and_plain_texts(tmp_path: Path) -> None:
    lines = [{"text": "One."}, {"title": "Two", "body": "Second."}, "Third."]
    (tmp_path / "b.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("﻿First line.\nSecond line.\n")
    (tmp_path / "c.json").write_text(json.dumps([{"content": "Fourth."}]))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Fifth."}'))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    passages = read_passages(CorpusFiles(path=str(tmp_path)), 50)
    assert [(p.passage_id, p.text) for p in passages] == [
        ("corpus/a/notes.txt", "First line.\nSecond line."),
        ("corpus/b.jsonl:1", "One."),
        ("corpus/b.jsonl:3", "Two\n\nSecond."),
        ("corpus/b.jsonl:5", "Third."),
        ("corpus/c.json:1", "Fourth."),
        ("corpus/d.jsonl.gz:1", "Fifth."),
    ]
    assert [p.text for p in read_passages(CorpusFiles(path=str(tmp_path / "a" / "*.txt")), 2)] == [
        "First line.",
        "Second line.",
    ]
    one = read_passages(CorpusFiles(path=str(tmp_path / "b.jsonl")), 50)
    assert [p.passage_id for p in one] == [
        "corpus/b.jsonl:1",
        "corpus/b.jsonl:3",
        "corpus/b.jsonl:5",
    ]


def test_long_documents_are_cut_at_sentences(tmp_path: Path) -> None:
    text = "One two three. Four five six seven. Eight nine\nten eleven twelve thirteen."
    (tmp_path / "t.txt").write_text(text)
    passages = read_passages(CorpusFiles(path=str(tmp_path / "t.txt")), 8)
    assert [(p.passage_id, p.text) for p in passages] == [
        ("corpus/t.txt", "One two three. Four five six seven."),
        ("corpus/t.txt#2", "Eight nine\nten eleven twelve thirteen."),
    ]
    # A sentence that ends too early leaves a passage less than half full.
    assert cut("A b. C d e f g h i j", 6) == ["A b. C d e f", "g h i j"]
    assert cut(" \n ", 5) == []


@given(st.text(alphabet="ab. \n", max_size=120), st.integers(1, 12))
def test_nothing_is_lost(text: str, words: int) -> None:
    passages = cut(text, words)
    assert " ".join(passages).split() == text.split()
    assert all(0 < len(passage.split()) <= words for passage in passages)
    assert len(passages) <= 1 + 2 * len(text.split()) // words + 1


@given(st.text(alphabet="天地・ab。 \n", max_size=120), st.integers(1, 12))
def test_texts_without_spaces_are_cut_too(text: str, words: int) -> None:
    passages = cut(text, words)
    assert "".join("".join(passages).split()) == "".join(text.split()) or not count_words(text)
    assert all(0 < count_words(passage) <= words for passage in passages)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"titel": "y", "n": 1}\n', r"a\.jsonl:2: .*keys are titel, n"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', r"a\.jsonl:2: a line of the corpus is no JSON"),
        ("a.jsonl", b'{"text": "x"}\n7\n', r"a\.jsonl:2: .* not int"),
        ("a.txt", b"first\nsecond \xff\n", r"a\.txt:2: the corpus is not UTF-8"),
        ("a.txt", b" \n", "no text at all"),
        ("a.png", b"x", "no file under .* ends in one of"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_passages(CorpusFiles(path=str(tmp_path)), 50)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="file or folder is at"):
        read_passages(CorpusFiles(path=str(tmp_path / "none")), 50)


OLD, NEW = "a" * 40, "b" * 40


def documents(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with a data set of documents in it, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    files = {"train.jsonl": documents("Tides.", "Moons."), "test.jsonl": documents("Suns.")}
    cache_dataset(tmp_path / "hub", "owner/docs", files, OLD)
    return tmp_path / "hub"


def test_a_data_set_of_the_hub_is_a_corpus(hub: Path) -> None:
    craft = CraftGenerator.model_validate({"corpus": {"path": "owner/docs", "split": "train"}})
    passages = read_passages(craft.corpus, 50)
    assert [(p.passage_id, p.text) for p in passages] == [
        ("corpus/train/train.jsonl:1", "Tides."),
        ("corpus/train/train.jsonl:2", "Moons."),
    ]
    by_path = CraftGenerator.model_validate({"corpus": "hf://datasets/owner/docs/te*.jsonl"})
    assert [p.text for p in read_passages(by_path.corpus, 50)] == ["Suns."]
    with pytest.raises(UserError, match=r"corpus: owner/docs has several splits \(.*`split: "):
        read_passages(CorpusFiles(path="owner/docs"), 50)


def test_a_corpus_whose_branch_has_moved_is_another(hub: Path) -> None:
    corpus = CorpusFiles(path="owner/docs", split="train")
    source = method_source({"method": "craft", "corpus": corpus.model_dump()}, None)
    assert source.files == {"corpus": [("train/train.jsonl", OLD)]}
    digests = dict(source.files["corpus"])
    assert len(read_passages(corpus, 50, digests)) == 2
    cache_dataset(hub, "owner/docs", {"train.jsonl": documents("Stars.")}, NEW)
    with pytest.raises(UserError, match="owner/docs"):
        read_passages(corpus, 50, digests)


def test_a_page_of_the_web_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "tides.md").write_text("The moon pulls.")
    (tmp_path / "more.jsonl").write_bytes(documents("The sun too."))
    with serving(partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as url:
        passages = read_passages(CorpusFiles(path=f"{url}/"), 50)
        assert {p.passage_id: p.text for p in passages} == {
            "corpus/more.jsonl:1": "The sun too.",
            "corpus/tides.md": "The moon pulls.",
        }
        one = read_passages(CorpusFiles(path=f"{url}/tides.md"), 50)
        assert [p.passage_id for p in one] == ["corpus/tides.md"]
