"""What the leak check finds and what it drops wrongly, on planted truth of templated tasks.

    python tests/benchmarks/bench_leaks.py DATA [development|held-out|fresh|alarms|speed]

The folder holds `bbh/*.json` (BIG-Bench Hard), `p3/*.jsonl.gz` (P3), `gsm8k/*.jsonl.gz` and
`gpteacher/roleplay.json.gz`; it may stand in CURATE_BENCH_DATA instead. Of each task some rows are the
eval set. The pool is the task's other rows, of which none leaks, and the eval rows in other clothes: in
another template, a few-shot prompt, a sentence, a system turn, a response, with the choices in another
order or left out; of P3 the same example in the family's other templates. The rule was made with the
development tasks; the held-out ones were measured on the way, some of their misses looked at; of the
fresh ones no row was.

`alarms` counts drops in P3 and GPTeacher by eval sets that have nothing to do with them, `speed` the
time and peak memory of the search.
"""

import gzip
import json
import os
import random
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tests.clean.leakpairs import find_leaks

EVAL_ROWS = 60
RUN = 10
OPTIONS = re.compile(r"\n?Options:\n|\n\n(?=- )|\n(?=- )")
LETTERS = "ABCDEFGHIJKLMNOPQRS"
DEVELOPMENT = """
boolean_expressions disambiguation_qa dyck_languages logical_deduction_five_objects
multistep_arithmetic_two object_counting salient_translation_error_detection gsm8k
tracking_shuffled_objects_five_objects walks_made adversarial_qa ag_news cosmos_qa commonsense_qa
social_i_qa quarel gigaword dbpedia_14 duorc ropes qasc
"""
# Measured last; no rule comes from them.
FRESH = "cnn_dailymail common_gen multi_news wiki_hop self_instruct gpteacher"
# What of a prompt is the example; the rest is the task's template.
SLOTS: dict[str, str] = {
    "boolean_expressions": r"(.*) is$",
    "causal_judgement": r"causation\?\n(.*?)\nOptions",
    "disambiguation_qa": r"Sentence: (.*?)\nOptions",
    "dyck_languages": r"Input: (.*)$",
    "formal_fallacies": r'^"(.*)"\nIs the argument',
    "logical_deduction_five_objects": r"within each paragraph\. (.*?)\nOptions",
    "logical_deduction_seven_objects": r"within each paragraph\. (.*?)\nOptions",
    "multistep_arithmetic_two": r"(.*) =$",
    "reasoning_about_colored_objects": r"(.*?)\nOptions",
    "salient_translation_error_detection": r"Source: (.*?)\nThe translation contains",
    "tracking_shuffled_objects_five_objects": r"(.*?)\nOptions",
    "tracking_shuffled_objects_seven_objects": r"(.*?)\nOptions",
}
# Tasks with several questions on one text.
PASSAGES = ("causal_judgement", "salient_translation_error_detection")
# Of each family the templates that show the same example; the first is the eval set's.
FAMILIES: dict[str, list[str]] = {
    "adversarial_qa": ["dbert_based_on", "dbert_question_context_answer", "dbert_tell_what_it_is",
                       "dbert_answer_the_following_q"],
    "ag_news": ["ag_news_classify", "classify_question_first", "recommend", "which_section_choices"],
    "amazon_polarity": ["amazon_polarity_Is_this_review", "would_you_buy", "user_satisfied",
                        "amazon_polarity_flattering_or_not"],
    "cnn_dailymail": ["news_summary", "2_or_3_sentences", "news_stock", "write_an_outline"],
    "common_gen": ["Given_concepts_type_1", "Given_concepts_type_2", "Put_together",
                   "random_task_template_prompt"],
    "commonsense_qa": ["most_suitable_answer", "qa_question_answering", "question_to_answer_index",
                       "answer_given_question_without_options"],
    "cosmos_qa": ["context_description_question_text", "description_context_question_answer_text",
                  "context_question_description_answer_id", "no_prompt_text"],
    "dbpedia_14": ["pick_one_category_for_the_following_text", "given_a_choice_of_categories",
                   "what_category_does_the_paragraph_belong_to"],
    "dream": ["baseline", "read_the_following_conversation_and_answer_the_question"],
    "duorc": ["ParaphraseRC_answer_question", "ParaphraseRC_extract_answer",
              "ParaphraseRC_movie_director", "ParaphraseRC_question_answering"],
    "gigaword": ["gigaword_TLDR", "make_a_title", "in_a_nutshell", "generate_summary_for_this"],
    "glue_mrpc": ["mrpc_equivalent", "mrpc_paraphrase", "mrpc_same_thing", "mrpc_want_to_know"],
    "imdb": ["Movie_Expressed_Sentiment", "Reviewer_Enjoyment", "Text_Expressed_Sentiment"],
    "multi_news": ["summarize", "distill", "synthesize", "what_are_the_key_points"],
    "paws": ["Concatenation", "Meaning", "PAWS_ANLI_GPT3", "Rewrite"],
    "qasc": ["qa_with_separated_facts_1", "qa_with_separated_facts_2", "qa_with_separated_facts_3",
             "qa_with_separated_facts_5"],
    "quarel": ["quarel_heres_a_story", "quarel_do_not_use", "quarel_logic_test",
               "quarel_choose_between"],
    "quoref": ["Given_Context_Answer_Question", "Find_Answer", "Answer_Test", "Guess_Answer"],
    "ropes": ["prompt_beginning", "background_new_situation_answer", "given_background_situation",
              "prompt_bottom_hint_beginning"],
    "samsum": ["Summarize_this_dialogue_", "To_sum_up_this_dialog", "Sum_up_the_following_dialogue"],
    "sciq": ["Direct_Question_Closed_Book_", "Multiple_Choice_Closed_Book_", "Direct_Question",
             "Multiple_Choice_Question_First"],
    "social_i_qa": ["Generate_answer", "I_was_wondering", "Show_choices_and_generate_answer",
                    "Show_choices_and_generate_index"],
    "wiki_bio": ["key_content", "what_content", "comprehension"],
    "wiki_hop": ["interrogative_1", "affirmative_1", "affirmative_2", "generate_object"],
    "wiqa": ["effect_with_string_answer", "does_the_supposed_perturbation_have_an_effect",
             "effect_with_label_answer"],
    "xsum": ["summarize_DOC", "DOC_tldr", "article_DOC_summary", "DOC_write_summary_of_above"],
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A pool row: its turns, and how it holds an eval prompt (None if it holds none)."""

    turns: tuple[tuple[str, str], ...]
    clothes: str | None = None


@dataclass(frozen=True)
class Task:
    """An eval set and a pool with leaks."""

    name: str
    prompts: list[str]
    rows: list[Row]


def prompt_row(prompt: str, clothes: str | None = None) -> Row:
    return Row((("user", prompt), ("assistant", "ok")), clothes)


# --- tasks --------------------------------------------------------------------------------------


def tasks(data: Path) -> Iterator[Task]:
    """Yield the tasks of BIG-Bench Hard, GSM8K and the families of P3."""
    for path in sorted((data / "bbh").glob("*.json")):
        examples = json.loads(path.read_text())["examples"]
        yield templated(path.stem, [e["input"] for e in examples], SLOTS.get(path.stem))
    yield templated("walks_made", list(walks()), r"starting point\? (.*?)\nOptions")
    train, test = (read_lines(data / "gsm8k" / f"{part}.jsonl.gz") for part in ("train", "test"))
    questions = [r["question"] for r in test[:EVAL_ROWS]] + [r["question"] for r in train[:2_000]]
    yield templated("gsm8k", questions, None, shuffled=False)
    yield templated("self_instruct", seed_instructions(data), None)
    teacher = gpteacher_rows(data)["messages"].list.first().struct.field("content")
    yield templated("gpteacher", teacher.to_list(), None)
    for family, templates in FAMILIES.items():
        yield from_family(family, read_lines(data / "p3" / f"{family}.jsonl.gz"), templates)


def seed_instructions(data: Path) -> list[str]:
    lines = (data / "self_instruct" / "seed_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["instruction"] for line in lines]


def walks() -> Iterator[str]:
    """Yield prompts after the kind of BIG-Bench Hard's navigation task: content in arrangement."""
    rng = random.Random(5)
    question = "If you follow these instructions, do you return to the starting point?"
    for i in range(250):
        if i % 2:
            ways = ("left", "right", "forward", "backward")
            steps = (f"Take {rng.randint(1, 10)} steps {rng.choice(ways)}." for _ in range(12))
            walk = ["Always face forward.", *steps][: rng.randint(4, 10)]
        else:
            turns = ("Turn left.", "Turn right.", "Turn around.")
            steps = (
                rng.choice(turns) if rng.random() < 0.5 else f"Take {rng.randint(1, 10)} steps."
                for _ in range(12)
            )
            walk = [*steps][: rng.randint(4, 8)]
        yield f"{question} {' '.join(walk)}\nOptions:\n- Yes\n- No"


def read_lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def templated(
    name: str, prompts: Sequence[str], slot: str | None, *, shuffled: bool = True
) -> Task:
    """Return a task whose leaks are eval prompts, or what is theirs alone of them, in other clothes."""
    rng = random.Random(name)
    drawn = list(dict.fromkeys(prompts))
    if shuffled:
        rng.shuffle(drawn)
    evals, others = drawn[:EVAL_ROWS], drawn[EVAL_ROWS:]
    stories = {story_of(prompt, slot) for prompt in evals}
    if name in PASSAGES:
        others = apart(evals, others)
    rows = [prompt_row(text) for text in others if story_of(text, slot) not in stories]
    for prompt in evals:
        rows += dressed(prompt, slot_of(prompt, slot), rng.sample(others, 2), rng)
    return Task(name, evals, rows)


def slot_of(prompt: str, pattern: str | None) -> str:
    match = re.search(pattern, prompt, re.DOTALL) if pattern else None
    return match[1].strip() if match else prompt


def story_of(prompt: str, pattern: str | None) -> str:
    """Return the slot without its last line, which asks something of what stands before it."""
    lines = slot_of(prompt, pattern).split("\n")
    return "\n".join(lines[:-1] or lines)


def dressed(prompt: str, slot: str, others: Sequence[str], rng: random.Random) -> Iterator[Row]:
    """Yield an eval prompt in every form in which pools hold one."""
    shots = "".join(f"Q: {other}\nA: ok\n\n" for other in others)
    inner = slot[0].lower() + slot[1:]
    yield prompt_row(f"Question: {prompt}\nAnswer:", "template")
    yield prompt_row(f"{shots}Q: {prompt}\nA:", "few-shot")
    yield prompt_row(
        f"Here is a task for you to solve.\n\n{slot}\n\nGive the result at the end.", "slot"
    )
    yield prompt_row(f'My teacher gave me this one, "{inner}", and I have no idea.', "sentence")
    yield prompt_row(f"<|user|> {slot.upper()} <|assistant|>", "capitals")
    yield Row(
        (("system", f"You can solve: {slot}"), ("user", "Go."), ("assistant", "ok")), "system"
    )
    yield Row((("user", "Make one up."), ("assistant", f"Sure:\n{prompt}")), "response")
    question, *choices = OPTIONS.split(prompt, maxsplit=1)
    if choices:
        yield prompt_row(f"{question}\nOptions:\n{reordered(choices[0], rng)}", "reordered")
        yield prompt_row(question, "no choices")


def reordered(choices: str, rng: random.Random) -> str:
    texts = [re.sub(r"^(\([A-Z]\)|-)\s*", "", line) for line in choices.strip().split("\n")]
    rng.shuffle(texts)
    return "\n".join(f"({LETTERS[i % 19]}) {text}" for i, text in enumerate(texts))


def from_family(family: str, lines: Sequence[dict[str, Any]], ends: Sequence[str]) -> Task:
    """Return a task whose leaks are the eval set's examples in the family's other templates.

    Templates list the same examples in the same order. An example that is put as one of the eval set is,
    another time, is no clean row.
    """
    by_template = [[r["prompt"].strip() for r in lines if r["source"].rstrip("_").endswith(
        end.rstrip("_"))] for end in ends]  # fmt: skip
    for end, prompts in zip(ends, by_template, strict=True):
        if not prompts:
            raise SystemExit(f"{family}: no template ends in {end}")
    count = min(len(prompts) for prompts in by_template)
    numbers = random.Random(family).sample(range(count), count)
    evals = [by_template[0][i] for i in numbers[:EVAL_ROWS]]
    others = [i for i in numbers[EVAL_ROWS:] if by_template[0][i] not in evals]
    rows = []
    for end, prompts in zip(ends[1:], by_template[1:], strict=True):
        rows += [prompt_row(prompts[i], end) for i in numbers[:EVAL_ROWS]]
    rows += [
        prompt_row(text)
        for prompts in by_template
        for text in apart(evals, [prompts[i] for i in others])
    ]
    return Task(family, evals, rows)


def apart(evals: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the texts that share no passage with an eval prompt: RUN words in a row of its own.

    What shares one holds the same passage, story or news with another question, and is neither a
    leak in other clothes nor a clean row.
    """
    shared: dict[str, int] = {}
    for text in evals:
        for run in runs_of(text):
            shared[run] = shared.get(run, 0) + 1
    own = {run for run, count in shared.items() if count <= len(evals) / 4}
    return [text for text in dict.fromkeys(others) if not own & runs_of(text)]


def runs_of(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


# --- figures ------------------------------------------------------------------------------------


def frame(rows: Sequence[Row], prefix: str) -> pl.DataFrame:
    messages = [[{"role": r, "content": c} for r, c in row.turns] for row in rows]
    ids = [f"{prefix}{i}" for i in range(len(rows))]
    return pl.DataFrame({"row_id": ids, "messages": messages})


def measure(task: Task) -> tuple[float, float, dict[str, float]]:
    """Return false drops, recall, and recall by clothes."""
    evals = frame([prompt_row(prompt) for prompt in task.prompts], "e")
    hits = find_leaks(frame(task.rows, "r").lazy(), evals)
    dropped = set(hits["row_id"])
    kinds: dict[str | None, list[bool]] = {}
    for i, row in enumerate(task.rows):
        kinds.setdefault(row.clothes, []).append(f"r{i}" in dropped)
    clean = kinds.pop(None)
    leaks = [one for drops in kinds.values() for one in drops]
    by_clothes = {str(kind): sum(drops) / len(drops) for kind, drops in kinds.items()}
    return sum(clean) / len(clean), sum(leaks) / len(leaks), by_clothes


def planted(data: Path, part: str) -> None:
    print(f"{'task':<40}{'clean rows':>11}{'leaks':>7}{'false drops':>13}{'recall':>8}  missed in")
    for task in tasks(data):
        if split_of(task.name) != part:
            continue
        false, recall, by_clothes = measure(task)
        missed = ", ".join(f"{k} {1 - v:.0%}" for k, v in by_clothes.items() if v < 1)
        leaks = sum(row.clothes is not None for row in task.rows)
        print(f"{task.name:<40}{len(task.rows) - leaks:>11,}{leaks:>7,}{false:>13.2%}"
              f"{recall:>8.3f}  {missed}", flush=True)  # fmt: skip


def split_of(task: str) -> str:
    if task in FRESH.split():
        return "fresh"
    return "development" if task in DEVELOPMENT.split() else "held-out"


def alarms(data: Path) -> None:
    """Print how many rows of P3 and GPTeacher hold prompts of eval sets that are none of theirs.

    The sets are short instructions and questions, where chance is greatest; of P3 the families of the
    questions are left out, of GPTeacher the first rows are the set. A few of the drops are shown.
    """
    train = [r["question"] for r in read_lines(data / "gsm8k" / "test.jsonl.gz")]
    teacher = gpteacher_rows(data)
    first = teacher["messages"].list.first().struct.field("content").head(500).to_list()
    sets = {
        "GSM8K test": (train, ""),
        "Self-Instruct seeds": (seed_instructions(data), ""),
        "questions of sciq": (questions_of(data, "sciq", "Direct_Question_Closed_Book_"), "sciq"),
        "questions of commonsense_qa": (
            questions_of(data, "commonsense_qa", "answer_given_question_without_options"),
            "commonsense_qa",
        ),
    }
    for name, (prompts, family) in sets.items():
        print_alarms(f"P3 for {name}", p3_rows(data, family), prompts)
        print_alarms(f"GPTeacher for {name}", teacher, prompts)
    print_alarms("GPTeacher for its own first 500", teacher.slice(500), first)


def questions_of(data: Path, family: str, template: str) -> list[str]:
    lines = read_lines(data / "p3" / f"{family}.jsonl.gz")
    return [r["prompt"] for r in lines if r["source"].endswith(template)]


def print_alarms(name: str, rows: pl.DataFrame, prompts: Sequence[str]) -> None:
    hits = find_leaks(rows.lazy(), frame([prompt_row(prompt) for prompt in prompts], "e"))
    best = hits.sort("coverage", "eval_id", descending=[True, False]).unique("row_id", keep="first")
    print(f"{name} ({len(prompts)}): {best.height} of {rows.height:,} rows dropped", flush=True)
    for line in best.sort("row_id").head(8).to_dicts():
        print(f"    {line['reason']:<11}{line['coverage']:.2f}  {line['span'][:100]!r}")


def p3_rows(data: Path, without: str = "") -> pl.DataFrame:
    paths = [p for p in sorted((data / "p3").glob("*.gz")) if p.name != f"{without}.jsonl.gz"]
    lines = [line for path in paths for line in read_lines(path)]
    rows = [Row((("user", r["prompt"]), ("assistant", r["completion"]))) for r in lines]
    return frame(rows, "p")


def gpteacher_rows(data: Path) -> pl.DataFrame:
    with gzip.open(data / "gpteacher" / "roleplay.json.gz", "rt", encoding="utf-8") as file:
        lines = json.load(file)
    texts = [(f"{r['instruction']}\n{r['input']}".strip(), r["output"]) for r in lines]
    return frame([Row((("user", p), ("assistant", a))) for p, a in texts], "g")


def speed(data: Path) -> None:
    """Print processor seconds of the search in P3, by an eval set without and one with templates.

    And the most memory that it took above the rows.
    """
    rows = p3_rows(data)
    questions = [r["question"] for r in read_lines(data / "gsm8k" / "test.jsonl.gz")]
    files = sorted((data / "bbh").glob("*.json"))
    inputs = [e["input"] for path in files for e in json.loads(path.read_text())["examples"]]
    for name, prompts in (("GSM8K test", questions), ("BIG-Bench Hard", inputs)):
        evals = frame([prompt_row(prompt) for prompt in prompts], "e")
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(3):
            started = time.process_time()
            find_leaks(rows.lazy(), evals)
            seconds = time.process_time() - started
            print(f"{rows.height:,} rows of P3, {evals.height:,} of {name}: {seconds:.2f} s")
        after = resource.getrusage(resource.RUSAGE_SELF)
        print(f"peak memory: {(after.ru_maxrss - before.ru_maxrss) / 1024:.0f} MiB more")


def main() -> None:
    """Run one of the parts."""
    arguments = [a for a in sys.argv[1:] if a not in PARTS]
    data = Path(arguments[0] if arguments else os.environ.get("CURATE_BENCH_DATA", ""))
    if (not arguments and "CURATE_BENCH_DATA" not in os.environ) or not (data / "bbh").is_dir():
        print("skipped: no data; give the folder that holds bbh/, p3/, gsm8k/ and gpteacher/")
        return
    for part in [a for a in sys.argv[1:] if a in PARTS] or PARTS:
        PARTS[part](data)


PARTS: dict[str, Callable[[Path], None]] = {
    "development": lambda data: planted(data, "development"),
    "held-out": lambda data: planted(data, "held-out"),
    "fresh": lambda data: planted(data, "fresh"),
    "alarms": alarms,
    "speed": speed,
}

if __name__ == "__main__":
    main()
