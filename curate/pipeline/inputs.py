"""The sets of rows that a recipe names: pool, target, eval, protected, watch and prior rows, arms."""

from collections.abc import Sequence
from pathlib import Path

from curate.config.recipe import Config
from curate.pool.entries import Leaves
from curate.pool.rowset import RowSet, row_set
from curate.pool.settings import RowFile
from curate.proof.settings import ArmFile

# The rows of a second phase, among those of arms.
THEN = "then"
REHEARSED = "rehearse.from"


def input_sets(config: Config) -> dict[str, RowSet]:
    """Return a recipe's inputs: the pool, and the example sets that are given.

    Raises:
        UserError: as row_set.
    """
    entries: dict[str, Sequence[RowFile]] = {"pool": config.pool}
    if config.prompts or config.ingest.prompts:
        # Rows of the pool without a response are read by themselves, from the same files.
        unanswered = config.pool if config.ingest.prompts else []
        entries["prompts"] = [*config.prompts, *unanswered]
    if config.target is not None:
        entries["target"] = [config.target]
        if config.target.eval:
            entries["eval"] = config.target.eval_files
    if config.protected:
        entries["protected"] = config.protected
    if config.prove and config.prove.watch:
        entries["watch"] = [watched.file for watched in config.prove.watch]
    if config.rehearse is not None:
        entries["prior"] = [config.rehearse.rows]
    limits = dict.fromkeys(("pool", "prompts", "prior"), config.ingest.max_rejected)
    # The leak check reads prompts without an answer as well; a proof says what it lacks by itself.
    prompts = {"prompts", "protected", "eval", "watch"}
    return {
        name: row_set(
            name,
            files,
            seed=config.seed,
            max_rejected=limits.get(name, 0.0),
            prompts=name in prompts,
            keys=_entry_keys(name, files, config),
            leaves=_leaves(name, config),
        )
        for name, files in entries.items()
    }


def makes_pairs(config: Config) -> bool:
    """Return whether a generator, or a stage that asks a language model, may make preference pairs."""
    return config.generate is not None or any(stage.asks for stage in config.stages)


def _leaves(name: str, config: Config) -> dict[str, Leaves]:
    """Return which rows of the pool's entries an input leaves to another, by their sources."""
    left: dict[str, Leaves] = {"pool": "unanswered", "prompts": "answered"}
    if not config.ingest.prompts or name not in left:
        return {}
    return {entry.source_name: left[name] for entry in config.pool}


def _entry_keys(name: str, files: Sequence[RowFile], config: Config) -> list[str]:
    """Return the recipe's key of each entry of an input."""
    if name == "prompts":
        own = len(config.prompts)
        return [f"prompts.{i}" if i < own else f"pool.{i - own}" for i in range(len(files))]
    count = len(files)
    key = {"eval": "target.eval", "watch": "prove.watch", "prior": REHEARSED}.get(name, name)
    lone = name in ("target", "prior") or (name == "eval" and count == 1)
    return [key] if lone else [f"{key}.{number}" for number in range(count)]


def proof_sets(config: Config) -> dict[str, RowSet]:
    """Return the rows that files of a proof hold: arms by their names, the second phase as `then`.

    Raises:
        UserError: as row_set.
    """
    prove = config.prove
    if prove is None:
        return {}
    files: dict[str, tuple[str, RowFile]] = {
        arm.name: (f"prove.arms.{number}", arm)
        for number, arm in enumerate(prove.arms)
        if isinstance(arm, ArmFile)
    }
    if isinstance(prove.then, RowFile):
        files[THEN] = ("prove.then", prove.then)
    return {
        name: row_set(
            f"prove-{name}", [_saved(file)], seed=config.seed, max_rejected=0.0, keys=[key]
        )
        for name, (key, file) in files.items()
    }


def _saved(file: RowFile) -> RowFile:
    """Return the selected rows where the path is the folder of a finished run."""
    named = file.model_copy(update={"source": file.source_name})
    selected = Path(file.path) / "selected.parquet"
    return named.model_copy(update={"path": str(selected)}) if selected.is_file() else named
