"""What can be said of a response without sampling: two forward passes, two embeddings and a search.

    row_id | mean_logprob | min_logprob | entropy | prompt_gain | agreement | relevance | tokens

mean_logprob   mean log-probability, in nats, of the response's tokens given what comes before them
min_logprob    that of the least likely token
entropy        mean entropy of the distributions that they are predicted from
prompt_gain    log of the ratio of perplexities without and with the prompt: loss alone - loss given
agreement      with the responses to the nearest prompts of the pool (curate.judge.agreement)
relevance      cosine of the embeddings of prompt and response

Which way they point. A response that the model finds likely, at its worst token too, is more often right
than one that surprises it (Kadavath et al. 2022, arXiv:2207.05221; Manakul et al. 2023,
arXiv:2303.08896, who use mean, minimum and entropy to find false sentences): higher log-probability and
lower entropy are more confident. A response that the prompt helps to predict belongs to it: higher
gain is more confident. It is the log of the inverse of IFD by perplexity (Li et al. 2024,
arXiv:2402.00530), read the other way round: IFD prefers what is hard, and finds noise. More agreement
and relevance are more confident.

Losses come from curate.models.losses, which says what a response's tokens are. A row whose response
is cut off, or whose text the embedder does not know, lacks the signals concerned (null).

Pitfalls. Likely is not true: a fluent falsehood scores high and a rare name low. Short responses have
extreme means, long ones extreme minima. Relevance finds responses to another prompt; a label such as
"positive" resembles no prompt.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

import polars as pl

from curate.answers.values import Check, warn_not_comparable
from curate.core.calls import Counted, Table, cached
from curate.core.run import StepRun
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact
from curate.judge.agreement import agree, find_neighbours, paired_cosines
from curate.models.embed import embed_survivors
from curate.models.index import read_vectors
from curate.models.losses import check_finite, join_losses
from curate.models.neighbours.nearest import search_identity
from curate.models.passes import survivor_alone, survivor_losses
from curate.text.compared import compared_text

VERSION = 4
# 1 if higher values speak for a response, -1 if lower ones do.
ORIENTATION: Mapping[str, int] = {
    "mean_logprob": 1,
    "min_logprob": 1,
    "entropy": -1,
    "prompt_gain": 1,
    "agreement": 1,
    "relevance": 1,
}


def measure_signals(
    run: StepRun,
    data: StageInputs,
    *,
    max_length: int,
    embedder: str | None,
    neighbours: int,
    floor: float,
    checker: Check,
) -> Table:
    """Measure the losses and embed the texts of a stage's rows; return them joined to signals."""
    return run(
        signals,
        data,
        given=survivor_losses(run, data, "response", max_length),
        alone=survivor_alone(run, data, max_length),
        prompts=embed_survivors(run, data, "prompt", embedder),
        responses=embed_survivors(run, data, "response", embedder),
        neighbours=neighbours,
        floor=floor,
        checker=checker,
        **search_identity(data.survivor_ids().height),
    )


@cached(version=VERSION, name="confidence-signals", title="Join the signals of confidence")
def signals(
    data: StageInputs,
    given: Sequence[Artifact],
    alone: Sequence[Artifact],
    prompts: Sequence[Table],
    responses: Sequence[Table],
    neighbours: int,
    floor: float,
    checker: Check,
    kernels: str | None = None,
) -> Counted[pl.DataFrame]:
    """Return the signals (columns: see above), in pool order.

    Args:
        data: the rows.
        given: losses of the blocks of responses behind their prompts.
        alone: losses of the blocks of responses without them.
        prompts: vectors of the blocks.
        responses: vectors of the blocks.
        neighbours: of a row whose responses are compared, at most.
        floor: smallest cosine of their prompts.
        checker: how answers are compared.
        kernels: what the search for neighbours computes with, where that can be seen in the result.
    """
    texts = (
        data.survivors()
        .select("row_id", prompt=compared_text("prompt"), response=compared_text("response"))
        .with_columns(pl.col("prompt", "response").fill_null(""))
        .collect()
    )
    prompt_vectors, response_vectors = read_vectors(prompts), read_vectors(responses)
    near = find_neighbours(prompt_vectors, neighbours, floor)
    agreement, unread = agree(
        near, texts["prompt"].to_list(), texts["response"].to_list(), response_vectors, checker
    )
    warn_not_comparable("confidence", unread, len(near.row))
    relevance = paired_cosines(prompt_vectors, response_vectors)
    similarities = pl.DataFrame({"agreement": agreement, "relevance": relevance}).fill_nan(None)
    table = pl.concat(
        [texts.select("row_id"), model_signals(given, alone), similarities], how="horizontal"
    ).select("row_id", *ORIENTATION, "tokens")
    missing = {name: table[name].null_count() for name in ORIENTATION}
    return Counted(table, {"missing": missing, "not_comparable": unread, **near.counts})


def model_signals(given: Sequence[Artifact], alone: Sequence[Artifact]) -> pl.DataFrame:
    """Return the signals of the language model and the number of response tokens."""
    if not given:
        names = ("mean_logprob", "min_logprob", "entropy", "prompt_gain")
        return pl.DataFrame(schema=dict.fromkeys(names, pl.Float64) | {"tokens": pl.Int64})
    with_prompt, without = (check_finite(join_losses(blocks)) for blocks in (given, alone))
    if not with_prompt["response_tokens"].equals(without["alone_tokens"], check_names=False):
        raise AssertionError("a response has other tokens with its prompt than alone")
    counted = pl.col("response_tokens")

    def of_tokens(value: pl.Expr) -> pl.Expr:
        return pl.when(counted > 0).then(value)

    return pl.concat([with_prompt, without], how="horizontal").select(
        mean_logprob=of_tokens(-pl.col("response_sum") / counted),
        min_logprob=of_tokens(-pl.col("response_worst")),
        entropy=of_tokens(pl.col("response_entropy") / counted),
        prompt_gain=of_tokens((pl.col("alone_sum") - pl.col("response_sum")) / counted),
        tokens=counted,
    )


def oriented(signals: pl.DataFrame) -> pl.DataFrame:
    """Return the signals so that higher values are more confident."""
    return signals.select(pl.col(name) * sign for name, sign in ORIENTATION.items())


def mean_rank(signals: pl.DataFrame) -> pl.Series:
    """Return each row's mean rank over the signals that it has, 0 to 1; null for a row without any.

    A rank is (r - 1/2) / n among the n rows that have the signal, the middle one of equal values. All
    signals weigh the same: a default, tuned on nothing.
    """
    rank = [
        (pl.col(name).rank("average") - 0.5) / pl.col(name).count()
        for name in oriented(signals).columns
    ]
    # Not mean_horizontal, in whose sum the number of threads would show.
    total = reduce(add, (one.fill_null(0.0) for one in rank))
    count = reduce(add, (one.is_not_null().cast(pl.Int64) for one in rank))
    return oriented(signals).select(score=pl.when(count > 0).then(total / count)).to_series()
