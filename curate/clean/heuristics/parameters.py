"""Parameters of the rules."""

from typing import Annotated

from pydantic import Field, model_validator

from curate.core.params import Params

Share = Annotated[float, Field(ge=0, le=1)]


class EncodingRule(Params):
    """No turn may hold characters that a wrong decoding leaves behind."""


class MarkupRule(Params):
    """No response may hold debris of markup, and no prompt more than a share of it."""

    prompt: Share = Field(0.2, description="most of a prompt's characters that may be markup")


class PlaceholderRule(Params):
    """No response may hold a placeholder, or be one."""


class LengthRule(Params):
    """Fewest and most characters."""

    prompt: tuple[int, int] = Field((3, 50_000), description="fewest and most characters")
    response: tuple[int, int] = Field((1, 50_000), description="fewest and most characters")

    @model_validator(mode="after")
    def _check(self) -> "LengthRule":
        for name, (fewest, most) in self:
            if not 0 <= fewest <= most:
                raise ValueError(f"{name}: write fewest and most characters, as in [20, 4000]")
        return self


class LanguageRule(Params):
    """Prompt and response, where they have some 40 letters, must be in one of these languages.

    Without any the languages are columns of the evidence, for `filter` and `shares`, and no row goes.
    """

    allowed: list[str] | None = Field(
        None,
        min_length=1,
        description="ISO 639-1 codes, e.g. [en, de]; none: languages are told and no row is dropped",
        examples=[["en", "de"]],
    )
    confidence: Share = Field(0.8, description="how sure the detector must be of another language")


class RepetitionRule(Params):
    """How much of a response may say again what it has said."""

    lines: Share = Field(0.2, description="most of its characters in repeated lines")
    grams: Share = Field(
        0.35, description="most of its words in repeated 10-grams, from 50 words on"
    )
    loops: bool = Field(True, description="it may not end in one piece five times in a row")


class RefusalRule(Params):
    """No response may begin by declining to answer."""


class CopiedRule(Params):
    """No response may hold the whole prompt, from 8 words on."""

    share: float = Field(
        0.9, ge=0.5, le=1, description="of the prompt's words, both its ends among them"
    )


class UnfinishedRule(Params):
    """No long response may break off."""

    characters: int = Field(400, ge=0, description="shorter responses are not looked at")


class EscapesRule(Params):
    """No turn may hold escapes as they were typed."""


class MergedRule(Params):
    """No row may hold another task beside its own."""


class MissingRule(Params):
    """No prompt may speak of a text, picture or page that it does not hold."""


class ActionRule(Params):
    """No response may claim to have done what no text does."""


class ToolsRule(Params):
    """Every call of a tool must be one that the declared tools allow."""

    values: bool = Field(
        True,
        description="numbers of three digits or more and addresses in arguments must stand in a turn "
        "before",
    )


class WordsRule(Params):
    """No turn may hold a word of a list."""

    file: str = Field(
        description="words or phrases, one a line; # begins a comment", examples=["words.txt"]
    )
