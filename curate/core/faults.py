"""Faults of the machine and of files as one sentence each; what is none of them is a fault of curate.

Libraries raise many kinds of exceptions for a full disk, a damaged file or a missing driver. This is the
one place where they are told apart, at the boundary of the command line and of the flow.
"""

import errno
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from curate.core.errors import UserError

# What to do about an operating system's error, by its number.
ADVICE = {
    errno.ENOSPC: "the disk is full; free some space, and the same command goes on from there",
    errno.EDQUOT: "the disk quota is used up; free some space, and the same command goes on from there",
    errno.EFBIG: "the file may not get that large (ulimit -f)",
    errno.EROFS: "the file system is read-only; give a path that can be written",
    errno.EACCES: "permission denied; change its permissions or give another path",
    errno.EPERM: "the system does not permit it; change its permissions or give another path",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.ENOTDIR: "a part of the path is no folder; check the path",
    errno.EISDIR: "it is a folder, where a file is needed",
    errno.EEXIST: "it exists already; give another path",
    errno.ENAMETOOLONG: "the name is too long for the file system; give a shorter one",
    errno.ELOOP: "its symbolic links lead in a circle; mend them",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk or its driver failed to read or write; check the disk",
    errno.ESTALE: "the network file system has lost it; mount it again",
    errno.ENOMEM: "there is not enough memory; use a smaller model or batch, or raise the limit",
}
FULL_DISK = ("No space left on device", "os error 28", "database or disk is full")
# What polars says of a fault of the system, whose number and path are in the text alone.
IN_WORDS = re.compile(r"\(os error (?P<number>\d+)\)(?:: (?P<path>[^\n]+))?")
# Of a folder that is written to; the paths of others are the user's.
OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
UNWRITABLE_DATABASE = "attempt to write a readonly database"
# What polars says where the end of a Parquet file has no room, and what a disk has left then at most.
CUT_SHORT, FREE_BYTES = "transport error", 2**20
NO_TEMPORARY = "No usable temporary directory"
NO_HOME = "Could not determine home directory"
OUT_OF_MEMORY = (
    "DefaultCPUAllocator: ", "out of memory", "std::bad_alloc", "Unable to allocate",
    "STATUS_ALLOC_FAILED",
)  # fmt: skip
GPU_TROUBLE = ("CUDA error: ", "NVIDIA driver", "no NVIDIA GPU", "HIP error: ", "CUDNN_STATUS_")
GPU_ADVICE = (
    "the GPU or its driver failed; check both with nvidia-smi, or set CUDA_VISIBLE_DEVICES= to use the "
    "processor"
)
MEMORY_ADVICE = (
    "there is not enough memory for this; use a smaller model, fewer rows at a time, or more memory"
)
LONGEST = 300
# fsspec's words.
UNKNOWN_SCHEME = "Protocol not known: "
CHAT_TEMPLATES = "transformers.utils.chat_template_utils"


def explain_fault(error: BaseException) -> str | None:
    """Return what a user can do about an exception, or None where it is a fault of ours."""
    for cause in causes(error):
        sentence = _explain(cause)
        if sentence is not None:
            return sentence
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _explain(error: BaseException) -> str | None:
    text = one_line(error)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, FileNotFoundError) and NO_TEMPORARY in text:
        return "no folder for temporary files can be written; set TMPDIR to one that can"
    if isinstance(error, RuntimeError) and text.startswith(NO_HOME):
        return "a path begins with ~, and this user has no home folder; set HOME, or write it out"
    if (system := explain_system(error)) is not None:
        return system
    if isinstance(error, ImportError) and text.startswith("Install "):
        return f"{text}: pip install the package named and run again"
    if isinstance(error, ValueError) and text.startswith(UNKNOWN_SCHEME):
        return (
            f"no storage is known by the name {text.removeprefix(UNKNOWN_SCHEME)!r}; check the path"
        )
    return _explain_library(error, text)


def explain_system(error: BaseException) -> str | None:
    """Return the sentence for a fault of the disk, the memory or the GPU, None for any other."""
    text = one_line(error)
    if any(part in text for part in FULL_DISK):
        return _with_path(error, ADVICE[errno.ENOSPC])
    if isinstance(error, MemoryError) or any(part in text for part in OUT_OF_MEMORY):
        return f"{MEMORY_ADVICE} ({text})"
    if (number := _number_of(error)) in ADVICE:
        return _with_path(error, ADVICE[number])
    if isinstance(error, RuntimeError) and any(part in text for part in GPU_TROUBLE):
        return f"{GPU_ADVICE} ({text})"
    return None


def explain_disk(error: BaseException, folder: Path) -> str | None:
    """Return the sentence for a folder that is full or cannot be written, None for any other fault."""
    if isinstance(error, UserError):
        return None
    text = one_line(error)
    number = _number_of(error)
    if any(part in text for part in FULL_DISK) or _was_cut_short(error, text, folder):
        number = errno.ENOSPC
    if number not in OF_DISK:
        return None
    place = Path(next(iter(_paths_of(error)), folder))
    below = place.absolute().is_relative_to(folder.absolute())
    return f"{place}: {ADVICE[number]}" if below else None


def _was_cut_short(error: BaseException, text: str, folder: Path) -> bool:
    """Return whether polars could not write all of a Parquet file, of which it does not say why."""
    fault = _is_a(error, "polars.exceptions", "ComputeError") and CUT_SHORT in text
    return fault and shutil.disk_usage(folder).free < FREE_BYTES


def _explain_library(error: BaseException, text: str) -> str | None:
    """Return the sentence for the exceptions of libraries, none of which is imported for that."""
    if _is_a(error, "polars.exceptions", "ComputeError") and "parquet" in text:
        return f"a Parquet file is damaged or cut off ({text}); make it anew"
    if _is_a(error, "pyarrow.lib", "ArrowInvalid") and "Parquet" in text:
        return f"a Parquet file is damaged or cut off ({text}); make it anew"
    if _is_a(error, "sqlite3", "OperationalError") and UNWRITABLE_DATABASE in text:
        return f"a database of stored answers cannot be written ({text}); change its permissions"
    if _is_a(error, "sqlite3", "DatabaseError"):
        return f"a database of stored answers cannot be used ({text}); move it away and run again"
    if _is_a(error, "safetensors", "SafetensorError"):
        return f"a file of weights is damaged or cut off ({text}); fetch the model again"
    if _is_a(error, "jinja2.exceptions", "TemplateError") and _comes_from(error, CHAT_TEMPLATES):
        return f"the model's chat template refuses a row or is broken ({text}); use another model"
    if any(_is_a(error, module, name) for module, name in _CREDENTIALS):
        return f"the storage asks for credentials that are not set ({text}); set them and run again"
    if any(_is_a(error, module, name) for module, name in _NETWORK):
        return f"the network or a server failed ({text}); check the address and the connection"
    return None


_CREDENTIALS = (
    ("botocore.exceptions", "NoCredentialsError"),
    ("botocore.exceptions", "PartialCredentialsError"),
    ("botocore.exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "ClientAuthenticationError"),
)
_NETWORK = (
    ("httpx", "HTTPError"),
    ("aiohttp.client_exceptions", "ClientError"),
    ("requests.exceptions", "RequestException"),
    ("botocore.exceptions", "BotoCoreError"),
    ("huggingface_hub.errors", "HfHubHTTPError"),
    ("socket", "gaierror"),
)


def _is_a(error: BaseException, module: str, name: str) -> bool:
    """Return whether an exception is of a class; a library that raised it has been imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(error, kind)


def _comes_from(error: BaseException, module: str) -> bool:
    """Return whether a module of this name is among the callers that led to an exception."""
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__name__") == module:
            return True
        step = step.tb_next
    return False


def _number_of(error: BaseException) -> int | None:
    """Return the number of a fault of the system, None for any other."""
    if not isinstance(error, OSError):
        return None
    if error.errno is not None:
        return error.errno
    words = IN_WORDS.search(str(error))
    return int(words["number"]) if words else None


def _paths_of(error: BaseException) -> list[str]:
    """Return the paths that a fault of the system names."""
    paths = [getattr(error, name, None) for name in ("filename", "filename2")]
    words = IN_WORDS.search(str(error)) if isinstance(error, OSError) else None
    return [str(path) for path in (*paths, words and words["path"]) if path]


def _with_path(error: BaseException, advice: str) -> str:
    places = " and ".join(_paths_of(error))
    return f"{places}: {advice}" if places else advice


def one_line(error: BaseException, longest: int = LONGEST) -> str:
    """Return an exception's text in one line, its end cut where it is long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[:longest]} ..."
