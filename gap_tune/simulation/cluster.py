"""Cluster: the machines of a simulated study, how fast they are, and how they fail."""

from __future__ import annotations

from dataclasses import dataclass, field

from gap_tune.errors import UnsupportedError, check_count, check_range

_FOR_EVER = float("inf")


@dataclass(frozen=True)
class NodeLoss:
    """Nodes that go without a word, and come back later.

    A node is lost after an exponentially distributed time, and everything on it with it: the
    processes of its trials, and reports that have not reached the driver.

    Args:
        per_hour: How often a node is lost in an hour of its life; default never.
        back_after_seconds: How long until it, or another in its place, is there again.
        noticed_after_seconds: How long until the driver learns of it; Ray's health checks take
            up to 30 seconds by default, a connection that breaks is noticed at once.

    Raises:
        InvalidValueError: When a number is negative or not finite.
    """

    per_hour: float = 0.0
    back_after_seconds: float = 300.0
    noticed_after_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in ("per_hour", "back_after_seconds", "noticed_after_seconds"):
            check_range(name, getattr(self, name), 0.0, _FOR_EVER, high_open=True)


@dataclass(frozen=True)
class Preemption:
    """Spot instances that their owner takes back.

    With a notice Ray starts nothing more on the node, and a trial that dies with it has not failed
    by Ray's count (``max_failures``); without one it is like any other loss.

    Args:
        per_hour: How often a node is taken in an hour of its life; default never.
        notice_seconds: How long before it is taken that is known; 0 for no notice.
        back_after_seconds: How long until another instance is there.
        noticed_after_seconds: How long until the driver learns that the node is gone.

    Raises:
        InvalidValueError: When a number is negative or not finite.
    """

    per_hour: float = 0.0
    notice_seconds: float = 0.0
    back_after_seconds: float = 300.0
    noticed_after_seconds: float = 5.0

    def __post_init__(self) -> None:
        names = ("per_hour", "notice_seconds", "back_after_seconds", "noticed_after_seconds")
        for name in names:
            check_range(name, getattr(self, name), 0.0, _FOR_EVER, high_open=True)


@dataclass(frozen=True)
class Restart:
    """What trials keep for a process that dies, and how often they may start again.

    Args:
        checkpoint_every: Reports between two checkpoints; 0, the default, for none: a trial that
            starts again then starts from the beginning.
        max_failures: How often a trial may fail and start again, as of
            ``ray.tune.FailureConfig``; -1 for without end.
        num_to_keep: Checkpoints that Ray keeps of a trial; None for all, which trials that learn
            from each other's need.

    Raises:
        InvalidValueError: When a number is out of range.
    """

    checkpoint_every: int = 0
    max_failures: int = 0
    num_to_keep: int | None = 2

    def __post_init__(self) -> None:
        check_count("checkpoint_every", self.checkpoint_every, low=0)
        check_count("max_failures", self.max_failures, low=-1)
        if self.num_to_keep is not None:
            check_count("num_to_keep", self.num_to_keep)


@dataclass(frozen=True)
class DriverKills:
    """A driver that is killed, and its study restored, as by ``ray.tune.Tuner.restore``.

    Ray loses with it: all that the scheduler knew, such as ASHA's rungs; trials that were made
    since it saved the study's state last, whose points searchers suggest once more; training since
    a trial's last checkpoint that the saved state knows, or all of it where there is none; and that
    a trial had ended, where that was not saved. Searchers go back to their saved state.

    Args:
        after_turns: After which of its turns it is killed: it handles one message in a turn.
        restored_after_seconds: How long until another driver goes on.
        save_every_seconds: How often Ray saves the experiment's state: at most every ten seconds by
            default, and whenever a trial has made ``num_to_keep`` checkpoints since.

    Raises:
        InvalidValueError: When a number is out of range.
    """

    after_turns: tuple[int, ...] = ()
    restored_after_seconds: float = 60.0
    save_every_seconds: float = 10.0

    def __post_init__(self) -> None:
        for turn in self.after_turns:
            check_count("after_turns", turn)
        for name in ("restored_after_seconds", "save_every_seconds"):
            check_range(name, getattr(self, name), 0.0, _FOR_EVER, high_open=True)


@dataclass(frozen=True)
class Cluster:
    """The machines of a simulated study, and the driver that runs it.

    Args:
        nodes: Number of nodes.
        trials_per_node: How many trials run on a node at once.
        start_seconds: How long a process takes to start, imports included. Ray has one trial
            pending at a time unless the searcher is in a ``ConcurrencyLimiter``, and so starts
            processes one after another.
        start_jitter: By how much that varies: each start takes between ``1 - start_jitter`` and
            ``1 + start_jitter`` times as long, all equally likely.
        reset_seconds: How long a process takes to go on to another trial, with ``reuse_actors``.
        reuse_actors: Whether processes go on to other trials, as of ``ray.tune.TuneConfig``. Ray
            handles the death of one that is about to twice, and its trial fails for good.
        report_latency: Seconds that a report is under way to the driver, and as many for every
            other message between the two.
        seconds_per_result: How long the driver is busy with a result; it has one thread. Results
            that come meanwhile wait, and their trials with them.
        seconds_per_suggestion: How long the driver is busy with making a trial, and ending it.
        node_loss: How nodes are lost.
        preemption: How spot instances are taken back.
        restart: What trials keep for that case.
        driver_kills: How the driver is killed; then whatever is neither saved nor in a checkpoint
            is lost.

    Raises:
        InvalidValueError: When a number is out of range.
        UnsupportedError: When one of the last four is something else.

    >>> Cluster(nodes=100, trials_per_node=4).slots
    400
    """

    nodes: int = 1
    trials_per_node: int = 1
    start_seconds: float = 0.0
    start_jitter: float = 0.0
    reset_seconds: float = 0.0
    reuse_actors: bool = False
    report_latency: float = 0.0
    seconds_per_result: float = 0.0
    seconds_per_suggestion: float = 0.0
    node_loss: NodeLoss = field(default_factory=NodeLoss)
    preemption: Preemption = field(default_factory=Preemption)
    restart: Restart = field(default_factory=Restart)
    driver_kills: DriverKills = field(default_factory=DriverKills)

    def __post_init__(self) -> None:
        check_count("nodes", self.nodes)
        check_count("trials_per_node", self.trials_per_node)
        check_range("start_jitter", self.start_jitter, 0.0, 1.0)
        seconds = ("start_seconds", "reset_seconds", "report_latency")
        for name in (*seconds, "seconds_per_result", "seconds_per_suggestion"):
            check_range(name, getattr(self, name), 0.0, _FOR_EVER, high_open=True)
        kinds = {"node_loss": NodeLoss, "preemption": Preemption, "restart": Restart}
        kinds["driver_kills"] = DriverKills
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise UnsupportedError(
                    f"{name} must be a {kind.__name__}, but got {type(value).__name__}."
                )

    @property
    def slots(self) -> int:
        """How many trials run at once."""
        return self.nodes * self.trials_per_node
