"""Request: the study that is planned, and the cluster that it is to run on."""

from __future__ import annotations

from dataclasses import dataclass

from gap_tune.errors import InvalidValueError, check_count, check_range

SEARCHERS = ("tpe", "random")
DECIDERS = ("scheduler", "trial", "nobody")


@dataclass(frozen=True)
class Request:
    """A study and its cluster.

    Attributes:
        trials: How many trials.
        nodes: Machines that train.
        gpus: GPUs of each; on machines without, how many trials a machine is to hold.
        report_seconds: Training between two reports, in seconds.
        reports: Reports of each trial.
        trials_per_gpu: Trials that share a GPU; below 1 a trial takes several.
        searcher: "tpe" or "random", as of ``GapSearch``.
        decide: Where momentum is decided: by the "scheduler" at reports, in the "trial" at steps
            (``gap_tune.optim``), or by "nobody": plain Ray Tune.
        reuse_actors: Whether a trial takes over another's process.
        tensorboard: Whether Ray writes TensorBoard's files.
        limited: Whether ``max_concurrent_trials`` is set. Without it Ray starts the trials of a
            searcher one after another.
        studies: Studies that share trials and cluster, each with a driver of its own.

    Raises:
        InvalidValueError: When a number is out of range or a word unknown, or no trial fits.

    >>> Request(trials=10_000, nodes=100, gpus=4, report_seconds=30).concurrent
    400
    """

    trials: int
    nodes: int
    gpus: int
    report_seconds: float
    reports: int = 20
    trials_per_gpu: float = 1.0
    searcher: str = "tpe"
    decide: str = "scheduler"
    reuse_actors: bool = False
    tensorboard: bool = True
    limited: bool = True
    studies: int = 1

    def __post_init__(self) -> None:
        for name in ("trials", "nodes", "gpus", "reports", "studies"):
            check_count(name, getattr(self, name))
        for name in ("report_seconds", "trials_per_gpu"):
            check_range(name, getattr(self, name), 0.0, float("inf"), low_open=True)
        for name, known in (("searcher", SEARCHERS), ("decide", DECIDERS)):
            if getattr(self, name) not in known:
                raise InvalidValueError(
                    f"{name} must be one of {', '.join(known)}, but got {getattr(self, name)!r}."
                )
        if self.places < 1:
            raise InvalidValueError(
                f"trials_per_gpu must leave room for a trial on {self.nodes} x {self.gpus} GPUs, "
                f"but got {self.trials_per_gpu:g}."
            )
        if self.studies > min(self.trials, self.places):
            raise InvalidValueError(
                f"studies must be at most as many as trials run at once, "
                f"{min(self.trials, self.places)}, but got {self.studies}."
            )

    @property
    def places(self) -> int:
        """How many trials the cluster holds at once."""
        # What is a third three times, in binary, is a little less than one.
        return self.nodes * int(self.gpus * self.trials_per_gpu + 1e-9)

    @property
    def concurrent(self) -> int:
        """How many trials run at once, in all studies together."""
        return min(self.trials, self.places)

    @property
    def trial_seconds(self) -> float:
        """Training of a trial without any waiting, in seconds."""
        return self.reports * self.report_seconds
