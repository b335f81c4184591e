"""The pages: every key of a recipe, every method with its source and settings, the Python API."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import curate
from curate import testing
from curate.config.recipe import Config
from curate.core.methods import Method, methods_in
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.generate.generation import Generator
from curate.pool.exporter import Exporter
from curate.trackers.tracker import Tracker
from reference.methods import method_page, opening, summary
from reference.prose import escaped, prose
from reference.schema import (
    JsonSchema,
    MissingTextError,
    default_text,
    example,
    meaning,
    model_names,
    type_text,
    yaml_text,
)

# Of each family: its page, what one of it is, and how a recipe names one.
FAMILIES: dict[type[Method], tuple[str, str, str]] = {
    Stage: ("stages.md", "stage", "stages: [{method: NAME}]"),
    Selector: ("selectors.md", "selector", "select: {method: NAME, budget: {rows: 100}}"),
    Generator: ("generators.md", "generator", "generate: {methods: [{method: NAME}]}"),
    Exporter: ("exporters.md", "exporter", "export: {formats: [NAME]}"),
    Tracker: ("trackers.md", "tracker", "track: [{method: NAME}]"),
}
RECIPE = "recipe.md"
# Owners of sections: the method itself, and what all of its family take.
METHOD, EVERY = "method", "every"
HEADER = ["| key | type | default | what it is | example |", "|---|---|---|---|---|"]
# Base classes of methods, and what helps to write some.
OWN_METHODS = (
    "curate.core.methods.method",
    "curate.core.calls.cached",
    "curate.core.calls.cached_files",
    "curate.core.stage.Stage",
    "curate.core.selector.Selector",
    "curate.generate.generation.Generator",
    "curate.pool.exporter.Exporter",
    "curate.pool.layouts.registry.Layout",
    "curate.trackers.tracker.Tracker",
    "curate.trackers.tracker.TrackingRecord",
    *(f"curate.testing.{name}" for name in testing.__all__),
)


@dataclass(frozen=True)
class Section:
    """A part of a page that describes one model of the schema.

    Attributes:
        page: the file.
        owner: the part of the page that it stands in: a method, what all of a family take, or a recipe.
        label: what the part is called: the keys that lead to it, or a method's name.
        link: what types that name the model show.
        family_page: of a method, the page of all of its family.
    """

    page: str
    owner: str
    label: str
    link: str
    family_page: str = ""

    @property
    def anchor(self) -> str:
        """Return the part's name in addresses."""
        return re.sub(r"[^a-z0-9_]+", "-", self.label.lower()).strip("-")


class Reference:
    """The JSON schema of recipes, each of its models with the section that describes it."""

    def __init__(self) -> None:
        self.root: JsonSchema = Config.model_json_schema()
        self.models: Mapping[str, JsonSchema] = self.root["$defs"]
        self.sections: dict[str, Section] = {}
        for family, (page, word, _) in FAMILIES.items():
            for name, cls in methods_in(family).items():
                for model in (cls.__name__, f"Compared{cls.__name__}"):
                    own = method_page(cls)
                    self.sections[model] = Section(own, METHOD, name, word, family_page=page)
        for family, (page, _, _) in FAMILIES.items():
            self._place(self.common(family), page, EVERY, "")
        self._place(self.root, RECIPE, RECIPE, "")
        for family in FAMILIES:
            for name, cls in sorted(methods_in(family).items()):
                self._place(self.models.get(cls.__name__, {}), method_page(cls), name, name)

    def common(self, family: type[Method]) -> JsonSchema:
        """Return the schema of what every method of a family takes, but for its name."""
        shared = dict(family.model_json_schema()["properties"])
        del shared["method"]
        return {"title": family.__name__, "properties": shared}

    def _place(self, schema: JsonSchema, page: str, owner: str, label: str) -> None:
        """Give each model that a schema holds, and that has no section yet, one on the page."""
        for key, part in schema.get("properties", {}).items():
            names = list(dict.fromkeys(model_names(part)))
            for name in names:
                if name in self.sections or "properties" not in self.models[name]:
                    continue
                keys = f"{label}.{key}".strip(".")
                own = keys if len(names) == 1 else f"{keys}: {_word(self.models[name])}"
                self.sections[name] = Section(page, owner, own, own)
                self._place(self.models[name], page, owner, own)

    def link(self, model: str) -> str:
        """Return a link to the section of a model, from another page of the reference or its own."""
        if model not in self.sections:
            return "anything"
        section = self.sections[model]
        if section.owner == METHOD:
            return f"[{section.link}]({section.family_page})"
        return f"[{section.link}]({section.page}#{section.anchor})"

    def table(self, schema: JsonSchema, common: JsonSchema | None = None) -> list[str]:
        """Return the table of a model's keys, but for its name and those that are as in another.

        Raises:
            MissingTextError: a key lacks a description or an example.
        """
        shared = common["properties"] if common else {}
        named = {"method", "kind"} if common else set()
        lines = []
        for key, part in schema.get("properties", {}).items():
            if key in named or shared.get(key) == part:
                continue
            try:
                what = escaped(meaning(part, self.models))
                value = f"{key}: {yaml_text(example(part, self.models))}"
            except MissingTextError as error:
                raise MissingTextError(f"{schema['title']}.{key}: {error}") from error
            cells = [f"`{key}`", type_text(part, self.link), default_text(part), what, f"`{value}`"]
            lines.append(f"| {' | '.join(cells)} |")
        return [*HEADER, *lines] if lines else []

    def parts(self, page: str, owner: str, level: int) -> Iterator[str]:
        """Yield the sections of the models that stand within a part of a page."""
        for model, section in self.sections.items():
            if (section.page, section.owner) == (page, owner):
                yield f"{'#' * level} {section.label} {{ #{section.anchor} }}"
                yield prose(self.models[model].get("description", ""))
                yield "\n".join(self.table(self.models[model]))


def _word(schema: JsonSchema) -> str:
    """Return by what a recipe tells a model from others: the name that it gives, or its first key."""
    keys = schema["properties"]
    names = (keys[key]["const"] for key in ("method", "kind") if "const" in keys.get(key, {}))
    return str(next(names, next(iter(keys))))


def recipe_page(reference: Reference) -> Iterator[str]:
    """Yield the paragraphs of the page on recipes."""
    yield "# Recipe"
    yield (
        "Every key of a recipe with its type, default and an example. `curate check --schema` prints "
        "the same as a JSON schema for editors, `curate check RECIPE` names each wrong key by its line. "
        "Braces and lines mean the same in YAML: `ingest: {max_rejected: 0}` is `max_rejected: 0` on an "
        "indented line below `ingest:`."
    )
    yield "## The whole recipe"
    yield "\n".join(reference.table(reference.root))
    yield from reference.parts(RECIPE, RECIPE, 2)


def family_page(reference: Reference, family: type[Method]) -> Iterator[str]:
    """Yield the paragraphs of the page on the methods of a family."""
    page, word, usage = FAMILIES[family]
    yield f"# {word.capitalize()}s"
    yield f"`curate methods NAME` shows the same on a terminal. In a recipe: `{usage}`."
    common = reference.common(family)
    if common["properties"]:
        yield f"## What every {word} takes"
        yield "\n".join(reference.table(common))
        yield from reference.parts(page, EVERY, 3)
    lines = (
        f"| [`{name}`]({method_page(cls)}) | {escaped(summary(cls))} |"
        for name, cls in sorted(methods_in(family).items())
    )
    yield f"## All {word}s"
    yield "\n".join([f"| {word} | what it is |", "|---|---|", *lines])


def method_pages(reference: Reference, family: type[Method]) -> Iterator[tuple[str, list[str]]]:
    """Yield the page of each method of a family, with its paragraphs."""
    page, word, _ = FAMILIES[family]
    common = reference.common(family)
    for name, cls in sorted(methods_in(family).items()):
        keys = reference.models.get(cls.__name__, {"properties": {}})
        own, table = method_page(cls), "\n".join(reference.table(keys, common))
        paragraphs = [*opening(cls, reference.models)]
        if table:
            paragraphs += ["## Settings", table]
        if common["properties"]:
            paragraphs += [f"Also what [every {word} takes]({page}#what-every-{word}-takes)."]
        yield own, [*paragraphs, *reference.parts(own, name, 3)]


def python_page() -> Iterator[str]:
    """Yield the paragraphs of the page on the Python API."""
    yield "# Python"
    yield "How to use it, with examples: [From Python](../python.md)."
    yield from (f"::: curate.{name}" for name in curate.__all__ if name != "__version__")


def own_methods_page() -> Iterator[str]:
    """Yield the paragraphs of the page on what methods of one's own are made of."""
    yield "# Classes for methods of your own"
    yield "How to write one: [Methods of your own](../bring-your-own.md#methods-of-your-own)."
    yield from (f"::: {name}" for name in OWN_METHODS)


def write_pages(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    reference = Reference()
    pages: dict[str, Iterable[str]] = {}
    for family, (page, _, _) in FAMILIES.items():
        pages |= {page: family_page(reference, family), **dict(method_pages(reference, family))}
    others: dict[str, Iterable[str]] = {
        RECIPE: recipe_page(reference),
        "python.md": python_page(),
        "own-methods.md": own_methods_page(),
    }
    for name, paragraphs in {**pages, **others}.items():
        text = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
