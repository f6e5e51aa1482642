"""Study files: a comparison written down as YAML, with errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.study.arms import check_arms
from gap_tune.study.budget import ArmBudget
from gap_tune.study.checked_yaml import FileKind, Number, Text, WholeNumber, checked, refuse
from gap_tune.study.conditions import (
    check_family,
    check_lr,
    check_lr_range,
    check_margin,
    check_metric,
)
from gap_tune.study.grammar import parse_arm
from gap_tune.tune.keys import check_objective_mode
from gap_tune.workloads import get_workload
from gap_tune.workloads.registry import find_workload

SUFFIXES = (".yaml", ".yml")
# What a file does not say stays at the default of ``Study`` or ``Resources``.
_LEFT_OUT: Any = None


def _check_count(value: int, info: ValidationInfo) -> int:
    return check_count(str(info.field_name), value)


def _check_options(options: dict[Any, Any], info: ValidationInfo) -> dict[Any, Any]:
    try:
        json.dumps(options)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"workload_options must hold plain JSON values, but got {options!r}: {error}."
        ) from None
    if not all(isinstance(name, str) for name in options):
        raise InvalidValueError(f"workload_options must have names, but got {list(options)}.")
    # Otherwise the workload itself is wrong.
    if "workload" in info.data:
        refuse(lambda: get_workload(info.data["workload"], options))
    return options


def _check_arms(names: list[str]) -> None:
    check_arms(tuple(map(parse_arm, names)))


def _check_gpus(gpus: float) -> None:
    check_range("gpus_per_trial", gpus, 0, float("inf"))


_Count = Annotated[WholeNumber, AfterValidator(_check_count)]
_ArmName = Annotated[Text, checked(parse_arm)]


class StudyFile(BaseModel):
    """What a study file may say: arguments of ``Study`` and ``Resources``, and "out"."""

    model_config = ConfigDict(extra="forbid")

    workload: Annotated[Text, checked(find_workload)]
    workload_options: Annotated[dict[Any, Any], AfterValidator(_check_options)] = Field(
        default_factory=dict, validate_default=True
    )
    arms: Annotated[list[_ArmName], checked(_check_arms)] = _LEFT_OUT
    family: Annotated[Text, checked(check_family)] = _LEFT_OUT
    seeds: _Count = _LEFT_OUT
    metric: Annotated[Text, checked(check_metric)] = _LEFT_OUT
    mode: Annotated[Text, checked(check_objective_mode)] = _LEFT_OUT
    epochs: _Count = _LEFT_OUT
    lr: Annotated[Number, checked(check_lr)] = _LEFT_OUT
    lr_range: Annotated[list[Number], checked(check_lr_range)] = _LEFT_OUT
    lrs: _Count = _LEFT_OUT
    budget: Annotated[Text, checked(ArmBudget.parse)] = _LEFT_OUT
    reports_per_epoch: _Count = _LEFT_OUT
    margin: Annotated[Number, checked(check_margin)] = _LEFT_OUT
    cpus: _Count = _LEFT_OUT
    cpus_per_trial: _Count = _LEFT_OUT
    gpus_per_trial: Annotated[Number, checked(_check_gpus)] = _LEFT_OUT
    out: Text = _LEFT_OUT


_KIND = FileKind(
    "a study file",
    StudyFile,
    {
        "workload_options": "a mapping of names to values",
        "arms": "a list of names",
        "lr_range": "a list of two numbers",
    },
)


def read_study_file(path: Path | str) -> dict[str, Any]:
    """Return what a study file says, by key: arguments of ``Study`` and ``Resources``, and "out".

    Every key but ``workload`` may be left out::

        workload: digits-resnet
        arms: [gap, "fixed:grid", "optuna:16"]
        seeds: 5
        budget: trials:16

    Raises:
        InvalidValueError: When the file cannot be read, is not YAML, or says something that no
            study can have; one line with the file's name and the line's number.
    """
    return _KIND.read(path).model_dump(exclude_unset=True)
