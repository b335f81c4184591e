"""Upload a run's training files to a data set of the Hugging Face Hub: the export, and nothing else.

curate push runs/quickstart me/quickstart    one commit with the card and every file that it lists
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curate.core.errors import UserError
from curate.core.faults import one_line
from curate.core.hubfaults import HubRequest, explain_hub
from curate.core.lazy import lazy_module
from curate.pool.datafiles import DATA_FILE
from curate.pool.export import CARD, FILE, FILES
from curate.runs.folder import MANIFEST, listed_files, open_run

if TYPE_CHECKING:
    import huggingface_hub
    from huggingface_hub import errors
else:
    huggingface_hub = lazy_module("huggingface_hub")
    errors = lazy_module("huggingface_hub.errors")

EXPORT = "export"
KIND = "dataset"
MAIN = "main"


@dataclass(frozen=True)
class ExportFiles:
    """The files of an export, relative to its folder, and what else lies there."""

    folder: Path
    names: Sequence[str]
    foreign: Sequence[str]


@dataclass(frozen=True)
class PushResult:
    """What was uploaded: where to, and how many files were written and removed there."""

    url: str
    files: ExportFiles
    removed: int

    @property
    def lines(self) -> list[str]:
        """Return what the terminal shows."""
        stale = (
            f"; {self.removed} data files of an earlier push are removed" if self.removed else ""
        )
        lines = [f"{len(self.files.names)} files are pushed{stale}", self.url]
        if self.files.foreign:
            lines.append(f"not pushed, no files of the export: {', '.join(self.files.foreign)}")
        return lines


def push_export(folder: Path, repo: str, *, private: bool, revision: str | None) -> PushResult:
    """Upload an export in one commit; data files of an earlier push are removed by it.

    Args:
        folder: of a finished run, or of an export.
        repo: owner/name of the data set, which is made where there is none.
        private: whether it must be private.
        revision: branch to write to, made where there is none; main if None.

    Raises:
        UserError: there is no export, no token, no right to write, or no way to the hub.
    """
    files = export_files(folder)
    owner, separator, name = repo.partition("/")
    if not (owner and separator and name) or "/" in name:
        raise UserError(f"{repo!r} is no name of a data set on the hub; write it as owner/name")
    if huggingface_hub.get_token() is None:
        raise UserError(
            "there is no token of the hub: run `hf auth login`, or set HF_TOKEN to one that may write"
        )
    try:
        return _push(files, repo, private=private, revision=revision)
    except UserError:
        raise
    # Where a server is none of the hub's, the client stumbles in any way over what it sends.
    except Exception as error:
        raise UserError(
            f"the push to {repo} failed: {_explain(error, repo, revision)} "
            f"({type(error).__name__}: {one_line(error, 160)})"
        ) from error


def export_files(folder: Path) -> ExportFiles:
    """Return the files of the export in a run's folder, or of an export that a command wrote.

    A run's manifest lists them, or the card, also one that was edited.

    Raises:
        UserError: there is none.
    """
    if (folder / MANIFEST).is_file():
        open_run(folder)
        out = folder / EXPORT
        start = f"{EXPORT}/"
        names = [n.removeprefix(start) for n in listed_files(folder) if n.startswith(start)]
    else:
        out, names = folder, _listed_by_card(folder)
    if CARD not in names or len(names) == 1:
        raise UserError(
            f"{folder} holds no export: give the folder of a finished run, or one that `curate export` "
            "wrote"
        )
    there = [path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()]
    return ExportFiles(out, sorted(names), sorted({*there} - {*names}))


def _listed_by_card(folder: Path) -> list[str]:
    """Return the files that a card lists and that are there, without links to elsewhere."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    names = [CARD, *FILE.findall(text.rpartition(FILES)[2])]
    root = folder.resolve()
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder / missing[0]} is missing, which the card lists; export it again")
    return [name for name in names if (folder / name).resolve() == root / name]


def _push(files: ExportFiles, repo: str, *, private: bool, revision: str | None) -> PushResult:
    api = huggingface_hub.HfApi()
    _check_owner(api, repo)
    api.create_repo(repo, repo_type=KIND, private=private or None, exist_ok=True)
    if private and not api.repo_info(repo, repo_type=KIND).private:
        raise UserError(
            f"{repo} is there already and is public, so nothing was pushed; make it private on the "
            "hub, or give another name"
        )
    if revision not in (None, MAIN):
        api.create_branch(repo, repo_type=KIND, branch=revision, exist_ok=True)
    stale = [
        name
        for name in api.list_repo_files(repo, repo_type=KIND, revision=revision)
        if DATA_FILE.fullmatch(name.rpartition("/")[2]) and name not in files.names
    ]
    removals = [huggingface_hub.CommitOperationDelete(path_in_repo=name) for name in stale]
    additions = [
        huggingface_hub.CommitOperationAdd(name, str(files.folder / name)) for name in files.names
    ]
    api.create_commit(
        repo,
        [*removals, *additions],
        commit_message="Training files by curate",
        repo_type=KIND,
        revision=revision,
    )
    page = f"{huggingface_hub.constants.ENDPOINT}/datasets/{repo}"
    url = f"{page}/tree/{revision}" if revision not in (None, MAIN) else page
    return PushResult(url, files, len(stale))


def _check_owner(api: "huggingface_hub.HfApi", repo: str) -> None:
    """Fail where the token is of somebody who cannot write under the owner's name."""
    owner = repo.partition("/")[0]
    account = api.whoami()
    names = [account["name"], *(org["name"] for org in account.get("orgs", []))]
    if owner not in names:
        raise UserError(
            f"the token is of {account['name']}, who is not {owner} and no member of an organisation of "
            f"that name; push to one of {', '.join(names)}"
        )


def _explain(error: Exception, repo: str, revision: str | None) -> str:
    """Return what a user can do about an error while uploading."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to push"
    if status == 401:
        return (
            "the hub does not take the token; set HF_TOKEN to a valid one, or run `hf auth login`"
        )
    if status == 403:
        return "the token may only read, or not write to this owner; take one with the role write"
    return explain_hub(error, HubRequest("data set", repo, revision))
