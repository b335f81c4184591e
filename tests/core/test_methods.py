"""Methods register themselves, wherever they come from: the package, a plugin, another distribution."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from curate.config.loading import load_config
from curate.config.recipe import Config, recipe_model
from curate.core import methods
from curate.core.calls import StoreRunner
from curate.core.errors import UserError
from curate.core.methods import METHODS, Method, find_method, load_plugin, method, methods_in
from curate.core.stage import Stage, StageData, StageResult
from curate.core.store import Store
from curate.core.turntext import conversations
from curate.pipeline.curation import run_curation
from curate.pool.layouts import ConversationTurns, Layout
from curate.pool.rowset import RowSet, row_set
from curate.pool.settings import RowFile
from curate.runs.folder import open_run
from tests.conftest import turns

PLUGIN = '''
from typing import ClassVar, Literal

import polars as pl

from curate.core.calls import Table, cached
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.selector import Selector
from curate.core.stage import Stage, StageData, StageResult


@method
class ShortStage(Stage):
    """Drop rows with few letters."""

    version: ClassVar[int] = 3
    method: Literal["short"] = "short"
    letters: int = 5

    def decide(self, data: StageData) -> StageResult:
        letters = pl.col("messages").list.last().struct["content"].str.len_chars()
        keep = letters >= self.letters
        return StageResult(
            data.rows.select(
                "row_id",
                keep=keep,
                reason=pl.when(~keep).then(pl.lit(Reason.TOO_SHORT.value)),
                score=letters.cast(pl.Float64),
                threshold=pl.lit(float(self.letters)),
                duplicate_of=pl.lit(None, dtype=pl.String),
            ).collect()
        )


@method
class LastSelector(Selector):
    """The rows with the largest ids."""

    title = "the last rows"
    method: Literal["last"] = "last"

    def score_rows(self, run) -> Table:
        return run(last_scores, run(ids, run.kept))

    def rank(self, scores, seed):
        return scores["row_id"].arg_sort(descending=True).to_numpy().astype("int64")


@cached(version=1, name="ids-last", title="List the ids")
def ids(kept: Table) -> pl.DataFrame:
    """Return the ids."""
    return kept.read(["row_id"])


@cached(version=1, name="score-last")
def last_scores(rows: Table) -> pl.DataFrame:
    """Return scores."""
    return rows.read().select("row_id", score=pl.lit(1.0), nearest_id=pl.lit(None, dtype=pl.String))
'''


@pytest.fixture(autouse=True)
def _forget_own_methods() -> Iterator[None]:
    """Leave the methods as they were."""
    recipe_model()
    before = {family: dict(named) for family, named in METHODS.items()}
    yield
    for family, named in METHODS.items():
        for name in set(named) - set(before.get(family, {})):
            del named[name]
    load_plugin.cache_clear()
    for name in [name for name in sys.modules if name.startswith("curate_plugin_")]:
        del sys.modules[name]


def recipe(folder: Path, **more: Any) -> dict[str, Any]:
    rows = [turns("q", text) for text in ("abc", "abcdef", "abcdefgh", "xyzxyz")]
    pool = folder / "pool.jsonl"
    pool.write_text("\n".join(json.dumps({"messages": row}) for row in rows))
    return {"name": "own", "pool": str(pool), "store": str(folder / "store"), **more}


def test_a_class_that_registers_after_import_is_in_every_later_recipe(tmp_path: Path) -> None:
    stages = {"stages": ["late"]}
    with pytest.raises(ValidationError, match="late"):
        Config.model_validate(recipe(tmp_path, **stages))

    @method
    class LateStage(Stage):
        """Keep every row."""

        method: Literal["late"] = "late"

        def decide(self, data: StageData) -> StageResult:
            raise NotImplementedError

    (stage,) = Config.model_validate(recipe(tmp_path, **stages)).stages
    assert isinstance(stage, LateStage)
    assert "LateStage" in json.dumps(Config.model_json_schema())
    assert find_method(Stage, "late") is LateStage


def test_a_method_has_a_family_and_a_name() -> None:
    class Nothing(Method):
        method: Literal["nothing"] = "nothing"

    with pytest.raises(TypeError, match="a method is a subclass of Stage, Selector"):
        method(Nothing)

    class Nameless(Stage):
        pass

    with pytest.raises(TypeError, match=r"Nameless: .* with a field like `method: Literal"):
        method(Nameless)


def test_two_methods_of_a_family_cannot_share_a_name() -> None:
    class Another(Stage):
        method: Literal["exact"] = "exact"

    with pytest.raises(ValueError, match=r"'exact' is registered already, by curate\.clean\.exact"):
        methods_in(Stage)
        method(Another)


@pytest.mark.system
def test_a_recipe_runs_with_the_methods_of_its_plugin(tmp_path: Path) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text(PLUGIN)
    given = recipe(
        tmp_path,
        plugins=[str(plugin)],
        stages=["exact", {"method": "short", "letters": 4}],
        select={"method": "last", "budget": 2},
    )
    config = Config.model_validate(given)
    result = run_curation(config, tmp_path / "run")
    selected = pl.read_parquet(result.folder / "selected.parquet")
    assert selected["row_id"].to_list() == ["pool/pool.jsonl:4", "pool/pool.jsonl:3"]
    ledger = pl.read_parquet(result.folder / "ledger.parquet")
    assert ledger.filter(fate="dropped")["stage"].to_list() == ["short"]
    page = (result.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Score the rows (the last rows)" in page
    assert "List the ids" in page
    assert '<th scope="row">Short <' in page, "without a title it is the name"
    assert config == Config.model_validate(given), "a plugin is imported once"


def test_the_folder_of_a_run_imports_no_plugin(tmp_path: Path) -> None:
    """It may have been sent by anyone."""
    plugin = tmp_path / "own.py"
    plugin.write_text(PLUGIN)
    given = recipe(tmp_path, plugins=[str(plugin)], stages=["short"])
    folder = run_curation(Config.model_validate(given), tmp_path / "run").folder
    assert open_run(folder).config.stages[0].method == "short", "it is registered already"
    methods.METHODS["stage"].pop("short")
    plugin.write_text("raise SystemError('imported')")
    load_plugin.cache_clear()
    with pytest.raises(UserError, match=r"'short' .*give them, `curate --plugin .*own\.py"):
        _ = open_run(folder).config


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("none.py", None, r"plugins: .*none\.py is no Python file"),
        ("own.txt", "", r"plugins: .*own\.txt is no Python file"),
        ("own.py", "import nowhere", r"own\.py cannot be imported: No module named 'nowhere'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_told(
    tmp_path: Path, name: str, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(tmp_path, plugins=[str(tmp_path / name)])))
    with pytest.raises(UserError, match=sentence):
        load_config(path)


def test_two_plugins_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.py").write_text("")
        load_plugin(tmp_path / "one" / "own.py")
    with pytest.raises(UserError, match=r"two/own\.py and .*one/own\.py are of the same"):
        load_plugin(tmp_path / "two" / "own.py")


def test_methods_of_other_distributions_are_found_by_their_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_methods.py").write_text(
        PLUGIN.replace('"short"', '"brief"').replace("-last", "-2")
    )
    info = tmp_path / "own_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[curate.methods]\nown = own_methods\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    methods.load_methods.cache_clear()
    assert find_method(Stage, "brief").version == 3
    (stage,) = recipe_model().model_validate(recipe(tmp_path, stages=["brief"])).stages
    assert stage.method == "brief"
    methods.load_methods.cache_clear()


def test_an_entry_point_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = importlib.metadata.EntryPoint("own", "nowhere", methods.ENTRY_POINTS)
    monkeypatch.setattr(methods, "entry_points", lambda group: [broken])
    methods.load_methods.cache_clear()
    with pytest.raises(
        UserError, match=r"entry point 'own' of curate\.methods .* repair or uninstall"
    ):
        methods_in(Stage)
    methods.load_methods.cache_clear()


def test_kind_is_read_as_method(tmp_path: Path) -> None:
    one, two = (
        Config.model_validate(recipe(tmp_path, stages=[{key: "fuzzy", "threshold": 0.8}]))
        for key in ("kind", "method")
    )
    assert one == two
    assert one.model_dump()["stages"][0]["method"] == "fuzzy"
    assert "kind" not in one.model_dump()["stages"][0]


def test_a_layout_of_ones_own_reads_records_and_is_in_the_key(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"frage": "Wie viel?", "antwort": "Vier."}))

    def read_set() -> RowSet:
        return row_set("pool", [RowFile(path=str(pool))], seed=0, max_rejected=0.0)

    before = read_set().calls[0].key

    @method
    class FrageLayout(Layout):
        """Questions and answers under German names."""

        method: Literal["frage"] = "frage"

        def matched_fields(self, record: Mapping[str, Any]) -> tuple[str, ...]:
            return ("frage", "antwort") if "frage" in record else ()

        def read(self, record: Mapping[str, Any], roles: Any) -> ConversationTurns:
            messages = turns(record["frage"], record["antwort"])
            return ConversationTurns(messages, {"frage", "antwort"})

    assert read_set().calls[0].key != before
    rows = read_set().read(StoreRunner(Store(tmp_path / "store")))
    assert conversations(rows.read()) == [turns("Wie viel?", "Vier.")]


def test_a_method_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UserError, match=r"no stage is called 'exct' here; known: .*exact.*plugins"):
        find_method(Stage, "exct")
