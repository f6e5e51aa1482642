"""PanelSettings: what the panel runs, read from a YAML file and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict

from gap_tune.errors import GapTuneError, InvalidValueError, check_count, check_range
from gap_tune.records.records import DEFAULT_MARGIN
from gap_tune.study.checked_yaml import FileKind, Flag, Number, Text, WholeNumber, checked
from gap_tune.study.conditions import Conditions, check_margin
from gap_tune.study.grammar import parse_arm
from gap_tune.study.suite.measuring import METRIC
from gap_tune.study.suite.suite import Suite
from gap_tune.training.families.table import get_family
from gap_tune.training.schedules import SCHEDULES
from gap_tune.workloads import get_workload
from gap_tune.workloads.registry import find_workload

# A rule is made by looking at one half, and judged by the other.
DEVELOPMENT, HELD_OUT = HALVES = ("development", "held-out")
BOTH = "both"
SHIPPED = Path(__file__).with_name("settings.yaml")
_QUICK_SEEDS = 2
_QUICK_RATES = 2
# Pydantic validates files only: settings that are made in Python check their values themselves.
_OF_FILES = ConfigDict(extra="forbid")


def arm_name(text: str) -> str:
    """Return an arm's name as tables spell it.

    Raises:
        InvalidValueError: When there is no such arm, or it is more than one plain run.

    >>> arm_name(" fixed:0.90")
    'fixed:0.9'
    """
    arm = parse_arm(text)
    if arm.search is not None or arm.validation_every is not None:
        raise InvalidValueError(
            "an arm of a panel must be one run without a search and without held-out gradients, "
            f"but got {text!r}."
        )
    return arm.name


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
        schedule: Learning-rate schedule, "cosine", "step" or "none"; None takes the workload's.
        warmup_steps: Length of the linear warm-up; None takes the workload's.
        weight_decay: Weight decay of arms that train with this family or one like it; None takes
            the recipe's.
        half: "development", to look at while a rule is made, or "held-out", to judge it by.
        quick: Whether the quick panel has it.

    Raises:
        InvalidValueError: When a value is out of range, or there is no such workload or family.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _OF_FILES

    name: Text
    workload: Annotated[Text, checked(find_workload)]
    family: Text
    batch_size: WholeNumber
    epochs: WholeNumber
    reports_per_epoch: WholeNumber = 4
    options: Mapping[Text, Any] = field(default_factory=dict)
    lr: Number | None = None
    schedule: Text | None = None
    warmup_steps: WholeNumber | None = None
    weight_decay: Number | None = None
    half: Text = DEVELOPMENT
    quick: Flag = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "reports_per_epoch"):
            check_count(f"{name} of setting {self.name!r}", getattr(self, name))
        if self.lr is not None:
            check_range(f"lr of setting {self.name!r}", self.lr, 0.0, float("inf"), low_open=True)
        if self.warmup_steps is not None:
            check_count(f"warmup_steps of setting {self.name!r}", self.warmup_steps, 0)
        if self.weight_decay is not None:
            check_range(
                f"weight_decay of setting {self.name!r}", self.weight_decay, 0.0, float("inf")
            )
        self._check_choice("schedule", (None, *SCHEDULES))
        self._check_choice("half", HALVES)
        get_workload(self.workload, self.options)
        if not get_family(self.family).has_momentum:
            raise InvalidValueError(
                f"family of setting {self.name!r} must have momentum, but got {self.family!r}."
            )

    def _check_choice(self, name: str, choices: tuple[str | None, ...]) -> None:
        if (value := getattr(self, name)) not in choices:
            raise InvalidValueError(
                f"{name} of setting {self.name!r} must be one of {choices}, but got {value!r}."
            )

    def conditions(self) -> Conditions:
        """Return what all arms have in common, as of a study.

        An arm that trains with another family has that family's recipe; where ``lr`` moves the
        middle it moves along, unless the family finds the scale of its learning rate itself.
        """
        settings: dict[str, Any] = {
            "workload": self.workload,
            "workload_options": dict(self.options),
            "family": self.family,
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "reports_per_epoch": self.reports_per_epoch,
            "device": "cpu",
        }
        optional = {"schedule": self.schedule, "warmup_steps": self.warmup_steps}
        settings |= {name: value for name, value in optional.items() if value is not None}
        workload = get_workload(self.workload, self.options)
        lr = workload.recipe(self.family)["lr"] if self.lr is None else self.lr
        # Nothing is searched: a suite has its learning rates around the recipe's.
        return Conditions(settings, lr, (lr, lr), METRIC, "min", weight_decay=self.weight_decay)


@dataclass(frozen=True)
class PanelSettings:
    """Everything that a panel's results depend on, besides the code.

    Attributes:
        settings: The tasks.
        arms: Names of the arms to compare.
        seeds: Number of paired seeds.
        lr_span: Largest over smallest learning rate.
        lr_count: How many learning rates.
        margin: Share by which an arm may differ from its rival and be as good.

    Raises:
        InvalidValueError: When a value is out of range or a name stands twice.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _OF_FILES

    settings: tuple[Setting, ...]
    arms: tuple[Annotated[Text, checked(arm_name)], ...]
    seeds: WholeNumber = 4
    lr_span: Number = 30.0
    lr_count: WholeNumber = 5
    margin: Number = DEFAULT_MARGIN

    def __post_init__(self) -> None:
        check_count("seeds", self.seeds, 2)
        check_count("lr_count", self.lr_count)
        check_range("lr_span", self.lr_span, 1.0, float("inf"))
        check_margin(self.margin)
        object.__setattr__(self, "arms", tuple(map(arm_name, self.arms)))
        tasks = tuple(setting.name for setting in self.settings)
        for kind, names in (("settings", tasks), ("arms", self.arms)):
            if not names or len(set(names)) < len(names):
                raise InvalidValueError(
                    f"{kind} of a panel must be one or more different names, but got {list(names)}."
                )

    def suite(self) -> Suite:
        """Return the runs of the panel."""
        return Suite(
            {setting.name: setting.conditions() for setting in self.settings},
            tuple(map(parse_arm, self.arms)),
            self.seeds,
            self.lr_span,
            self.lr_count,
        )

    def of_half(self, half: str) -> PanelSettings:
        """Return the panel of the settings of a half.

        Args:
            half: "development", "held-out" or "both".

        Raises:
            InvalidValueError: When there is no such half, or no setting in it.

        >>> {setting.half for setting in read_settings().of_half("held-out").settings}
        {'held-out'}
        """
        if half not in (*HALVES, BOTH):
            raise InvalidValueError(f"half must be one of {(*HALVES, BOTH)}, but got {half!r}.")
        return self._with([s for s in self.settings if half in (s.half, BOTH)], f"half {half!r}")

    def without(self, names: Collection[str]) -> PanelSettings:
        """Return the panel without the settings of these names.

        Raises:
            InvalidValueError: When none would be left.
        """
        return self._with([s for s in self.settings if s.name not in names], "what is left")

    def _with(self, settings: Sequence[Setting], what: str) -> PanelSettings:
        if not settings:
            raise InvalidValueError(f"a panel must have settings, but got none in {what}.")
        return replace(self, settings=tuple(settings))

    def missing(self) -> dict[str, str]:
        """Return the settings whose data are not here, by name, and what their workloads say."""
        found: dict[tuple[str, str], str] = {}
        for setting in self.settings:
            task = setting.workload, repr(setting.options)
            if task not in found:
                found[task] = _complaint(setting)
        said = {s.name: found[s.workload, repr(s.options)] for s in self.settings}
        return {name: complaint for name, complaint in said.items() if complaint}

    def quick(self) -> PanelSettings:
        """Return the panel that only checks that everything runs: one epoch of few settings."""
        few = tuple(replace(s, epochs=1) for s in self.settings if s.quick) or self.settings[:1]
        return replace(self, settings=few, seeds=_QUICK_SEEDS, lr_count=_QUICK_RATES)

    def describe(self) -> dict[str, Any]:
        """Return the settings as JSON values, arms left out."""
        rest = {name: value for name, value in asdict(self).items() if name != "arms"}
        return {**rest, "settings": [asdict(setting) for setting in self.settings]}


def _complaint(setting: Setting) -> str:
    """Return what is wrong with a setting's data; "" where nothing is."""
    try:
        get_workload(setting.workload, setting.options).data()
    except GapTuneError as error:
        return str(error)
    return ""


_KIND = FileKind(
    "a panel file",
    PanelSettings,
    {
        "settings": "a list of mappings",
        "arms": "a list of names",
        "options": "a mapping of names to values",
    },
)


def read_settings(path: Path | str | None = None) -> PanelSettings:
    """Return the settings in a YAML file, by default those that gap_tune ships.

    Raises:
        InvalidValueError: When the file cannot be read, is not YAML, or says something that no
            panel can have; one line with the file's name and the line's number.

    >>> len(read_settings().settings) >= 8
    True
    """
    return _KIND.read(SHIPPED if path is None else path)
