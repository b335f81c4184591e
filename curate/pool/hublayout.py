"""Data sets in folders as the Hugging Face Hub and `datasets` lay them out: files by split.

dataset_dict.json                      a DatasetDict that was saved: a folder a split
state.json, dataset_info.json          a Dataset that was saved: the Arrow files that it names
README.md                              a card whose `configs` name the files of each split
data/train-00000-of-00002.parquet      shards named after their split
"""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import UserError
from curate.core.jsontext import parse_json
from curate.core.yamltext import YamlFault, load_yaml
from curate.pool.folders import Folder
from curate.pool.globs import glob_matcher

LOG = logging.getLogger("curate")
SHARD = re.compile(r"(?:^|.*/)(?P<split>[\w.-]+)-\d{5}-of-\d{5}(?:-\w+)?(?:\.\w+)+")
FRONT_MATTER = re.compile(r"---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.S)
CARD = "README.md"
TRAIN, HELD_OUT = "train", ("validation", "valid", "val", "dev", "test", "eval")
WHOLE = ""

Splits = dict[str, list[str]]


def choose_split(
    folder: Folder, is_data: Callable[[str], bool], split: str | None, config: str | None = None
) -> list[str] | None:
    """Return which of a folder's files to read; None if it is no data set of the Hub's.

    Args:
        folder: with all files in it.
        is_data: whether a name is one of a file of records.
        split: the split that is to be read, where there are several.
        config: the configuration that is to be read, where there are several.

    Raises:
        UserError: there are several splits or configurations and none is named, or there is none of
            this name.
    """
    splits = _saved(folder)
    if splits is None:
        configs = _configs(folder)
        if config or configs:
            splits = _config_splits(folder.names, _choose_config(folder.place, configs, config))
        splits = splits or _shard_splits(folder.names, is_data)
    else:
        refuse_config(folder.place, config)
    return None if splits is None else _choose(folder, splits, split)


def _choose(folder: Folder, splits: Splits, split: str | None) -> list[str]:
    """Return the files of the split to read."""
    if split is None and len(splits) > 1:
        first = next(iter(splits))
        raise UserError(
            f"{folder.place} holds several splits ({', '.join(splits)}); name the one to read, e.g. "
            f"`split: {first}`"
        )
    if split is None or set(splits) == {WHOLE}:
        chosen = next(iter(splits.values()))
    elif split in splits:
        chosen = splits[split]
    else:
        raise UserError(f"{folder.place} has no split {split!r}; it has {', '.join(splits)}")
    gone = sorted(set(chosen) - set(folder.names))
    if gone:
        raise UserError(f"{folder.place}{gone[0]}: this file of the saved data set is missing")
    return chosen


def refuse_config(place: str, config: str | None) -> None:
    """Raise where a configuration is named of what has none."""
    if config:
        raise UserError(f"{place} has no configurations; leave out `config: {config}`")


def choose_named(names: Sequence[str], split: str) -> list[str]:
    """Return the files whose name or folder is the split's, e.g. train.jsonl, train/x.csv."""
    word = re.compile(rf"(?:^|[/._ -]){re.escape(split)}(?:[/._ -]|$)")
    return [name for name in names if word.search(name)]


def mixed_splits(names: Sequence[str]) -> list[str]:
    """Return the splits that files are named after, if one of these is held out from another."""
    splits = [split for split in (TRAIN, *HELD_OUT) if choose_named(names, split)]
    return splits if len(splits) > 1 and TRAIN in splits else []


def _saved(folder: Folder) -> Splits | None:
    """Return the files of what `save_to_disk` wrote."""
    if "dataset_dict.json" in folder.names:
        listed = _json(folder, "dataset_dict.json").get("splits")
        splits = {str(s): _arrow_files(folder, f"{s}/") for s in listed or []}
        return splits or None
    if "state.json" in folder.names and "dataset_info.json" in folder.names:
        state = _json(folder, "state.json")
        return {str(state.get("_split") or WHOLE): _arrow_files(folder, "")}
    return None


def _arrow_files(folder: Folder, start: str) -> list[str]:
    """Return the Arrow files that the state of a saved data set names."""
    files = _json(folder, f"{start}state.json").get("_data_files")
    try:
        return [start + PurePosixPath(file["filename"]).name for file in files or []]
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{folder.place}{start}state.json: `_data_files` does not name the files of the data set"
        ) from error


def _json(folder: Folder, name: str) -> dict[str, Any]:
    place = folder.place + name
    try:
        value = parse_json(folder.read(name).encode())
    except ValueError as error:
        raise UserError(f"{place}: the state of the saved data set is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{place}: the state of the saved data set is no JSON object")
    return value


def _choose_config(
    place: str, configs: Sequence[dict[str, Any]], config: str | None
) -> dict[str, Any]:
    """Return the configuration to read: the one of that name, the only one, or the default."""
    if not configs:
        refuse_config(place, config)
    names = [str(c.get("config_name")) for c in configs]
    if config is not None:
        if config not in names:
            raise UserError(f"{place} has no configuration {config!r}; it has {', '.join(names)}")
        return configs[names.index(config)]
    default = [c for c in configs if c.get("default") or c.get("config_name") == "default"]
    if len(configs) > 1 and len(default) != 1:
        raise UserError(
            f"{place} holds several configurations ({', '.join(names)}), by its {CARD}; name the one "
            f"to read, e.g. `config: {names[0]}`"
        )
    return default[0] if default else configs[0]


def _config_splits(names: Sequence[str], config: dict[str, Any]) -> Splits | None:
    """Return the files of each split of a configuration in a data set's card."""
    patterns = _patterns(config.get("data_files"))
    splits = {split: _matching(globs, names) for split, globs in patterns.items()}
    return {split: files for split, files in splits.items() if files} or None


def _configs(folder: Folder) -> list[dict[str, Any]]:
    """Return the configurations that a card's front matter names; none if there is none to be read."""
    if CARD not in folder.names:
        return []
    try:
        match = FRONT_MATTER.match(folder.read(CARD))
        value = load_yaml(match[1])[0] if match else None
    except (UserError, YamlFault, UnicodeDecodeError) as error:
        card = folder.place + CARD
        LOG.warning("%s: names no files that could be read (%s): left out", card, error)
        return []
    configs = value.get("configs") if isinstance(value, dict) else None
    return [c for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []


def _patterns(data_files: Any) -> dict[str, list[str]]:
    """Return the globs of each split; those without a name are the one for training."""
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    listed = data_files if isinstance(data_files, list) else [data_files]
    patterns: dict[str, list[str]] = {}
    for part in listed:
        split, path = (
            (part.get("split", "train"), part.get("path"))
            if isinstance(part, dict)
            else ("train", part)
        )
        globs = path if isinstance(path, list) else [path]
        patterns.setdefault(str(split), []).extend(g for g in globs if isinstance(g, str))
    return patterns


def _matching(globs: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the names that one of the globs matches; what is outside of the folder is none of them."""
    try:
        matchers = [glob_matcher(pattern.removeprefix("./"), pattern) for pattern in globs]
    except UserError:
        return []
    return [name for name in names if any(matcher(name) for matcher in matchers)]


def _shard_splits(names: Sequence[str], is_data: Callable[[str], bool]) -> Splits | None:
    """Return the shards of each split, if all files of records are named like shards."""
    splits: Splits = {}
    for name in filter(is_data, names):
        match = SHARD.fullmatch(name)
        if match is None:
            return None
        splits.setdefault(match["split"], []).append(name)
    # A shard of one split alone may have any name.
    return splits if len(splits) > 1 or "train" in splits else None
