"""The recipe's part `prove`: arms, watch sets, LoRA, metrics, margins."""

import logging
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from curate.core.credentials import FreeFields
from curate.core.names import check_name
from curate.core.params import Params
from curate.pool.settings import RowFile, as_file, as_list
from curate.proof.metric_choice import ProofMetric, WatchMetric
from curate.proof.metrics import (
    PAIR_ACCURACY,
    PAIR_LOSS,
    USER_FUNCTION,
    Metric,
    deciding_metric,
)
from curate.proof.others import PLAIN_ARMS, TARGET_ONLY, TARGET_PLUS
from curate.proof.permutation import MOST
from curate.proof.values import ProofValues, WatchSetValues

LOG = logging.getLogger("curate")
# Of watch sets: nats, and a share of the examples.
MARGIN, SHARE_MARGIN = 0.02, 0.1
BETA = 0.1
PAIR_METRICS = (PAIR_LOSS.name, PAIR_ACCURACY.name)


class WatchSet(RowFile):
    """Rows on which tuning must do no harm: every model of the proof is measured there too."""

    role: Literal["keep"] = Field(
        "keep", description="what tuning must do: keep what the base model can"
    )
    margin: float | None = Field(
        None,
        gt=0,
        description="the largest rise of the loss, or fall of another metric, that is no harm; 0.02, "
        "of a share 0.1",
        examples=[0.05],
    )
    metric: WatchMetric = Field(
        "loss", description="refusal: the share of written answers that decline"
    )

    @model_validator(mode="after")
    def _check_margin(self) -> "WatchSet":
        metric = self.deciding
        if metric.counted and self.margin is not None and self.margin >= 1:
            raise ValueError(f"the margin of {metric.name} is a share of the examples: below 1")
        if metric == USER_FUNCTION and self.margin is None:
            raise ValueError(
                "give `margin`: a function has a unit of its own, so only you can say which fall is no "
                "harm"
            )
        return self

    @property
    def deciding(self) -> Metric:
        """Return the metric of the verdict."""
        return deciding_metric(self.model_dump()["metric"])

    @property
    def judged_by(self) -> WatchSetValues:
        """Return source, margin and metric, as the proof reads them."""
        margin = self.margin
        if margin is None:
            margin = SHARE_MARGIN if self.deciding.counted else MARGIN
        metric = self.model_dump()["metric"]
        return {"source": self.source_name, "margin": margin, "metric": metric}

    @property
    def file(self) -> RowFile:
        """Return where the rows come from, without what is asked of them."""
        fields = {name: getattr(self, name) for name in RowFile.model_fields}
        return RowFile(**{**fields, "source": self.source_name})


class Lora(Params):
    """The brief fine-tune of the proof (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(16, gt=0, description="of the LoRA matrices")
    alpha: int = Field(32, gt=0, description="scale of what LoRA adds: alpha / rank")
    epochs: int = Field(2, gt=0, description="passes over the rows")
    learning_rate: float = Field(5e-4, gt=0, description="the highest; it falls to zero by a line")
    batch_rows: int = Field(8, gt=0, description="rows a step")
    max_length: int = Field(1024, gt=0, description="tokens; longer rows are cut at the end")


class Novelty(Params):
    """Texts that the tuned model would write and the base would not (Isonuma & Titov 2025)."""

    texts: int = Field(20, ge=1, description="how many are written")
    tokens: int = Field(64, ge=1, description="of a text at most")
    start: Literal["target", "nothing"] = Field(
        "target", description="texts answer the target's prompts, or follow nothing"
    )
    iterative: bool = Field(
        True, description="the base learns each text, so that the next shows something else"
    )
    alpha: float = Field(
        0.1, gt=0, le=1, description="least probability, as a share of the likeliest token's"
    )
    gamma: float = Field(1.0, ge=0, description="weight of the base; 0: the tuned model alone")


class ArmFile(RowFile):
    """A training set of a proof's own: a saved selection (the folder of a run) or any file of rows."""

    name: Annotated[str, AfterValidator(check_name)] = Field(
        description="of the arm, in reports", examples=["old"]
    )

    @property
    def source_name(self) -> str:
        """Return the source of its rows: the arm's name if none is given."""
        return self.source or self.name


class ThenFile(RowFile):
    """Rows of the second phase of every fine-tune."""

    source: str | None = Field("then", description="name of these rows in ids and reports")


def _names_of(arms: Sequence[str | ArmFile]) -> list[str]:
    return [arm if isinstance(arm, str) else arm.name for arm in arms]


class ProofSettings(Params):
    """Fine-tune on the selection and on fair controls, compare on the eval set."""

    draws: Annotated[int, Field(ge=2)] | Literal["sequential"] = Field(
        9,
        description="random draws, which say what chance does; 2 to 4 show little; sequential: 5, 9 or "
        "19, as many as decide it",
    )
    seeds: int = Field(
        3,
        ge=1,
        description="fine-tunes of the selection, each with a seed of its own; their mean counts",
    )
    strict: bool = Field(
        False, description="judge at 3 % in place of 5 %, which holds for skewed draws too"
    )
    compare: bool = Field(
        False, description="judge the methods of `compare:` too, all together at one level"
    )
    arms: Annotated[
        list[str | ArmFile],
        Field(
            description="selected and random always; beside them target_only, target_plus, full, "
            "balanced, names of `compare:` and {name, path} of files and finished runs"
        ),
    ] = [*PLAIN_ARMS]
    objective: Literal["sft", "dpo"] = Field(
        "sft",
        description="what fine-tunes learn: responses, or (dpo) chosen over rejected answers of "
        "preference pairs, which the eval set is of too",
    )
    beta: float = Field(
        BETA, gt=0, description="for objective dpo: how strongly it holds a model to what it was"
    )
    then: Annotated[
        Literal["target"] | ThenFile | None,
        Field(description="a second phase on the target examples or a file, after every fine-tune"),
    ] = None
    base: str | None = Field(
        None,
        description="the model to fine-tune; models.base if not given, which selects",
        examples=["/models/Qwen2.5-1.5B-Instruct"],
    )
    curve: int | None = Field(
        None,
        ge=2,
        description="also train on 1/N and 1/N² of the selection, N e.g. 4: how much of it is enough",
        examples=[4],
    )
    quantiles: int | None = Field(
        None,
        ge=3,
        le=MOST,
        description="also train on each of N parts of the order: do rows that rank higher do better? "
        "Fewer than 5 can show nothing",
        examples=[5],
    )
    ablate: bool = Field(
        False,
        description="also train without the drops of each stage, one at a time: what it earned and cost",
    )
    metric: ProofMetric = Field(
        "auto",
        description="what decides; auto: the loss, of pairs with objective dpo. All that can be "
        "measured are shown",
    )
    tasks: list[str | FreeFields] = Field(
        [],
        description="for metric lm_eval: YAML files, contents or names of its tasks",
        examples=[["arc_easy"]],
    )
    allow_leaks: bool = Field(False, description="run even though the eval set leaks")
    lora: Lora = Lora()
    novelty: Novelty | None = Field(None, description="also find out what tuning taught")
    written: int = Field(
        20, ge=0, description="eval examples that base, selection and a random draw answer in full"
    )
    keep: bool = Field(
        False, description="export the LoRA adapter that the selection's first fine-tune gave"
    )
    watch: Annotated[
        list[Annotated[WatchSet, BeforeValidator(as_file)]],
        BeforeValidator(as_list, json_schema_input_type=list[WatchSet | str] | WatchSet | str),
        Field(
            description="rows on which tuning must do no harm",
            examples=[[{"path": "general.jsonl"}]],
        ),
    ] = []

    @property
    def values(self) -> ProofValues:
        """Return what of the settings stands in the keys of a proof's calls, and in proof.json."""
        left_out = {"novelty", "compare", *(() if self.by_pairs else ("objective", "beta"))}
        return cast(ProofValues, self.model_dump(mode="json", exclude=left_out))

    @property
    def by_pairs(self) -> bool:
        """Return whether fine-tunes learn preference pairs."""
        return self.objective == "dpo"

    @property
    def other_arms(self) -> list[str]:
        """Return the names of the arms beside the selection and its controls."""
        return [name for name in _names_of(self.arms) if name not in PLAIN_ARMS]

    @model_validator(mode="after")
    def _check_tasks(self) -> "ProofSettings":
        if bool(self.tasks) != (self.metric == "lm_eval"):
            raise ValueError("tasks goes with `metric: lm_eval`, which needs some")
        return self

    @model_validator(mode="after")
    def _check_objective(self) -> "ProofSettings":
        if not self.by_pairs:
            if self.metric in PAIR_METRICS:
                raise ValueError(f"metric {self.metric} goes with `objective: dpo`")
            if self.beta != BETA:
                raise ValueError("beta goes with `objective: dpo`")
            return self
        responses = {"then": self.then is not None, "novelty": self.novelty is not None}
        if given := [key for key, is_given in responses.items() if is_given]:
            raise ValueError(f"{given[0]} trains on responses: leave it out of `objective: dpo`")
        arms = [a for a in self.arms if isinstance(a, ArmFile) or a in (TARGET_ONLY, TARGET_PLUS)]
        if arms:
            raise ValueError(
                f"the arm {_names_of(arms)[0]!r} trains on rows beside the pool, which with "
                "`objective: dpo` no arm does: leave it out"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _decide_by_pairs(cls, data: Any) -> Any:
        """Let pairs decide where pairs are learned, unless the recipe names a metric."""
        if not isinstance(data, dict) or data.get("objective") != "dpo":
            return data
        metric = data.get("metric", "auto")
        return {**data, "metric": PAIR_LOSS.name if metric == "auto" else metric}

    @model_validator(mode="before")
    @classmethod
    def _pass_over_old_keys(cls, data: Any) -> Any:
        """Take recipes of earlier versions, whose intervals were made by resampling."""
        if not isinstance(data, dict) or "resamples" not in data:
            return data
        LOG.warning("prove.resamples has no meaning any more; leave it out")
        return {key: value for key, value in data.items() if key != "resamples"}

    @field_validator("arms")
    @classmethod
    def _check_arms(cls, value: list[str | ArmFile]) -> list[str | ArmFile]:
        names = _names_of(value)
        if not {*PLAIN_ARMS} <= {*names}:
            raise ValueError("needs selected and random: without both there is nothing to compare")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} stands here twice")
        return value
