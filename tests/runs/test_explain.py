"""What `curate explain` says of rows that leak, from a real run on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.config.loading import load_config
from curate.core.errors import UserError
from curate.pipeline.curation import run_curation
from curate.report.data import gather
from curate.runs.explain import AROUND_CHARS, explain_row
from curate.runs.folder import RunFolder, open_run
from curate.runs.rethreshold import rethreshold

PROMPT = "Janet's ducks lay 16 eggs per day, and she eats THREE for breakfast every morning."
RIVERS = "Name three rivers that flow through more than two countries in Europe, please."
BEFORE = "It was a long day. " * 30
LONG = (" ".join(f"w{i}" for i in range(1_000)), "No end.")
POOL = [
    (f"{BEFORE}Well: janet's ducks lay 16 eggs per day -- and she eats two, then sleeps.", "a"),
    ("Make up a question.", f"Sure! {RIVERS.upper()} Was that all right?"),
    ("12 * 3 = ?", "36"),
    ("😀 + 😀 = ?", "two"),
    ("What is a comet? And a star?", "Ice, and gas."),
    LONG,
    ("Is this row a clean one?", "Yes."),
    ("And this?", "It is."),
]
WORSE = f"You could ask: {RIVERS} Or not."
RECIPE = """
name: leaky
pool: {{path: {root}/pool.jsonl, source: pool}}
target: {{path: {root}/target.jsonl, eval: {root}/eval.jsonl}}
protected: [{{path: {root}/protected.jsonl, source: rivers}}, {root}/talk.jsonl]
models: {{base: {model}}}
stages: [{{kind: leaks, warn: 0.9, any_ngram: 13}}]
select: {{method: random, budget: {{rows: 1}}}}
store: {root}/store
"""


def write(path: Path, pairs: list[tuple[str, str]]) -> None:
    path.write_text("\n".join(json.dumps({"prompt": p, "completion": c}) for p, c in pairs))


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> RunFolder:
    root = tmp_path_factory.mktemp("leaky")
    write(root / "pool.jsonl", POOL)
    pair = {"prompt": "Ask me something.", "chosen": "How are you?", "rejected": WORSE}
    with (root / "pool.jsonl").open("a") as file:
        file.write(f"\n{json.dumps(pair)}")
    write(root / "eval.jsonl", [(PROMPT, "13"), ("12 * 3 = ?", "36"), ("😀 + 😀 = ?", "2"), LONG])
    write(root / "protected.jsonl", [(RIVERS, "Danube, Rhine")])
    talk = [("user", "What is a comet?"), ("assistant", "Ice."), ("user", "And a star?")]
    messages = [{"role": r, "content": c} for r, c in [*talk, ("assistant", "Gas.")]]
    (root / "talk.jsonl").write_text(json.dumps({"messages": messages}))
    write(root / "target.jsonl", [("How many?", "Two."), (f"{RIVERS} Soon!", "Rhine")])
    (root / "recipe.yaml").write_text(RECIPE.format(root=root, model=tiny))
    run_curation(load_config(root / "recipe.yaml"), root / "run")
    return open_run(root / "run")


def fate_lines(run: RunFolder, number: int) -> list[str]:
    lines = "\n".join(explain_row(run, f"pool/pool.jsonl:{number}"))
    return lines[: lines.index("\n\nStages")].splitlines()


def test_a_leak_shows_the_shared_run_in_both_texts(leaky: RunFolder) -> None:
    around = f"{BEFORE}Well: "[-AROUND_CHARS:]
    assert fate_lines(leaky, 1) == [
        "pool/pool.jsonl:1  (pool, pool)",
        "",
        "dropped by the stage leaks: it shares runs of words that cover more of an eval prompt than "
        "the limit allows (score 0.6875, limit 0.5).",
        "",
        "Holds the prompt of eval/eval.jsonl:1",
        "  shared words: janet s ducks lay 16 eggs per day and she eats",
        "",
        "Where the row holds them",
        f"  [user] [...] {around}[[janet's ducks lay 16 eggs per day -- and she eats]] two, then "
        "sleeps.",
        "",
        "Where the eval example holds them",
        "  [user] [[Janet's ducks lay 16 eggs per day, and she eats]] THREE for breakfast every "
        "morning.",
    ]


def test_a_leak_in_a_response_of_a_protected_set_is_shown_in_that_turn(leaky: RunFolder) -> None:
    lines = fate_lines(leaky, 2)
    assert "Holds the prompt of rivers/protected.jsonl:1" in lines
    assert f"  [assistant] Sure! [[{RIVERS[:-1].upper()}]]. Was that all right?" in lines
    assert f"  [user] [[{RIVERS[:-1]}]]." in lines


def test_a_leak_in_a_rejected_answer_is_shown_there(leaky: RunFolder) -> None:
    lines = explain_row(leaky, "pool/pool.jsonl:9")
    assert "Holds the prompt of rivers/protected.jsonl:1" in lines
    at = lines.index("Where its rejected answer holds them")
    assert lines[at + 1] == f"  [assistant] You could ask: [[{RIVERS[:-1]}]]. Or not."
    assert lines[-3:] == ["", "Rejected answer", f"  [assistant] {WORSE}"]


def test_a_short_prompt_is_shown_too(leaky: RunFolder) -> None:
    lines = fate_lines(leaky, 3)
    assert lines[2].startswith("dropped by the stage leaks: it has a turn that is an eval prompt")
    assert lines.count("  [user] [[12 * 3]] = ?") == 2


def test_a_run_that_goes_over_turns_is_shown_over_turns(leaky: RunFolder) -> None:
    lines = fate_lines(leaky, 5)
    assert "  [user] [[What is a comet? And a star]]?" in lines
    assert lines[-2:] == ["  [user] [[What is a comet?", "      And a star]]?"]


def test_the_middle_of_a_very_long_run_is_left_out(leaky: RunFolder) -> None:
    lines = fate_lines(leaky, 6)
    assert lines.count(f"  [user] [[{LONG[0][:500]} [...] {LONG[0][-500:]}]]") == 2
    assert max(map(len, lines)) < 1_100


def test_a_prompt_without_words_is_shown_as_a_whole(leaky: RunFolder) -> None:
    assert fate_lines(leaky, 4)[4:] == [
        "Holds the prompt of eval/eval.jsonl:3",
        "  [user] 😀 + 😀 = ?",
        "  [assistant] 2",
    ]


def test_the_threshold_can_be_moved_on_what_is_stored(leaky: RunFolder) -> None:
    moved = rethreshold(leaky, "leaks", ["threshold=0.9", "any_ngram=30"])
    assert moved.evidence["keep"].to_list() == [
        True, False, False, False, False, False, True, True, False
    ]  # fmt: skip
    assert (moved.back, moved.gone) == (1, 0)
    with pytest.raises(UserError, match="any_ngram 3 is below ngram 8"):
        rethreshold(leaky, "leaks", ["any_ngram=3"])


def test_the_run_folder_holds_what_the_stage_found(leaky: RunFolder) -> None:
    names = sorted(path.stem for path in (leaky.path / "evidence").glob("leaks*.parquet"))
    assert names == [
        "leaks",
        "leaks-hits",
        "leaks-overlaps",
        "leaks-sets",
        "leaks-similar",
        "leaks-target",
        "leaks-target-overlaps",
        "leaks-warnings",
    ]
    sets = leaky.table("evidence/leaks-sets").collect()
    assert sets["source"].to_list() == ["eval", "rivers", "talk"]
    assert sets["rows"].to_list() == [4, 2, 1]
    target = leaky.table("evidence/leaks-target").collect()
    assert target["row_id"].to_list() == ["target/target.jsonl:2"]


def test_the_report_reads_the_run(leaky: RunFolder) -> None:
    report = gather(leaky.path)
    assert (leaky.path / "report" / "index.html").exists()
    assert [step.stage for step in report.funnel.steps] == ["pool", "leaks", "select"]
    eval_rows = [drop.duplicate_of for group in report.examples.drops for drop in group.drops]
    assert {row.row_id: (row.place, row.text is not None) for row in eval_rows if row} == {
        "eval/eval.jsonl:1": ("eval", True),
        "eval/eval.jsonl:2": ("eval", True),
        "eval/eval.jsonl:3": ("eval", True),
        "eval/eval.jsonl:4": ("eval", True),
        "rivers/protected.jsonl:1": ("eval", True),
        "talk/talk.jsonl:1": ("eval", True),
    }
