"""What selections take: each method says it, a blend and a cascade for their parts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from curate.config.recipe import Config
from curate.core.methods import find_method
from curate.core.selector import Selector
from curate.estimate.lines import EstimateLine
from curate.estimate.recipe import estimate
from tests.conftest import turns

ROWS = 40
TABLE_ROW = re.compile(r"^\| `(\w+)` \| (\d) (\d) (\d) \|", re.MULTILINE)


def estimated(folder: Path, model: Path, *compare: dict[str, Any]) -> list[EstimateLine]:
    pool = folder / "pool.jsonl"
    rows = [turns(f"What comes after {i}?", f"{i + 1}" * 9) for i in range(ROWS)]
    pool.write_text("\n".join(json.dumps({"messages": row}) for row in rows))
    target = folder / "target.jsonl"
    target.write_text(json.dumps({"messages": turns("What comes after 99?", "100")}))
    recipe = {
        "name": "costs",
        "pool": str(pool),
        "target": str(target),
        "models": {"base": str(model), "embedder": "static"},
        "select": {"method": "perplexity", "budget": 5},
        "compare": list(compare),
    }
    lines = estimate(Config.model_validate(recipe))
    return [line for line in lines if line.stage in ("select", "compare")]


def test_what_is_scored_alike_costs_once(tmp_path: Path, tiny: Path) -> None:
    blend = {"method": "blend", "parts": [{"method": "perplexity"}, {"method": "ifd"}]}
    own, again, other, blended, _ = estimated(
        tmp_path,
        tiny,
        {"method": "perplexity", "prefer": "high"},
        {"method": "perplexity", "max_length": 8},
        blend,
    )
    assert own.tokens > 0
    assert again.tokens == 0
    assert other.tokens == 8 * ROWS
    assert blended.tokens == own.tokens, "of its other part: responses alone, the rest is there"


def test_a_pass_that_methods_share_costs_once(tmp_path: Path, tiny: Path) -> None:
    own, response, elsewhere, _ = estimated(
        tmp_path,
        tiny,
        {"method": "perplexity", "of": "response"},
        {"method": "perplexity", "of": "response", "max_length": 8},
    )
    assert own.tokens > 0
    assert response.tokens == 0
    assert elsewhere.tokens == 8 * ROWS


def test_gradients_cost_several_passes_for_each_checkpoint(tmp_path: Path, tiny: Path) -> None:
    _, one, four, clustered, _ = estimated(
        tmp_path,
        tiny,
        {"method": "less", "warmup": {"epochs": 1}},
        {"method": "less"},
        {"method": "cluster_less", "embedder": "static"},
    )
    assert one.tokens > 3 * ROWS
    assert four.tokens == pytest.approx(4 * one.tokens, rel=0.01)
    assert clustered.tokens < four.tokens


def test_a_later_part_of_a_cascade_reads_what_is_left(tmp_path: Path, tiny: Path) -> None:
    parts = [{"method": "length", "keep": 0.25}, {"method": "ifd"}]
    own, cascade, _ = estimated(tmp_path, tiny, {"method": "cascade", "parts": parts})
    # A quarter of the rows, with prompts and without.
    assert cascade.tokens == pytest.approx(own.tokens / 2, abs=1)
    assert cascade.seconds.likely == pytest.approx(own.seconds.likely / 2, rel=0.01)


def test_embeddings_and_calls_are_told(tmp_path: Path, tiny: Path) -> None:
    embedded = {"method": "kcenter", "compare": "prompt"}
    judged = {"method": "judge", "votes": 3}
    _, first, again, judge, _ = estimated(tmp_path, tiny, embedded, embedded, judged)
    assert first.seconds.likely > 0
    assert again.seconds.likely == 0
    assert judge.does == "judge, budget 5 rows; at most 120 calls of a model"
    assert judge.asks


def test_a_method_that_did_not_beat_random_draws_says_so(tmp_path: Path, tiny: Path) -> None:
    own, near, _ = estimated(tmp_path, tiny, {"method": "kcenter"})
    assert "on 8 real targets worse than random draws on 1" in own.does
    assert "within the range of random draws on all 8" in near.does


def test_what_is_said_of_methods_is_what_the_table_has() -> None:
    """Marks of a row of docs/real-targets.md, better, within and worse, are those of the sentence."""
    text = (Path(__file__).parents[2] / "docs/real-targets.md").read_text(encoding="utf-8")
    marks = {name: tuple(map(int, counts)) for name, *counts in TABLE_ROW.findall(text)}
    for name, (better, within, worse) in marks.items():
        sentence = find_method(Selector, name).on_targets
        assert bool(sentence) == (better <= 1 and name != "random"), name
        if sentence and within == 8:
            assert sentence == "within the range of random draws on all 8"
        elif sentence:
            assert counted(sentence) == {"better": better, "worse": worse, "within": within}


def counted(sentence: str) -> dict[str, int]:
    parts = {"better": 0, "worse": 0, "within": 0}
    for part in sentence.split(", "):
        parts[part.split()[0]] = int(part.split()[-1])
    return parts
