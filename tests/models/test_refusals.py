"""Rows that the base model's chat template refuses are dropped with a reason, and end no run."""

from __future__ import annotations

import json
import logging
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.rows import Message
from curate.estimate.recipe import estimate
from curate.models.chat import refusal
from curate.models.load import load_tokenizer
from curate.pipeline.curation import run_curation
from curate.report.data import gather
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from curate.runs.plan import plan_selection
from tests.conftest import CHATML, turns

pytestmark = pytest.mark.system

STRICT = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SYSTEM: list[Message] = [{"role": "system", "content": "Be brief."}, *turns("Hi", "Hello.")]
TWICE: list[Message] = [*turns("Hi")[:1], *turns("Are you there?", "Yes.")]
SMALL_PROOF = {"draws": 2, "seeds": 1, "lora": {"epochs": 1}}
SENTENCE = (
    "2 rows are refused by the base model's chat template: Conversation roles must alternate (1); "
    "System role not supported (1); pool/pool.jsonl:2, pool/pool.jsonl:4"
)


@pytest.fixture(scope="module")
def strict(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template is as strict as Gemma 2's."""
    folder = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("strict") / "model"))
    (folder / "chat_template.jinja").write_text(STRICT)
    return folder


def recipe(root: Path, model: Path, rows: list[list[Message]], **more: Any) -> Config:
    lines = [json.dumps({"messages": messages}) for messages in rows]
    (root / "pool.jsonl").write_text("\n".join(lines))
    given = {
        "name": "strict",
        "pool": {"path": str(root / "pool.jsonl"), "source": "pool"},
        "models": {"base": str(model), "dtype": "float32"},
        "select": {"method": "random", "budget": {"tokens": 10_000}},
        "store": str(root / "store"),
    }
    return Config.model_validate({**given, **more})


def pool() -> list[list[Message]]:
    return [turns("a", "b"), SYSTEM, turns("c", "d", "e", "f"), TWICE, turns("g", "h")]


def test_a_refused_row_is_dropped_and_told_of_wherever_a_run_is_looked_at(
    tmp_path: Path, strict: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = recipe(tmp_path, strict, pool())
    assert SENTENCE in estimate(config)[0].does
    caplog.set_level(logging.INFO, "curate")
    for _ in range(2):
        caplog.clear()
        run_curation(config, tmp_path / "run")
        assert f"template: {SENTENCE}" in caplog.messages
    run = open_run(tmp_path / "run")
    dropped = run.table("ledger").filter(fate="dropped").collect()
    assert dropped["row_id"].to_list() == ["pool/pool.jsonl:2", "pool/pool.jsonl:4"]
    assert set(dropped["reason"]) == {"template_refused"}
    assert set(dropped["stage"]) == {"template"}
    assert run.table("ledger").filter(fate="selected").collect().height == 3
    funnel = gather(run.path).funnel
    assert [(s.stage, s.left, s.remaining) for s in funnel.steps[:2]] == [
        ("pool", (), 5), ("template", (("template_refused", 2),), 3),
    ]  # fmt: skip
    said = "\n".join(explain_row(run, "pool/pool.jsonl:2"))
    assert (
        "dropped by the stage template: it is refused by the base model's chat template "
        "(System role not supported)." in said
    )
    kept = "\n".join(explain_row(run, "pool/pool.jsonl:1"))
    assert "template: kept" in kept


@pytest.mark.parametrize(
    "more",
    [
        {"select": {"method": "perplexity", "budget": 2}},
        {"select": {"method": "ifd", "budget": 2, "min_tokens": 1}},
        {"stages": [{"kind": "semantic", "embedder": "lm"}]},
        {"stages": ["exact", {"kind": "confidence", "embedder": "static"}]},
        {"select": {"method": "rds", "budget": 2}, "target": True},
        {"select": {"method": "less", "budget": 2}, "target": True},
    ],
    ids=["perplexity", "ifd", "semantic", "confidence", "rds", "less"],
)
def test_no_method_that_reads_rows_with_the_base_model_is_ended_by_one(
    tmp_path: Path, strict: Path, more: dict[str, Any]
) -> None:
    if more.get("target"):
        line = {"messages": turns("What is c?", "d")}
        (tmp_path / "target.jsonl").write_text(json.dumps(line))
        more = {**more, "target": str(tmp_path / "target.jsonl")}
    if "select" not in more:
        more = {**more, "select": {"method": "random", "budget": 2}}
    result = run_curation(recipe(tmp_path, strict, pool(), **more), tmp_path / "run")
    fates = open_run(result.folder).table("ledger").filter(reason="template_refused").collect()
    assert fates["row_id"].to_list() == ["pool/pool.jsonl:2", "pool/pool.jsonl:4"]


def test_a_twin_that_the_template_refuses_takes_no_other_row_with_it(
    tmp_path: Path, strict: Path
) -> None:
    """Were it dropped after the stages, its duplicate would be gone as well."""
    double = {"kind": "exact", "compare": "prompt"}
    rows = [SYSTEM, turns("Hi", "Hello."), turns("x", "y")]
    config = recipe(tmp_path, strict, rows, stages=[double])
    run = open_run(run_curation(config, tmp_path / "run").folder)
    assert run.table("ledger").filter(fate="selected").collect().height == 2


def test_a_recipe_that_reads_no_row_with_a_model_drops_none_and_loads_none(tmp_path: Path) -> None:
    plain = {"method": "random", "budget": {"rows": 5}}
    config = recipe(tmp_path, tmp_path / "no-model", pool(), select=plain)
    estimate(config)
    result = run_curation(config, tmp_path / "run")
    assert "model" not in result.manifest
    assert open_run(result.folder).table("ledger").filter(fate="selected").collect().height == 5


def test_a_pool_whose_rows_it_all_refuses_is_a_user_error(tmp_path: Path, strict: Path) -> None:
    config = recipe(tmp_path, strict, [SYSTEM, TWICE])
    for command in (estimate, lambda c: run_curation(c, tmp_path / "run")):
        with pytest.raises(
            UserError, match=r"pool: 2 rows are refused .* choose another models.base"
        ):
            command(config)


@pytest.mark.parametrize("name", ["target", "eval"])
def test_an_example_that_it_refuses_is_a_user_error_before_anything_is_scored(
    tmp_path: Path, strict: Path, name: str
) -> None:
    files = {n: tmp_path / f"{n}.jsonl" for n in ("target", "eval")}
    for n, path in files.items():
        row = SYSTEM if n == name else turns(f"What is {n}?", "d")
        path.write_text(json.dumps({"messages": row}))
    target = {"path": str(files["target"]), "eval": str(files["eval"])}
    select = {"method": "rds", "budget": 2}
    config = recipe(tmp_path, strict, pool(), target=target, select=select, prove={})
    for command in (estimate, lambda c: run_curation(c, tmp_path / "run")):
        with pytest.raises(UserError, match=rf"{name}: 1 row is refused .*{name}/{name}.jsonl:1"):
            command(config)
    assert not list((tmp_path / "store").glob("*index*"))


def test_a_target_that_only_words_are_compared_with_may_be_refused(
    tmp_path: Path, strict: Path
) -> None:
    (tmp_path / "target.jsonl").write_text(json.dumps({"messages": [SYSTEM[0], *turns("c", "d")]}))
    select, target = {"method": "bm25", "budget": 2}, str(tmp_path / "target.jsonl")
    config = recipe(tmp_path, strict, pool(), target=target, select=select)
    estimate(config)
    run_curation(config, tmp_path / "run")


def test_a_broken_template_is_a_user_error_and_no_refusal(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "broken"))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}")
    with pytest.raises(UserError, match=r"chat template of .* is broken"):
        refusal(load_tokenizer(folder), turns("a", "b"))


def test_verdicts_are_a_line_for_every_row(tmp_path: Path, strict: Path) -> None:
    result = run_curation(recipe(tmp_path, strict, pool()), tmp_path / "run")
    table = pl.read_parquet(result.folder / "evidence/template.parquet")
    assert table["keep"].to_list() == [True, False, True, False, True]


def shouting(tmp_path: Path, tiny: Path) -> Path:
    """Return a model whose template rewrites what holds the word shout."""
    folder = Path(shutil.copytree(tiny, tmp_path / "shouting"))
    shout = CHATML.replace(
        "m['content']", "(m['content'] | upper if 'shout' in m['content'] else m['content'])"
    )
    (folder / "chat_template.jinja").write_text(shout)
    return folder


def test_a_row_of_whose_responses_the_template_leaves_nothing_is_dropped_with_a_reason(
    tmp_path: Path, tiny: Path
) -> None:
    folder = shouting(tmp_path, tiny)
    rows = [turns("a", "b"), turns("c", "shout"), turns("d", "e", "f", "g")]
    select = {"method": "ifd", "budget": 2, "min_tokens": 1}
    run = open_run(
        run_curation(recipe(tmp_path, folder, rows, select=select), tmp_path / "run").folder
    )
    dropped = run.table("ledger").filter(fate="dropped").collect()
    assert dropped.select("row_id", "reason").rows() == [
        ("pool/pool.jsonl:2", "template_rewritten")
    ]


@pytest.mark.parametrize("part", [1, 3, 100])
def test_a_system_turn_may_be_merged_into_the_first_user_turn(
    tmp_path: Path, strict: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr("curate.core.tableparts.PART_ROWS", part)
    models = {"base": str(strict), "dtype": "float32", "system": "merge"}
    run = open_run(
        run_curation(recipe(tmp_path, strict, pool(), models=models), tmp_path / "run").folder
    )
    dropped = run.table("ledger").filter(fate="dropped").collect()
    assert dropped.select("row_id", "reason").rows() == [
        ("pool/pool.jsonl:2", "system_merged"), ("pool/pool.jsonl:4", "template_refused"),
    ]  # fmt: skip
    config = recipe(tmp_path, strict, pool(), models=models)
    assert (
        "rows whose system text was put into their first user turn: 1" in estimate(config)[0].does
    )
    twin = dropped["duplicate_of"][0]
    assert run.messages("pool", twin) == turns("Be brief.\n\nHi", "Hello.")
    assert twin in run.table("selected").collect()["row_id"].to_list()
    assert f"Replaced by {twin}" in "\n".join(explain_row(run, "pool/pool.jsonl:2"))
    step = next(s for s in gather(run.path).funnel.steps if s.stage == "template")
    assert (step.added, step.remaining) == (1, 4)


def test_a_line_that_is_added_costs_its_own_file_alone(tmp_path: Path, strict: Path) -> None:
    def run(lines: int) -> list[int]:
        for name, rows in (("first", pool()), ("second", pool()[:lines])):
            text = "\n".join(json.dumps({"messages": messages}) for messages in rows)
            (tmp_path / f"{name}.jsonl").write_text(text)
        files = {"path": str(tmp_path / "*.jsonl"), "source": "pool"}
        config = recipe(tmp_path / "more", strict, [], pool=files)
        run_curation(config, tmp_path / "run")
        names = [path.name for path in (tmp_path / "more" / "store").iterdir()]
        steps = (r"template-faults-\w+", r"tokens-(?!of-all)\w+")
        return [sum(re.fullmatch(step, name) is not None for name in names) for step in steps]

    (tmp_path / "more").mkdir()
    assert run(1) == [2, 2]
    assert run(3) == [3, 3]


def examples_of(root: Path, target: list[Any], held_out: list[Any]) -> dict[str, Any]:
    for name, rows in (("target", target), ("eval", held_out)):
        lines = [json.dumps({"messages": messages}) for messages in rows]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    return {"path": str(root / "target.jsonl"), "eval": str(root / "eval.jsonl")}


def test_examples_are_merged_by_the_rule_of_rows_and_keep_their_ids(
    tmp_path: Path, strict: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = {"role": "system", "content": "Be short."}
    target = examples_of(
        tmp_path,
        [turns("w", "x"), [short, *turns("y", "z")]],
        [[short, *turns("q", "r", "s", "t")]],
    )
    config = recipe(
        tmp_path,
        strict,
        pool(),
        models={"base": str(strict), "dtype": "float32", "system": "merge"},
        target=target,
        select={"method": "rds", "budget": 2},
        stages=["leaks"],
        prove=SMALL_PROOF,
    )
    sentences = [
        "rows whose system text was put into their first user turn: 1",
        "target examples whose system text was put into their first user turn: 1",
        "eval examples whose system text was put into their first user turn: 1",
    ]
    estimate_line = estimate(config)[0].does
    result = run_curation(config, tmp_path / "run")
    for sentence in sentences:
        assert sentence in estimate_line
        assert any(sentence in message for message in caplog.messages)
    assert result.proof is not None
    assert result.proof["verdict"] != "not measured"
    run = open_run(result.folder)
    assert run.messages("target", "target/target.jsonl:2") == turns("Be short.\n\ny", "z")
    rows = run.rows("target")
    assert rows is not None
    assert rows.select("row_id").collect()["row_id"].to_list() == [
        "target/target.jsonl:1", "target/target.jsonl:2",
    ]  # fmt: skip
    # Leaks are looked for in what was given, where the system turn is a text of its own.
    messages = run.messages("eval", "eval/eval.jsonl:1")
    assert messages is not None
    assert messages[0] == short
    merged = {e["stage"]: e["merged"] for e in result.manifest["stages"] if "merged" in e}
    assert merged == {"template-target": 1, "template-eval": 1}


def test_a_target_that_words_are_compared_with_is_merged_like_the_rows(
    tmp_path: Path, strict: Path
) -> None:
    models = {"base": str(strict), "dtype": "float32", "system": "merge"}
    target = examples_of(tmp_path, [SYSTEM, TWICE], [turns("q", "r")])
    select = {"method": "bm25", "budget": 2}
    config = recipe(tmp_path, strict, pool(), models=models, target=target, select=select)
    run = open_run(run_curation(config, tmp_path / "run").folder)
    assert run.messages("target", "target/target.jsonl:1") == turns("Be brief.\n\nHi", "Hello.")
    assert run.messages("target", "target/target.jsonl:2") == TWICE


def test_an_eval_example_that_the_template_rewrites_counts_as_unscored_and_breaks_no_report(
    tmp_path: Path, tiny: Path
) -> None:
    folder = shouting(tmp_path, tiny)
    target = examples_of(tmp_path, [turns("w", "x")], [turns("q", "shout"), turns("s", "t")])
    config = recipe(
        tmp_path,
        folder,
        [turns("a", "b"), turns("c", "d"), turns("e", "f")],
        target=target,
        select={"method": "random", "budget": 2},
        prove=SMALL_PROOF,
    )
    result = run_curation(config, tmp_path / "run")
    assert result.proof is not None
    assert result.proof["eval_examples_too_long"] == 1
    assert [step.stage for step in gather(result.folder).funnel.steps] == ["pool", "select"]


def test_rows_that_a_stage_makes_are_judged_like_those_of_the_pool(
    tmp_path: Path, tiny: Path
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "nomasks"))
    no_masks = (
        "{% for m in messages %}{% if '[EMAIL]' in m['content'] %}"
        "{{ raise_exception('no masks') }}{% endif %}{% endfor %}" + CHATML
    )
    (folder / "chat_template.jinja").write_text(no_masks)
    rows = [turns("a", "b"), turns("Write to desk@riverbank.org now.", "c"), turns("d", "e")]
    config = recipe(
        tmp_path,
        folder,
        rows,
        stages=["pii", "exact"],
        select={"method": "perplexity", "budget": 2},
    )
    result = run_curation(config, tmp_path / "run")
    run = open_run(result.folder)
    dropped = run.table("ledger").filter(fate="dropped").collect()
    assert dropped.select("stage", "reason").rows() == [
        ("pii", "masked"), ("template-2", "template_refused"),
    ]  # fmt: skip
    said = "\n".join(explain_row(run, dropped["row_id"][1]))
    assert "refused by the base model's chat template (no masks)" in said
    steps = {s.stage: (s.removed, s.added, s.remaining) for s in gather(run.path).funnel.steps}
    assert steps == {
        "pool": (0, 0, 3), "pii": (1, 1, 3), "template-2": (1, 0, 2), "exact": (0, 0, 2),
        "select": (0, 0, 2),
    }  # fmt: skip


@pytest.mark.parametrize("form", ["loss", "perplexity"])
def test_a_row_that_the_template_of_a_methods_own_model_refuses_is_unscored_there_alone(
    tmp_path: Path, strict: Path, tiny: Path, form: str
) -> None:
    own = {"method": "ifd", "form": form, "model": str(strict), "budget": 2, "min_tokens": 1}
    config = recipe(
        tmp_path,
        tiny,
        pool(),
        select={**own, "method": "ifd"},
        compare=[{"method": "random", "budget": 5}, {"method": "perplexity", "budget": 5}],
    )
    result = run_curation(config, tmp_path / "run")
    run = open_run(result.folder)
    assert not run.has("evidence/template")
    unscored = run.table("ledger").filter(reason="unscored").collect()["row_id"].to_list()
    assert unscored == ["pool/pool.jsonl:2", "pool/pool.jsonl:4"]
    said = "\n".join(explain_row(run, "pool/pool.jsonl:2"))
    assert "the chat template of the method's model refuses it: System role not supported" in said
    assert "perplexity: selected" in said
    plan_selection(run, None, ["min_tokens=2"])
    refuses = "the chat template of the method's model refuses it: "
    page = result.report.read_text()
    for reason in ("System role not supported", "Conversation roles must alternate"):
        assert f"1, {refuses}{reason}" in unescape(page)
    assert "ifd could not score 2 rows, which come last and are never selected: 1, the chat" in page


def test_the_report_says_of_every_compared_method_which_rows_it_could_not_score(
    tmp_path: Path, strict: Path, tiny: Path
) -> None:
    own = {"method": "ifd", "model": str(strict), "budget": 2, "min_tokens": 1}
    select = {"method": "perplexity", "budget": 2}
    config = recipe(tmp_path, tiny, pool(), select=select, compare=[own])
    result = run_curation(config, tmp_path / "run")
    page = result.report.read_text()
    assert page.count("could not score") == 1
    assert page.index("ifd could not score 2 rows") > page.index("Methods compared")
