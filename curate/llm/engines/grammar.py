"""A JSON Schema as a mask over a model's vocabulary, by llguidance.

Every row of a batch has its own matcher, so rows with different schemas, or with none, share a batch and
leave it when they are done. A grammar is compiled once a schema; each row takes a fresh copy.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import orjson
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.jsontypes import JSON

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from transformers import PreTrainedTokenizerBase

# One form of white space: small models otherwise write blanks without end, which every schema allows.
LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Grammars:
    """The compiled schemas of one vocabulary.

    Args:
        tokenizer: a fast one.
        size: width of the model's logits, which may be more than the tokenizer knows.
        ends: tokens that end an answer.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", size: int, ends: Sequence[int]
    ) -> None:
        from llguidance.hf import from_tokenizer  # noqa: PLC0415

        try:
            self._vocabulary = from_tokenizer(tokenizer, n_vocab=size, eos_token=list(ends))
        except ValueError as error:
            raise UserError(
                "answers by a schema need a fast tokenizer (tokenizer.json), which this model has not"
            ) from error
        self._size = size
        self._compiled: dict[bytes, LLMatcher] = {}

    def matcher(self, schema: Mapping[str, JSON]) -> "LLMatcher":
        """Return a matcher at the start of the schema's text.

        Raises:
            UserError: the schema has something that cannot be enforced while writing.
        """
        key = orjson.dumps(schema)
        if key not in self._compiled:
            self._compiled[key] = self._compile(schema)
        return self._compiled[key].deep_copy()

    def _compile(self, schema: Mapping[str, JSON]) -> "LLMatcher":
        from llguidance import LLMatcher  # noqa: PLC0415

        grammar = LLMatcher.grammar_from_json_schema(dict(schema), LAYOUT)  # type: ignore[arg-type]
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0)
        if matcher.is_error():
            raise UserError(f"the JSON schema cannot be enforced: {matcher.get_error()}")
        return matcher

    def allowed(self, matcher: "LLMatcher") -> NDArray[np.bool_]:
        """Return which tokens [V] may come next."""
        from llguidance.numpy import fill_next_token_bitmask  # noqa: PLC0415

        words = np.zeros((1, (self._size + 31) // 32), dtype=np.int32)
        fill_next_token_bitmask(matcher, words)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")
        return bits[: self._size].astype(bool)
