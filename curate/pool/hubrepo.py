"""Data sets of the Hugging Face Hub: the files of a split and configuration at one commit.

Which files make up a split is what `datasets` says. They are read from the hub's cache where it has
them, and otherwise over the network, piece by piece. A commit stands for their bytes.
"""

import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.errors import UserError, named_key
from curate.core.faults import one_line
from curate.core.hubfaults import explain_hub, is_transport
from curate.core.lazy import lazy_module
from curate.pool.files import LOCAL, PoolFile, find_files, is_read
from curate.pool.folders import log_left_out
from curate.pool.globs import MAGIC
from curate.pool.hubaddress import HubAddress

if TYPE_CHECKING:
    import datasets
    import huggingface_hub
else:
    datasets = lazy_module("datasets")
    huggingface_hub = lazy_module("huggingface_hub")

LOG = logging.getLogger("curate")
REMOTE = "hf://datasets/"
SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})\b.*")
CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True)
class HubFiles:
    """Files of a data set at a commit, and the configuration and split that they are of."""

    files: Sequence[PoolFile]
    repo: str
    commit: str
    config: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """A commit, and where its files are: a folder of the cache, or an address of the hub."""

    commit: str
    base: str

    @property
    def cached(self) -> bool:
        """Return whether it is a folder of the cache."""
        return not self.base.startswith(REMOTE)


def find_hub_files(address: HubAddress, config: str | None, split: str | None) -> HubFiles:
    """Return the files of a data set of the hub, sorted by name; a name begins with the split.

    Raises:
        UserError: there is no such data set, revision, configuration or split, the hub is not reached
            and the cache does not have it, or none of the files holds records.
    """
    repo, snapshot = address.repo, _resolve(address)
    if address.inner:
        if config:
            raise UserError(f"`config: {config}` is for a whole data set; leave it out")
        with named_key(f"{repo} at {snapshot.commit}"):
            files = find_files(f"{snapshot.base}/{address.inner}", split)
        return HubFiles(_pinned(files, repo, snapshot), repo, snapshot.commit, split=split)
    builder = _builder(address, snapshot, config)
    by_split = {str(name): urls for name, urls in (builder.config.data_files or {}).items()}
    chosen = _choose_split(repo, by_split, split)
    names = {url.removeprefix(f"{snapshot.base}/"): url for url in by_split[chosen]}
    _check_data(repo, names)
    if snapshot.cached:
        _check_shards(address, snapshot, names)
    files = [PoolFile(names[name], f"{chosen}/{name}") for name in sorted(names) if is_read(name)]
    pinned = _pinned(files, repo, snapshot)
    return HubFiles(pinned, repo, snapshot.commit, builder.config.name, chosen)


def _resolve(address: HubAddress) -> Snapshot:
    """Return the commit of a revision as the hub says, or the cache where the hub is not reached."""
    repo = address.repo
    with _faults(address):
        try:
            api = huggingface_hub.HfApi()
            info = api.dataset_info(repo, revision=address.revision)
            if info.gated:
                api.auth_check(repo, repo_type="dataset")
            return Snapshot(str(info.sha), f"{REMOTE}{repo}@{info.sha}")
        except Exception as error:
            folder = _cached_snapshot(address) if is_transport(error) else None
            if folder is None:
                raise
            if not huggingface_hub.constants.is_offline_mode():
                LOG.warning("%s: the hub is not reached; read from the cache, %s", repo, folder)
            return Snapshot(folder.name, str(folder))


def _cached_snapshot(address: HubAddress) -> Path | None:
    """Return the folder of a revision in the cache; None if it is not there, or not as a whole."""
    try:
        folder = huggingface_hub.snapshot_download(
            address.repo, repo_type="dataset", revision=address.revision, local_files_only=True
        )
    except huggingface_hub.errors.LocalEntryNotFoundError:
        return None
    return Path(os.path.realpath(folder))


def _builder(address: HubAddress, snapshot: Snapshot, config: str | None) -> Any:
    """Return what `datasets` reads the data set with; it knows the files of each split."""
    place = snapshot.base if snapshot.cached else address.repo
    revision = None if snapshot.cached else snapshot.commit
    script = f"{address.repo.split('/')[1]}.py"
    # What `datasets` has in its own cache is of no known commit.
    with tempfile.TemporaryDirectory() as cache, _faults(address):
        if snapshot.cached:
            _check_cache(address.repo, place, script)
        try:
            return datasets.load_dataset_builder(place, config, revision=revision, cache_dir=cache)
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
            raise _script_fault(address.repo, script) from error
        except ValueError as error:
            configs = datasets.get_dataset_config_names(place, revision=revision)
            if config in configs or (config is None and len(configs) < 2):
                raise
            raise _config_fault(address.repo, configs, config) from error
        except (datasets.exceptions.DatasetsError, datasets.data_files.EmptyDatasetError) as error:
            raise UserError(
                f"{address.repo} at {snapshot.commit} has no file that `datasets` reads "
                f"({one_line(error, 200)})"
            ) from error


def _check_cache(repo: str, place: str, script: str) -> None:
    """Raise where a folder of the cache is none that `datasets` can read."""
    if Path(place, script).is_file():
        raise _script_fault(repo, script)
    if MAGIC.search(place):
        raise UserError(
            f"{repo}: `datasets` takes the path of the cache, {place}, for a pattern; set HF_HOME to a "
            "folder without * ? [ in its path"
        )


def _script_fault(repo: str, script: str) -> UserError:
    return UserError(
        f"{repo}: the data set is made by a script of its own ({script}), which is not run; if the hub "
        f"has converted it, `revision: {CONVERTED}` has its files as Parquet"
    )


def _config_fault(repo: str, configs: Sequence[str], config: str | None) -> UserError:
    listed = ", ".join(configs)
    if config is None:
        return UserError(
            f"{repo} has several configurations ({listed}); name one, e.g. `config: {configs[0]}`"
        )
    return UserError(f"{repo} has no configuration {config!r}; it has {listed}")


def _choose_split(repo: str, splits: Iterable[str], split: str | None) -> str:
    """Return the split to read."""
    names = list(splits)
    listed = ", ".join(names)
    if not names:
        raise UserError(f"{repo}: `datasets` names no file of the data set")
    if split is None and len(names) > 1:
        raise UserError(f"{repo} has several splits ({listed}); name one, e.g. `split: {names[0]}`")
    if split is not None and split not in names:
        raise UserError(f"{repo} has no split {split!r}; it has {listed}")
    return split or names[0]


def _check_data(repo: str, names: Iterable[str]) -> None:
    """Name the files of a split that hold no records; raise if none does."""
    others = sorted(name for name in names if not is_read(name))
    if len(others) == len(list(names)):
        raise UserError(f"{repo}: the files of the split hold no records, e.g. {others[0]}")
    log_left_out(repo, others, "no data by their names")


def _check_shards(address: HubAddress, snapshot: Snapshot, names: Iterable[str]) -> None:
    """Raise where the cache has some of a split's shards alone: train-00000-of-00002 of two."""
    # Where the cache lists the commit's files, the client has looked for each.
    if (Path(snapshot.base).parents[1] / "trees" / f"{snapshot.commit}.json").exists():
        return
    shards = Counter(match.groups() for name in names if (match := SHARD.fullmatch(name)))
    for (start, total), count in shards.items():
        if count < int(total):
            raise UserError(
                f"{address.repo}: the cache has {count} of the {int(total)} files {start}-*; fetch the "
                f"data set once with a network ({address.request.command})"
            )


def _pinned(files: Iterable[PoolFile], repo: str, snapshot: Snapshot) -> list[PoolFile]:
    """Return files with the commit for a digest, each in the cache where that has it."""
    pinned = []
    for file in files:
        url = LOCAL + file.url if file.url.startswith("/") else file.url
        start = f"{REMOTE}{repo}@{snapshot.commit}/"
        if url.startswith(start):
            cached = huggingface_hub.try_to_load_from_cache(
                repo, url.removeprefix(start), revision=snapshot.commit, repo_type="dataset"
            )
            url = LOCAL + cached if isinstance(cached, str) else url
        pinned.append(replace(file, url=url, digest=snapshot.commit))
    return pinned


@contextmanager
def _faults(address: HubAddress) -> Iterator[None]:
    """Turn what the hub's client and `datasets` say into one sentence."""
    try:
        yield
    except UserError:
        raise
    # Where a server is none of the hub's, the client stumbles in any way over what it sends.
    except Exception as error:
        raise UserError(
            f"{address.repo!r}, no file or folder here, could not be read from the Hugging Face Hub: "
            f"{explain_hub(error, address.request)} ({type(error).__name__}: {one_line(error, 120)})"
        ) from error
