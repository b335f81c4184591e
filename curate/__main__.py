"""The program `curate`: interruptible before anything slow is imported."""

from curate.core.interrupt import InterruptHandler


def main() -> None:
    """Run the command line."""
    with InterruptHandler():
        from curate.cli import main as run  # noqa: PLC0415

        run()


if __name__ == "__main__":
    main()
