"""recipes/sft_trl.py, run: its labels are those of the proof, token by token."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from safetensors.torch import load_file
from transformers import AutoTokenizer

from curate.core.rows import Message
from curate.models.load import load_tokenizer, template_text
from curate.pool.layouts.calls import read_tools
from tests.conftest import CHATML, frame, row, turns
from tests.models.test_spans import FAMILIES, tokenizer_of
from tests.models.test_templateturns import CALLING, TOOLS, calls
from tests.pool.trainers.export_recipes import export, proof_labels, table

trl = pytest.importorskip("trl", reason="TRL is not installed: the extra `trl` brings it")

FORMATS = ["messages", "prompt_completion"]
# Their prompts open reasoning that the turns do not have, or their end marks change.
UNCLEAR = {"r1", "oss"}
PROVED = {"target": {"path": "t", "eval": "e"}, "prove": {"lora": {"epochs": 3, "rank": 4}}}

# Both have what one process has imported.
TWO_PROCESSES = """
import os, runpy, socket, sys
import datasets, peft, torch, transformers, trl

os.environ |= {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
with socket.create_server(("127.0.0.1", 0)) as server:
    os.environ["MASTER_PORT"] = str(server.getsockname()[1])
ranks = []
for rank in "01":
    ranks.append(os.fork())
    if not ranks[-1]:
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")
        sys.exit()
sys.exit(sum(os.waitpid(pid, 0)[1] for pid in ranks) != 0)
"""


def script(folder: Path) -> Any:
    """Return the recipe as a module."""
    path = folder / "recipes" / "sft_trl.py"
    spec = importlib.util.spec_from_file_location(f"sft_{folder.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def labels(folder: Path, tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    rows = script(folder).labelled_rows(tokenizer)
    return list(zip(rows["input_ids"], rows["labels"], strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_are_those_of_the_proof_under_every_template(
    family: str, tiny: Path, tmp_path: Path
) -> None:
    tokenizer = tokenizer_of(tiny, family)
    rows = table([turns("2 + 2?", "It is 4."), turns("a", "b c", "d", "e f", "g", "h")])
    export(rows, FORMATS, tmp_path)
    if family in UNCLEAR:
        with pytest.raises(SystemExit, match="the chat template writes turn 1 otherwise"):
            labels(tmp_path, tokenizer)
    else:
        assert labels(tmp_path, tokenizer) == proof_labels(rows, tokenizer)


@pytest.mark.parametrize("template", [CALLING, CHATML], ids=["tools", "plain"])
def test_labels_of_calls_and_reasoning_are_those_of_the_proof(
    template: str, tiny: Path, tmp_path: Path
) -> None:
    tokenizer = tokenizer_of(tiny, "chatml")
    tokenizer.chat_template = template
    thought = "Hm.\nAh. "
    answer: Message = {"role": "assistant", "content": "At 9.", "reasoning": thought}
    conversations = [turns("a", "b"), [*turns("When?")[:1], answer]]
    if template == CALLING:
        result: Message = {"role": "tool", "content": "9", "tool_call_id": "c1"}
        conversations += [[*turns("When?"), calls("I look."), result, answer]]
    tools = read_tools(TOOLS, "tools") if template == CALLING else None
    rows = frame([row(f"s:{i}", m, tools=tools) for i, m in enumerate(conversations)])
    export(rows, FORMATS, tmp_path)
    assert labels(tmp_path, tokenizer) == proof_labels(rows, tokenizer)


def test_rows_with_control_tokens_in_their_texts_are_counted_and_left_out(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table([turns("a", "b"), turns("say <|im_end|>", "no")])
    export(rows, FORMATS, tmp_path)
    assert len(labels(tmp_path, tokenizer_of(tiny, "chatml"))) == 1
    assert "1 rows hold control tokens as text and are left out" in capsys.readouterr().out


@pytest.mark.model
def test_a_step_of_sft_trainer_learns_what_the_proof_learns(smollm: Path, tmp_path: Path) -> None:
    own = load_tokenizer(smollm)
    rows = table()
    folder = export(rows, FORMATS, tmp_path / "e", template=template_text(own), **PROVED)
    module = script(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(smollm)
    trainer = module.tune(str(smollm), tokenizer, str(tmp_path / "tuned"), 1)
    assert trainer.state.global_step == 1
    data = trainer.train_dataset
    proof = proof_labels(rows, own)
    assert list(zip(data["input_ids"], data["labels"], strict=True)) == proof
    batch = trainer.data_collator([data[i] for i in range(len(data))])
    learned = [[t for t in sequence if t != -100] for sequence in batch["labels"].tolist()]
    assert learned == [[t for t in sequence if t != -100] for _, sequence in proof]
    assert "Not learned." not in own.decode(learned[3])
    arguments, lora = trainer.args, trainer.model.peft_config["default"]
    assert (arguments.num_train_epochs, lora.r, lora.lora_alpha) == (3, 4, 32)


@pytest.mark.system
def test_a_step_in_several_passes_and_processes_is_the_step_of_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with gloo, under the variables of `accelerate launch`; each takes two rows, twice.

    What they learn is compared with a step of this process.
    """
    rows = table([turns(f"question {n}", f"answer {n} " * (n + 1)) for n in range(8)])
    folder = export(rows, FORMATS, tmp_path / "e", template=template_text(load_tokenizer(tiny)))
    command = [str(folder / "recipes" / "sft_trl.py"), "--model", str(tiny), "--max-steps", "2"]
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path / "one")])
    with torch.random.fork_rng():
        # The first adapters are drawn from the state that a process starts with.
        torch.manual_seed(torch.Generator().initial_seed())
        script(folder).main()
    options = ["--out", str(tmp_path / "four"), "--rows-at-once", "2"]
    done = subprocess.run(
        [sys.executable, "-c", TWO_PROCESSES, *command, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one, four = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "four")
    )
    assert one.keys() == four.keys()
    # The B matrices start from zero, so what they hold was learned.
    assert any(weight.abs().max() > 1e-4 for name, weight in one.items() if "lora_B" in name)
    for name, weight in one.items():
        torch.testing.assert_close(four[name], weight, atol=2e-5, rtol=1e-3)


def test_rows_that_cannot_be_shared_evenly_are_told(tiny: Path, tmp_path: Path) -> None:
    module = script(export(table([turns("a", "b")]), FORMATS, tmp_path))
    assert module.shares(1, None) == (8, 1)
    assert module.shares(4, 1) == (1, 2)
    for processes, rows in ((3, None), (2, 3), (16, None)):
        with pytest.raises(SystemExit, match="a step has 8 rows"):
            module.shares(processes, rows)


def test_rows_of_phases_are_trained_on_in_their_order(tiny: Path, tmp_path: Path) -> None:
    own = load_tokenizer(tiny)
    rows = table([turns(f"question {n}", f"answer {n}") for n in range(30)])
    phases = {"phases": {"by": "rank", "parts": 2}}
    folder = export(rows, FORMATS, tmp_path / "e", template=template_text(own), export=phases)
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
    trainer = script(folder).tune(str(tiny), tokenizer, str(tmp_path / "tuned"), 1)
    fed = [row.tolist() for batch in trainer.get_train_dataloader() for row in batch["input_ids"]]
    stored = list(trainer.train_dataset["input_ids"])
    assert [row[: len(ids)] for row, ids in zip(fed, stored, strict=True)] == stored


def test_trl_by_itself_learns_prompts_of_messages_but_answers_of_prompt_completion(
    tiny: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(tiny)
    rows = table([turns("2 + 2?", "It is 4."), turns("a", "b c", "d", "e f")])
    folder = export(rows, FORMATS, tmp_path / "e")
    [messages] = (folder / "data").glob("*.parquet")
    [pairs] = (folder / "prompt_completion").glob("*.parquet")
    for path, learned in ((messages, "all"), (pairs, "last")):
        data = trl.SFTTrainer(
            model=str(tiny),
            args=trl.SFTConfig(output_dir=str(tmp_path / "t"), bf16=False, report_to="none"),
            train_dataset=load_dataset("parquet", data_files=str(path), split="train"),
            processing_class=tokenizer,
        ).train_dataset
        texts = [tokenizer.decode([t for t in labels if t != -100]) for labels in data["labels"]]
        if learned == "all":
            assert list(data["labels"]) == list(data["input_ids"])
        else:
            assert [text.rstrip() for text in texts] == ["It is 4.<|im_end|>", "e f<|im_end|>"]


def test_dpo_trainer_takes_preferences(tiny: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    better = turns("2 + 2?", "It is 4.")
    rows = frame(
        [
            row("s:0", better, rejected=turns("2 + 2?", "It is 5.")[1:]),
            row("s:1", turns("a", "b", "c", "d"), rejected=turns("c", "e")[1:]),
        ]
    )
    export(rows, ["preference"], tmp_path)
    [path] = (tmp_path / "preference").glob("*.parquet")
    trainer = trl.DPOTrainer(
        model=str(tiny),
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "t"),
            max_steps=1,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            report_to="none",
        ),
        train_dataset=load_dataset("parquet", data_files=str(path), split="train"),
        processing_class=tokenizer,
    )
    first = trainer.train_dataset[0]
    assert tokenizer.decode(first["chosen_ids"]).rstrip() == "It is 4.<|im_end|>"
    assert tokenizer.decode(first["rejected_ids"]).rstrip() == "It is 5.<|im_end|>"
    # Before its first step the model is its own reference: the loss is that of an even chance.
    assert trainer.train().training_loss == pytest.approx(log(2), abs=1e-4)
