"""Languages of target, pool and selection: told of each row, sampled where many, and warned of."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.numerals import percent
from curate.core.store import Store
from curate.pipeline.curation import run_curation
from curate.report.languages import gather_set_languages
from curate.runs.folder import open_run
from curate.selectors.languages import (
    LanguageShares,
    language_warning,
    languages,
    read_shares,
    row_languages,
)
from tests.conftest import row, stored_rows, stored_table, turns

ENGLISH = (
    "Please write a short letter to the neighbours about the party on Saturday evening, number"
)
GERMAN = (
    "Bitte schreiben Sie den Nachbarn einen kurzen Brief über die Feier am Samstagabend, Nummer"
)
FRENCH = "Veuillez écrire une courte lettre aux voisins au sujet de la fête de samedi soir, numéro"


def test_a_row_is_in_the_language_of_its_response_or_of_its_prompt_where_that_is_short() -> None:
    texts = pl.DataFrame(
        {
            "response": [GERMAN, "42", "42", ""],
            "prompt": [ENGLISH, FRENCH, "6 * 7 =", ENGLISH],
        }
    )
    assert row_languages(texts).to_list() == ["de", "fr", None, "en"]


def test_what_is_hardly_certain_counts_as_not_told() -> None:
    texts = pl.DataFrame({"response": ["velvet saddle pirate orchid kite garlic bridge basket"]})
    assert row_languages(texts.with_columns(prompt=pl.lit(""))).to_list() == [None]


def test_sets_are_counted_and_large_ones_sampled(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.selectors.languages.SAMPLED", 20)
    pool = [row(f"r{i}", turns("Hi", f"{GERMAN if i < 10 else ENGLISH} {i}")) for i in range(50)]
    target = [row(f"t{i}", turns("Hi", f"{FRENCH} {i}")) for i in range(4)]
    chosen = {"row_id": [f"r{i}" for i in range(50)], "selected": [5 <= i < 15 for i in range(50)]}
    table = languages(
        {"target": stored_rows(store, "target", target)},
        stored_rows(store, "pool", pool),
        stored_table(store, "ranking", pl.DataFrame(chosen)),
        0,
    )
    sets = read_shares(table)
    assert list(sets) == ["target", "pool", "selected"]
    assert sets["target"] == LanguageShares({"fr": 4}, 4, 4)
    assert sets["selected"] == LanguageShares({"de": 5, "en": 5}, 10, 10)
    pool_shares = sets["pool"]
    assert (pool_shares.read, pool_shares.of, pool_shares.main) == (20, 50, "en")
    assert 0 < pool_shares.share("de") < 0.5
    assert pool_shares.share("fr") == pool_shares.share(None) == 0


def shares(**rows: int) -> LanguageShares:
    counts = dict(sorted(rows.items(), key=lambda one: -one[1]))
    return LanguageShares(counts, sum(rows.values()) + 5, 1_000)


@pytest.mark.parametrize(
    ("target", "pool", "selected", "part"),
    [
        (shares(de=9, en=1), shares(en=95, de=5), shares(en=99, de=1), "only another source"),
        (shares(de=9, en=1), shares(en=60, de=40), shares(en=99, de=1), "the pool has 40.0"),
        (shares(de=9, en=1), shares(en=95, de=5), shares(en=89, de=11), None),
        (shares(en=9), shares(en=95, de=5), shares(en=99), None),
        # Of half and half, or of two examples, nothing is the language of the target.
        (shares(de=5, fr=5), shares(en=95, de=5), shares(en=99), None),
        (shares(de=2), shares(en=95), shares(en=99), None),
        (shares(de=9), shares(en=95), shares(), None),
    ],
)
def test_a_selection_without_the_language_of_the_target_is_warned_of(
    target: LanguageShares, pool: LanguageShares, selected: LanguageShares, part: str | None
) -> None:
    sentence = language_warning({"target": target, "pool": pool, "selected": selected})
    if part is None:
        assert sentence is None
        return
    assert sentence is not None
    assert sentence.startswith("languages: 90.0")
    assert part in sentence


def write_rows(path: Path, text: str, count: int) -> None:
    lines = [json.dumps({"prompt": f"{text} {i}", "completion": str(i)}) for i in range(count)]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.system
@pytest.mark.parametrize(("language", "text"), [("de", GERMAN), ("en", ENGLISH)])
def test_a_run_says_it_at_its_end_and_is_quiet_where_all_is_one_language(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, language: str, text: str
) -> None:
    write_rows(tmp_path / "pool.jsonl", ENGLISH, 40)
    write_rows(tmp_path / "target.jsonl", text, 5)
    config = {
        "name": "languages",
        "pool": str(tmp_path / "pool.jsonl"),
        "target": str(tmp_path / "target.jsonl"),
        "select": {"method": "embed", "budget": 12},
        "store": str(tmp_path / "store"),
    }
    with caplog.at_level(logging.WARNING, logger="curate"):
        result = run_curation(Config.model_validate(config), tmp_path / "run")
    sentences = [r.getMessage() for r in caplog.records if r.getMessage().startswith("languages:")]
    page = result.report.read_text()
    sets = gather_set_languages(open_run(result.folder))
    assert sets is not None
    if language == "en":
        assert not sentences
        assert sets.sentence == (
            "Language of target, pool and selection: en, as far as it can be told."
        )
        assert sets.sentence in page
        assert "Languages of target, pool and selection" not in page
    else:
        assert len(sentences) == 1
        assert sentences[0] in result.manifest["warnings"]
        assert f"{percent(1.0)} of the target examples are in de" in sentences[0]
        assert sets.lines == (("de", (1.0, 0.0, 0.0)), ("en", (0.0, 1.0, 1.0)))
        assert "Languages of target, pool and selection" in page
