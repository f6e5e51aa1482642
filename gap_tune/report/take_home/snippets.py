"""Snippets: what code is worth pasting of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gap_tune.errors import StateError
from gap_tune.report.take_home.code import Written, couples
from gap_tune.report.take_home.used import Course
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys
from gap_tune.tune.spelling import is_fixed_name
from gap_tune.tune.statistics_json import parse_one

SCHEDULE_FILE = "momentum.json"


@dataclass(frozen=True)
class Snippets:
    """Code to paste, as far as momentum and learning rate are known.

    Attributes:
        own: As ``Best.code``.
        replay: As ``Best.replay_code``.
        pair: As ``Best.fixed_pair``.
        fixed: As ``Best.fixed_code``.
    """

    own: str = ""
    replay: str = ""
    pair: tuple[float, float] | None = None
    fixed: str = ""

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        course: Course | None,
        lr: tuple[str, float] | None,
        *,
        arm: str,
        rows: pd.DataFrame,
    ) -> Snippets:
        """Return the code of a trial.

        Args:
            config: Its configuration.
            course: What it reported; None where it reported no momentum.
            lr: Key and value of its learning rate; None where it is not known.
            arm: Who chose its momentum.
            rows: Its reports.
        """
        if course is None or lr is None:
            return cls()
        whitened = _is_whitened(rows, config)
        own = keys.section(config)
        if not whitened and _has_beta(own):
            # Lion and its like average gradients without dividing them.
            return cls()
        written = Written.of(config, whitened=whitened)
        start = float(course.momenta[0])
        if is_fixed_name(arm):
            pair = lr[1], start
            return cls(pair=pair, fixed=written.fixed(*pair))
        follows = not whitened and couples(own)
        reference = float(own.get("reference_momentum", start)) if follows else None
        pair = course.closest_pair(lr[1], reference)
        fixed = written.fixed(*pair)
        belongs = lr[1] if reference is None else lr[1] * coupling_factor(start, reference)
        return cls(
            written.tuning_itself(belongs, start, own),
            written.replaying(belongs, start, own, SCHEDULE_FILE),
            pair,
            fixed,
        )


def _is_whitened(rows: pd.DataFrame, config: Mapping[str, Any]) -> bool:
    """Tell whether a trial's optimizer divides gradients as Adam does."""
    for value in reversed(rows[keys.STATISTICS].tolist() if keys.STATISTICS in rows else []):
        with suppress(StateError):
            return parse_one(value).whitening is not None
    return _has_beta(keys.section(config))


def _has_beta(own: Mapping[str, Any]) -> bool:
    return str(own.get(keys.MOMENTUM_KEY, "")).startswith("beta")
