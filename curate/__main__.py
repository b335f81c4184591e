"""The program `curate`: interruptible before anything slow is imported."""

from curate.core.interrupt import InterruptHandler


def main() -> None:
    """Run the command line."""
    with InterruptHandler():
        from curate.cli import main as run

        run()


if __name__ == "__main__":
    main()
