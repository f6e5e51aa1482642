"""Compared: test losses against the best fixed momentum in hindsight, by three measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gap_tune.panel.measures.losses import Floats, Losses

TUNED, ACROSS, PER_RATE = "tuned", "across", "per_rate"
MEASURES = (TUNED, ACROSS, PER_RATE)
# Losses divide each other; a quadratic may end at its optimum.
SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class Compared:
    """Every arm of every setting against the setting's best fixed momenta.

    *Tuned*: each arm at its own learning rate of lowest validation loss, averaged over seeds.
    *Across*: the loss averaged over all learning rates. *Per learning rate*: at each of them
    against the fixed momentum that is best at that one. Rivals are chosen in hindsight, by
    validation loss averaged over seeds, and all are reported on test data.

    Attributes:
        losses: Test losses, settings by arms by seeds; the mean over learning rates where the
            measure has several.
        rivals: Of each setting the rival's name; per learning rate, one for each.
        rival_losses: The rivals' test losses, settings by seeds; None without fixed arms.
        logs: Logarithm of the arm's over the rival's loss, settings by arms by seeds, the mean over
            learning rates where the measure has several; None without fixed arms.
    """

    losses: Floats
    rivals: tuple[tuple[str, ...], ...]
    rival_losses: Floats | None
    logs: Floats | None

    @classmethod
    def by(cls, measure: str, losses: Losses) -> Compared:
        """Return what a measure says."""
        validation, test = _columns(measure, losses)
        own: Floats = test.mean(axis=2)
        if not losses.fixed:
            return cls(own, tuple(() for _ in losses.settings), None, None)
        fixed = np.asarray(losses.fixed)
        best = fixed[validation[:, fixed].argmin(axis=1)]
        rival = np.take_along_axis(test, best[:, None, :, None], axis=1)
        logs = (_log(test) - _log(rival)).mean(axis=2)
        names = tuple(tuple(losses.arms[place] for place in row) for row in best)
        return cls(own, names, rival[:, 0].mean(axis=1), logs)


def _columns(measure: str, losses: Losses) -> tuple[Floats, Floats]:
    """Return what is compared one by one: settings by arms by columns, test losses by seeds too."""
    if measure == TUNED:
        at = losses.tuned_rates()[..., None, None]
        validation, test = (
            np.take_along_axis(each, at, axis=2) for each in (losses.validation, losses.test)
        )
    elif measure == ACROSS:
        validation, test = (
            each.mean(axis=2, keepdims=True) for each in (losses.validation, losses.test)
        )
    else:
        validation, test = losses.validation, losses.test
    return validation.mean(axis=-1), test


def _log(losses: Floats) -> Floats:
    logs: Floats = np.log(losses.clip(min=SMALLEST))
    return logs
