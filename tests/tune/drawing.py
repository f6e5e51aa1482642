"""Progress drawn of trials that a test makes up."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.text import Text

from gap_tune.tune.monitoring.progress.table import Screen
from gap_tune.tune.monitoring.progress.tracker import Tracker
from gap_tune.tune.monitoring.progress.trials import Shown

SHOWN = Shown("epoch", 30, "validation_loss", "min", "validation_loss", "validation_accuracy")
# What a terminal can do to itself and to its reader.
HOSTILE = "\x1b]0;owned\x07\x1b[2J\n[red]x"


def trial(number: int, status: str = "RUNNING", **result: Any) -> Any:
    last = {"epoch": 12.25, "validation_loss": 0.0123456, "validation_accuracy": 0.9876}
    return SimpleNamespace(
        trial_id=f"id{number}",
        trainable_name="train",
        status=status,
        config={"arm": "trainable-diagonal", "seed": number},
        run_metadata=SimpleNamespace(
            last_result={**last, "gap/momentum": 0.95, "gap/seq": 123, **result}
        ),
        error_file=None,
    )


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, no_color=True
    )


def drawn(
    trials: list[Any], console: Console, *, total: int | None, shown: Shown = SHOWN
) -> list[str]:
    """Return the lines of the screen."""
    tracker = Tracker(total, shown)
    tracker.look([], 0.0)
    snapshot = tracker.look(trials, 60.0)
    with console.capture() as captured:
        console.print(Screen(console, shown, tracker).render(snapshot))
    return [Text.from_ansi(line).plain for line in captured.get().splitlines()]


def written(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]
