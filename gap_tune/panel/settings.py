"""PanelSettings: what the panel runs, read from a TOML file and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.panel.arms import arm_name, family_of
from gap_tune.training.families.table import get_family
from gap_tune.workloads import get_workload

SHIPPED = Path(__file__).with_name("settings.toml")
_QUICK_SEEDS = 2
_QUICK_RATES = 2


@dataclass(frozen=True)
class Setting:
    """A task, and how it is trained by every arm.

    Attributes:
        name: What tables call it.
        workload: Name of the workload.
        family: Optimizer family, "sgd" or "adamw".
        batch_size: Samples per optimizer step.
        epochs: Passes over the training samples.
        reports_per_epoch: How often a run reports, and ``gap`` decides, per epoch.
        options: Options of the workload.
        lr: Middle of the learning rates; None takes the workload's recipe.
        quick: Whether the quick panel has it.
    """

    name: str
    workload: str
    family: str
    batch_size: int
    epochs: int
    reports_per_epoch: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "reports_per_epoch"):
            check_count(f"{name} of setting {self.name!r}", getattr(self, name))
        if self.lr is not None:
            check_range(f"lr of setting {self.name!r}", self.lr, 0.0, float("inf"), low_open=True)
        get_workload(self.workload, self.options)
        if not get_family(self.family).has_momentum:
            raise InvalidValueError(
                f"family of setting {self.name!r} must have momentum, but got {self.family!r}."
            )

    def recipe(self, arm: str) -> dict[str, float]:
        """Return the learning rate in the middle of an arm's range and its weight decay.

        An arm that trains with another family has that family's recipe; where ``lr`` moves the
        middle it moves along, unless the family finds the scale of its learning rate itself.
        """
        workload = get_workload(self.workload, self.options)
        trained = get_family(family_of(arm, self.family))
        recipe = trained.recipe(workload)
        if self.lr is None or trained.lr is not None:
            return recipe
        return {**recipe, "lr": recipe["lr"] * self.lr / workload.recipe(self.family)["lr"]}


@dataclass(frozen=True)
class PanelSettings:
    """Everything that a panel's results depend on, besides the code.

    Attributes:
        settings: The tasks.
        arms: Names of the arms to compare.
        seeds: Number of paired seeds.
        lr_span: Largest over smallest learning rate.
        lr_count: How many learning rates.

    Raises:
        InvalidValueError: When a value is out of range or a name stands twice.
    """

    settings: tuple[Setting, ...]
    arms: tuple[str, ...]
    seeds: int = 4
    lr_span: float = 30.0
    lr_count: int = 5

    def __post_init__(self) -> None:
        check_count("seeds", self.seeds, 2)
        check_count("lr_count", self.lr_count)
        check_range("lr_span", self.lr_span, 1.0, float("inf"))
        object.__setattr__(self, "arms", tuple(map(arm_name, self.arms)))
        tasks = tuple(setting.name for setting in self.settings)
        for kind, names in (("settings", tasks), ("arms", self.arms)):
            if not names or len(set(names)) < len(names):
                raise InvalidValueError(
                    f"{kind} of a panel must be one or more different names, but got {list(names)}."
                )

    def learning_rates(self, setting: Setting, arm: str) -> list[float]:
        """Return the learning rates of an arm in a setting, increasing."""
        half = np.log10(self.lr_span) / 2 if self.lr_count > 1 else 0.0
        factors = np.logspace(-half, half, self.lr_count)
        middle = setting.recipe(arm)["lr"]
        return [float(f"{middle * factor:.4g}") for factor in factors]

    def quick(self) -> PanelSettings:
        """Return the panel that only checks that everything runs: one epoch of few settings."""
        few = tuple(replace(s, epochs=1) for s in self.settings if s.quick) or self.settings[:1]
        return replace(self, settings=few, seeds=_QUICK_SEEDS, lr_count=_QUICK_RATES)

    def describe(self) -> dict[str, Any]:
        """Return the settings as JSON values, arms left out."""
        rest = {name: value for name, value in asdict(self).items() if name != "arms"}
        return {**rest, "settings": [asdict(setting) for setting in self.settings]}


def read_settings(path: Path | str | None = None) -> PanelSettings:
    """Return the settings in a TOML file, by default those that gap_tune ships.

    Raises:
        InvalidValueError: When the file cannot be read, is no TOML, or says something unknown.

    >>> len(read_settings().settings) >= 8
    True
    """
    path = SHIPPED if path is None else Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidValueError(
            f"settings must be a TOML file that can be read, but got {path}: {error}."
        ) from None
    tables = data.pop("setting", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidValueError(f"{path} must hold its settings as [[setting]], but got {tables}.")
    settings = tuple(_made(Setting, table, f"a [[setting]] of {path}") for table in tables)
    arms = data.pop("arms", ())
    if not isinstance(arms, list) or not all(isinstance(arm, str) for arm in arms):
        raise InvalidValueError(f"arms of {path} must be a list of names, but got {arms!r}.")
    panel: PanelSettings = _made(
        PanelSettings, {**data, "settings": settings, "arms": tuple(arms)}, str(path)
    )
    return panel


def _made(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """Return a dataclass of the values, which must be among its fields."""
    known = [each.name for each in fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InvalidValueError(f"keys of {where} must be among {known}, but got {unknown}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise InvalidValueError(f"{where} must be complete, but got: {error}.") from None
