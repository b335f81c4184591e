"""What a user can do where a bucket, a web server or their driver fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from curate.core.errors import UserError
from curate.core.faults import causes, one_line

# By protocol the extra that brings its driver, and the package that is one.
DRIVERS = {
    **dict.fromkeys(("s3", "s3a"), ("s3", "s3fs")),
    **dict.fromkeys(("gs", "gcs"), ("gcs", "gcsfs")),
    **dict.fromkeys(("az", "abfs", "abfss"), ("azure", "adlfs")),
}
CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and for a server of another "
    "kind AWS_ENDPOINT_URL",
    "gcs": "set GOOGLE_APPLICATION_CREDENTIALS",
    "azure": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
    "AZURE_STORAGE_ACCOUNT_KEY, or run `az login`; AZURE_STORAGE_ANON=true reads a public container",
}
PUBLIC = {
    "s3": "; FSSPEC_S3='{\"anon\": true}' reads a public bucket",
    "gcs": '; FSSPEC_GCS=\'{"token": "anon"}\' reads a public bucket',
}
REFUSALS = frozenset(
    ("NoCredentialsError", "PartialCredentialsError", "ClientAuthenticationError", "PermissionError",
     "DefaultCredentialsError", "RefreshError")
)  # fmt: skip
LIBRARIES = ("aiohttp", "aiobotocore", "botocore", "s3fs", "google", "gcsfs", "azure", "adlfs", "httpx",
             "httpx2", "huggingface_hub")  # fmt: skip


@contextmanager
def reaching(path: str) -> Iterator[None]:
    """Turn what a driver says of a place elsewhere into one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise remote_fault(error, path) or UserError(
            f"{path}: cannot be reached ({one_line(error, 200)}); check the address, the network and, "
            "where it needs some, your credentials"
        ) from error


def remote_fault(error: Exception, path: str, use: str = "read") -> UserError | None:
    """Return the sentence for what a driver or server refuses; None if it is nothing of the kind.

    Args:
        error: what the driver raised.
        path: the address.
        use: what the address was to be: read, or "used as a store".
    """
    extra, package = DRIVERS.get(path.partition("://")[0], ("", ""))
    if isinstance(error, ImportError) and package:
        return UserError(
            f"{path}: the driver of these addresses is not installed; pip install {package}, or curate "
            f"with its extra: pip install 'curate-data[{extra}]'"
        )
    chain = list(causes(error))
    status = next((s for c in chain if isinstance(s := getattr(c, "status", None), int)), None)
    refused = any(type(cause).__name__ in REFUSALS for cause in chain) or status in (401, 403)
    if refused or (extra and "credentials" in str(error)):
        advice = CREDENTIALS.get(extra, "check the address and your rights there")
        advice += PUBLIC.get(extra, "") if use == "read" else ""
        return UserError(f"{path}: may not be {use} ({one_line(error, 120)}); {advice}")
    library = next((c for c in chain if type(c).__module__.split(".")[0] in LIBRARIES), None)
    if status == 404 or (library is None and isinstance(error, FileNotFoundError)):
        return UserError(f"{path}: the server has no such file; check the address")
    if library is not None:
        why = one_line(library, 200)
        return UserError(f"{path}: cannot be reached ({why}); check the address and the network")
    return None
