"""Triplets: each cited passage with each uncited one, and a step of sentence-transformers on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import torch
from datasets import load_dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import MultipleNegativesRankingLoss
from sentence_transformers.models import Pooling, Transformer

from curate.pool.export import export_remarks
from tests.conftest import frame, row, turns
from tests.pool.exports.test_round_trips import export


def passage(text: str, *, cited: bool) -> dict[str, Any]:
    return {"id": f"corpus/{text}", "text": text, "cited": cited}


def retrieval(row_id: str, question: str, *passages: dict[str, Any]) -> dict[str, Any]:
    meta = json.dumps({"question": question, "passages": list(passages)})
    return row(row_id, turns(f"... {question}", "So it is."), meta=meta)


def pool() -> pl.DataFrame:
    return frame(
        [
            retrieval("s:1", "Q1?", passage("n1", cited=False), passage("p1", cited=True),
                      passage("n2", cited=False), passage("p2", cited=True)),
            retrieval("s:2", "Q2?", passage("n3", cited=False)),
            retrieval("s:3", "Q3?", passage("p3", cited=True)),
            row("s:4", turns("x", "y")),
            row("s:5", turns("x", "z"), meta='{"question": "Q5?", "passages": ["p5"]}'),
            retrieval("s:6", "Q6?", passage("p6", cited=True), passage("n6", cited=False)),
        ]
    )  # fmt: skip


def test_each_cited_passage_comes_with_each_uncited_one(tmp_path: Path) -> None:
    lines, table = export(pool(), ["triplets"], tmp_path)
    triplets = [
        ("Q1?", "p1", "n1"), ("Q1?", "p1", "n2"), ("Q1?", "p2", "n1"), ("Q1?", "p2", "n2"),
        ("Q6?", "p6", "n6"),
    ]  # fmt: skip
    columns = ("anchor", "positive", "negative")
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [
        dict(zip(columns, triplet, strict=True)) for triplet in triplets
    ]
    assert pl.read_parquet(table).rows() == triplets


def test_what_is_no_triplet_is_left_out_by_name() -> None:
    form = "their record has no question with passages (search_instruct with context: true)"
    assert export_remarks(pool(), ["triplets"]) == [
        "triplets: rows are left out, since none of their passages is cited (1 row: s:2)",
        "triplets: rows are left out, since all of their passages are cited (1 row: s:3)",
        f"triplets: rows are left out, since {form} (2 rows: s:4, s:5)",
    ]


def test_sentence_transformers_takes_a_step_on_them(tiny: Path, tmp_path: Path) -> None:
    export(pool(), ["triplets"], tmp_path / "export")
    rows = load_dataset(str(tmp_path / "export"), "triplets", cache_dir=str(tmp_path / "cache"))
    words = Transformer(str(tiny), max_seq_length=32)
    words.tokenizer.pad_token = words.tokenizer.eos_token
    model = SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension())])
    before = [weights.detach().clone() for weights in model.parameters()]
    trainer = SentenceTransformerTrainer(
        model,
        SentenceTransformerTrainingArguments(
            str(tmp_path / "out"), max_steps=1, batch_sampler="no_duplicates", learning_rate=0.01,
            warmup_steps=0, per_device_train_batch_size=2, use_cpu=True, report_to="none",
            save_strategy="no",
        ),
        train_dataset=rows["train"],
        loss=MultipleNegativesRankingLoss(model),
    )  # fmt: skip
    loss = trainer.train().training_loss
    assert 0 < loss < 10
    assert any(
        not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)
    )
