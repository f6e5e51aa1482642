"""Resources: what a study may use of the machine or cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import ray

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.training.distributed import COORDINATOR
from gap_tune.tune.monitoring.ray_dashboard import named_job
from gap_tune.tune.starting import start_ray


@dataclass(frozen=True)
class Resources:
    """What a study may use.

    Attributes:
        cpus: CPU cores for all trials together; default all of the machine.
        cpus_per_trial: Cores of one trial.
        gpus_per_trial: GPUs of one trial, such as 1 or 0.25; default 0, none. With more than one,
            each has a worker with its own ``cpus_per_trial`` cores (``train_on_ranks``).

    Raises:
        InvalidValueError: When a number is out of range, or no trial could ever start.
    """

    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0

    def __post_init__(self) -> None:
        check_count("cpus", self.cpus)
        check_count("cpus_per_trial", self.cpus_per_trial)
        check_range("gpus_per_trial", self.gpus_per_trial, 0.0, float("inf"))
        if self.gpus_per_trial > 1 and self.gpus_per_trial != self.ranks:
            raise InvalidValueError(
                f"gpus_per_trial must be whole where it is above 1, but got {self.gpus_per_trial}."
            )
        if self.cpus_per_trial > self.cpus:
            raise InvalidValueError(
                f"cpus must be at least cpus_per_trial, but got {self.cpus} and "
                f"{self.cpus_per_trial}: no trial could ever start."
            )

    @property
    def ranks(self) -> int:
        """How many workers train a trial together."""
        return max(1, int(self.gpus_per_trial))

    def most_trials(self) -> int | None:
        """Return how many trials may run at a time; None where Ray's own count is right."""
        if self.ranks == 1:
            return None
        # A trial waits for its workers, and takes next to nothing itself.
        return max(1, int(ray.cluster_resources().get("GPU", 0.0)) // self.ranks)

    def of_trial(self) -> dict[str, float]:
        """Return a trial's resources as Ray Tune names them, without those of its workers."""
        if self.ranks > 1:
            return dict(COORDINATOR)
        gpu = {"gpu": self.gpus_per_trial} if self.gpus_per_trial else {}
        return {"cpu": self.cpus_per_trial, **gpu}

    def start_ray(self, job: str) -> None:
        """Start Ray where it does not run yet, or join the cluster of ``RAY_ADDRESS``.

        Args:
            job: What Ray's dashboard calls the study.

        Raises:
            RayStartError: When it does not start.
            InvalidValueError: When trials ask for more of a GPU than the cluster has.
        """
        # Tune's newer output prints a banner even at verbose=0; the caller shows its own progress.
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        start_ray(
            num_cpus=self.cpus,
            log_to_driver=False,
            logging_level="error",
            job_config=named_job(job),
        )
        present = ray.cluster_resources().get("GPU", 0.0) if self.gpus_per_trial else 0.0
        if self.gpus_per_trial > present:
            raise InvalidValueError(
                f"gpus_per_trial must be at most what the cluster has, {present:g}, but got "
                f"{self.gpus_per_trial:g}: leave it out to train on CPU cores."
            )
