"""Builders that many tests share: rows, stored artifacts and a tiny language model."""

from __future__ import annotations

import copy
import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from curate.config.recipe import Config
from curate.core.calls import CallRunner, Table
from curate.core.digests import digest_of
from curate.core.keyed import EmbedderSource, EngineSource, ModelSource
from curate.core.ledger import judge_rows
from curate.core.methods import find_method
from curate.core.rows import SCHEMA, Message, content_hash, text_hash
from curate.core.run import StepRun
from curate.core.stage import Stage
from curate.core.store import Artifact, Computation, Store, key_of
from curate.estimate import base_model, writing_cost
from curate.models.load import find_model, identify_embedder, prepare
from curate.report import build, charts, figures
from tests.chromium import chromium as chromium
from tests.rootlogs import catch_at_the_root
from tests.s3server import s3_server

# HYPOTHESIS_PROFILE=thorough looks for more counterexamples, and for others on every run. With the
# oldest dependencies a call fails or does not, on whatever example: a few show it.
settings.register_profile("floors", deadline=None, derandomize=True, max_examples=5)
settings.register_profile("fast", deadline=None, derandomize=True, max_examples=10)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=1_000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "fast")
settings.load_profile(PROFILE)

# Folders in memory: thousands of small ones take a minute on a disk that others use too.
MEMORY = Path("/dev/shm")
FOLDERS_BYTES = 4 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Keep byte code, and start with few threads where workers or other programs share the cores."""
    catch_at_the_root()
    # Whatever the environment says: else every program that a test starts compiles all of curate.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Threads that wait for one another are many times slower where others have their cores.
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    if busy or config.getoption("numprocesses", None):
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        # With one thread alone, rows would come in order by themselves; two wait for one another for a
        # sixth of all time, which the suites of `make test` take.
        threads = "1" if PROFILE == "fast" else "2"
        os.environ.setdefault("POLARS_MAX_THREADS", threads)
    if "not system" in config.getoption("markexpr") and _is_roomy(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _is_roomy(folder: Path) -> bool:
    """Return whether tests can have their folders there and start programs in them."""
    if not os.access(folder, os.W_OK):
        return False
    return (
        shutil.disk_usage(folder).free > FOLDERS_BYTES
        and not os.statvfs(folder).f_flag & os.ST_NOEXEC
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector pass by what is imported: hundreds of megabytes, which all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass by files of system tests alone where none of these is run: some import much."""
    if collection_path.suffix != ".py" or "not system" not in config.getoption("markexpr"):
        return None
    return "\npytestmark = pytest.mark.system\n" in collection_path.read_text("utf-8") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the flows: at the end, one worker would be at them alone."""
    items.sort(key=lambda item: item.path.parent.name not in ("orchestration", "flows"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Do the same with what tests import later, torch above all, and with what files left for good.

    A test that collects garbage takes milliseconds then, and a third of a second otherwise. Real models
    that a cache holds are freed one day, so where they are tested, files' leftovers stay as they are.
    """
    modules, path = item.session.stash.get(FROZEN, (0, item.path))
    is_next_file = path != item.path and "not model" in item.config.getoption("markexpr")
    if is_next_file or len(sys.modules) > modules + 200:
        item.session.stash[FROZEN] = (len(sys.modules), item.path)
        gc.collect()
        gc.freeze()
    _fit_threads(item)


def _fit_threads(item: pytest.Item) -> None:
    """Run torch on one thread, but for real models: on tiny ones threads cost more than they give."""
    torch, stash = sys.modules.get("torch"), item.session.stash
    if torch is None:
        return
    if item.get_closest_marker("model") is None:
        stash.setdefault(THREADS, torch.get_num_threads())
        torch.set_num_threads(1)
    elif THREADS in stash:
        torch.set_num_threads(stash[THREADS])
        del stash[THREADS]


FROZEN = pytest.StashKey[tuple[int, Path]]()
# Torch's own number of threads, while it runs on one.
THREADS = pytest.StashKey[int]()

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def examples(share: float) -> settings:
    """Return settings of a property that needs more or fewer examples than the profile gives."""
    return settings(max_examples=max(round(share * settings().max_examples), 1))


def turns(*texts: str) -> list[Message]:
    """Return messages with alternating user and assistant turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def row(row_id: str, messages: Sequence[Message], **columns: Any) -> dict[str, Any]:
    """Return a whole row with plain defaults."""
    return {
        "row_id": row_id,
        "messages": list(messages),
        "content_hash": content_hash(messages),
        "text_hash": text_hash(messages),
        "source": "test",
        "origin": None,
        "meta": "{}",
        "parents": [],
        "method": None,
        "hop": None,
    } | columns


def mean(column: pl.Series) -> float:
    """Return the mean of a column of numbers; polars' own can be of any type, or None."""
    value = column.mean()
    assert isinstance(value, float)
    return value


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame, with the types that ingest gives them."""
    table = pl.from_arrow(pa.Table.from_pylist([dict(r) for r in rows], schema=SCHEMA))
    assert isinstance(table, pl.DataFrame)
    return table


@dataclass(frozen=True)
class Computed:
    """Something that a test stores: a function writes it, and a JSON-like value tells it apart."""

    name: str
    function: Callable[[Path], dict[str, Any]]
    content: Any
    version: int = 1
    inputs: Mapping[str, Artifact] = field(default_factory=dict)

    @property
    def reads(self) -> list[Artifact]:
        return [*self.inputs.values()]

    @property
    def params(self) -> dict[str, Any]:
        return {"content": digest_of(self.content)}

    @property
    def key(self) -> str:
        return key_of(self)

    def write(self, out: Path) -> dict[str, Any]:
        return self.function(out)


def stored(
    store: Store,
    name: str,
    tables: Mapping[str, pl.DataFrame],
    counts: dict[str, Any] | None = None,
) -> Artifact:
    """Return an artifact that holds these tables, one parquet file each."""

    def write(out: Path) -> dict[str, Any]:
        for table_name, table in tables.items():
            table.write_parquet(out / f"{table_name}.parquet")
        return counts or {}

    content = {k: json.loads(json.dumps(t.to_dicts(), default=str)) for k, t in tables.items()}
    return store.ensure(Computed(name, write, {"content": content, "counts": counts}))


def stored_table(
    store: Store, name: str, table: pl.DataFrame, counts: dict[str, Any] | None = None
) -> Table:
    """Return a stored table: of its own artifact, whose name and the table's are one."""
    sizes = {"rows_in": table.height, "rows_out": table.height}
    return Table(stored(store, name, {name: table}, sizes if counts is None else counts), name)


def stored_rows(store: Store, name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table that looks like an ingested file of these rows."""
    counts = {"rows_in": len(rows), "rows_out": len(rows)}

    def write(out: Path) -> dict[str, Any]:
        table = pa.Table.from_pylist([dict(r) for r in rows], schema=SCHEMA)
        pq.write_table(table, out / "rows.parquet")
        return counts

    return Table(store.ensure(Computed(name, write, [dict(r) for r in rows])), "rows")


def placeholder(computation: Computation) -> Artifact:
    """Return the artifact of a computation that is not computed: its key, and no files."""
    key = computation.key
    return Artifact(computation.name, key, Path(), key, {}, {"rows_out": 0}, 0.0, 0.0, {}, True)


# What names the blocks of a table, before any block is read: no test is about how often.
NAMING_STEPS = ("row-hashes", "foreign-texts")


@dataclass
class StoreRun(CallRunner):
    """A run that is a store alone; remembers the names of the steps that did work.

    calls: all that was asked for.
    skipped: names of calls that are not computed, for tests that look at calls alone.
    """

    store: Store
    seed: int = 0
    executed_steps: list[str] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    skipped: Sequence[str] = ()

    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        self.calls += computations
        artifacts = [
            placeholder(one) if one.name in self.skipped else self.store.ensure(one)
            for one in computations
        ]
        names = [artifact.name for artifact in artifacts if not artifact.cached]
        self.executed_steps += [name for name in names if name not in NAMING_STEPS]
        return artifacts

    def keys(self, name: str) -> list[str]:
        """Return the keys of the calls of a name."""
        return [call.key for call in self.calls if call.name == name]

    @property
    def base(self) -> ModelSource:
        raise NotImplementedError

    def embedder(self, name: str | None = None) -> EmbedderSource:
        location = find_model(name or "static")
        return EmbedderSource(identify_embedder(location), location.name)

    def engine(self, params: Any) -> EngineSource:
        raise NotImplementedError


@dataclass
class RowsRun(StoreRun):
    """A run whose pool, kept rows and their lengths are stored already, for a selector to score."""

    rows: Table = field(init=False)
    kept: Table = field(init=False)
    tokens: Table = field(init=False)
    target: Table | None = None
    evidence: Mapping[str, Table] = field(default_factory=dict)

    def with_kept(self, kept: Table) -> Self:
        other = copy.copy(self)
        other.kept = kept
        return other


def run_stage(
    run: StepRun,
    stage: Mapping[str, Any],
    rows: Table,
    examples: Mapping[str, Table],
    before: Mapping[str, Table] | None = None,
) -> Artifact:
    """Return the artifact of a stage, prepared and judged as a run does it."""
    method = find_method(Stage, stage.get("method", stage.get("kind"))).model_validate(stage)
    verdicts, _ = judge_rows(run, method.method, method, rows, before or {}, examples)
    return verdicts.artifact


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_disks() -> Iterator[None]:
    """Let no test wait for a disk: none outlives a power failure. Programs that tests start do wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _short_probes() -> Iterator[None]:
    """Time each batch of a probe once: no test asks for a pace that is close to the true one."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (base_model, writing_cost):
            patch.setattr(module, "PROBE_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def drawn() -> Iterator[dict[tuple[str, str], Any]]:
    """Draw figures that show the same only once, since that takes half of a run's time.

    A test that has no "report" in its place or name looks at none: any figure of the name will do.
    """
    figures_by_data: dict[tuple[str, str], Any] = {}

    def once(name: str, draw: Callable[..., Any]) -> Callable[..., Any]:
        def draw_once(*data: Any) -> Any:
            looks = "report" in os.environ.get("PYTEST_CURRENT_TEST", "report")
            key = (name, repr(data) if looks else type(data[0]).__name__)
            if key not in figures_by_data:
                figures_by_data[key] = draw(*data)
            return figures_by_data[key]

        return draw_once

    with pytest.MonkeyPatch.context() as patch:
        for name, draw in list(vars(figures).items()):
            if name.startswith("draw_") and name != "draw_all":
                patch.setattr(figures, name, once(name, draw))
        patch.setattr(build, "draw_chart", once("draw_chart", charts.draw_chart))
        yield figures_by_data


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a server that speaks S3."""
    with s3_server() as address:
        yield address


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs write no report, a third of a small one's time, where a test looks at none."""
    monkeypatch.setattr("curate.pipeline.curation.write_report", lambda run: run)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write_tiny_model(folder: Path, seed: int = 0, **sizes: int) -> Path:
    """Write a random two-layer Llama, of other sizes if given, and a byte tokenizer with a template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    config = LlamaConfig(
        **{
            "vocab_size": len(fast),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            **sizes,
        },
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tiny_encoder(folder: Path, words: Sequence[str], seed: int = 0) -> Path:
    """Write a random two-layer sentence encoder that knows these words and reads 12 tokens."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(exist_ok=True)
    vocabulary = folder / "vocab.txt"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary.write_text("\n".join([*special, *words]))
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(folder / "plain")
    config = BertConfig(
        vocab_size=len(words) + 5, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder / "plain")
    transformer = Transformer(str(folder / "plain"))
    transformer.max_seq_length = 12
    model = SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu")
    model.save(str(folder / "sentences"))
    return folder / "sentences"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The folder of the real, embedded language model."""
    return prepare(find_model("smollm2-135m"))


def small_proof(folder: Path, model: Path, **prove: Any) -> Config:
    """Return a recipe that proves three random rows of pool.jsonl, target.jsonl and eval.jsonl."""
    return Config.model_validate(
        {
            "name": "small",
            "store": str(folder / "store"),
            "pool": [{"path": str(folder / "pool.jsonl")}],
            "target": {
                "path": str(folder / "target.jsonl"),
                "eval": {"path": str(folder / "eval.jsonl")},
            },
            "models": {"base": str(model), "dtype": "float32"},
            "select": {"method": "random", "budget": {"rows": 3}},
            "prove": {"draws": 2, "seeds": 1, "lora": {"epochs": 1}, **prove},
        }
    )
