"""Texts in scripts that an embedder does not cover: which they are, how compared, who is told."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.config.recipe import Config
from curate.core.stageinputs import StageInputs
from curate.core.store import Store
from curate.estimate.recipe import estimate
from curate.models.embed import covered_by, embed_survivors, embed_texts, unit
from curate.models.scripts import (
    LATIN,
    PROBES,
    covered_scripts,
    is_uncovered,
    main_scripts,
    script_sentences,
)
from curate.pipeline.curation import run_curation
from curate.report.data import gather
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from tests.conftest import StoreRun, row, run_stage, stored_rows, turns
from tests.models.languages import LANGUAGES, clean_rows, near_copy

STATIC = "static"
ROWS, COPIES = 150, 50
ENGLISH = [
    "How long do I boil an egg?",
    "Naïve café, déjà vu — 10 µm.",
    "",
    "Name a river: Po or 河?",
]


def one_direction(texts: Sequence[str]) -> NDArray[np.float32]:
    """An embedder to which all is the same."""
    return np.ones((len(texts), 1), dtype=np.float32)


def by_text(texts: Sequence[str]) -> NDArray[np.float32]:
    """An embedder to which no two texts are alike, whatever their script."""
    seeds = [np.random.default_rng(list(text.encode())) for text in texts]
    return unit(np.stack([seed.normal(size=64) for seed in seeds]).astype(np.float32))


def test_a_script_is_covered_if_unlike_sentences_have_unlike_vectors() -> None:
    assert covered_by("static") == (LATIN,)
    assert covered_scripts(by_text) == tuple(PROBES)

    def knows_russian(texts: Sequence[str]) -> NDArray[np.float32]:
        letters = [text for text in texts if "а" <= text[1] <= "я" or text.isascii()]
        return by_text(texts) if letters else np.full((len(texts), 64), 1 / 8, dtype=np.float32)

    assert covered_scripts(knows_russian) == (LATIN, "Cyrillic")


def test_an_embedder_without_a_token_for_a_script_does_not_cover_it() -> None:
    def ascii_only(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(by_text(texts) * np.array([[text.isascii()] for text in texts]))

    assert covered_scripts(ascii_only) == (LATIN,)


def test_what_tells_nothing_apart_in_latin_script_is_not_asked_for_more() -> None:
    assert covered_scripts(one_direction) == tuple(PROBES)


def test_a_tenth_of_the_letters_makes_a_text_one_of_another_script() -> None:
    texts = pl.Series([*ENGLISH, "Море", "a" * 9 + "я", "a" * 10 + "я", "12 🙂 ½", "Ελ", "a海"])
    uncovered = is_uncovered(texts, [LATIN]).to_list()
    assert uncovered == [False] * 4 + [True, True, False, False, True, True]
    assert is_uncovered(texts, [LATIN, "Cyrillic", "Greek", "Han"]).sum() == 0
    assert is_uncovered(pl.Series([], dtype=pl.String), [LATIN]).to_list() == []


def test_a_script_is_named_by_most_letters() -> None:
    texts = pl.Series(["море и 海", "海水", "ひらがな漢字", "ᚠᚢᚦ", "αβγ"])
    named = main_scripts(texts, [LATIN]).to_list()
    assert named == ["Cyrillic", "Han", "Hiragana", "other", "Greek"]


def test_texts_that_are_covered_have_the_vectors_of_the_embedder_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = embed_texts(ENGLISH, STATIC)
    others = ["Море солёное", *ENGLISH, "海水是咸的"]
    assert embed_texts(others, STATIC)[1:-1].tobytes() == alone.tobytes()

    def refuse(name: str) -> tuple[str, ...]:
        raise AssertionError("no embedder has to be asked what it covers")

    monkeypatch.setattr("curate.models.embed.covered_by", refuse)
    assert embed_texts(ENGLISH, STATIC).tobytes() == alone.tobytes()


def test_the_keys_of_blocks_that_are_covered_stay(store: Store) -> None:
    def keys(texts: Sequence[str]) -> list[dict[str, object]]:
        rows = stored_rows(store, "p", [row(f"r{i}", turns(t, "ok")) for i, t in enumerate(texts)])
        run = StoreRun(store, skipped=["embed"])
        embed_survivors(run, StageInputs(rows), "prompt", None)
        return [call.params for call in run.calls if call.name == "embed"]

    assert [sorted(params) for params in keys(["One egg", "An é"])] == [["model", "texts"]]
    assert [sorted(params) for params in keys(["One egg", "Море"])] == [
        ["model", "ngrams", "texts"]
    ]


def test_a_vector_depends_on_its_text_alone() -> None:
    texts = ["\n".join(pair) for name in LANGUAGES for pair in clean_rows(name, 5)]
    together = embed_texts(texts, STATIC)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for i in (0, 7, 29):
        assert embed_texts([texts[i]], STATIC).tobytes() == together[i].tobytes()


def test_texts_of_different_kinds_are_unlike() -> None:
    """Of an embedder's vectors and those of n-grams no pair is similar, whatever their languages."""
    english = [f"Explain to a {who} how {what} works in {where}."
               for who in ("child", "nurse", "pilot", "king")
               for what in ("rain", "a loan", "yeast", "a court", "chess")
               for where in ("Peru", "winter", "a port", "the army")]  # fmt: skip
    other = ["\n".join(pair) for name in LANGUAGES for pair in clean_rows(name, 100)]
    cosines = embed_texts(english, STATIC) @ embed_texts(other, STATIC).T
    assert abs(cosines.mean()) < 0.02
    assert np.abs(cosines).max() < 0.4


@pytest.mark.parametrize("kind", ["semantic", "fuzzy"])
@pytest.mark.parametrize("name", LANGUAGES)
def test_clean_rows_stay_and_near_copies_go(store: Store, name: str, kind: str) -> None:
    rng = random.Random(1)
    pairs = clean_rows(name, ROWS)
    pairs += [near_copy(name, pair, rng) for pair in pairs[:COPIES]]
    rows = [row(f"r{i}", turns(*pair)) for i, pair in enumerate(pairs)]
    evidence = run_stage(StoreRun(store), {"kind": kind}, stored_rows(store, "p", rows), {})
    gone = pl.read_parquet(evidence.file("evidence.parquet")).filter(~pl.col("keep"))
    twins = dict(gone.select("row_id", "duplicate_of").iter_rows())
    planted = {f"r{ROWS + i}": f"r{i}" for i in range(COPIES)}
    assert twins.items() <= planted.items()
    # By words, a changed one takes five n-grams with it.
    least = 0.9 if kind == "semantic" or name in ("zh", "ja") else 0.5
    assert len(twins) >= least * COPIES


def test_check_run_report_and_explain_tell_of_uncovered_rows(tmp_path: Path) -> None:
    lines = [
        {"prompt": q, "completion": a} for q, a in [*clean_rows("ru", 3), *clean_rows("zh", 2)]
    ]
    lines += [{"prompt": "Name a river.", "completion": "The Po."}]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = Config.model_validate(
        {
            "name": "scripts",
            "pool": [{"path": str(tmp_path / "pool.jsonl"), "source": "p"}],
            "stages": [{"kind": "semantic"}],
            "store": str(tmp_path / "store"),
        }
    )
    sentence = (
        "5 rows are in scripts that the embedder does not cover (Cyrillic 3, Han 2); similarities of "
        "theirs are those of character n-grams, not of meaning"
    )
    assert sentence in estimate(config)[0].does
    run = run_curation(config, tmp_path / "run").folder
    assert gather(run).scripts == (sentence,)
    assert "1 row is in scripts" in "\n".join(explain_row(open_run(run), "p/pool.jsonl:1"))
    assert "in scripts" not in "\n".join(explain_row(open_run(run), "p/pool.jsonl:6"))
    assert script_sentences(pl.DataFrame({"row_id": [], "script": []})) == []
