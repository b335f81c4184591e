"""The program `curate`: interruptible before anything slow is imported."""

import sys

from curate.core.interrupt import InterruptHandler, leave


def main() -> None:
    """Run the command line."""
    try:
        with InterruptHandler():
            from curate.cli import main as run  # noqa: PLC0415

            run()
    except SystemExit as end:
        # After a flow, Prefect's threads would wait for a server that has gone.
        if "prefect" in sys.modules and isinstance(end.code, int):
            leave(end.code)
        raise


if __name__ == "__main__":
    main()
