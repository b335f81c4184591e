"""The recipe's part `models`: base model, sentence embedder, dtype."""

from typing import Literal

from pydantic import Field

from curate.core.params import Params


class ModelNames(Params):
    """Models by name, folder or hub id."""

    base: str = Field("smollm2-135m", description="the model that selects and is fine-tuned")
    embedder: str = Field("static", description="sentence embedder: static, minilm or a folder")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the processor computes in it, else float32"
    )
    trust_remote_code: bool = Field(False, description="run code that comes with a model's files")
    system: Literal["drop_row", "merge"] = Field(
        "drop_row",
        description="rows whose system turn the base model's template refuses; merge: its text opens "
        "their first user turn",
    )
