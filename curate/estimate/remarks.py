"""Rows of a pool that a recipe does not read well: refused by the template, foreign scripts, pairs."""

from collections.abc import Mapping

from curate.config.recipe import Config
from curate.core.calls import StoreRunner, Table
from curate.core.keyed import ModelSource
from curate.core.numerals import counted
from curate.core.turntext import CONVERSATION, conversations
from curate.estimate.pairshare import count_pairs
from curate.models.embed import covered_by
from curate.models.imitations import find_imitations, imitation_sentences
from curate.models.load import find_model, load_tokenizer, prepare
from curate.models.refusals import judge_by_template, refused_rows
from curate.models.scripts import LATIN, script_sentences, uncovered_rows


def refused_remark(config: Config, inputs: Mapping[str, Table], run: StoreRunner) -> str | None:
    """Return what is to be told of rows that the chat template refuses.

    Raises:
        UserError: it refuses every row, or an example that the base model would read.
    """
    models = config.models
    examples = {name: inputs[name] for name in config.judged_examples if name in inputs}
    # The store is thrown away, so nothing but this model can be behind a key.
    base = ModelSource({}, prepare(find_model(models.base)), models.trust_remote_code)
    verdicts = judge_by_template(run, base, inputs["pool"], examples, models.system)
    return refused_rows(verdicts, config.rendered_examples)


def script_remarks(rows: Table, config: Config) -> list[str]:
    """Return what is to be told of rows that an embedder of the recipe does not cover."""
    names = _embedders(config)
    if not names or not uncovered_rows(rows, [LATIN]).height:
        return []
    covered = min((covered_by(name) for name in sorted(names)), key=len)
    return script_sentences(uncovered_rows(rows, covered))


def pair_remarks(rows: Table, config: Config) -> list[str]:
    """Return what is to be told of preference pairs that stages judge by the chosen answers alone."""
    names = [stage.method for stage in config.stages if not stage.reads_rejected]
    pairs = count_pairs(rows) if names else 0
    if not pairs:
        return []
    reads = "reads" if len(set(names)) == 1 else "read"
    listed = ", ".join(dict.fromkeys(names))
    return [f"of {counted(pairs, 'preference pair')} {listed} {reads} the chosen answers alone"]


def _embedders(config: Config) -> set[str]:
    """Return the sentence embedders that the steps of a recipe run."""
    selectors = [selector for _, selector in config.choices]
    members = [member for selector in selectors for member, _ in selector.members()]
    works = [*(stage.cost(1) for stage in config.stages), *(one.cost(1) for one in members)]
    names = [work.embedder for work in works if work.embedded_rows]
    names += [s.diversity.embedder for s in selectors if s.diversity is not None]
    names += [None] * (config.target is not None)
    return {name or config.models.embedder for name in names}


def imitation_remarks(rows: Table, config: Config) -> list[str]:
    """Return what is to be told of rows that imitate the chat template."""
    tokenizer = load_tokenizer(
        prepare(find_model(config.models.base)), config.models.trust_remote_code
    )
    table = rows.read(["row_id", *CONVERSATION])
    imitations = find_imitations(tokenizer, table["row_id"], conversations(table))
    return imitation_sentences(imitations)
