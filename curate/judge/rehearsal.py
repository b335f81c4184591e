"""Rows that are made by what a model knows: its own right answers, refusals, and how sure it is.

Rehearsal (S3FT, Gupta et al. 2025, arXiv:2502.08130) takes for each row, the first that is right:

    self         the model's greedy answer to the row's conversation alone, then the greedy ones that it
                 gave after examples; the gold response stands in none of these requests
    paraphrase   its greedy answer when given question and gold response, to say in its own words
    gold         the row as it is

Right is what the checker of the stage says, so a paraphrase with another number is none. What a model
learns from its own words moves it less: their loss under it is lower. Published: tuning costs 2.5 points
on other benchmarks instead of 4.4. Departure: answers after examples are tried as well, since they are
there. Cost: a call a row, and one more where no answer of its own is right. Rows whose answer has no
value to compare take part where a judge is given: curate.judge.openrehearsal.

Refusals and certainty (R-Tuning, Zhang et al. 2024, arXiv:2311.09677) ask the model nothing more, but
for `uncertain`, which draws five answers a row (curate.judge.uncertainty). What is said stands in
knowledge/refusals.j2, a sentence a line of which the row's text draws one, and in knowledge/certain.j2;
a file of the same name in a folder of yours comes before ours.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from curate.answers.values import Check
from curate.core.calls import cached_files
from curate.core.derived_rows import derive_rows
from curate.core.keyed import EngineSource
from curate.core.rows import SCHEMA, content_hash, normalise, response_text
from curate.core.stage import APPENDED
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tables import read_table
from curate.judge.openrehearsal import OpenRehearsal, judgement_table, judging_client
from curate.judge.probes import METHOD, Probe, probe_request, probes_of, text_of
from curate.judge.routes import Route, answered, rephrasing
from curate.judge.uncertainty import measure_entropy, surer_half
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, llm_counts, open_client, seed_of
from curate.llm.engines import engine_wants
from curate.llm.prompts import MethodPrompts, PromptFiles
from curate.llm.reasoning import holds_marks
from curate.llm.requests import Request, Sampling, chat
from curate.llm.schemas import greedy

VERSION = 2
PROMPTS = ("certain", "refusals", "rephrase")
# Half of the greedy answers: then the model is sure.
SURE = 0.5
Use = Literal["rehearse", "unsure", "uncertain", "unknown"]
ROUTE_SCHEMA = pl.Schema({"row_id": pl.String(), "route": pl.String(), "new_id": pl.String()})


def knowledge_prompts(folder: str | None) -> MethodPrompts:
    """Return the prompts by which new rows are made."""
    return MethodPrompts(METHOD, Path(folder) if folder else None)


@cached_files(
    version=VERSION,
    name=f"knowledge-{APPENDED}",
    title="Make rows by what the model knows",
    wants=engine_wants,
)
def write_appended(
    out: Path,
    data: StageInputs,
    answers: Artifact,
    use: Use,
    engine: EngineSource,
    prompts: PromptFiles,
    checker: Check,
    max_tokens: int,
    seed: int,
    judge: EngineSource | None = None,
) -> Counts:
    """Write made.parquet, the new rows, and routes.parquet: what each row with a category became.

    With a judge also judgements.parquet, and rows with open answers are rehearsed too.
    """
    is_open = pl.col("form").is_null() & (judge is not None)
    categories = read_table(answers.file("known.parquet")).filter(
        pl.col("category").is_not_null() | is_open
    )
    rows = data.survivors().join(
        categories.select("row_id", "form", "category", "greedy", "greedy_right").lazy(),
        on="row_id",
        maintain_order="left",
    )
    table, files, spent = rows.collect(), prompts.open(), {}
    if use == "rehearse":
        few_shot = read_table(answers.file("answers.parquet"))
        with open_client(engine) as client:
            routes = rehearse(client, table, few_shot, files, checker, max_tokens)
            spent = {"llm": llm_counts(client)}
            if judge is not None:
                open_rows = table.filter(pl.col("form").is_null())
                with judging_client(judge, engine, client) as judging:
                    rehearsal = OpenRehearsal(client, judging, files, max_tokens)
                    more, judgements = rehearsal.rehearse(open_rows)
                    spent = {"llm": _spent(client, judging)}
                routes += more
                judgement_table(judgements).write_parquet(out / "judgements.parquet")
    elif use == "uncertain":
        with open_client(engine) as client:
            routes = tell_entropy(client, table, files, checker, max_tokens, seed)
            spent = {"llm": llm_counts(client)}
    elif use == "unsure":
        sure = pl.col("greedy_right") >= SURE * pl.col("greedy")
        routes = [_certain(row, files) for row in table.with_columns(sure=sure).to_dicts()]
    else:
        unknown = table.filter(category="unknown")
        routes = [_refusing(row, files, seed) for row in unknown.to_dicts()]
    rows_out = _write(out, table, routes)
    counts = pl.Series([one.route for one in routes], dtype=pl.String).value_counts(sort=True)
    return {
        "rows_in": table.height,
        "rows_out": rows_out,
        "routes": dict(counts.iter_rows()),
        **spent,
    }


def _spent(client: EngineClient, judge: EngineClient) -> dict[str, Any]:
    """Return what the model and its judge cost together."""
    spent = llm_counts(client)
    if judge is not client:
        for name, value in llm_counts(judge).items():
            spent[name] = spent.get(name, 0) + value
    return spent


def _write(out: Path, table: pl.DataFrame, routes: Sequence[Route]) -> int:
    """Write both tables; a row whose text stays the same makes no new one."""
    hashes = dict(zip(table["row_id"], table["content_hash"], strict=True))
    tools = dict(zip(table["row_id"], table["tools"], strict=True))
    new = {
        one.row_id: one
        for one in routes
        if content_hash(one.messages, tools[one.row_id]) != hashes[one.row_id]
    }
    columns = [field.name for field in SCHEMA]
    parents = table.filter(pl.col("row_id").is_in(list(new))).select(columns)
    appended = derive_rows(parents, [new[row_id].messages for row_id in parents["row_id"]], METHOD)
    appended.write_parquet(out / f"{APPENDED}.parquet")
    ids = dict(zip(parents["row_id"], appended["row_id"], strict=True))
    lines = [(one.row_id, one.route, ids.get(one.row_id)) for one in routes]
    table = pl.DataFrame(lines, schema=ROUTE_SCHEMA, orient="row")
    table.write_parquet(out / "routes.parquet")
    return appended.height


def rehearse(
    client: EngineClient,
    rows: pl.DataFrame,
    answers: pl.DataFrame,
    prompts: MethodPrompts,
    checker: Check,
    max_tokens: int,
) -> list[Route]:
    """Return for each row the first of self, paraphrase and gold that is right.

    Args:
        client: the model.
        rows: those with a category.
        answers: what the model said after examples.
        prompts: those of the stage.
        checker: which answers are right.
        max_tokens: of an answer.

    Raises:
        UserError: the engine no longer answers.
    """
    probes = probes_of(rows.to_dicts(), checker)
    alone = [probe_request(probe, [], _greedy(probe, max_tokens)) for probe in probes]
    own = _few_shot_answers(answers) | _right_answers(client, probes, alone)
    rest = [probe for probe in probes if probe.row_id not in own]
    requests = [
        chat(rephrasing(probe.messages, prompts), sampling=_greedy(probe, max_tokens))
        for probe in rest
    ]
    rephrased = _right_answers(client, rest, requests)
    # The gold words again are no paraphrase.
    gold_words = {probe.row_id: normalise(response_text(probe.messages)) for probe in rest}
    paraphrases = {
        row_id: text for row_id, text in rephrased.items() if normalise(text) != gold_words[row_id]
    }
    routes = []
    for probe in probes:
        gold = response_text(probe.messages)
        name = (
            "self"
            if probe.row_id in own
            else "paraphrase"
            if probe.row_id in paraphrases
            else "gold"
        )
        text = {"self": own, "paraphrase": paraphrases}.get(name, {}).get(probe.row_id, gold)
        routes.append(Route(probe.row_id, name, answered(probe.messages, text)))
    return routes


def tell_entropy(
    client: EngineClient,
    rows: pl.DataFrame,
    prompts: MethodPrompts,
    checker: Check,
    max_tokens: int,
    seed: int,
) -> list[Route]:
    """Return rows that say whether they are of the half that the model answers most alike.

    Args:
        client: the model.
        rows: those with a category.
        prompts: those of the stage.
        checker: which answers are alike.
        max_tokens: of an answer.
        seed: of the run.

    Raises:
        UserError: the engine no longer answers.
    """
    probes = probes_of(rows.to_dicts(), checker)
    entropies = measure_entropy(client, probes, max_tokens, seed)
    sure = surer_half(entropies, {probe.row_id: probe.content_hash for probe in probes})
    measured = rows.filter(pl.col("row_id").is_in(list(entropies)))
    table = measured.with_columns(sure=pl.col("row_id").is_in(list(sure)))
    return [_certain(row, prompts) for row in table.to_dicts()]


def _greedy(probe: Probe, most: int) -> Sampling:
    tokens = probe.most_tokens(most)
    return greedy(tokens)


def _few_shot_answers(answers: pl.DataFrame) -> dict[str, str]:
    """Return by row the first greedy answer after examples that is right."""
    right = answers.filter(pl.col("sample").is_null() & pl.col("right")).sort("row_id", "set")
    texts: dict[str, str] = {}
    for row_id, text in right.select("row_id", "text").iter_rows():
        if not holds_marks(text):
            texts.setdefault(row_id, text)
    return texts


def _right_answers(
    client: EngineClient, probes: Sequence[Probe], requests: Sequence[Request]
) -> dict[str, str]:
    """Return by row the answers that are right; each is asked for once."""
    answers = ask_all(client, requests, METHOD)
    texts = {p.row_id: (p, text_of(answer)) for p, (answer,) in zip(probes, answers, strict=True)}
    return {
        row_id: text
        for row_id, (p, text) in texts.items()
        if text and p.is_right(text) and not holds_marks(text)
    }


def _refusing(row: Mapping[str, Any], prompts: MethodPrompts, seed: int) -> Route:
    """Return a row with one of the refusals as its response, drawn by its text."""
    (turn,) = prompts["refusals"].fill()
    sentences = [line.strip() for line in turn["content"].splitlines() if line.strip()]
    drawn = sentences[seed_of(seed, row["content_hash"]) % len(sentences)]
    return Route(row["row_id"], "refusal", answered(row["messages"], drawn))


def _certain(row: Mapping[str, Any], prompts: MethodPrompts) -> Route:
    """Return a row with a further question and answer: did the model know?"""
    turns = prompts["certain"].fill(sure=row["sure"])
    return Route(row["row_id"], "sure" if row["sure"] else "unsure", [*row["messages"], *turns])
