"""What a rehearsal takes: passes of the base and a fine-tune over prior rows, and answers to some."""

from collections.abc import Mapping

from curate.answers.values import find_form
from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.rows import response_text
from curate.core.turntext import CONVERSATION, conversations
from curate.core.workload import TRAINING_COST
from curate.estimate.base_model import BaseModel
from curate.estimate.finetunes import MEASURING_COST
from curate.estimate.lines import EstimateLine
from curate.estimate.pace import exactly
from curate.estimate.selection import largest_choice
from curate.estimate.writing_cost import writing_cost
from curate.proof.prior_readings import VALUE_FORMS
from curate.proof.settings import ProofSettings


def rehearsal_lines(
    config: Config, rows: int, examples: Mapping[str, Table], base: BaseModel
) -> list[EstimateLine]:
    """Return the line of a rehearsal; none where the recipe asks for none."""
    settings = config.rehearse
    if settings is None:
        return []
    prior, chosen = examples["prior"], largest_choice(config, rows, base)
    budget = min(max(1, round(settings.share * chosen)), prior.height)
    summary = f"up to {budget:,} of these rows are mixed in"
    if not settings.finds_damage:
        return [EstimateLine("rehearse", prior.height, f"{summary}, drawn at random by no model")]
    lora, probe = (config.prove or ProofSettings()).lora, min(settings.probe, prior.height)
    read = base.mean_tokens("prior", lora.max_length) * (prior.height + probe)
    # A proof makes the fine-tune too, and once for both.
    tuned = 0 if config.prove else chosen * lora.epochs
    trained = base.mean_tokens("pool", lora.max_length) * tuned
    seconds = base.seconds(read * MEASURING_COST) + base.seconds(trained * TRAINING_COST)
    by_value = [
        turns
        for turns in conversations(prior.read(CONVERSATION))
        if find_form(response_text(turns)) in VALUE_FORMS
    ]
    tokens = round(read.likely + trained.likely)
    if by_value:
        cost = writing_cost(
            by_value,
            model=(config.prove.base if config.prove else None) or config.models.base,
            dtype=config.models.dtype,
            trust=config.models.trust_remote_code,
            system=config.models.system,
        )
        seconds += cost.seconds * (1 + probe / prior.height)
        tokens += cost.tokens
    does = (
        f"{summary}; the base reads all, a model tuned on the selection {probe:,}, and both answer "
        f"those whose response is a value ({len(by_value):,})"
    )
    return [EstimateLine("rehearse", prior.height, does, tokens, seconds + exactly(base.load) * 2)]
