"""The pages that are written from the code: every key and method, each with type, default, example."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import yaml
from pydantic import Field

from curate.config.recipe import Config
from curate.core.methods import METHODS, Method, method, methods_in
from curate.core.stage import Stage
from reference import gallery
from reference.methods import guide_facts, method_name, method_page, recipe_text
from reference.pages import FAMILIES, Reference, write_pages
from reference.prose import prose
from reference.schema import MissingTextError, default_text, example, type_text

MENU = (Path(__file__).parents[1] / "mkdocs.yml").read_text(encoding="utf-8")
IN_TABLE = ("stage-", "selector-", "generator-")


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    write_pages(folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_key_has_a_line_with_all_of_its_cells(
    reference: Reference, pages: dict[str, str]
) -> None:
    models = {"": reference.root, **reference.models}
    for name, model in models.items():
        section = reference.sections.get(name)
        # What every method of a family takes stands on the page of the family.
        names = (section.page, section.family_page) if section else ()
        page = "".join(pages.get(page, "") for page in names)
        for key in set(model.get("properties", {})) - {"method", "kind"} if page else ():
            lines = re.findall(rf"^\| `{key}` \|.*\|$", page, re.MULTILINE)
            assert lines, f"{name}.{key}"
            assert all(cell.strip() for line in lines for cell in line.split(" | ")), lines


EVERY_METHOD = [
    pytest.param(cls, id=f"{family.family}-{name}")
    for family in FAMILIES
    for name, cls in methods_in(family).items()
]


@pytest.mark.parametrize("cls", EVERY_METHOD)
def test_every_method_has_a_page_which_the_family_and_the_menu_name(
    cls: type[Method], pages: dict[str, str]
) -> None:
    page, family = method_page(cls), pages[f"{cls.family}s.md"]
    assert f"]({page}) |" in family
    assert re.search(rf": reference/{re.escape(page)}$", MENU, re.MULTILINE)
    text = pages[page]
    assert text.startswith(f"# {method_name(cls)}\n\n")
    (recipe,) = re.findall(r"```yaml\n(.*?)```", text.partition("## What it does")[0], re.DOTALL)
    assert method_name(cls) in str(Config.model_validate(yaml.safe_load(recipe)))


@pytest.mark.parametrize("cls", [p for p in EVERY_METHOD if str(p.id).startswith(IN_TABLE)])
def test_a_page_has_what_the_guides_table_says(cls: type[Method], pages: dict[str, str]) -> None:
    text = pages[method_page(cls)]
    assert text.count("**Cost per 1,000 rows:**") == 1
    assert guide_facts(cls.family, method_name(cls))


def test_a_method_that_no_recipe_takes_is_named() -> None:
    class PickyStage(Stage):
        """Takes nothing."""

        method: Literal["exact"] = "exact"
        never: Literal["given"]

    with pytest.raises(LookupError, match="PickyStage"):
        recipe_text(PickyStage, {"PickyStage": {"properties": {"never": {"const": "given"}}}})


def test_links_between_the_pages_lead_to_their_parts(pages: dict[str, str]) -> None:
    links = {
        link for text in pages.values() for link in re.findall(r"\]\(([\w-]+\.md)#(.*?)\)", text)
    }
    assert links
    for page, anchor in links:
        every = re.findall(r"^## (What every \w+ takes)$", pages[page], re.MULTILINE)
        anchors = [heading.lower().replace(" ", "-") for heading in every]
        assert anchor in anchors or f"{{ #{anchor} }}" in pages[page]


def test_examples_are_what_the_schema_accepts(reference: Reference) -> None:
    for name, model in {"": reference.root, **reference.models}.items():
        for key, part in model.get("properties", {}).items():
            if key in ("method", "kind") or name.startswith("Compared"):
                continue
            schema = {**part, "$defs": reference.models}
            value = example(part, reference.models)
            faults = [f.message for f in jsonschema.Draft202012Validator(schema).iter_errors(value)]
            assert faults == [], f"{name}.{key}"


class ShoutStage(Stage):
    """Drop rows in capitals.

    Nobody 2026, arXiv:2601.00001.
    """

    method: Literal["shout"] = "shout"
    share: float = Field(0.5, ge=0, le=1, description="of capitals among the letters")


class WhisperStage(Stage):
    """Drop rows in brackets."""

    method: Literal["whisper"] = "whisper"
    label: str | None = Field(None, description="of what is dropped")


@pytest.fixture
def registered(request: pytest.FixtureRequest) -> Iterator[None]:
    method(request.param)
    yield
    del METHODS["stage"][request.param.model_fields["method"].default]


@pytest.mark.parametrize("registered", [ShoutStage], indirect=True)
def test_a_new_method_shows_up(registered: None, tmp_path: Path) -> None:
    write_pages(tmp_path)
    text = (tmp_path / "stages.md").read_text(encoding="utf-8")
    assert "| [`shout`](stage-shout.md) | Drop rows in capitals. |" in text
    text = (tmp_path / "stage-shout.md").read_text(encoding="utf-8")
    assert text.startswith("# shout\n\nA [stage](stages.md). Drop rows in capitals.")
    assert "[arXiv:2601.00001](https://arxiv.org/abs/2601.00001)" in text
    line = "| `share` | number ≥ 0, ≤ 1 | `0.5` | of capitals among the letters | `share: 0.5` |"
    assert line in text


@pytest.mark.parametrize("registered", [WhisperStage], indirect=True)
def test_a_key_without_an_example_is_named(registered: None, tmp_path: Path) -> None:
    with pytest.raises(MissingTextError, match=r"WhisperStage.label: .*examples="):
        write_pages(tmp_path)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "exclusiveMinimum": 0}, "integer > 0"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "text or null"),
        ({"enum": ["low", "high"]}, "`low` or `high`"),
        ({"type": "array", "items": {"$ref": "#/$defs/A"}}, "list of [A]"),
        (
            {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/A"}}, {"$ref": "#/$defs/A"}]},
            "[A] or a list of these",
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}]},
            "[integer, number]",
        ),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "names with number"),
    ],
)
def test_types_are_said_in_words(schema: dict[str, Any], text: str) -> None:
    assert type_text(schema, "[{}]".format) == text


def test_a_default_that_is_none_differs_from_one_that_is_missing() -> None:
    assert default_text({"type": "string"}) == "required"
    assert default_text({"default": None}) == "`null`"


def test_prose_keeps_blocks_and_code_and_is_no_markup_otherwise() -> None:
    docstring = "Score S[q, i] of `a_b` * 2 < 3.\n\n    x  = 1\n    yy = 2\n\nAs published."
    text = (
        "Score S\\[q, i\\] of `a_b` \\* 2 &lt; 3.\n\n```text\nx  = 1\nyy = 2\n```\n\nAs published."
    )
    assert prose(docstring) == text


def png(width: int, height: int, color: bytes) -> bytes:
    """Return as much of a picture as holds its size, and something that differs from others."""
    return b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", width, height) + color


def gallery_page(folder: Path) -> str:
    """Write two pictures of a page into a folder; return the text that shows them."""
    for scheme in ("light", "dark"):
        (folder / f"rows-narrow-{scheme}.png").write_bytes(png(585, 1200, scheme.encode()))
    picture = gallery.VIEWER[0]
    return "".join(gallery.image(picture, "narrow", scheme) for scheme in ("light", "dark"))


def test_a_gallery_with_every_picture_passes(tmp_path: Path) -> None:
    """`make docs` takes the real ones."""
    gallery.check_pictures(gallery_page(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"differ in \['rows-narrow-dark.png'\]"),
        (png(780, 1200, b"dark"), "780 pixels wide"),
        (png(585, 900, b"dark"), "900 high"),
        (png(585, 1200, b"light"), "same in both schemes"),
    ],
)
def test_a_gallery_with_a_wrong_picture_is_refused(
    data: bytes | None, message: str, tmp_path: Path
) -> None:
    text, path = gallery_page(tmp_path), tmp_path / "rows-narrow-dark.png"
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(AssertionError, match=message):
        gallery.check_pictures(text, tmp_path)
