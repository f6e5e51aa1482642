"""Standing: the best that each arm has ended with so far, which is no answer yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gap_tune.formatting import as_reported, plural
from gap_tune.tune.spelling import GAP_NAME, is_fixed_name

# What is compared as a pair: a configuration, where several are, and a seed.
Unit = tuple[object, object]


@dataclass(frozen=True)
class Ended:
    """A trial that finished.

    Attributes:
        arm: Its arm.
        unit: What it shares with the trials of other arms that it is compared with; None where it
            is compared with none.
        value: Its last value of the study's metric; None without a finite one.
    """

    arm: str
    unit: Unit | None
    value: float | None


class Standing:
    """The arms of a study by the best of their trials.

    Args:
        ended: The trials that finished.
        better: Tells whether one value of the metric beats another.
    """

    def __init__(self, ended: Iterable[Ended], better: Callable[[float, float], bool]) -> None:
        self._values: dict[str, list[float]] = {}
        gap: set[Unit] = set()
        fixed: set[Unit] = set()
        for trial in ended:
            if trial.value is not None:
                self._values.setdefault(trial.arm, []).append(trial.value)
            if trial.unit is not None and trial.arm == GAP_NAME:
                gap.add(trial.unit)
            elif trial.unit is not None and is_fixed_name(trial.arm):
                fixed.add(trial.unit)
        self._pairs = len(gap & fixed)
        self._sign = 1 if better(0.0, 1.0) else -1

    def lines(self, width: int | None = None) -> list[str]:
        """Return it in two lines; nothing before two arms have a trial that finished.

        Args:
            width: How long a line may be; arms that do not fit are counted. None is any length.

        >>> ended = [Ended("gap", (0, 0), 0.25), Ended("fixed:0.9", (0, 0), 0.5)]
        >>> Standing(ended, lambda one, other: one < other).lines()
        ['best of those finished: gap 0.25 (1 trial), fixed:0.9 0.5 (1)', \
'1 pair of gap and fixed momentum finished; which is better is tested at the end']
        """
        if len(self._values) < 2:
            return []
        best = {arm: min(own, key=lambda v: self._sign * v) for arm, own in self._values.items()}
        # Where not all of them fit, that of GAP is the one to see.
        first, *others = sorted(best, key=lambda arm: (arm != GAP_NAME, self._sign * best[arm]))
        parts = [
            f"{first} {as_reported(best[first])} ({plural(len(self._values[first]), 'trial')})",
            *(f"{arm} {as_reported(best[arm])} ({len(self._values[arm])})" for arm in others),
        ]
        lines = [_fitting("best of those finished: ", parts, width)]
        if self._pairs:
            # To look until it looks good would make any arm win.
            lines.append(
                f"{plural(self._pairs, 'pair')} of {GAP_NAME} and fixed momentum finished; "
                "which is better is tested at the end"
            )
        return lines


def _fitting(start: str, parts: list[str], width: int | None) -> str:
    for count in range(len(parts), 0, -1):
        more = f", {len(parts) - count} more" if count < len(parts) else ""
        line = f"{start}{', '.join(parts[:count])}{more}"
        if width is None or len(line) <= width:
            break
    return line
