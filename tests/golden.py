"""Golden results: what every stored step makes of a tiny pool with a tiny random model.

Four recipes run most steps of the package. What each step function wrote is put into a few figures: a
digest of what is discrete, and for numbers their count and two sums over columns and arrays: of their
sizes, and of their shapes. So neither another value nor another order goes unnoticed. Processors round
differently: a change of 1 in 500 of one column is noticed, one in the sixth digit is not.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import safe_open

from curate.config.recipe import Config
from curate.core.calls import CachedCall
from curate.core.ledger import run_stage
from curate.core.rows import Message
from curate.core.store import Artifact, Computation, Store
from curate.pipeline.curation import run_curation

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 2e-3
# What differs from run to run: times, and where things lie.
FLEETING = ("seconds", "made", "date", "store", "path", "folder")
MAX_LENGTH = 256
LORA = {"epochs": 1, "rank": 4, "alpha": 8, "max_length": MAX_LENGTH, "batch_rows": 4}
STAGES: list[dict[str, Any]] = [
    {"kind": "rules"},
    {"kind": "pii"},
    {"kind": "exact", "conflicts": True},
    {"kind": "fuzzy"},
    {"kind": "semantic"},
    {"kind": "confidence", "drop": 0.05, "max_length": MAX_LENGTH},
    {"kind": "leaks", "warn": 0.95},
]
METHODS: list[dict[str, Any]] = [
    {"method": "bm25"},
    {"method": "dsir"},
    {"method": "length"},
    {"method": "embed"},
    {"method": "kcenter"},
    {"method": "facility"},
    {"method": "clusters"},
    {"method": "got"},
    {"method": "gme"},
    {"method": "smart"},
    {"method": "mixture"},
    {"method": "deita"},
    {"method": "ifd", "max_length": MAX_LENGTH},
    {"method": "perplexity", "max_length": MAX_LENGTH},
    {"method": "perplexity_ratio", "max_length": MAX_LENGTH, "epochs": 1},
    {"method": "less", "max_length": MAX_LENGTH, "warmup": {"epochs": 1}},
    {
        "method": "less",
        "way": "datastore",
        "dim": 64,
        "max_length": MAX_LENGTH,
        "warmup": {"epochs": 1},
    },
    {"method": "blend", "parts": [{"method": "bm25"}, {"method": "embed"}]},
    {"method": "cascade", "parts": [{"method": "embed", "keep": 0.5}, {"method": "bm25"}]},
    {
        "method": "sources",
        "measure": ["embedding", "ngrams", "mmd"],
        "trial": {"top": 1, "rows": 4, "seeds": 1},
        "keep": 1,
        "within": {"method": "bm25"},
    },
]
FAULTY = [
    ("Translate to German: <b>good morning</b>", "Guten Morgen<br/>&nbsp;</div>"),
    ("Who wrote to us?", "jane.doe@example.com, call +1 415 555 0132"),
    ("Summarise the attached picture.", "As an AI language model, I cannot see pictures."),
    ("Name a colour.", "Lorem ipsum dolor sit amet"),
]
# Cards and recipes of trainers name folders of this machine.
NAMES_FOLDERS = (".md", ".yaml", ".py", ".jinja")


def write_pool(folder: Path) -> Path:
    """Write plain rows, exact and near copies of some, faulty ones, and one with an eval prompt."""
    plain = _messages("watch.jsonl", 40)
    near = [
        [{**turn, "content": turn["content"] + " Thanks!"} for turn in row] for row in plain[:4]
    ]
    faulty = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        for prompt, response in FAULTY
    ]
    path = folder / "pool.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for messages in [*plain, *plain[4:7], *near, *faulty, *_messages("eval.jsonl", 1)]:
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


def _messages(name: str, rows: int) -> list[list[Message]]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()[:rows]
    return [json.loads(line)["messages"] for line in lines]


def recipes(folder: Path, model: Path) -> Iterator[dict[str, Any]]:
    """Yield the recipes: all stages and methods with a proof; an ablation; a race; a plain draw."""
    common: dict[str, Any] = {
        "pool": [{"path": str(write_pool(folder)), "source": "tiny"}],
        "target": {
            "path": str(DATA / "target.jsonl"),
            "eval": {"path": str(DATA / "eval.jsonl"), "sample": 12},
        },
        "models": {"base": str(model), "dtype": "float32", "embedder": "static"},
        "store": str(folder / "store"),
    }
    budget = {"rows": 8}
    rds = {"method": "rds", "max_length": MAX_LENGTH, "budget": budget}
    proof = {"draws": 2, "seeds": 1, "lora": LORA, "written": 2, "allow_leaks": True}
    watch = [{"path": str(DATA / "watch-refusals.jsonl"), "sample": 6}]
    yield {
        **common,
        "name": "all",
        "stages": STAGES,
        "select": {**rds, "diversity": {"most": 0.9}},
        "compare": METHODS,
        "prove": {
            **proof,
            "arms": ["selected", "random", "target_only"],
            "watch": watch,
            "novelty": {"texts": 2, "tokens": 8},
            "keep": True,
        },
    }
    small = [{"kind": "exact"}, {"kind": "fuzzy"}]
    yield {
        **common,
        "name": "together",
        "stages": small,
        "select": rds,
        "compare": [{"method": "embed"}],
        "prove": {
            **proof,
            "ablate": True,
            "compare": True,
            "curve": 2,
            "quantiles": 3,
            "metric": {"generate": "exact", "examples": 3},
        },
    }
    raced = {"method": "race", "of": ["embed", "bm25"], "rounds": 1, "budget": budget}
    halved = {**common["target"], "eval": {"path": str(DATA / "eval.jsonl"), "sample": 36}}
    yield {
        **common, "name": "raced", "target": halved, "stages": small, "select": raced, "prove": proof,
    }  # fmt: skip
    drawn = {"method": "random", "budget": {"fraction": 0.5}}
    yield {
        "name": "drawn",
        "pool": common["pool"],
        "store": common["store"],
        "stages": small,
        "select": drawn,
    }


def golden_results(folder: Path, model: Path) -> dict[str, dict[str, Any]]:
    """Run the recipes and return the figures of each cached function and method, by name."""
    artifacts: dict[str, list[Artifact]] = {}
    store = Store(folder / "store")

    def execute_all(computations: Sequence[Computation]) -> list[Artifact]:
        stored = [store.ensure(computation) for computation in computations]
        for call, artifact in zip(computations, stored, strict=True):
            assert isinstance(call, CachedCall)
            for name in [call.function.name, *_method_names(call)]:
                if artifact.key not in {a.key for a in artifacts.get(name, [])}:
                    artifacts.setdefault(name, []).append(artifact)
        return stored

    for recipe in recipes(folder, model):
        run_curation(Config.model_validate(recipe), folder / recipe["name"], execute_all)
    return {name: _figures_of(stored) for name, stored in sorted(artifacts.items())}


def _method_names(call: CachedCall[Any]) -> list[str]:
    """Return the registered methods, by their names in versions.lock, that a call looks up."""
    if call.function is run_stage:
        return [f"stage:{call.arguments['stage']['method']}"]
    if call.name in ("select", "select-compared"):
        return [f"select:{call.params['select']['method']}"]
    return []


def _figures_of(artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """Return digest, count and sums of all that the artifacts of a step hold, in the order of making."""
    digest, arrays = hashlib.blake2b(digest_size=8), []
    for artifact in artifacts:
        for name in sorted(artifact.files):
            for place, value in _values(artifact.file(name)):
                digest.update(f"{name} {place}".encode())
                if isinstance(value, np.ndarray):
                    arrays.append(np.nan_to_num(value.astype(np.float64).ravel(), posinf=-3.0))
                else:
                    digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return {
        "artifacts": len(artifacts),
        "digest": digest.hexdigest(),
        "numbers": sum(map(len, arrays)),
        "size": round(sum(float(np.log1p(np.abs(array).sum())) for array in arrays), 5),
        "shape": round(sum(map(shape_of, arrays)), 5),
    }


def shape_of(array: NDArray[np.float64]) -> float:
    """Return a sum weighted by place (1 to 2) as a share of the sum of amounts: other orders, others.

    Example: [3, 1] has (3 * 1 + 1 * 2) / 4 = 1.25, [1, 3] has (1 * 1 + 3 * 2) / 4 = 1.75.
    """
    amount = np.abs(array).sum()
    return float(array @ np.linspace(1, 2, len(array)) / amount) if amount else 0.0


def _values(path: Path) -> Iterator[tuple[str, NDArray[Any] | Any]]:
    """Yield the floating numbers of a file as arrays, all else as JSON-like values, by column or key."""
    if path.suffix == ".parquet":
        for column in pl.read_parquet(path):
            yield column.name, _array_or_list(column)
    elif path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        yield "array", array if array.dtype.kind == "f" else array.tolist()
    elif path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            for key in sorted(file.keys()):
                yield key, file.get_tensor(key)
    elif path.suffix in (".json", ".jsonl"):
        text = path.read_text(encoding="utf-8")
        for line in [text] if path.suffix == ".json" else text.splitlines():
            yield from _leaves("", json.loads(line))
    elif path.suffix not in NAMES_FOLDERS:
        raise ValueError(f"{path.name}: no kind of file that is looked into")


def _array_or_list(column: pl.Series) -> NDArray[Any] | list[Any]:
    inner: Any = column.dtype
    while isinstance(inner, pl.List | pl.Array):
        inner = inner.inner
    if inner.is_float():
        flat = column
        while isinstance(flat.dtype, pl.List | pl.Array):
            flat = flat.explode(empty_as_null=True)
        return flat.cast(pl.Float64).fill_null(-2.0).to_numpy()
    return column.to_list()


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in sorted(value.items()):
            if key not in FLEETING:
                yield from _leaves(f"{place}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(f"{place}[]", inner)
    else:
        yield place, np.array([value]) if isinstance(value, float) else value


def same_figures(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two results are the same but for rounding."""
    exact = ("artifacts", "digest", "numbers")
    return all(one[key] == other[key] for key in exact) and all(
        abs(one[key] - other[key]) <= TOLERANCE for key in ("size", "shape")
    )
