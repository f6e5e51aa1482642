"""Conditions: what is the same for every arm of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ray import tune

from gap_tune.errors import InvalidValueError, check_count, check_range, did_you_mean
from gap_tune.study.arms import Arm
from gap_tune.study.compared import Compared, searched_configuration
from gap_tune.training.batches import check_batch_size
from gap_tune.training.families.table import BASE_FAMILIES, get_family
from gap_tune.training.held_out import with_held_out
from gap_tune.training.settings import Settings
from gap_tune.tune.keys import check_objective_mode
from gap_tune.workloads import get_workload
from gap_tune.workloads.base import Workload

# How far searches go down and up from the recipe's learning rate.
_DOWN, _UP = 10.0, 3.0
_REPORTS = 4


@dataclass(frozen=True)
class Conditions(Compared):
    """What all trials on a workload share, and the learning rates that their families need.

    Attributes:
        settings: What every trial's configuration holds; see ``make_conditions``.
        lr: Learning rate of the study's family, meant for momentum 0.9.
        lr_range: Where searches look for the learning rate of that family.
        metric: Reported metric to compare by.
        mode: "min" or "max".
        lrs: At how many learning rates a sweep trains each arm; 1 is the recipe's.
        weight_decay: Weight decay of the study's family, and of arms that are like it; None is each
            family's recipe.
    """

    settings: Mapping[str, Any]
    lr: float
    lr_range: tuple[float, float]
    metric: str
    mode: str
    lrs: int = 1
    weight_decay: float | None = None

    @property
    def name(self) -> str:
        """The workload's name."""
        return str(self.settings["workload"])

    @property
    def summary(self) -> str:
        """In words, what is trained how long, and at which learning rates."""
        low, high = self.lr_range
        rates = f"lr {self.lr:g}" if self.lrs == 1 else f"lr {low:g} to {high:g}"
        return f"{self.epochs} epochs of {self.name} at {rates}"

    @property
    def family(self) -> str:
        """The study's optimizer family."""
        return str(self.settings["family"])

    @property
    def epochs(self) -> int:
        """Epochs of a full trial."""
        return int(self.settings["epochs"])

    def described(self) -> dict[str, Any]:
        """Return the settings, the recipe's learning rate and where to search it."""
        recipe = self.recipe_of(Arm("base"))
        return {**self.settings, **recipe, "lr_range": list(self.lr_range)}

    @cached_property
    def workload(self) -> Workload:
        """The task."""
        return get_workload(self.settings["workload"], self.settings.get("workload_options"))

    def recipe_of(self, arm: Arm) -> dict[str, float]:
        """Return learning rate and weight decay to train an arm with.

        Another family's learning rate is its recipe's, times the same factor by which the study's
        differs from its own; that of a family which finds the scale itself stays as it is.
        """
        family = get_family(arm.family_in(self.family))
        own = family.recipe(self.workload)
        # SGD's decay is part of the gradient, AdamW's is not: one says nothing about the other.
        if self.weight_decay is not None and self.family in (family.name, family.like):
            own["weight_decay"] = self.weight_decay
        if family.lr is not None:
            return own
        usual = get_family(self.family).recipe(self.workload)
        return {**own, "lr": own["lr"] * (self.lr / usual["lr"])}

    def settings_of(self, arm: Arm) -> Mapping[str, Any]:
        """Return what an arm's configurations have in common with those of all others.

        A family that is meant for a learning-rate schedule of its own keeps that.
        """
        if get_family(arm.family_in(self.family)).schedule is None:
            return self.settings
        return {name: value for name, value in self.settings.items() if name != "schedule"}

    def lr_range_of(self, arm: Arm) -> tuple[float, float]:
        """Return where to search an arm's learning rate."""
        factor = self.recipe_of(arm)["lr"] / self.lr
        low, high = self.lr_range
        return low * factor, high * factor

    def lrs_of(self, arm: Arm) -> tuple[float, ...]:
        """Return the learning rates at which a sweep trains an arm, increasing.

        They lie between the ends of ``lr_range_of(arm)``, equally spaced in their logarithm; a
        single one is the recipe's.
        """
        if self.lrs == 1:
            return (self.recipe_of(arm)["lr"],)
        # Without the last digits, which are rounding, a rate reads as people write it.
        return tuple(float(f"{lr:.12g}") for lr in np.geomspace(*self.lr_range_of(arm), self.lrs))

    def planned(self, arm: Arm, seed: int, lr: float | None) -> list[dict[str, Any]]:
        """Return an arm's planned trials of a seed, at the recipe's learning rate or that given."""
        own = {**arm.configuration(self.family), **self.recipe_of(arm), "seed": seed}
        rate = {} if lr is None else {"lr": lr}
        return [{**own, **rate, **trial} for trial in arm.plan()]

    def space_of(
        self, arm: Arm, seed: int, momentum: Any, start: float
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the space in ``lr_range_of(arm)``, which begins with the recipe if that is in it.

        Learning rates are searched on a logarithmic scale.
        """
        recipe = self.recipe_of(arm)
        low, high = self.lr_range_of(arm)
        domains: dict[str, Any] = {"lr": tune.loguniform(low, high)}
        first = {"lr": recipe["lr"]}
        if momentum is not None:
            domains["momentum"], first["momentum"] = momentum, start
        own = searched_configuration(arm, self)
        whole = {**self.settings, **own, **recipe, "seed": seed, **domains}
        return whole, first if low <= first["lr"] <= high else {}

    def steps_of_a_trial(self) -> int:
        """Return the optimizer steps of a full trial; loads the data.

        Raises:
            GapTuneError: When the data are not what they should be.
        """
        splits = self.workload.data()
        if self.settings["hold_out"]:
            share = Settings.of(self.workload, self.settings).held_out_share
            splits = with_held_out(splits, share)
        return self.epochs * check_batch_size(splits.train, self.settings["batch_size"])


def make_conditions(
    workload: str,
    arms: Sequence[Arm],
    *,
    workload_options: Mapping[str, Any] | None,
    family: str | None,
    metric: str,
    mode: str,
    epochs: int | None,
    lr: float | None,
    lr_range: Sequence[float] | None,
    reports_per_epoch: int | None = None,
    lrs: int | None = None,
) -> Conditions:
    """Return a study's conditions; arguments as of ``Study``, None is the workload's default.

    Raises:
        InvalidValueError: When one is unknown or out of range.
    """
    task = get_workload(workload, workload_options)
    family = check_family(task.family if family is None else family)
    rate = get_family(family).recipe(task)["lr"] if lr is None else lr
    rate = check_lr(rate)
    settings = {
        "workload": workload,
        "workload_options": dict(workload_options or {}),
        "family": family,
        "batch_size": task.batch_size,
        "epochs": check_count("epochs", task.epochs if epochs is None else epochs),
        "reports_per_epoch": check_count(
            "reports_per_epoch", _REPORTS if reports_per_epoch is None else reports_per_epoch
        ),
        # What one arm holds out, no arm may train on.
        "hold_out": any(arm.validation_every is not None for arm in arms),
    }
    bounds = (rate / _DOWN, rate * _UP) if lr_range is None else check_lr_range(lr_range)
    return Conditions(
        settings,
        rate,
        bounds,
        check_metric(metric),
        check_objective_mode(mode),
        check_count("lrs", 1 if lrs is None else lrs),
    )


def check_family(family: str) -> str:
    """Return the family when a study can have it, else raise ``InvalidValueError``."""
    if family not in BASE_FAMILIES:
        raise InvalidValueError(
            f"family must be one of {BASE_FAMILIES}, but got {family!r}."
            + did_you_mean(family, BASE_FAMILIES)
        )
    return family


def check_metric(metric: str) -> str:
    """Return the metric when arms can be compared by it, else raise ``InvalidValueError``."""
    if metric != "train_loss" and not metric.startswith("validation_"):
        raise InvalidValueError(
            "metric must be one that every report holds, 'train_loss' or 'validation_...', "
            f"but got {metric!r}."
        )
    return metric


def check_lr(lr: float, name: str = "lr") -> float:
    """Return the learning rate when it is one, else raise ``InvalidValueError``."""
    return check_range(name, lr, 0, float("inf"), low_open=True)


def check_lr_range(given: Sequence[float]) -> tuple[float, float]:
    """Return the range when it is one, else raise ``InvalidValueError``."""
    bounds = [check_lr(value, "lr_range") for value in given]
    if len(bounds) != 2 or bounds[0] >= bounds[1]:
        raise InvalidValueError(
            f"lr_range must be two numbers, the lower one first, but got {list(given)}."
        )
    return bounds[0], bounds[1]


def check_margin(margin: float) -> float:
    """Return the margin when arms can be as good within it, else raise ``InvalidValueError``."""
    return check_range("margin", margin, 0.0, 1.0, low_open=True, high_open=True)
