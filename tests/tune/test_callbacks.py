from __future__ import annotations

import io
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from gap_tune.tune.callbacks import ProgressTable


def trial(number: int, status: str = "RUNNING", **result: Any) -> Any:
    last = {"epoch": 12.25, "validation_loss": 0.0123456, "validation_accuracy": 0.9876}
    return SimpleNamespace(
        trial_id=f"id{number}",
        trainable_name="train",
        status=status,
        config={"arm": "trainable-diagonal", "seed": number},
        last_result={**last, "gap/momentum": 0.95, "gap/seq": 123, **result},
    )


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, no_color=True
    )


def drawn(table: ProgressTable, trials: list[Any], console: Console) -> list[str]:
    with console.capture() as captured:
        console.print(table._table(trials))
    return [Text.from_ansi(line).plain for line in captured.get().splitlines()]


def test_the_table_fits_80_columns_with_every_heading_whole() -> None:
    console = terminal()
    lines = drawn(ProgressTable(3, console=console), [trial(1), trial(2, "ERROR")], console)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in ("arm", "trial", "epoch", "loss", "accuracy", "momentum", "changes"):
        assert word in text
    assert "trainable-diagonal" in text
    assert "…" not in text
    assert "0 of 3 trials finished, 1 running, 1 failed" in text


def test_the_table_is_cut_to_the_terminals_height_running_trials_first() -> None:
    console = terminal(height=12)
    trials = [*(trial(i, "TERMINATED") for i in range(50)), trial(77)]
    lines = drawn(ProgressTable(51, console=console), trials, console)
    assert len(lines) <= 12
    assert "seed 77" in lines[3]


def test_without_a_terminal_a_finished_trial_is_one_line() -> None:
    console = Console(file=io.StringIO(), width=40)
    table = ProgressTable(2, console=console)
    table.setup()
    table.on_trial_complete(iteration=0, trials=[], trial=trial(1, "TERMINATED"))
    assert console.file.getvalue() == (  # type: ignore[attr-defined]
        "trainable-diagonal seed 1: finished (1 of 2), epoch 12.25, loss 0.01235, "
        "accuracy 0.9876, momentum 0.95, 123 changes\n"
    )


def test_an_exception_in_it_never_reaches_the_study(caplog: pytest.LogCaptureFixture) -> None:
    table = ProgressTable(2, console=terminal())
    table.setup()
    table.on_trial_complete(iteration=0, trials=[], trial=None)
    table.on_experiment_end(trials=[])
    assert "on_trial_complete failed" in caplog.text


def test_it_can_be_saved_with_the_study() -> None:
    table = ProgressTable(2, console=terminal())
    table.setup()
    restored = pickle.loads(pickle.dumps(table))
    table.on_experiment_end(trials=[])
    restored.on_trial_complete(iteration=0, trials=[], trial=trial(1, "TERMINATED"))
    assert restored._ended == ["id1"]
