"""Stages: what is expensive about rows, stored once, and a cheap verdict on each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue

from curate.core.calls import Table
from curate.core.methods import Method
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.section import Section
from curate.core.stageinputs import StageInputs
from curate.core.tables import TableFile
from curate.core.workload import Workload

if TYPE_CHECKING:
    import polars as pl

# The example sets that no row may leak; those after the first are further ones.
EVAL_SETS = ("eval", "protected", "watch")
# The table of rows that a stage makes, with the schema of rows, each with its parents.
APPENDED = "made"


@dataclass(frozen=True)
class StageData:
    """What a stage reads: the rows that are still in, example sets, earlier evidence, prepared files.

    `evidence` holds the tables of earlier stages by their names, `prepared` those that the stage has
    prepared.
    """

    rows: "pl.LazyFrame"
    target: "pl.DataFrame | None" = None
    eval: "pl.DataFrame | None" = None
    protected: "pl.DataFrame | None" = None
    watch: "pl.DataFrame | None" = None
    evidence: "Mapping[str, pl.LazyFrame]" = field(default_factory=dict)
    prepared: Mapping[str, TableFile] = field(default_factory=dict)


@dataclass(frozen=True)
class StageResult:
    """What a stage writes: a verdict for every row that it read, and tables beside it.

    evidence has the columns row_id, keep, reason, score, threshold, duplicate_of, and others that the
    conditions of a selection can speak of as STAGE.COLUMN. A lazy frame is written piece by piece as it
    is computed, so that verdicts on a large pool never lie in memory.
    """

    evidence: "pl.DataFrame | pl.LazyFrame"
    tables: "Mapping[str, pl.DataFrame | pl.LazyFrame]" = field(default_factory=dict)

    @property
    def frame(self) -> "pl.DataFrame":
        """Return the verdicts in memory."""
        return self.evidence.lazy().collect()


class Stage(Method):
    """A stage of a recipe: it prepares what is expensive, and judges every row by it.

    Attributes:
        uses: the example sets ("target", "eval", "protected", "watch") that it depends on; of those in
            `needs` it must have at least one.
        rethresholdable: the parameters that nothing prepared depends on: they can be changed later, on
            what is stored.
        rates: a model other than the base reads every row.
        keeps_out: what no training may read, if that is what it drops: then no ablation leaves it out.
        reads_rejected: rejected answers of preference pairs are read as well, not the chosen ones alone.
        pins: a person speaks by it: its evidence may pin rows, and no earlier pin binds it
            (curate.core.pins).
        does: what an estimate says of it.
        reason: of its drops, where that is one of its own (curate.core.reasons.explain_reason).
    """

    family: ClassVar[str] = "stage"
    packages: ClassVar[tuple[str, ...]] = ("curate.clean", "curate.judge")
    uses: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    rethresholdable: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[bool] = False
    keeps_out: ClassVar[str | None] = None
    reads_rejected: ClassVar[bool] = False
    pins: ClassVar[bool] = False
    does: ClassVar[str] = "drops rows, keeps the reason"
    reason: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _read_kind(cls, data: Any) -> Any:
        return with_method(data)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return its JSON schema, by which editors take `kind` as well."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        if "const" in properties.get("method", {}):
            properties["kind"] = {**properties["method"], "deprecated": True}
        return schema

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return what is expensive to make, stored, by name.

        `data` are the rows, the evidence of earlier stages and the example sets. Rows that a stage makes
        (corrections) are such a table too, by the name APPENDED; they join the pool behind the stage.
        """
        return {}

    def decide(self, data: StageData) -> StageResult:
        """Return a verdict for every row."""
        raise NotImplementedError

    def section(self, record: StageRecord) -> Section | None:
        """Return the stage's part of the report, None where there is nothing to say.

        By default the distribution of its scores and the rows that it thought worst of.
        """
        return scored_section(record)

    @property
    def asks(self) -> bool:
        """Return whether a language model is asked about rows."""
        return self.cost(1).calls > 0

    def cost(self, rows: int) -> Workload:
        """Return what it takes at most for so many rows: what models read, calls of a language model."""
        return Workload()

    @property
    def reads_base(self) -> bool:
        """Return whether the base model reads the rows."""
        return self.cost(1).read_rows > 0

    @property
    def runs_model(self) -> bool:
        """Return whether a language model or classifier is asked about, or reads, every row."""
        return self.asks or self.rates or self.reads_base


def with_method(data: Any) -> Any:
    """Return a stage's settings with its name under `method`, where recipes of old have `kind`."""
    if not isinstance(data, dict) or "kind" not in data or "method" in data:
        return data
    return {"method": data["kind"], **{key: v for key, v in data.items() if key != "kind"}}
