"""The lines of steps at work, as a terminal of some width shows them."""

import io

from rich.console import Console

from curate.core.meter import STEPS, metered
from curate.progress.live import ProgressLines, is_interactive
from curate.progress.tracker import ProgressTracker
from tests.progress.clock import HandClock


def drawn(lines: ProgressLines, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(lines.render())
    return capture.get().splitlines()


def test_a_step_is_one_line_with_bar_count_times_and_what_its_part_does() -> None:
    clock = HandClock()
    tracker = ProgressTracker(clock)
    lines = ProgressLines("quick\x1b[2Jstart", tracker, clock)
    with tracker.listening(), metered(["embed"], 8, STEPS) as meter, metered(["embed"]) as inner:
        inner.expect(300, "rows")
        inner.advance(150)
        meter.reach(3)
        clock.now += 70
        for width in (100, 160):
            step, run = drawn(lines, width)
            words = "Embed rows ━━━━━ 3/8 1:10 1:30 left 150 of 300 rows"
            assert step.split() == words.split()
            assert "quick" in run
            assert "1:10" in run
            assert "\x1b[2J" not in run


def test_lines_are_cut_to_the_width_of_the_terminal() -> None:
    clock = HandClock()
    tracker = ProgressTracker(clock)
    lines = ProgressLines("x", tracker, clock)
    with tracker.listening(), metered(["index"], 4000, STEPS), metered(["index"]) as inner:
        inner.expect(3000, "rows")
        inner.note = "which are very long this time, and so is what is said of them"
        clock.now += 4000
        step, _ = drawn(lines, 80)
    assert len(step) <= 80
    assert "…" in step


def test_before_two_seconds_nobody_can_tell_how_long_it_takes() -> None:
    clock = HandClock()
    tracker = ProgressTracker(clock)
    lines = ProgressLines("x", tracker, clock)
    with tracker.listening(), metered(["embed"], 2, STEPS) as meter:
        meter.reach(1)
        clock.now += 1
        assert "left" not in drawn(lines, 80)[0]
        clock.now += 2
        assert "0:03 left" in drawn(lines, 80)[0]


def test_nothing_is_drawn_over_in_a_file() -> None:
    assert not is_interactive(Console(file=io.StringIO(), force_terminal=True))
