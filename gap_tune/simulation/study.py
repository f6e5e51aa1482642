"""simulate: a whole study of Ray Tune on a virtual clock."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import BasicVariantGenerator, Searcher

from gap_tune.errors import UnsupportedError, check_count
from gap_tune.simulation.cluster import Cluster
from gap_tune.simulation.driver import Driver
from gap_tune.simulation.simulated import Simulated
from gap_tune.simulation.task import Task
from gap_tune.tune import keys
from gap_tune.tune.ray_private.fifo import LiveFIFO
from gap_tune.tune.ray_private.virtual import named_by

_KEPT = ("validation_loss", "test_loss", keys.MOMENTUM, keys.LR)


def simulate(
    task: Task,
    *,
    search: Searcher | BasicVariantGenerator | None = None,
    scheduler: TrialScheduler | None = None,
    trials: int,
    cluster: Cluster | None = None,
    space: Mapping[str, Any],
    seed: int = 0,
    stop: Mapping[str, float] | None = None,
    keep: Collection[str] = _KEPT,
) -> Simulated:
    """Run a study of Ray Tune on a virtual clock.

    Searcher and scheduler are the real ones, and asked by Ray's own controller; only processes and
    nodes are simulated, and time passes as they say. The same arguments give an equal result, event
    by event, where searcher and scheduler draw from generators that are seeded, or from Python's
    and NumPy's global ones, which are seeded here and put back afterwards. So simulate in one
    thread of a process at a time.

    Args:
        task: What to train.
        search: A searcher, as ``ray.tune.TuneConfig`` takes it; default random search by
            ``BasicVariantGenerator``, which is what population based training needs. It is used
            up, as a real study uses it up.
        scheduler: A trial scheduler without metric and mode, which are the task's; default FIFO
            without Ray's look at every trial that there ever was.
        trials: How many to make.
        cluster: The machines, how fast they are and how they fail; default one slot that never
            fails and costs nothing.
        space: What ``param_space`` of ``ray.tune.Tuner`` is.
        seed: Of all that is drawn here.
        stop: When trials end before their training does, as of ``ray.tune.RunConfig``.
        keep: Keys of the metrics to keep of every report, besides the task's metric.

    Raises:
        InvalidValueError: When ``trials`` is no positive integer.
        StateError: When the study would wait for ever.
        UnsupportedError: When ``scheduler`` has a metric of its own, or ``cluster`` is none.

    >>> from ray import tune
    >>> from gap_tune.simulation import Cluster, QuadraticTask
    >>> task = QuadraticTask(reports=3, seconds=60.0)
    >>> space = {"lr": tune.loguniform(0.01, 1.0), "momentum": 0.9}
    >>> done = simulate(task, trials=4, cluster=Cluster(nodes=2), space=space)
    >>> done.seconds, done.busy_seconds, done.counts["result"]
    (360.0, 720.0, 12)
    """
    check_count("trials", trials)
    cluster = Cluster() if cluster is None else cluster
    if not isinstance(cluster, Cluster):
        raise UnsupportedError(f"cluster must be a Cluster, but got {type(cluster).__name__}.")
    search = BasicVariantGenerator(random_state=seed) if search is None else search
    scheduler = LiveFIFO() if scheduler is None else scheduler
    ids = random.Random(f"{seed} ids")
    with (
        _quiet(),
        _seeded(seed),
        named_by(lambda: f"{ids.getrandbits(32):08x}"),
        tempfile.TemporaryDirectory(prefix="gap_tune_simulated-") as folder,
    ):
        driver = Driver(
            *(task, search, scheduler, trials, cluster),
            space=space,
            seed=seed,
            stop=stop,
            keep=keep,
            folder=Path(folder),
        )
        return driver.run()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Have what draws from the process's random numbers draw those of a seed."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray from logging each trial that fails, and what takes long by the machine's clock."""
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
