"""The one exception that means: the user can mend this."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in a config, an input file or a request.

    The message says what happened, where (file, line, field) and what to do. The command line
    prints it as it is and exits with 2; it never shows a traceback for it.
    """


@contextmanager
def named_key(key: str) -> Iterator[None]:
    """Put a recipe's key before what is wrong with its value."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
