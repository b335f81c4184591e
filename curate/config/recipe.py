"""The recipe: one YAML file, checked as a whole before anything runs.

name: quickstart
pool: [{path: "data/pool/*", source: bundled}]
target: {path: data/target.jsonl, eval: data/eval.jsonl}
stages: [{kind: exact}, {kind: leaks}]
select: {method: rds, budget: {rows: 100}}
"""

from typing import TYPE_CHECKING

from curate.select.compared import CONTROL, selection_names
from curate.select.race import RaceParams

if TYPE_CHECKING:
    from curate.config.recipe import Config

import logging
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from curate.clean.duplicates import HighestScore
from curate.config.faults import KeyFault
from curate.core.credentials import find_secret, leaves
from curate.core.errors import UserError
from curate.core.names import check_name
from curate.core.registry import (
    SELECTORS,
    STAGES,
    Params,
    SelectParams,
    load_methods,
    load_stages,
)
from curate.generate.generation import GENERATORS, GenerateParams
from curate.generate.starts import StartParams
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.limits import Limits
from curate.models.settings import ModelNames
from curate.pool.settings import RowFile, ShortRowFile, Target, _as_file, _as_list
from curate.prove.others import OTHERS, PLAIN_ARMS
from curate.prove.settings import ArmFile, ProofSettings
from curate.select.all import AllParams
from curate.select.compared import (
    OWN_KEYS,
    fill_compared,
    numbered,
    without_budget,
)

LOG = logging.getLogger("curate")
# Keys are digests of JSON, whose numbers have 64 bits.
LARGEST = 2**63
GENERATE = "generate"
# The part of a run in which selections are made without a stage.
ABLATION = "ablate"

load_stages()
load_methods("curate.select")
load_methods("curate.generate.methods")


class IngestSettings(Params):
    """How bad records are met."""

    max_rejected: float = Field(
        0.05, ge=0, le=1, description="share of bad records that stops a run"
    )


class Export(Params):
    """Training files to write."""

    formats: list[Literal["messages"]] = ["messages"]


if TYPE_CHECKING:
    StageConfig = Params
    SelectConfig = SelectParams
    ComparedSelect = SelectParams
    GenerateConfig = GenerateParams
    ComparedConfig = Params
else:
    StageConfig = Annotated[
        reduce(or_, [s.params for s in STAGES.values()]), Field(discriminator="kind")
    ]
    SelectConfig = Annotated[
        reduce(or_, [*(s.params for s in SELECTORS.values()), RaceParams]),
        Field(discriminator="method"),
    ]
    ComparedSelect = Annotated[
        reduce(or_, [s.params for s in SELECTORS.values()]), Field(discriminator="method")
    ]
    GenerateConfig = Annotated[
        reduce(or_, [g.params for g in GENERATORS.values()]), Field(discriminator="method")
    ]
    ComparedConfig = Annotated[
        reduce(or_, [without_budget(s.params) for s in SELECTORS.values()]),
        Field(discriminator="method"),
    ]


def _as_stages(value: Any) -> Any:
    """Return stages with each bare name written out: exact is {kind: exact}."""
    if not isinstance(value, list):
        return value
    return [{"kind": entry} if isinstance(entry, str) else entry for entry in value]


def _as_select(value: Any) -> Any:
    """Return a selection with a bare method written out: random is {method: random}."""
    return {"method": value} if isinstance(value, str) else value


class GenerationSettings(Params):
    """Rows that a language model makes; they join the pool before the stages."""

    engine: EngineParams = TransformersParams()
    limits: Limits = Limits()
    prompts: str | None = Field(
        None, description="folder whose METHOD/NAME.j2 come before the built-in prompts"
    )
    methods: list[GenerateConfig] = Field(min_length=1)


def stage_names(stages: Sequence[Params]) -> list[str]:
    """Return the names of stages in a run: their kind, numbered from the second of a kind on."""
    return numbered([params.model_dump()["kind"] for params in stages])


def ablated_stages(config: "Config") -> list[str]:
    """Return what a proof leaves out one at a time, in order: all but the stages that guard it."""
    names = zip(stage_names(config.stages), config.stages, strict=True)
    stages = [n for n, params in names if STAGES[params.model_dump()["kind"]].guards is None]
    return [*([GENERATE] if config.generate else []), *stages]


def _check_survivors(stages: Sequence[Params]) -> None:
    """Fail where a stage lets the evidence of no earlier stage decide which row survives."""
    names = stage_names(stages)
    for i, params in enumerate(stages):
        keep = getattr(params, "keep", None)
        if isinstance(keep, HighestScore) and keep.place[0] not in names[:i]:
            earlier_stages = ", ".join(names[:i]) or "none"
            raise KeyFault(
                ("stages", i, "keep", "highest"),
                f"{keep.place[0]!r} is no earlier stage (those are: {earlier_stages})",
            )


def _check_scores(stages: Sequence[Params]) -> None:
    """Fail where a stage corrects by the scores of a stage that is not there, or drops its rows."""
    names = stage_names(stages)
    for i, params in enumerate(stages):
        by = getattr(params, "by", None)
        if by is None:
            continue
        if by not in names[:i]:
            earlier_stages = ", ".join(names[:i]) or "none"
            sentence = f"{by!r} is no earlier stage (those are: {earlier_stages})"
            raise KeyFault(("stages", i, "by"), sentence)
        if getattr(stages[names.index(by)], "action", None) == "drop":
            sentence = f"{by!r} drops the rows that are to be corrected; give `action: score` there"
            raise KeyFault(("stages", i, "by"), sentence)


def _check_plan(place: Sequence[Any], select: SelectParams, stages: Sequence[Params]) -> None:
    """Fail where the plan's conditions are no SQL or speak of a stage that the recipe has not."""
    from curate.select.planner import RANKING_COLUMNS, ROW_COLUMNS, named_stages

    try:
        named = named_stages(select)
    except UserError as error:
        key, _, sentence = str(error).removeprefix("select.").partition(": ")
        raise KeyFault((*place, key), sentence) from error
    names = stage_names(stages)
    for name in named:
        if name not in names:
            columns = dict.fromkeys([*RANKING_COLUMNS, *ROW_COLUMNS, *names])
            raise KeyFault(
                place,
                f"filter or shares: nothing is named {name!r}; known: {', '.join(columns)}",
            )


def _methods(params: SelectParams) -> list[str]:
    """Return a selection's method and those of its parts."""
    select = params.model_dump()
    return [select["method"], *(part["method"] for part in select.get("parts", []))]


def _check_target(place: Sequence[Any], params: SelectParams) -> None:
    """Fail where a method or a part of it needs target examples; the recipe has none."""
    for method in _methods(params):
        if SELECTORS[method].needs_target:
            free = [name for name, s in SELECTORS.items() if not s.needs_target]
            raise KeyFault(
                (*place, "method"),
                f"{method!r} needs `target:` examples; add them, or choose an untargeted method "
                f"({', '.join(free)})",
            )


def _check_generators(config: "Config") -> None:
    """Fail where a method needs target examples and there are none, or stands twice."""
    method_params = config.generate.methods if config.generate else []
    methods = [params.model_dump()["method"] for params in method_params]
    for i, (method, params) in enumerate(zip(methods, method_params, strict=True)):
        place = ("generate", "methods", i, "method")
        if "target" in GENERATORS[method].needed(params) and config.target is None:
            instead = ", or `subjects`" if hasattr(params, "subjects") else ""
            instead = ", or `start: pool`" if isinstance(params, StartParams) else instead
            raise KeyFault(place, f"{method!r} needs target examples: give `target`{instead}")
        if method in methods[:i]:
            raise KeyFault(place, f"{method!r} stands here twice; its rows could not be told apart")


def _check_arms(config: "Config") -> None:
    """Fail where a proof's arm is nothing that is there, or a file has the name of something that is."""
    if config.prove is None:
        return
    compared = selection_names(config.select, config.compare)[1:]
    plain = [*PLAIN_ARMS, *OTHERS]
    for i, arm in enumerate(config.prove.arms):
        place = ("prove", "arms", i)
        if isinstance(arm, str) and arm not in (*plain, *compared):
            raise KeyFault(
                place,
                f"{arm!r} is no arm; known: {', '.join([*plain, *compared])}; a file or the folder of "
                "a run is written {name: NAME, path: PATH}",
            )
        if isinstance(arm, ArmFile) and arm.name in (*plain, *compared, "then", "pool"):
            raise KeyFault((*place, "name"), f"{arm.name!r} is the name of another arm")


def _check_ablation(config: "Config") -> None:
    """Fail where a proof is to leave out stages, and the recipe has none that may be left out."""
    if config.ablates and not ablated_stages(config):
        raise KeyFault(
            ("prove", "ablate"),
            "there is no stage to leave out (leaks and pii always stay): give `stages`, or no `ablate`",
        )


def _check_sources(config: "Config") -> None:
    """Fail where a held-out set or an arm has the name of other rows: ids would be mixed up."""
    named = {entry.source_name: f"pool.{i}" for i, entry in enumerate(config.pool)}
    if config.target is not None:
        named[config.target.source_name] = "target"
    for place, name in [*_held_out(config), *_training_files(config)]:
        if name in named:
            raise KeyFault(
                (*place, "source"),
                f"the name {name!r} is that of {named[name]} as well, and row ids are made of it; give "
                "this set a `source:` of its own",
            )
        named[name] = ".".join(map(str, place))


Place = tuple[str | int, ...]


def _held_out(config: "Config") -> Iterator[tuple[Place, str]]:
    """Yield place and source of each eval, protected and watch set."""
    files = config.target.eval_files if config.target else []
    for i, file in enumerate(files):
        yield ("target", "eval", *([i] if len(files) > 1 else [])), file.source_name
    for i, entry in enumerate(config.protected):
        yield ("protected", i), entry.source_name
    for i, watched in enumerate(config.prove.watch if config.prove else []):
        yield ("prove", "watch", i), watched.source_name


def _training_files(config: "Config") -> Iterator[tuple[Place, str]]:
    """Yield place and source of the files that a proof trains on beside the pool."""
    for i, arm in enumerate(config.prove.arms if config.prove else []):
        if isinstance(arm, ArmFile):
            yield ("prove", "arms", i), arm.source_name
    if config.prove is not None and isinstance(config.prove.then, RowFile):
        yield ("prove", "then"), config.prove.then.source_name


class Config(Params):
    """A whole recipe."""

    name: Annotated[str, AfterValidator(check_name)] = Field(
        description="of the run and its folder: letters of any script, digits, '.', '_', '-'"
    )
    seed: int = Field(0, ge=0, lt=2**63)
    pool: Annotated[
        list[ShortRowFile],
        BeforeValidator(_as_list, json_schema_input_type=list[RowFile | str] | RowFile | str),
    ] = Field(min_length=1)
    ingest: IngestSettings = IngestSettings()
    target: Annotated[
        Target | None, BeforeValidator(_as_file, json_schema_input_type=Target | str | None)
    ] = None
    protected: Annotated[
        list[ShortRowFile],
        BeforeValidator(_as_list, json_schema_input_type=list[RowFile | str] | RowFile | str),
        Field(description="further eval sets that no row may leak; only the leak check reads them"),
    ] = []
    models: ModelNames = ModelNames()
    generate: GenerationSettings | None = None
    stages: Annotated[
        list[StageConfig],
        BeforeValidator(_as_stages, json_schema_input_type=list[StageConfig | str]),
    ] = []
    select: Annotated[
        SelectConfig,
        BeforeValidator(_as_select, json_schema_input_type=SelectConfig | str),
        Field(
            description="all kept rows if not given",
            # Editors complete a selection by its method, also where a bare name would do.
            json_schema_extra={"discriminator": {"propertyName": "method"}},
        ),
    ] = AllParams()
    compare: Annotated[
        list[ComparedSelect],
        BeforeValidator(
            fill_compared,
            json_schema_input_type=list[ComparedConfig | str] | ComparedConfig | str,
        ),
        Field(description=f"methods to hold against the run's own, as in select; {OWN_KEYS}"),
    ] = []
    prove: ProofSettings | None = None
    export: Export = Export()
    store: str = Field(".curate/store", description="folder of artifacts, shared by runs")

    @field_validator("store")
    @classmethod
    def _check_store(cls, value: str) -> str:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", value)
        if scheme:
            raise ValueError(
                f"{scheme[0]} is not supported: give the path of a folder of this machine "
                f"(one with a colon in its name is written ./{scheme[0]}...)"
            )
        if not value:
            raise ValueError("give the path of a folder")
        return str(Path(value).expanduser()) if value.startswith("~") else value

    @model_validator(mode="before")
    @classmethod
    def _move_budget(cls, data: Any) -> Any:
        """Take a budget beside `select:` for one of it."""
        if not isinstance(data, dict) or "budget" not in data or "select" not in data:
            return data
        select = _as_select(data["select"])
        if not isinstance(select, dict) or "budget" in select:
            return data
        rest = {key: value for key, value in data.items() if key != "budget"}
        return {**rest, "select": {**select, "budget": data["budget"]}}

    @property
    def selects(self) -> bool:
        """Return whether the recipe asks for a selection, or cleans only."""
        return not isinstance(self.select, AllParams)

    @property
    def ablates(self) -> bool:
        """Return whether the proof leaves out one stage at a time."""
        return self.prove is not None and self.prove.ablate

    @property
    def counts_tokens(self) -> bool:
        """Return whether rows have to be counted in tokens of the base model.

        A plain draw needs them only where a budget or condition speaks of tokens.
        """
        from curate.select.planner import named_columns

        return self.prove is not None or any(
            SELECTORS[params.model_dump()["method"]].needs_tokens
            or params.budget.tokens is not None
            or "tokens" in named_columns(params)
            for _, params in self.choices
        )

    @property
    def reads_base(self) -> bool:
        """Return whether the base model or its tokenizer reads rows at all."""
        return self.counts_tokens or any(
            STAGES[params.model_dump()["kind"]].reads_base(params) for params in self.stages
        )

    @property
    def rendered_examples(self) -> list[str]:
        """Return which example sets the base model reads in its chat template."""
        methods = [name for _, params in self.choices for name in _methods(params)]
        novelty = self.prove.novelty if self.prove else None
        target = any(SELECTORS[name].renders_target for name in methods) or (
            novelty is not None and novelty.start == "target"
        )
        proved = ["eval", *(["watch"] if self.prove.watch else [])] if self.prove else []
        return ["target"] * target + proved

    @property
    def judged_examples(self) -> list[str]:
        """Return which example sets are to be judged by the base model's chat template.

        Where system turns of rows are merged, so are those of the target that these are compared with.
        """
        merged = ["target"] * (self.models.system == "merge" and self.target is not None)
        return list(dict.fromkeys([*self.rendered_examples, *merged]))

    @property
    def selections(self) -> list[tuple[tuple[str | int, ...], SelectParams]]:
        """Return the run's own selection and those to compare it with, each by its place."""
        others = [(("compare", i), params) for i, params in enumerate(self.compare)]
        return [(("select",), self.select), *others]

    @property
    def choices(self) -> list[tuple[tuple[str | int, ...], SelectParams]]:
        """Return all selections that a run makes, each by its place; of a race, its candidates'."""
        if not isinstance(self.select, RaceParams):
            return self.selections
        raced = [(("select", "of", i), p) for i, p in enumerate(self.select.candidates)]
        return [*raced, *self.selections[1:]]

    @model_validator(mode="before")
    @classmethod
    def _check_values(cls, data: Any) -> Any:
        secret = find_secret(data)
        if secret is not None:
            raise KeyFault(*secret)
        for place, value in leaves(data):
            if isinstance(value, int) and abs(value) >= LARGEST:
                raise KeyFault(place, "the number is too large: it needs more than 64 bits")
        return data

    @model_validator(mode="after")
    def _check_needs(self) -> "Config":
        has_eval = self.target is not None and self.target.eval is not None
        for place, select in self.choices if self.target is None else ():
            _check_target(place, select)
        watch = self.prove.watch if self.prove else []
        given = {
            "target": self.target, "eval": has_eval, "protected": self.protected, "watch": watch,
        }  # fmt: skip
        for i, params in enumerate(self.stages):
            kind = params.model_dump()["kind"]
            needs = STAGES[kind].needs
            if needs and not any(given[name] for name in needs):
                places = {"eval": "target.eval", "watch": "prove.watch"}
                raise ValueError(
                    f"stages.{i} ({kind}) needs an eval set: give "
                    + " or ".join(places.get(name, name) for name in needs)
                )
        _check_generators(self)
        _check_survivors(self.stages)
        _check_scores(self.stages)
        _check_sources(self)
        _check_arms(self)
        _check_ablation(self)
        for place, select in dict([*self.selections, *self.choices]).items():
            _check_plan(place, select, self.stages)
        if isinstance(self.select, RaceParams) and self.prove and self.prove.tasks:
            raise KeyFault(
                ("prove", "metric"),
                "a race chooses on one half of the eval set and judges on the other, and tasks of "
                "lm_eval have no halves: give another metric",
            )
        if isinstance(self.select, RaceParams) and not (self.prove and has_eval):
            raise KeyFault(
                ("select", "method"),
                "a race chooses by fine-tunes that are measured on one half of the eval set: give "
                "`prove` and target.eval, or name one method",
            )
        if not self.selects and (self.prove or self.compare):
            key = "prove" if self.prove else "compare"
            raise ValueError(f"`{key}:` needs a selection: give `select`, or leave `{key}` out")
        if self.prove and not has_eval:
            raise ValueError("`prove:` needs an eval set: give target.eval, or leave `prove` out")
        if self.prove and self.prove.compare and not self.compare:
            raise ValueError("`prove.compare: true` needs methods to judge: give `compare`")
        return self


def judged_count(config: "Config") -> int:
    """Return how many selections share the level of a proof; any candidate of a race may win it."""
    raced = len(config.select.of) - 1 if isinstance(config.select, RaceParams) else 0
    return len(proved_names(config)) + raced


def proved_names(config: "Config") -> list[str]:
    """Return the names of the selections that a proof judges; a compared random draw is a control."""
    names = selection_names(config.select, config.compare)
    if config.prove is None or not config.prove.compare:
        return names[:1]
    methods = [params.model_dump()["method"] for params in config.compare]
    others = zip(names[1:], methods, strict=True)
    return [names[0], *(name for name, method in others if method != CONTROL)]
