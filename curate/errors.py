"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in a config, an input file or a request.

    The message says what happened, where (file, line, field) and what to do. The command line
    prints it as it is and exits with 2; it never shows a traceback for it.
    """
