"""Settings: what a trial's configuration says about the training loop, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gap_tune.errors import InvalidValueError, check_count, check_range, did_you_mean
from gap_tune.training.families.table import get_family
from gap_tune.training.placement import DEVICES, PRECISIONS
from gap_tune.training.schedules import SCHEDULES
from gap_tune.workloads.base import Workload


@dataclass(frozen=True)
class Settings:
    """How to train, by the keys of a trial's configuration.

    Attributes:
        family: Optimizer family.
        batch_size: Samples per optimizer step.
        epochs: Passes over the training samples.
        seed: Fixes initial weights, data order and augmentation; the splits are the same for all.
        schedule: "cosine", "step" or "none".
        warmup_epochs: Length of the linear warm-up.
        warmup_steps: The same in optimizer steps, for whatever ``warmup_epochs`` says; None leaves
            it to that.
        reports_per_epoch: How often to evaluate and report.
        reports: How often in all, evenly spread over the steps of the run, each time with a
            checkpoint, for whatever the counts per epoch say; None leaves it to those.
        test_at_reports: Whether every report holds the test metrics; else the last one alone.
        checkpoints_per_epoch: How many reports of an epoch come with a checkpoint; a fault costs
            what was trained since the last.
        device: "auto" takes what Ray gives; "cuda" fails without a GPU; "cpu" never takes one.
        amp: "bf16" or "fp16" for mixed precision.
        channels_last: Whether images lie with their channels last.
        compile: Whether ``torch.compile`` compiles the model.
        clip: Largest norm of the gradient; None does not clip.
        accumulate: Parts to compute a batch in, for less memory; statistics see whole batches.
        workers: Processes of the data loader.
        validation_every: Validation-aware training: score momenta by a held-out batch every so
            many steps; None does not.
        held_out_share: Share of the training samples held out for it, where the workload has no
            such split of its own.
        hold_out: Whether to hold them out in any case, so that trials with and without
            validation-aware training see the same samples.
    """

    family: str
    batch_size: int
    epochs: int
    schedule: str
    warmup_epochs: float
    warmup_steps: int | None = None
    seed: int = 0
    reports_per_epoch: int = 1
    reports: int | None = None
    test_at_reports: bool = False
    checkpoints_per_epoch: int = 1
    device: str = "auto"
    amp: str | None = None
    channels_last: bool = False
    compile: bool = False
    clip: float | None = None
    accumulate: int = 1
    workers: int = 0
    validation_every: int | None = None
    held_out_share: float = 0.1
    hold_out: bool = False

    @classmethod
    def of(cls, workload: Workload, config: Mapping[str, Any]) -> Settings:
        """Return a configuration's settings; what it lacks is the workload's default.

        A family that is meant for another schedule than the workload's gets that.

        Raises:
            InvalidValueError: When a value is out of range.
        """
        own = {
            name: getattr(workload, name)
            for name in ("family", "batch_size", "epochs", "schedule", "warmup_epochs")
        }
        given = {f.name: config[f.name] for f in fields(cls) if f.name in config}
        schedule = get_family(given.get("family", own["family"])).schedule
        if schedule is not None:
            own["schedule"] = schedule
        return cls(**{**own, **given})

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "reports_per_epoch", "checkpoints_per_epoch"):
            check_count(name, getattr(self, name))
        check_count("accumulate", self.accumulate)
        check_count("workers", self.workers, 0)
        check_range("warmup_epochs", self.warmup_epochs, 0.0, float("inf"))
        if self.warmup_steps is not None:
            check_count("warmup_steps", self.warmup_steps, 0)
        if self.reports is not None:
            check_count("reports", self.reports)
        check_range("held_out_share", self.held_out_share, 0.0, 1.0, low_open=True, high_open=True)
        if self.clip is not None:
            check_range("clip", self.clip, 0.0, float("inf"), low_open=True)
        if self.validation_every is not None:
            check_count("validation_every", self.validation_every)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("device", self.device, DEVICES)
        _check_choice("amp", self.amp, (None, *PRECISIONS))
        if self.batch_size % self.accumulate:
            raise InvalidValueError(
                f"accumulate must divide batch_size, {self.batch_size}, but got {self.accumulate}."
            )

    def warmup(self, steps_per_epoch: int) -> int:
        """Return the length of the linear warm-up in optimizer steps.

        Args:
            steps_per_epoch: Optimizer steps of an epoch.
        """
        if self.warmup_steps is not None:
            return self.warmup_steps
        return round(self.warmup_epochs * steps_per_epoch)


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        near = did_you_mean(value, [each for each in choices if isinstance(each, str)])
        raise InvalidValueError(f"{name} must be one of {choices}, but got {value!r}.{near}")
