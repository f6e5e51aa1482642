"""Compared: what arms are compared on, a workload or a user's own function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gap_tune.study.arms import Arm
from gap_tune.training.loop import train
from gap_tune.tune import keys


@dataclass(frozen=True)
class Clock:
    """What tells how far a trial is: what methods that end trials early go by.

    Attributes:
        time_attr: Key of reports that counts it, as Ray's schedulers call it.
        length: What a full trial reports there last; 0 where nobody knows.
        pauses: Whether a trial that is paused goes on where it was, from a checkpoint.
    """

    time_attr: str
    length: int
    pauses: bool


class Compared(ABC):
    """What a study compares arms on: what a trial runs, and which configurations it gets.

    Attributes:
        metric: Reported metric to compare by.
        mode: "min" or "max".
        lrs: At how many learning rates a sweep trains each arm; 1 is the recipe's.
        settings: What every trial's configuration holds.
    """

    metric: str
    mode: str
    lrs: int
    settings: Mapping[str, Any]

    @property
    @abstractmethod
    def name(self) -> str:
        """What readers know it by."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """In words, what is trained, and at which learning rates."""

    @property
    @abstractmethod
    def family(self) -> str:
        """The study's optimizer family."""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """Epochs of a full trial; 0 where nobody knows."""

    @property
    def clock(self) -> Clock:
        """What tells how far a trial is."""
        # Epochs are alike whatever the number of reports.
        return Clock("epoch", self.epochs, pauses=True)

    @property
    def momentum(self) -> str:
        """The configuration's key of the momentum."""
        return "momentum"

    @property
    def function(self) -> Callable[[dict[str, Any]], Any]:
        """What a trial runs, where one process does it."""
        return train

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """Return what ``study.json`` says of it, JSON values."""

    @abstractmethod
    def lrs_of(self, arm: Arm) -> tuple[float, ...]:
        """Return the learning rates at which a sweep trains an arm, increasing."""

    @abstractmethod
    def steps_of_a_trial(self) -> int:
        """Return the optimizer steps of a full trial."""

    @abstractmethod
    def planned(self, arm: Arm, seed: int, lr: float | None) -> list[dict[str, Any]]:
        """Return an arm's planned trials of a seed, at a learning rate of a sweep if given."""

    @abstractmethod
    def space_of(
        self, arm: Arm, seed: int, momentum: Any, start: float
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return an arm's ``param_space`` on a seed and the point to begin with; empty for none.

        Args:
            arm: The arm.
            seed: The seed.
            momentum: The domain of momentum; None where the arm's is not searched.
            start: The momentum to begin with.
        """


def searched_configuration(arm: Arm, compared: Compared) -> dict[str, Any]:
    """Return what sets the trials apart of an arm that is searched, complete without GapSearch."""
    own = arm.configuration(compared.family)
    if not arm.is_tuned(compared.family):
        # The metric, so that a trial fails itself when it is not finite.
        own[keys.SECTION] = {"mode": keys.MODE_FIXED, "metric": compared.metric}
    return own
