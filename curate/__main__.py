"""The program `curate`: interruptible before anything slow is imported."""

import gc
import sys

from curate.core.interrupt import InterruptHandler, leave

# How many objects are made before Python looks through the youngest for garbage. At 700, its own, it
# looks through what imports make again and again: a tenth of what a command takes.
YOUNG_OBJECTS = 50_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        with InterruptHandler():
            from curate.cli import main as run  # noqa: PLC0415

            run()
    except SystemExit as end:
        # After a flow, Prefect's threads would wait for a server that has gone.
        if "prefect" in sys.modules and isinstance(end.code, int):
            leave(end.code)
        raise
    finally:
        # All memory goes back at once; to look through it for garbage first is a quarter of a check.
        gc.freeze()


if __name__ == "__main__":
    main()
