"""RecordedDecision: a line of the decision log, and how the log is read."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gap_tune.errors import InvalidValueError
from gap_tune.files import json_lines
from gap_tune.rules.base import Reason

DECISIONS_FILE = "decisions.jsonl"

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class RecordedDecision:
    """One line of ``decisions.jsonl``.

    Attributes:
        trial: The trial's id.
        step: Optimizer steps that the trial had observed when it was decided; None when unknown.
        seq: One more than the number of changes before it, in a trial that decides itself the
            number of changes with it; None when unknown.
        old: Momentum before; None when unknown.
        new: Momentum decided on; None when none was.
        candidates: Momentum values that were compared; empty where none were.
        gains: Their gains, to six significant digits.
        reason: The guard or comparison that decided, or "error".
        explanation: The same in words, one sentence.
        mode: Who decided: "scheduler", or "trial" for an optimizer that tunes itself.
        dry_run: Whether the decision was only recorded.
        time: When it was written, in seconds since 1970.
    """

    trial: str
    step: int | None
    seq: int | None
    old: float | None
    new: float | None
    candidates: tuple[float, ...]
    gains: tuple[float, ...]
    reason: str
    explanation: str
    mode: str
    dry_run: bool
    time: float

    @property
    def made(self) -> bool:
        """Whether it holds in the trial: neither a dry run's decision nor a failure to decide."""
        return not self.dry_run and self.reason != Reason.ERROR and self.new is not None

    def to_json(self) -> str:
        """Return the line, without its end."""
        return _encode(vars(self))


def read_decisions(path: str | Path) -> list[RecordedDecision]:
    """Return the decisions of a study in the order in which they were written.

    Where a trial had to go back to a checkpoint, what it had decided since then counts no more.
    Lines that are cut off or no decisions are left out.

    Args:
        path: ``decisions.jsonl``, or the experiment folder that holds it.

    Raises:
        InvalidValueError: When there is no such file.
    """
    file = Path(path)
    file = file / DECISIONS_FILE if file.is_dir() else file
    if not file.is_file():
        raise InvalidValueError(
            f"path must be {DECISIONS_FILE} or a folder that holds it, but got {str(path)!r}."
        )
    kept: dict[str, list[tuple[int, RecordedDecision]]] = {}
    for place, line in enumerate(json_lines(file)):
        decision = _decision(line)
        if decision is not None:
            own = kept.setdefault(decision.trial, [])
            while own and _is_void(own[-1][1], decision):
                own.pop()
            own.append((place, decision))
    placed = sorted((pair for own in kept.values() for pair in own), key=lambda pair: pair[0])
    return [decision for _, decision in placed]


def _is_void(before: RecordedDecision, now: RecordedDecision) -> bool:
    """Tell whether a trial has gone back behind a decision of its: steps only ever grow."""
    if before.step is None or now.step is None:
        return False
    # A trial may report twice without a step; what changed between the two is another decision.
    return (before.step, before.seq or 0) >= (now.step, now.seq or 0)


_NAMES = tuple(field.name for field in fields(RecordedDecision))


def _decision(data: Any) -> RecordedDecision | None:
    try:
        values = {name: data[name] for name in _NAMES}
        lists = {name: tuple(map(float, values[name])) for name in ("candidates", "gains")}
        whole = {n: None if values[n] is None else int(values[n]) for n in ("step", "seq")}
        return RecordedDecision(**{**values, **lists, **whole})
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
