"""The recipe: every fault is named with its line and key before anything runs."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curate.clean.duplicates import FirstSource, HighestScore
from curate.config.loading import load_config
from curate.config.names import stage_names
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.methods import methods_in
from curate.core.selector import Selector
from curate.core.selectparams import Budget
from curate.core.stage import Stage
from curate.pool.settings import RowFile

RECIPE = """\
name: full
seed: 3
pool:
  - path: data/pool/*
    source: bundled
    strip_end: </s>
target: {path: data/target.jsonl, eval: data/eval.jsonl}
models:
  dtype: float32
stages:
  - kind: exact
  - kind: leaks
select:
  method: rds
  budget: {rows: 10}
prove:
  seeds: 2
"""
SHORT = "name: a\npool: data\nselect: {method: random, budget: {rows: 1}}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def complain(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    """Return the lines of the error, each without the folder before it."""
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_a_recipe_whose_proof_was_resampled_is_read_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = load(tmp_path, RECIPE)
    assert load(tmp_path, f"{RECIPE}  resamples: 100\n") == plain
    assert "prove.resamples has no meaning any more" in caplog.text


def test_a_whole_recipe_is_read(tmp_path: Path) -> None:
    config = load(tmp_path, RECIPE)
    assert config.pool[0].source_name == "bundled"
    assert config.target is not None
    assert config.target.eval is not None
    assert [file.path for file in config.target.eval] == ["data/eval.jsonl"]
    assert [stage.method for stage in config.stages] == ["exact", "leaks"]
    assert config.select.budget == Budget(rows=10)
    assert config.prove is not None
    assert config.prove.seeds == 2


@pytest.mark.parametrize(
    "store",
    [
        "https://host/curate",
        "ssh2://b",
        "file:///tmp/x",
        "memory://x",
        "az:b",
        "C:\\curate",
        "s3:bucket",
        "s3://",
        "s3://b::simplecache",
    ],
)
def test_a_store_that_is_no_place_is_refused_where_it_stands(tmp_path: Path, store: str) -> None:
    scheme = store[: store.index(":") + 1]
    said = f"{scheme} is not supported: give the path of a folder of this machine"
    [line] = complain(tmp_path, f"{SHORT}store: '{store}'\n")
    assert line.startswith(f"recipe.yaml:4: store: {said}")
    [line] = complain(tmp_path, SHORT, f"store={store}")
    assert said in line


def test_a_store_may_have_any_path(tmp_path: Path) -> None:
    for path in (".curate/store", "/data/a:b", "./s3:x", "übung", "."):
        assert load(tmp_path, f"{SHORT}store: '{path}'\n").store == path
    assert load(tmp_path, f"{SHORT}store: ~/x\n").store == str(Path.home() / "x")
    assert complain(tmp_path, f"{SHORT}store: ''\n") == [
        "recipe.yaml:4: store: give the path of a folder, or the URL of a bucket (got '')"
    ]


@pytest.mark.parametrize(
    "store", ["s3://bucket/curate", "gs://b", "az://container/a/b", "sftp://h/x"]
)
def test_a_store_may_be_a_bucket(tmp_path: Path, store: str) -> None:
    assert load(tmp_path, f"{SHORT}store: {store}/\n").store == store


def test_the_resolved_config_reads_back_as_itself(tmp_path: Path) -> None:
    config = load(tmp_path, RECIPE)
    again = Config.model_validate(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json"))))
    assert again == config


@pytest.mark.parametrize("pool", ["x.jsonl", "[x.jsonl]", "{path: x.jsonl}", "[{path: x.jsonl}]"])
def test_a_pool_may_be_a_path_a_mapping_or_a_list(tmp_path: Path, pool: str) -> None:
    config = load(tmp_path, SHORT.replace("data", pool))
    assert config.pool == [RowFile(path="x.jsonl")]


@pytest.mark.parametrize(
    ("wrong", "line", "said"),
    [
        ("seed: 3>sed: 3", 2, "sed: unknown key; did you mean 'seed'?"),
        ("strip_end:>stripend:", 6, "pool.0.stripend: unknown key; did you mean 'strip_end'?"),
        ("dtype: float32>dtpe: a", 9, "models.dtpe: unknown key; did you mean 'dtype'?"),
        ("{rows: 10}>{row: 10}", 15, "select.budget.row: unknown key; did you mean 'rows'?"),
        ("seeds: 2>zzz: 2", 17, "prove.zzz: unknown key; known keys: draws, seeds, strict,"),
        ("eval: data>evl: data", 7, "target.evl: unknown key; did you mean 'eval'?"),
        ("kind: leaks>kind: leaks\n    treshold: 1", 13, "stages.1.treshold: unknown key; did you"),
        ('seed: 3>"{x}": 3', 2, "{x}: unknown key; known keys: name, seed"),
    ],
)
def test_an_unknown_key_is_named_with_its_line_and_what_was_meant(
    tmp_path: Path, wrong: str, line: int, said: str
) -> None:
    old, new = wrong.split(">", 1)
    assert old in RECIPE
    lines = complain(tmp_path, RECIPE.replace(old, new))
    assert len(lines) == 1
    assert lines[0].startswith(f"recipe.yaml:{line}: {said}"), lines


@pytest.mark.parametrize(
    ("wrong", "line", "said"),
    [
        ("rows: 10>rows: 99999999999999999999", 15, "select.budget.rows: the number is too large"),
        ("seed: 3>seed: -9223372036854775808", 2, "seed: the number is too large"),
        ("rows: 10>fraction: .nan", 15, "fraction: Input should be a finite number (got nan)"),
        (
            "seeds: 2>lora: {learning_rate: 1e400}",
            17,
            "prove.lora.learning_rate: Input should be a fin",
        ),
    ],
)
def test_a_number_that_no_key_could_hold_is_named(
    tmp_path: Path, wrong: str, line: int, said: str
) -> None:
    old, new = wrong.split(">", 1)
    (fault,) = complain(tmp_path, RECIPE.replace(old, new))
    assert fault.startswith(f"recipe.yaml:{line}: ") and said in fault, fault


def test_an_unknown_kind_lists_the_stages_there_are(tmp_path: Path) -> None:
    lines = complain(tmp_path, RECIPE.replace("kind: exact", "kind: exct"))
    assert re.match(r"recipe.yaml:11: stages\.0: unknown 'method' 'exct'; known: ", lines[0])
    assert set(methods_in(Stage)) <= set(re.findall(r"\w+", lines[0].split("known:")[1]))


def test_a_stage_without_a_method_is_asked_for_it(tmp_path: Path) -> None:
    (line, *_) = complain(tmp_path, RECIPE.replace("kind: exact", "keep: first"))
    assert line == "recipe.yaml:11: stages.0: name its 'method'"


def test_an_unknown_method_lists_the_selectors_there_are(tmp_path: Path) -> None:
    lines = complain(tmp_path, RECIPE.replace("method: rds", "method: rsd"))
    assert re.match(r"recipe.yaml:1[34]: select: unknown 'method' 'rsd'; known: ", lines[0])
    assert set(methods_in(Selector)) <= set(re.findall(r"\w+", lines[0].split("known:")[1]))


# --- which of similar rows survives ----------------------------------------------------------------


STAGED = SHORT + "stages:\n  - kind: exact\n  - kind: fuzzy\n"
POLICIES = (
    "write earliest, longest, {sources: [gold, web]} or {highest: STAGE.COLUMN} of an earlier stage"
)


@pytest.mark.parametrize(
    ("keep", "read"),
    [
        ("earliest", "earliest"),
        ("longest", "longest"),
        ("{sources: [gold, web]}", FirstSource(sources=["gold", "web"])),
        ("{highest: exact}", HighestScore(highest="exact")),
        ("{highest: exact.threshold}", HighestScore(highest="exact.threshold")),
    ],
)
def test_a_policy_reads_back_as_itself(tmp_path: Path, keep: str, read: Any) -> None:
    config = load(tmp_path, STAGED + f"    keep: {keep}\n")
    assert config.stages[1].keep == read  # type: ignore[attr-defined]
    assert Config.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("keep", "got"),
    [
        ("newest", " (got 'newest')"),
        ("Earliest", " (got 'Earliest')"),
        ("3", " (got 3)"),
        ("", " (got None)"),
        ("true", " (got True)"),
        ("[earliest]", ""),
        ("{}", ""),
        ("{longest: true}", ""),
        ("{sources: gold}", ""),
        ("{sources: []}", ""),
        ("{sources: [1]}", ""),
        ("{sources: [gold, null]}", ""),
        ("{source: [gold]}", ""),
        ("{highest: 3}", ""),
        ("{highest: [exact]}", ""),
        ("{highest: }", ""),
        ("{sources: [gold], highest: exact}", ""),
    ],
)
def test_a_policy_that_is_none_is_told_what_there_is(tmp_path: Path, keep: str, got: str) -> None:
    lines = complain(tmp_path, STAGED + f"    keep: {keep}\n")
    assert lines == [f"recipe.yaml:7: stages.1.keep: {POLICIES}{got}"]


@pytest.mark.parametrize(
    ("stages", "line", "said"),
    [
        (
            "- kind: exact\n  - kind: fuzzy\n    keep: {highest: judge.score}",
            7,
            "stages.1.keep.highest: 'judge' is no earlier stage (those are: exact)",
        ),
        (
            "- kind: exact\n    keep: {highest: fuzzy}\n  - kind: fuzzy",
            6,
            "stages.0.keep.highest: 'fuzzy' is no earlier stage (those are: none)",
        ),
        (
            "- kind: exact\n  - kind: fuzzy\n    keep:\n      highest: fuzzy",
            8,
            "stages.1.keep.highest: 'fuzzy' is no earlier stage (those are: exact)",
        ),
        (
            "- kind: exact\n  - kind: exact\n  - kind: fuzzy\n    keep: {highest: exact-3}",
            8,
            "stages.2.keep.highest: 'exact-3' is no earlier stage (those are: exact, exact-2)",
        ),
        (
            "- kind: exact\n  - kind: fuzzy\n    keep: {highest: .score}",
            7,
            "stages.1.keep.highest: '' is no earlier stage (those are: exact)",
        ),
    ],
    ids=["unknown", "later", "itself", "third", "nameless"],
)
def test_only_an_earlier_stage_can_say_which_row_survives(
    tmp_path: Path, stages: str, line: int, said: str
) -> None:
    assert complain(tmp_path, SHORT + f"stages:\n  {stages}\n") == [f"recipe.yaml:{line}: {said}"]


def test_the_second_stage_of_a_kind_has_a_name_of_its_own(tmp_path: Path) -> None:
    text = SHORT + "stages: [{kind: exact}, {kind: fuzzy}, {kind: exact}, {kind: exact}]\n"
    assert stage_names(load(tmp_path, text).stages) == ["exact", "fuzzy", "exact-2", "exact-3"]
    later = text.replace("}]", "}, {kind: fuzzy, keep: {highest: exact-3.score}}]")
    assert stage_names(load(tmp_path, later).stages)[-1] == "fuzzy-2"


@pytest.mark.parametrize(
    ("given", "line", "said"),
    [
        ("threshold: 0.5", 6, "stages.1: the floor 0.6 is above the threshold 0.5: pairs are stored"),
        ("floor: 0.8", 6, "stages.1: the floor 0.8 is above the threshold 0.7: pairs are stored"),
        ("floor: 0", 7, "stages.1.floor: Input should be greater than 0 (got 0)"),
        ("floor: .nan", 7, "stages.1.floor: "),
        ("threshold: 1.01", 7, "stages.1.threshold: Input should be less than or equal to 1 (got 1.01)"),
        ("threshold: 0", 7, "stages.1.threshold: Input should be greater than 0 (got 0)"),
        ("threshold: .nan", 7, "stages.1.threshold: "),
        ("threshold: high", 7, "stages.1.threshold: Input should be a valid number"),
        ("rows: 0", 7, "stages.1.rows: Input should be greater than 0 (got 0)"),
        ("rows: 1.5", 7, "stages.1.rows: Input should be a valid integer"),
        ("ngram: 0", 7, "stages.1.ngram: Input should be greater than 0 (got 0)"),
        ("unit: token", 7, "stages.1.unit: Input should be 'script', 'word' or 'char' (got 'token')"),
        ("compare: prompts", 7, "stages.1.compare: Input should be 'example', 'prompt' or 'response'"),
        ("treshold: 0.8", 7, "stages.1.treshold: unknown key; did you mean 'threshold'?"),
        ("fuzzy: 1", 7, "stages.1.fuzzy: unknown key; "),
    ],
)  # fmt: skip
def test_a_near_duplicate_rule_that_means_nothing_is_one_sentence(
    tmp_path: Path, given: str, line: int, said: str
) -> None:
    lines = complain(tmp_path, STAGED + f"    {given}\n")
    assert len(lines) == 1
    assert lines[0].startswith(f"recipe.yaml:{line}: {said}"), lines


@pytest.mark.parametrize(
    ("given", "line", "said"),
    [
        (
            "compare: both",
            6,
            "stages.0.compare: Input should be 'example', 'prompt' or 'response' (got",
        ),
        ("fold: case", 6, "stages.0.fold: Input should be a valid list (got 'case')"),
        (
            "fold: [space, digits]",
            6,
            "stages.0.fold.1: Input should be 'ends', 'space', 'case' or 'numbers' (g",
        ),
        (
            "threshold: 0.9",
            6,
            "stages.0.threshold: unknown key; known keys: method, compare, fold, keep",
        ),
        (
            "conflicts: true\n    compare: response",
            5,
            "stages.0: conflicts are rows with one prompt: use compare: example or compare: prompt",
        ),
    ],
)
def test_an_exact_rule_that_means_nothing_is_one_sentence(
    tmp_path: Path, given: str, line: int, said: str
) -> None:
    lines = complain(tmp_path, SHORT + f"stages:\n  - kind: exact\n    {given}\n")
    assert len(lines) == 1
    assert lines[0].startswith(f"recipe.yaml:{line}: {said}"), lines


def test_overrides_of_a_stage_are_checked_with_it(tmp_path: Path) -> None:
    lines = complain(tmp_path, STAGED, "stages.1.threshold=0.4")
    assert lines[0].startswith("recipe.yaml:6: stages.1: the floor 0.6 is above the threshold 0.4")
    lines = complain(tmp_path, STAGED, "stages.1.keep={highest: leaks}")
    assert lines[0].startswith("recipe.yaml:6: stages.1.")
    assert lines[0].endswith("highest: 'leaks' is no earlier stage (those are: exact)")
    config = load(tmp_path, STAGED, "stages.1.threshold=0.4", "stages.1.floor=0.4")
    assert config.stages[1].model_dump()["floor"] == 0.4


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("x.jsonl", [RowFile(path="x.jsonl")]),
        ("[x.jsonl, y/*]", [RowFile(path="x.jsonl"), RowFile(path="y/*")]),
        ("{path: x.jsonl, source: gsm8k}", [RowFile(path="x.jsonl", source="gsm8k")]),
        ("[{path: x.jsonl}, y.jsonl]", [RowFile(path="x.jsonl"), RowFile(path="y.jsonl")]),
        ("[]", []),
    ],
)
def test_protected_sets_may_be_a_path_a_mapping_or_a_list(
    tmp_path: Path, given: str, read: list[RowFile]
) -> None:
    config = load(tmp_path, SHORT + f"protected: {given}\n")
    assert config.protected == read
    assert load(tmp_path, SHORT).protected == []
    assert schema_faults(yaml.safe_load(SHORT + f"protected: {given}\n")) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "protected: Input should be a valid list (got None)"),
        ("3", "protected: Input should be a valid list (got 3)"),
        ("[3]", "protected.0: "),
        ("[x.jsonl, null]", "protected.1: "),
        ("{pth: x.jsonl, path: y}", "protected.pth: unknown key; did you mean 'path'?"),
        ("[x, {path: y, surce: z}]", "protected.1.surce: unknown key; did you mean 'source'?"),
        ("[{path: y, source: a/b}]", "protected.0.source: use letters, digits"),
    ],
)
def test_protected_sets_that_are_no_files_are_named(tmp_path: Path, given: str, said: str) -> None:
    lines = complain(tmp_path, SHORT + f"protected: {given}\n")
    assert len(lines) == 1
    assert lines[0].startswith(f"recipe.yaml:4: {said}"), lines


def test_a_stage_without_a_kind_is_told_so(tmp_path: Path) -> None:
    lines = complain(tmp_path, RECIPE.replace("kind: exact", "threshold: 1"))
    assert re.match(r"recipe.yaml:11: stages\.0: .*'method'", lines[0])


def test_all_faults_are_shown_at_once(tmp_path: Path) -> None:
    text = (
        RECIPE.replace("seed: 3", "seed: x")
        .replace("dtype: float32", "dtype: float8")
        .replace("kind: exact", "kind: exct")
        .replace("rows: 10", "rows: 0")
        .replace("seeds: 2", "seeds: 0")
    )
    lines = complain(tmp_path, text)
    assert [line.split(": ")[:2] for line in lines] == [
        ["recipe.yaml:2", "seed"],
        ["recipe.yaml:9", "models.dtype"],
        ["recipe.yaml:11", "stages.0"],
        ["recipe.yaml:15", "select.budget"],
        ["recipe.yaml:17", "prove.seeds"],
    ]
    assert lines[0].endswith("(got 'x')")


def test_an_unknown_key_does_not_hide_other_faults(tmp_path: Path) -> None:
    text = RECIPE.replace("seed: 3", "sed: 3").replace("dtype: float32", "dtype: float8")
    message = "\n".join(complain(tmp_path, text + "shoe: 1\n"))
    assert "recipe.yaml:2: sed: unknown key" in message
    assert "recipe.yaml:9: models.dtype: " in message
    assert "recipe.yaml:18: shoe: unknown key" in message


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("select.budget={tokens: 5}", lambda c: c.select.budget == Budget(tokens=5)),
        ("select.budget.rows=5", lambda c: c.select.budget == Budget(rows=5)),
        ("seed=7", lambda c: c.seed == 7),
        ("name=x=y", None),
        ("stages.1.threshold=0.8", lambda c: c.stages[1].threshold == 0.8),
        ("stages.0.kind=leaks", lambda c: c.stages[0].method == "leaks"),
        ("stages=[]", lambda c: c.stages == []),
        ("pool.0.sample=4", lambda c: c.pool[0].sample == 4),
        ("pool.0=other.jsonl", lambda c: c.pool == [RowFile(path="other.jsonl")]),
        ("prove=null", lambda c: c.prove is None),
        ("ingest.max_rejected=1", lambda c: c.ingest.max_rejected == 1.0),
        ("prove.lora.rank=2", lambda c: c.prove.lora.rank == 2),
    ],
)
def test_overrides_reach_into_mappings_and_lists(tmp_path: Path, override: str, read: Any) -> None:
    if read is None:
        assert "name: " in complain(tmp_path, RECIPE, override)[0]
    else:
        assert read(load(tmp_path, RECIPE, override))


def test_the_last_of_two_overrides_holds(tmp_path: Path) -> None:
    assert load(tmp_path, RECIPE, "seed=7", "seed=8").seed == 8


def test_an_override_may_fill_an_empty_key(tmp_path: Path) -> None:
    config = load(tmp_path, RECIPE.replace("prove:\n  seeds: 2", "prove:"), "prove.seeds=4")
    assert config.prove is not None
    assert config.prove.seeds == 4


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "--set seed: write it as dotted.key=value"),
        ("=5", "--set =5: write it as dotted.key=value"),
        ("seed=[1", "--set seed=[1: the value is not valid YAML"),
        ("stages.7.kind=exact", "--set stages.7.kind=exact: '7' is no position in a list of 2"),
        ("stages.x=1", "--set stages.x=1: 'x' is no position in a list of 2"),
        ("stages.-1.kind=exact", "'-1' is no position in a list of 2"),
        ("stages.²=1", "'²' is no position in a list of 2"),
        ("seed.deep=1", "--set seed.deep=1: 'seed' holds a plain value"),
        ("seed=2024-99-99", "the value is not valid YAML"),
        ("seed=x", "recipe.yaml:2: seed: "),
        ("sed=1", "sed: unknown key; did you mean 'seed'?"),
        ("select.budget.tokens=1", "give exactly one of rows, tokens and fraction (got rows, tok"),
    ],
)
def test_a_bad_override_is_a_user_error(tmp_path: Path, override: str, said: str) -> None:
    assert said in complain(tmp_path, RECIPE, override)[0]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("{}", "give exactly one of rows, tokens and fraction (got none)"),
        (
            "{rows: 1, tokens: 2}",
            "give exactly one of rows, tokens and fraction (got rows, tokens)",
        ),
        ("{rows: 0}", "rows must be above 0 (got 0)"),
        ("{rows: -1}", "rows must be above 0 (got -1)"),
        ("{tokens: 0}", "tokens must be above 0 (got 0)"),
        ("{fraction: 0}", "fraction must be above 0 and at most 1 (got 0.0)"),
        ("{fraction: 1.01}", "fraction must be above 0 and at most 1 (got 1.01)"),
        ("{fraction: .nan}", "fraction"),
        ("{rows: 1.5}", "integer"),
        ("{rows: ten}", "(got 'ten')"),
        ("12.5", "a fraction below 1"),
        ("true", "select.budget: "),
        ("", "select.budget: "),
    ],
)
def test_a_budget_is_exactly_one_positive_amount(tmp_path: Path, budget: str, said: str) -> None:
    lines = complain(tmp_path, RECIPE.replace("{rows: 10}", budget))
    assert "recipe.yaml:15: select.budget" in lines[0]
    assert said in lines[0]


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(rows=1200), "1,200 rows"),
        (Budget(tokens=5), "5 tokens"),
        (Budget(fraction=0.25), "0.25 of the rows"),
    ],
)
def test_a_budget_reads_as_words(budget: Budget, text: str) -> None:
    assert str(budget) == text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "target: {path: data/target.jsonl, eval: data/eval.jsonl}\n",
            "",
            r"select.method: 'rds' needs `target:` .*\(.*\brandom\b.*\)",
        ),
        (
            ", eval: data/eval.jsonl",
            "",
            r"stages\.1 \(leaks\) needs an eval set: give target\.eval",
        ),
        (
            ", eval: data/eval.jsonl}\nmodels:\n  dtype: float32\nstages:\n  - kind: exact\n"
            "  - kind: leaks",
            "}",
            "`prove:` needs an eval set: give target.eval",
        ),
    ],
)
def test_what_a_recipe_needs_is_asked_for(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in RECIPE
    assert re.search(said, complain(tmp_path, RECIPE.replace(old, new))[0])


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("method: instag", r"select\.tags: no stage 'tags' before the selection; there are: exact"),
        ("method: mixture, by: rules.label", r"select\.by: no stage 'rules' before"),
        ("method: deita, score: [exact.kept, judge.score]", r"select\.score: no stage 'judge'"),
        (
            "method: gme, attributes: [source, meta.x, tags.tag]",
            r"select\.attributes: no .* 'tags'",
        ),
        (
            "method: blend, parts: [{method: random}, {method: clusters, by: tags.tag}]",
            r"select: by: no stage 'tags' before",
        ),
        ("method: mixture, by: exact.cluster", None),
        ("method: mixture, by: meta.language", None),
    ],
)
def test_what_a_method_reads_of_a_stage_needs_the_stage(
    tmp_path: Path, select: str, said: str | None
) -> None:
    text = (
        "name: a\npool: data/pool.jsonl\nstages: [{method: exact}]\n"
        f"select: {{{select}, budget: {{rows: 1}}}}\n"
    )
    if said is None:
        load(tmp_path, text)
    else:
        assert re.search(said, complain(tmp_path, text)[0])


def test_random_needs_no_target(tmp_path: Path) -> None:
    assert load(tmp_path, SHORT).target is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\npool: [x\nseed: 1\n", r"recipe.yaml:3: broken YAML: "),
        ("name: a\n\tpool: x\n", r"recipe.yaml:2: broken YAML: "),
        ("name: !!python/object:os.system {}\n", r"recipe.yaml:1: broken YAML: "),
        ("name: a\n---\nname: b\n", r"recipe.yaml:\d: broken YAML: "),
        ('name: "a\x01"\n', r"recipe.yaml(:\d+)?: broken YAML: "),
        ("name: a\nseed: 2024-99-99\n", r"recipe.yaml(:\d+)?: broken YAML: "),
        ("", r"recipe.yaml: the config must be a mapping"),
        ("- name: a\n", r"recipe.yaml: the config must be a mapping"),
        ("just words\n", r"recipe.yaml: the config must be a mapping"),
    ],
    ids=["list", "tab", "tag", "two", "control", "date", "empty", "sequence", "scalar"],
)
def test_broken_yaml_is_a_user_error_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert re.match(said, complain(tmp_path, text)[0])


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    """YAML forbids it; taking the last one would silently undo what stands above it."""
    lines = complain(tmp_path, SHORT + "name: b\n")
    assert re.match(r"recipe.yaml:4: .*name", lines[0])


def test_a_config_that_cannot_be_read_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone.yaml: the config cannot be read \(No such file"):
        load_config(tmp_path / "gone.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(UserError, match=r"latin.yaml: the config is not UTF-8 \(byte 9\)"):
        load_config(tmp_path / "latin.yaml")


def test_a_seed_must_fit_the_keys_that_are_made_of_it(tmp_path: Path) -> None:
    assert load(tmp_path, SHORT, f"seed={2**63 - 1}").seed == 2**63 - 1
    assert "recipe.yaml" in complain(tmp_path, SHORT + f"seed: {2**64}\n")[0]


@pytest.mark.parametrize(
    "bad",
    [
        "stages.1.ngram=0",
        "stages.1.ngram=-3",
        "stages.1.threshold=-0.5",
        "stages.1.threshold=.nan",
    ],
)
def test_a_leak_rule_that_means_nothing_is_refused(tmp_path: Path, bad: str) -> None:
    assert bad.partition("=")[0] in complain(tmp_path, RECIPE, bad)[0]


def test_protected_sets_stand_in_for_an_eval_set(tmp_path: Path) -> None:
    config = load(tmp_path, SHORT + "protected: more/gsm8k.jsonl\nstages: [{kind: leaks}]\n")
    assert [entry.source_name for entry in config.protected] == ["gsm8k"]


@pytest.mark.parametrize(
    ("protected", "key", "of"),
    [
        ("x/eval.jsonl", "protected", "target.eval"),
        ("[a.jsonl, {path: b.jsonl, source: target}]", "protected.1.source", "target"),
        ("{path: b.jsonl, source: bundled}", "protected.source", "pool.0"),
        ("[x/test.jsonl, y/other.jsonl, y/test.jsonl]", "protected.2", "protected.0"),
    ],
)
def test_a_protected_set_with_the_name_of_other_rows_is_refused(
    tmp_path: Path, protected: str, key: str, of: str
) -> None:
    [sentence] = complain(tmp_path, RECIPE + f"protected: {protected}\n")
    assert re.match(rf"recipe.yaml:18: {key}(\.source)?: the name '", sentence)
    assert f"is that of {of} as well, and row ids are made of it" in sentence


EVAL = "eval: data/eval.jsonl"


@pytest.mark.parametrize(
    ("given", "sources"),
    [
        ("eval: a.jsonl", ["eval"]),
        ("eval: {path: a.jsonl, source: mine}", ["mine"]),
        ("eval: [a.jsonl]", ["eval"]),
        ("eval: [a.jsonl, {path: x/b.jsonl, sample: 3}]", ["a", "b"]),
        ("eval: [a.jsonl, {path: x/a.jsonl, source: x}]", ["a", "x"]),
    ],
)
def test_an_eval_set_is_one_file_or_several_with_sources_of_their_own(
    tmp_path: Path, given: str, sources: list[str]
) -> None:
    config = load(tmp_path, RECIPE.replace(EVAL, given))
    assert config.target is not None
    assert [file.source_name for file in config.target.eval_files] == sources
    again = Config.model_validate(config.model_dump(mode="json"))
    assert again == config


@pytest.mark.parametrize(
    ("given", "key", "of"),
    [
        ("eval: [a.jsonl, x/a.jsonl]", "target.eval.1", "target.eval.0"),
        ("eval: [a.jsonl, {path: b.jsonl, source: a}]", "target.eval.1.source", "target.eval.0"),
        ("eval: [a.jsonl, {path: b.jsonl, source: bundled}]", "target.eval.1.source", "pool.0"),
        ("eval: {path: b.jsonl, source: target}", "target.eval.source", "target"),
    ],
)
def test_eval_files_with_the_name_of_other_rows_are_refused(
    tmp_path: Path, given: str, key: str, of: str
) -> None:
    [line] = complain(tmp_path, RECIPE.replace(EVAL, given))
    assert line.startswith(f"recipe.yaml:7: {key}: the name '")
    assert f"is that of {of} as well" in line


@pytest.mark.parametrize(
    ("given", "key"),
    [("eval: []", "target.eval"), ("eval: [a.jsonl, {file: b}]", "target.eval.1")],
)
def test_a_fault_in_a_list_of_eval_files_names_its_key(
    tmp_path: Path, given: str, key: str
) -> None:
    assert complain(tmp_path, RECIPE.replace(EVAL, given))[0].startswith(f"recipe.yaml:7: {key}")


def test_watch_sets_are_paths_or_files_with_a_margin(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        RECIPE
        + "  watch: [a.jsonl, {path: b.jsonl, margin: 0.1, metric: exact_match, sample: 5}]\n",
    )
    assert config.prove is not None
    first, second = config.prove.watch
    assert first.role == "keep"
    assert first.judged_by == {"source": "a", "margin": 0.02, "metric": "loss"}
    assert (second.margin, second.metric, second.file.sample) == (0.1, "exact_match", 5)
    assert load(tmp_path, RECIPE + "  watch: a.jsonl\n").prove.watch == [first]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("metric", "margin"),
    [("loss_per_token", 0.02), ("gold_margin", 0.02), ("refusal", 0.1), ("{generate: math}", 0.1)],
)
def test_the_margin_of_a_share_is_wider_where_none_is_given(
    tmp_path: Path, metric: str, margin: float
) -> None:
    given = load(tmp_path, RECIPE + f"  watch: {{path: a.jsonl, metric: {metric}}}\n")
    assert given.prove is not None
    assert given.prove.watch[0].judged_by["margin"] == margin


@pytest.mark.parametrize(
    ("watch", "line"),
    [
        (
            "[{path: b.jsonl, metric: {function: 'a.py:f'}}]",
            "prove.watch.0: give `margin`: a function has a unit of its own",
        ),
        ("[{path: b.jsonl, metric: refusal, margin: 1}]", "prove.watch.0: the margin of refusal"),
        ("[a.jsonl, x/a.jsonl]", "prove.watch.1: the name 'a' is that of prove.watch.0"),
        (
            "[{path: b.jsonl, source: eval}]",
            "prove.watch.0.source: the name 'eval' is that of target",
        ),
        ("[{path: b.jsonl, margin: 0}]", "prove.watch.0.margin: "),
        ("[{path: b.jsonl, margin: -1}]", "prove.watch.0.margin: "),
        ("[{path: b.jsonl, metric: exact_match, margin: 1}]", "prove.watch.0: the margin of exact"),
        ("[{path: b.jsonl, role: improve}]", "prove.watch.0.role: "),
        ("[{path: b.jsonl, metric: speed}]", "prove.watch.0.metric: "),
        ("[{path: b.jsonl, margn: 1}]", "prove.watch.0.margn: unknown key; did you mean 'margin'?"),
    ],
)
def test_a_watch_set_that_means_nothing_is_refused_by_its_key(
    tmp_path: Path, watch: str, line: str
) -> None:
    assert complain(tmp_path, RECIPE + f"  watch: {watch}\n")[0].startswith(
        f"recipe.yaml:18: {line}"
    )


NAMES = (
    "auto, loss, loss_per_token, answer_loss, exact_match, gold_margin, accuracy, pair_loss, "
    "pair_accuracy, lm_eval"
)
WRITTEN = "{generate: KIND} and {function: FILE.py:NAME}"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("metric: acc", f"metric: no such metric; known: {NAMES}, {WRITTEN} (got 'acc')"),
        ("metric: 5", f"metric: no such metric; known: {NAMES}, {WRITTEN} (got 5)"),
        (
            "metric: {generat: number}",
            f"metric: no such metric; known: {NAMES}, {WRITTEN} (got {{'generat': 'number'}})",
        ),
        (
            "metric: {generate: number, examples: 1}",
            "metric.examples: Input should be greater than",
        ),
        (
            "metric: {generate: number, patern: a}",
            "metric.patern: unknown key; did you mean 'pattern'",
        ),
        ("metric: {function: score}", "metric.function: write it as FILE.py:NAME or MODULE:NAME"),
        ("draws: some", "draws: Input should be a valid integer or 'sequential' (got 'some')"),
        (
            "arms: [selected, random, 5]",
            "arms.2: Input should be a valid string or a mapping of keys",
        ),
        ("arms: [selected, random, {name: a}]", "arms.2.path: Field required"),
        ("then: later", "then: Input should be 'target' or a mapping of keys (got 'later')"),
        ("tasks: [5]", "tasks.0: Input should be a valid string or a mapping of keys (got 5)"),
        ("curve: wide", "curve: Input should be a valid integer (got 'wide')"),
        (
            "watch: {path: b, metric: lm_eval}",
            "watch.metric: no such metric; known: loss, loss_per",
        ),
    ],
)
def test_a_choice_of_the_proof_that_is_none_is_one_sentence(
    tmp_path: Path, line: str, fault: str
) -> None:
    [sentence] = complain(tmp_path, RECIPE + f"  {line}\n")
    assert sentence.startswith(f"recipe.yaml:18: prove.{fault}")


def test_an_override_is_refused_by_its_key_though_it_is_not_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    with pytest.raises(UserError, match=r"prove\.metric: no such metric; known: .* \(got 'acc'\)"):
        load_config(file, ["prove.metric=acc"])
    with pytest.raises(UserError, match=r"prove\.watch\.1\.margin: "):
        load_config(file, ["prove.watch=[a.jsonl, {path: b.jsonl, margin: 0}]"])


def test_watch_sets_are_read_and_judged_by_the_template(tmp_path: Path) -> None:
    config = load(tmp_path, RECIPE + "  watch: a.jsonl\n")
    assert config.rendered_examples == ["target", "eval", "watch"]
    assert load(tmp_path, RECIPE).rendered_examples == ["target", "eval"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/pool/*", "pool"),
        ("data/pool/", "pool"),
        ("data/part-*.jsonl", "part"),
        ("data/my rows.v2.jsonl.gz", "my-rows"),
        ("*.jsonl", "pool"),
        ("/x/data[12].json", "data"),
    ],
)
def test_a_source_without_a_name_is_named_after_its_path(path: str, name: str) -> None:
    assert RowFile(path=path).source_name == name


@given(st.text())
def test_a_source_name_cannot_forge_a_row_id(text: str) -> None:
    try:
        name = RowFile(path="x", source=text).source_name
    except ValueError as error:
        assert "use letters, digits" in str(error)
    else:
        assert not set(name) & set("/:\n \t")


# --- the JSON schema that editors use -----------------------------------------------------------


@cache
def schema_validator() -> Any:
    schema = Config.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def schema_faults(data: Any) -> list[str]:
    return [e.message for e in schema_validator().iter_errors(data)]


def test_the_json_schema_accepts_what_the_loader_accepts() -> None:
    data = yaml.safe_load(RECIPE)
    data["target"]["eval"] = {"path": data["target"]["eval"]}
    assert schema_faults(data) == []
    assert schema_faults(Config.model_validate(data).model_dump(mode="json")) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(sed=1),
        lambda d: d["pool"][0].update(stripend="x"),
        lambda d: d["stages"][0].update(kind="exct"),
        lambda d: d["stages"][0].update(treshold=1),
        lambda d: d["select"].update(method="rsd"),
        lambda d: d["prove"].update(seeds=0),
        lambda d: d.pop("name"),
    ],
)
def test_the_json_schema_rejects_what_the_loader_rejects(change: Any) -> None:
    data = yaml.safe_load(RECIPE)
    data["target"]["eval"] = {"path": data["target"]["eval"]}
    change(data)
    assert schema_faults(data)
    with pytest.raises(ValueError, match="validation error"):
        Config.model_validate(data)


def test_examples_in_the_json_schema_are_what_it_accepts() -> None:
    schema = Config.model_json_schema()
    models = {"": schema, **schema["$defs"]}
    keys = [
        (f"{name}.{key}", part)
        for name, model in models.items()
        for key, part in model.get("properties", {}).items()
        if "examples" in part
    ]
    assert keys
    for key, part in keys:
        validator = jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]})
        faults = [
            error.message for value in part["examples"] for error in validator.iter_errors(value)
        ]
        assert faults == [], key


def test_the_json_schema_accepts_paths_written_short() -> None:
    """`pool: data/*` and `eval: x.jsonl` are valid recipes, so editors must not mark them."""
    assert schema_faults(yaml.safe_load(RECIPE)) == []
    assert schema_faults(yaml.safe_load(SHORT)) == []


LAUGHS = "".join(f"b{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\npool: &p [*p]\n", r"odd.yaml:2: broken YAML: an anchor holds itself"),
        ("a: &a0 [x]\n" + LAUGHS, r"odd.yaml:\d: broken YAML: more than 20,000 values"),
        ("name: a\npool: " + "[" * 10_000, r"odd.yaml:2: broken YAML: nested more than 64 deep"),
        (
            "name: a\nseed: 0x" + "f" * 9_000,
            r"odd.yaml:2: broken YAML: a number of more than 100 digits",
        ),
        ("name: a\nseed: !!int x\n", r"odd.yaml:2: broken YAML: 'x' is no int"),
    ],
    ids=range(5),
)
def test_a_recipe_beyond_the_limits_is_one_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(tmp_path / "odd.yaml")


def test_a_recipe_is_no_device_and_no_folder(tmp_path: Path) -> None:
    for path, why in ((Path("/dev/zero"), "it is a device"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=rf"the config cannot be read \({why}"):
            load_config(path)


def test_a_setting_deeper_than_any_key_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: a\npool: x\nselect: {method: random}\n")
    with pytest.raises(UserError, match=r"^--set a.a.*: no key of a recipe lies 64 levels deep"):
        load_config(tmp_path / "recipe.yaml", ["a." * 10_000 + "a=1"])
