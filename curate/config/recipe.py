"""The recipe: one YAML file, checked as a whole before anything runs.

name: quickstart
pool: [{path: "data/pool/*", source: bundled}]
target: {path: data/target.jsonl, eval: data/eval.jsonl}
stages: [{method: exact}, {method: leaks}]
select: {method: rds, budget: {rows: 100}}
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    create_model,
    field_validator,
    model_validator,
)

from curate.config.checks import (
    check_ablation,
    check_arms,
    check_eval_sets,
    check_generators,
    check_markers,
    check_plan,
    check_pool,
    check_rehearsal,
    check_scores,
    check_sources,
    check_survivors,
    check_target,
)
from curate.config.faults import KeyFault
from curate.config.names import GENERATE, stage_names
from curate.config.running import RunSettings
from curate.config.shortforms import as_select, as_stages, as_trackers
from curate.core.bucket import check_address
from curate.core.credentials import find_secret, leaves
from curate.core.methods import load_plugin, methods_in
from curate.core.names import check_name
from curate.core.params import Params
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.generate.generation import Generator
from curate.generate.settings import GenerationSettings
from curate.models.settings import ModelNames
from curate.pool.arrangement import ExportSettings
from curate.pool.exporter import Exporter
from curate.pool.settings import RowFile, ShortRowFile, Target, as_file, as_list
from curate.proof.rehearse_settings import RehearseSettings
from curate.proof.settings import ProofSettings
from curate.selectors.all import AllSelector
from curate.selectors.compared import (
    CONTROL,
    OWN_KEYS,
    fill_compared,
    selection_names,
    without_budget,
)
from curate.selectors.planner import named_columns
from curate.selectors.race import RaceParams
from curate.trackers.tracker import Tracker

LOG = logging.getLogger("curate")
# Keys are digests of JSON, whose numbers have 64 bits.
LARGEST = 2**63
# The keys that change nothing of what a run comes to.
PLACES = {"store", "run", "track"}


class IngestSettings(Params):
    """How bad records are met."""

    max_rejected: float = Field(
        0.05, ge=0, le=1, description="share of bad records that stops a run"
    )
    prompts: bool = Field(
        False,
        description="rows of the pool without a response are prompts for generators, and no rejects",
    )


class GenerateSection(GenerationSettings):
    """Rows that a language model makes; they join the pool before the stages."""

    methods: list[Generator] = Field(min_length=1)


class Config(Params):
    """A whole recipe."""

    name: Annotated[str, AfterValidator(check_name)] = Field(
        description="of the run and its folder: letters of any script, digits, '.', '_', '-'",
        examples=["mine"],
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="of all that is drawn: samples, random draws, trainings"
    )
    plugins: list[str] = Field(
        [],
        description="Python files with methods of your own, which this recipe may use",
        examples=[["my_methods.py"]],
    )
    pool: Annotated[
        list[ShortRowFile],
        BeforeValidator(as_list, json_schema_input_type=list[RowFile | str] | RowFile | str),
    ] = Field(
        [],
        description="where the rows come from: files, globs, folders or URLs; may be left out where "
        "`generate` makes all rows",
        examples=[[{"path": "data/*.jsonl"}]],
    )
    prompts: Annotated[
        list[ShortRowFile],
        BeforeValidator(as_list, json_schema_input_type=list[RowFile | str] | RowFile | str),
        Field(
            description="prompts without a response: no rows, but what generators answer or change",
            examples=[[{"path": "prompts.jsonl"}]],
        ),
    ] = []
    ingest: IngestSettings = IngestSettings()
    target: Annotated[
        Target | None, BeforeValidator(as_file, json_schema_input_type=Target | str | None)
    ] = None
    protected: Annotated[
        list[ShortRowFile],
        BeforeValidator(as_list, json_schema_input_type=list[RowFile | str] | RowFile | str),
        Field(
            description="further eval sets that no row may leak; only the leak check reads them",
            examples=[[{"path": "gsm8k-test.jsonl", "source": "gsm8k"}]],
        ),
    ] = []
    models: ModelNames = ModelNames()
    generate: GenerateSection | None = None
    # What stands in these, and in generate, depends on the methods that are there: see recipe_model.
    stages: list[Stage] = []
    select: Selector | RaceParams = AllSelector()
    compare: list[Selector] = []
    rehearse: RehearseSettings | None = Field(
        None, description="rows of earlier training, mixed in so that less of it is forgotten"
    )
    prove: ProofSettings | None = None
    export: ExportSettings = ExportSettings()
    store: str = Field(
        ".curate/store",
        description="folder of artifacts, shared by runs, or the URL of one in a bucket",
        examples=["/data/curate-store", "s3://bucket/curate"],
    )
    run: RunSettings = RunSettings()
    track: list[Tracker] = []

    @classmethod
    def model_validate(cls, obj: Any, **settings: Any) -> Self:
        """Return a recipe, checked with the methods that are registered now and those of its plugins.

        Raises:
            ValidationError: it has faults.
            UserError: a plugin cannot be imported.
        """
        if cls is not Config:
            return super().model_validate(obj, **settings)
        plugins = obj.get("plugins") if isinstance(obj, dict) else None
        for path in plugins if isinstance(plugins, list) else []:
            load_plugin(Path(str(path)).expanduser().absolute())
        return cast("Self", recipe_model().model_validate(obj, **settings))

    @classmethod
    def model_json_schema(cls, *arguments: Any, **settings: Any) -> dict[str, Any]:
        """Return the JSON schema of recipes with the methods that are registered now."""
        if cls is not Config:
            return super().model_json_schema(*arguments, **settings)
        return recipe_model().model_json_schema(*arguments, **settings)

    @field_validator("store")
    @classmethod
    def _check_store(cls, value: str) -> str:
        if not value:
            raise ValueError("give the path of a folder, or the URL of a bucket")
        return check_address(value)

    @model_validator(mode="before")
    @classmethod
    def _move_budget(cls, data: Any) -> Any:
        """Take a budget beside `select:` for one of it."""
        if not isinstance(data, dict) or "budget" not in data or "select" not in data:
            return data
        select = as_select(data["select"])
        if not isinstance(select, dict) or "budget" in select:
            return data
        rest = {key: value for key, value in data.items() if key != "budget"}
        return {**rest, "select": {**select, "budget": data["budget"]}}

    @property
    def selects(self) -> bool:
        """Return whether the recipe asks for a selection, or cleans only."""
        return not isinstance(self.select, AllSelector)

    @property
    def race(self) -> RaceParams | None:
        """Return the race that chooses the run's own selection, None where a method makes it."""
        return self.select if isinstance(self.select, RaceParams) else None

    @property
    def ablates(self) -> bool:
        """Return whether the proof leaves out one stage at a time."""
        return self.prove is not None and self.prove.ablate

    @property
    def ablated_stages(self) -> list[str]:
        """Return what a proof leaves out one at a time, in order: all but the stages that guard it."""
        names = zip(stage_names(self.stages), self.stages, strict=True)
        stages = [n for n, params in names if params.keeps_out is None]
        return [*([GENERATE] if self.generate else []), *stages]

    @property
    def proved_names(self) -> list[str]:
        """Return the names of the selections that a proof judges: a random draw is a control."""
        names = selection_names(self.select, self.compare)
        if self.prove is None or not self.prove.compare:
            return names[:1]
        methods = [params.method for params in self.compare]
        others = zip(names[1:], methods, strict=True)
        return [names[0], *(name for name, method in others if method != CONTROL)]

    @property
    def judged_count(self) -> int:
        """Return how many selections share the level of a proof; any candidate of a race may win it."""
        raced = len(self.race.of) - 1 if self.race is not None else 0
        return len(self.proved_names) + raced

    @property
    def counts_tokens(self) -> bool:
        """Return whether rows have to be counted in tokens of the base model.

        A plain draw needs them only where a budget or condition speaks of tokens.
        """
        return self.prove is not None or any(
            any(one.needs_tokens for one in (params, *(one for one, _ in params.members())))
            or params.budget.tokens is not None
            or "tokens" in named_columns(params)
            for _, params in self.choices
        )

    @property
    def reads_base(self) -> bool:
        """Return whether the base model or its tokenizer reads rows at all."""
        damage = self.rehearse is not None and self.rehearse.finds_damage
        return self.counts_tokens or damage or any(stage.reads_base for stage in self.stages)

    @property
    def training_files(self) -> list[RowFile]:
        """Return the files of rows that may be exported."""
        return [*self.pool, *([self.rehearse.rows] if self.rehearse else [])]

    @property
    def rendered_examples(self) -> list[str]:
        """Return which example sets the base model reads in its chat template."""
        members = [one for _, params in self.choices for one, _ in params.members()]
        novelty = self.prove.novelty if self.prove else None
        target = any(one.renders_target for one in members) or (
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
    def example_sets(self) -> set[str]:
        """Return which example sets the recipe gives."""
        sets = {
            "target": self.target is not None,
            "eval": self.target is not None and self.target.eval is not None,
            "protected": bool(self.protected),
            "watch": self.prove is not None and bool(self.prove.watch),
        }
        return {name for name, given in sets.items() if given}

    @property
    def selections(self) -> list[tuple[tuple[str | int, ...], Selector | RaceParams]]:
        """Return the run's own selection and those to compare it with, each by its place."""
        return [(("select",), self.select), *self._compared]

    @property
    def choices(self) -> list[tuple[tuple[str | int, ...], Selector]]:
        """Return all selections that a run makes, each by its place; of a race, its candidates'."""
        if not isinstance(self.select, RaceParams):
            return [(("select",), self.select), *self._compared]
        raced = [(("select", "of", i), p) for i, p in enumerate(self.select.candidates)]
        return [*raced, *self._compared]

    @property
    def _compared(self) -> list[tuple[tuple[str | int, ...], Selector]]:
        return [(("compare", i), selector) for i, selector in enumerate(self.compare)]

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
    def _check_parts(self) -> "Config":
        for place, select in self.choices if self.target is None else ():
            check_target(place, select)
        check_eval_sets(self.stages, self.example_sets)
        generators = self.generate.methods if self.generate else []
        check_pool(self.pool, generators)
        check_generators(generators, self.target, self.prompts, self.ingest.prompts)
        check_survivors(self.stages)
        check_scores(self.stages)
        check_markers(self.stages)
        check_sources(
            self.pool, self.prompts, self.target, self.protected, self.prove, self.rehearse
        )
        if self.rehearse:
            check_rehearsal(self.export, self.prove)
        if self.prove:
            check_arms(self.prove.arms, selection_names(self.select, self.compare)[1:])
        check_ablation(self.prove, self.ablated_stages)
        for place, selection in {**dict(self.selections), **dict(self.choices)}.items():
            check_plan(place, selection, self.stages)
        return self

    @model_validator(mode="after")
    def _check_needs(self) -> "Config":
        has_eval = "eval" in self.example_sets
        if self.race and self.prove and self.prove.tasks:
            raise KeyFault(
                ("prove", "metric"),
                "a race chooses on one half of the eval set and judges on the other, and tasks of "
                "lm_eval have no halves: give another metric",
            )
        if self.race and not (self.prove and has_eval):
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


def recipe_model() -> type[Config]:
    """Return the model of recipes with the methods that are registered now."""
    families = (Stage, Selector, Generator, Exporter, Tracker)
    return _recipe_model(*(tuple(methods_in(family).values()) for family in families))


@cache
def _recipe_model(
    stages: tuple[type[Stage], ...],
    selectors: tuple[type[Selector], ...],
    generators: tuple[type[Generator], ...],
    exporters: tuple[type[Exporter], ...],
    trackers: tuple[type[Tracker], ...],
) -> type[Config]:
    stage, generator, tracker = _one_of(stages), _one_of(generators), _one_of(trackers)
    select, compared = _one_of((*selectors, RaceParams)), _one_of(selectors)
    without = _one_of([without_budget(selector) for selector in selectors])
    section = create_model(
        "GenerateSection",
        __base__=GenerateSection,
        __doc__=GenerateSection.__doc__,
        methods=(
            list[generator],  # type: ignore[valid-type]
            Field(min_length=1, description="generators, in this order"),
        ),
    )
    names = tuple(exporter.model_fields["method"].default for exporter in exporters)
    export = create_model(
        "ExportSettings",
        __base__=ExportSettings,
        __doc__=ExportSettings.__doc__,
        formats=(
            list[Literal[names]],  # type: ignore[valid-type]
            Field(
                ["messages", "prompt_completion"],
                description="exporters: what `curate methods` lists as such",
            ),
        ),
    )
    model: type[Config] = create_model(
        "Config",
        __base__=Config,
        __doc__=Config.__doc__,
        generate=(section | None, None),
        export=(export, export()),
        track=(
            _read(list[tracker], as_trackers, list[tracker | str] | tracker | str),  # type: ignore[valid-type]
            Field(
                [],
                description="where the finished run is logged as well, each by name or with settings",
                examples=["mlflow"],
            ),
        ),
        stages=(
            _read(list[stage], as_stages, list[stage | str]),  # type: ignore[valid-type]
            Field([], description="what judges rows, in this order, each by name or with settings"),
        ),
        select=(
            _read(select, as_select, select | str),
            Field(
                AllSelector(),
                description="the method that chooses rows; all kept ones if not given",
                # Editors complete a selection by its method, also where a bare name would do.
                json_schema_extra={"discriminator": {"propertyName": "method"}},
            ),
        ),
        compare=(
            _read(list[compared], fill_compared, list[without | str] | without | str),  # type: ignore[valid-type]
            Field(
                [], description=f"methods to hold against the run's own, as in select; {OWN_KEYS}"
            ),
        ),
    )
    return model


def _one_of(methods: Sequence[type[Params]]) -> Any:
    """Return the type of one of some methods, told apart by its name."""
    return Annotated[reduce(or_, methods), Field(discriminator="method")]


def _read(target: Any, read: Callable[..., Any], written: Any) -> Any:
    """Return a type that is read from other forms as well, which the JSON schema shows."""
    return Annotated[target, BeforeValidator(read, json_schema_input_type=written)]
