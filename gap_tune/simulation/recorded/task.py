"""RecordedTask: a setting whose trainings are recorded runs, and what lies between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gap_tune.errors import StateError
from gap_tune.simulation.recorded.curves import Curves, Point
from gap_tune.simulation.recorded.hyperparameters import UNSCALED_NAME, sums_gradients
from gap_tune.simulation.recorded.recordings import Recordings
from gap_tune.simulation.recorded.rows import Row, Rows
from gap_tune.simulation.recorded.training import RecordedTraining
from gap_tune.simulation.recorded.wandering import means, shares_of
from gap_tune.tune.spelling import GAP_NAME, is_fixed_name


class RecordedTask:
    """One setting of a table, as a ``Task``.

    A trial that trains as a recorded run did gives what was recorded, to the last packed digit:
    losses, momentum, learning rate, scale and statistics, from which ``GapScheduler`` decides as it
    did. Everything else is a model.

    - *Constant momentum, between recorded runs*: straight lines of log losses over the logarithms
      of learning rate and horizon; outside, the nearest run; next to one that diverged, NaN from
      the moment on at which that did (``Curves``).
    - *Tuned by the default rule*: the recorded runs of "gap", or with a trust region that is off
      (``{"span": 1.0}``) of "gap-unscaled", between learning rates likewise; statistics, and so the
      decisions, of the nearest learning rate.
    - *Changed on the way* (another first momentum, another rule, population based training): the
      losses of the constant learning rate and momentum that are the mean of where the training has
      been, in their logarithms, each moment counting by its scheduled learning rate. What a tuned
      run was better or worse than that is kept: in a trust region whole, else by the part of the
      way that was as recorded. Where such a mean has diverged, losses change as where it trains.
    - *Another trust region*, as ``GapSearch(lr=...)`` narrows it: the recorded scale within its
      bounds. Where it starts is not looked at; taking that for another learning rate was measured
      to be no better.

    What it cannot do: the loss has no memory but that mean, so that a learning rate which destroys
    a training at once and is mended afterwards leaves no more trace than it has share, and no
    momentum leads below what was recorded for some constant one. Statistics do not follow a
    training that strays. Reports come at the recorded moments only, of trainings of one length;
    hyperparameters besides learning rate and momentum change nothing, and a rule that reads lags of
    the autocorrelation finds lag 0 alone.

    Args:
        recordings: Its runs.
        source: Finds the same task in another process; None pickles all runs with it.

    Attributes:
        name: The setting's.
        reports: How many reports a full training makes.
        metric: "validation_loss".
        mode: "min".
        curves: Losses at any learning rate and momentum.
        sums_gradients: Whether its optimizer adds gradients up, as SGD.
        shares: How much each moment counts in the mean of where a training has been.

    Raises:
        StateError: When there are no runs of a fixed momentum, or none of "gap" or "gap-unscaled".
    """

    metric = "validation_loss"
    mode = "min"

    def __init__(
        self,
        recordings: Recordings,
        source: tuple[Callable[..., RecordedTask], tuple[Any, ...]] | None = None,
    ) -> None:
        self.name = recordings.name
        self.reports = len(recordings.steps)
        self.curves = Curves(recordings)
        self.sums_gradients = sums_gradients(recordings.family)
        self._recordings = recordings
        self._source = source
        self._places = {name: place for place, name in enumerate(recordings.arms)}
        if not self.curves.momenta or not {GAP_NAME, UNSCALED_NAME} <= self._places.keys():
            raise StateError(
                f"recorded runs of {self.name!r} must be those of fixed momenta, {GAP_NAME!r} and "
                f"{UNSCALED_NAME!r}, but got {list(self._places)}."
            )
        self._seconds = [self._seconds_of(arm) for arm in recordings.arms]
        self.shares = shares_of(_schedule(recordings))
        self._means: dict[tuple[int, int, int, bool], list[Point]] = {}
        self.row: Callable[[int, int, int, int], Row | None] = Rows(recordings).at

    def __reduce__(self) -> tuple[Callable[..., RecordedTask], tuple[Any, ...]]:
        return self._source or (type(self), (self._recordings,))

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """Those that were recorded, increasing."""
        return self._recordings.learning_rates

    @property
    def momenta(self) -> tuple[float, ...]:
        """The fixed momenta that were recorded, increasing."""
        return tuple(self.curves.momenta)

    @property
    def seeds(self) -> int:
        """How many seeds were recorded."""
        return self._recordings.shape[2]

    @property
    def untrained(self) -> tuple[float, ...]:
        """Test losses of the untrained model, by seed."""
        return self._recordings.initial_test

    def begin(self, config: Mapping[str, Any]) -> RecordedTraining:
        """Return the training of a configuration, before its first step.

        Args:
            config: Holds "lr"; perhaps "momentum" (default 0.9), "seed" (modulo the recorded ones;
                without it one is drawn by what the configuration says), and gap_tune's section.

        Raises:
            InvalidValueError: When the learning rate is missing or no positive number, the momentum
                is none, or the mode is another than "fixed" and "scheduler".
        """
        return RecordedTraining(self, config)

    def mean(self, arm: int, rate: int, seed: int, moment: int, couples: bool) -> Point:
        """Return where a recorded tuned run had trained on average by a moment.

        Args:
            arm: Its place.
            rate: The learning rate's place.
            seed: The seed's place.
            moment: Reports made.
            couples: Whether learning rates follow momentum.

        Returns:
            The learning rate's logarithm less that of the run's own, and that of the horizon.
        """
        key = (arm, rate, seed, couples)
        if key not in self._means:
            rows = (self.row(arm, rate, seed, place) for place in range(self.reports))
            self._means[key] = means(rows, self.shares, couples=couples)
        return self._means[key][moment]

    def place_of(self, arm: str) -> int:
        """Return the place of an arm among the recorded ones."""
        return self._places[arm]

    def seconds(self, arm: int, moment: int) -> float:
        """Return how long a run of an arm takes from the report before to that of a moment."""
        return self._seconds[arm][moment]

    def _seconds_of(self, arm: str) -> list[float]:
        facts, steps = self._recordings.arms[arm], self._recordings.steps
        pairs = zip((0, *steps[:-1]), steps, strict=True)
        return [
            (after - before) * facts.seconds_per_step + facts.evaluation_seconds
            for before, after in pairs
        ]


def _schedule(recordings: Recordings) -> list[float]:
    """Return the learning rate in use at each moment of a run that ended and was not tuned."""
    fixed = [place for place, name in enumerate(recordings.arms) if is_fixed_name(name)]
    runs = recordings.columns["lr"][fixed].reshape(-1, len(recordings.steps))
    ended = runs[~np.isnan(runs).any(axis=1)]
    # Where all have diverged, nothing is ever looked up.
    found: list[float] = (ended[0] if len(ended) else np.ones(runs.shape[1])).tolist()
    return found
