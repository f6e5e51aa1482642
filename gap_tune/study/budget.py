"""ArmBudget: what every arm of a study may spend on a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gap_tune.errors import InvalidValueError

_FORM = "budget must be 'own', 'trials:<n>', 'steps:<n>' or 'steps:<n>x'"


@dataclass(frozen=True)
class ArmBudget:
    """What an arm may spend per seed.

    - ``own``: each arm its own number of trials.
    - ``trials:N``: every arm N trials.
    - ``steps:N``: every arm N training steps; ``steps:Nx``: the steps of N full trials. Arms whose
      trials end early start more of them. No trial is started that might not be paid to its end.

    With the latter two, arms that search nothing themselves have their learning rate searched,
    unless the study sweeps it: then the budget has to pay the sweep.

    Attributes:
        kind: "own", "trials", "steps", or "full" for multiples of a full trial.
        amount: How many of them.

    >>> str(ArmBudget.parse("steps:3x")), ArmBudget.parse("trials:8").amount
    ('steps:3x', 8)
    """

    kind: Literal["own", "trials", "steps", "full"] = "own"
    amount: int = 0

    @classmethod
    def parse(cls, text: str) -> ArmBudget:
        """Return the budget that ``str(budget)`` is of.

        Raises:
            InvalidValueError: When it is something else.
        """
        kind, _, value = str(text).strip().partition(":")
        if kind == "own" and not value:
            return cls()
        full = kind == "steps" and value.endswith("x")
        number = value.removesuffix("x") if full else value
        if kind in ("trials", "steps") and number.isdecimal() and int(number) > 0:
            return cls("full" if full else "trials" if kind == "trials" else "steps", int(number))
        raise InvalidValueError(f"{_FORM}, with n at least 1, but got {text!r}.")

    def __str__(self) -> str:
        if self.kind == "own":
            return self.kind
        return f"steps:{self.amount}x" if self.kind == "full" else f"{self.kind}:{self.amount}"

    @property
    def limits_steps(self) -> bool:
        """Whether it limits training steps rather than trials."""
        return self.kind in ("steps", "full")

    def full_trials(self, steps_of_a_trial: int) -> float:
        """Return how many full trials a budget of steps pays, at least 1.

        Raises:
            InvalidValueError: When it pays less than one.

        >>> ArmBudget.parse("steps:250").full_trials(100)
        2.5
        """
        share = float(self.amount) if self.kind == "full" else self.amount / steps_of_a_trial
        if share < 1.0:
            raise InvalidValueError(
                f"a budget of steps must pay one full trial, {steps_of_a_trial} steps, "
                f"but got {self}."
            )
        return share

    @property
    def text(self) -> str:
        """The budget in words.

        >>> ArmBudget.parse("trials:8").text
        'every arm at 8 trials per seed'
        """
        return self.text_of("each arm" if self.kind == "own" else "every arm")

    def text_of(self, whose: str) -> str:
        """Return the budget in words, of the arms that are meant by others.

        >>> ArmBudget.parse("steps:2x").text_of("every other arm")
        'every other arm within the steps of 2 full trials per seed'
        """
        plural = "" if self.amount == 1 else "s"
        spent = {
            "own": "at its own cost",
            "trials": f"at {self.amount} trial{plural} per seed",
            "steps": f"within {self.amount:,} training steps per seed",
            "full": f"within the steps of {self.amount} full trial{plural} per seed",
        }
        return f"{whose} {spent[self.kind]}"
