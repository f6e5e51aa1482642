"""A pool of processes that do runs, one core each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from gap_tune.errors import StateError

Job = TypeVar("Job")
Result = TypeVar("Result")


def results(run: Callable[[Job], Result], jobs: Sequence[Job], cpus: int) -> Iterator[Result]:
    """Do the jobs and yield their results as they finish.

    Args:
        run: Does one, in a process of the pool.
        jobs: The runs to do.
        cpus: Processes to do them in.

    Raises:
        StateError: When a process was killed.
    """
    # Spawned, not forked: torch's threads do not survive a fork.
    executor = ProcessPoolExecutor(
        cpus, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_process
    )
    try:
        for done in as_completed([executor.submit(run, job) for job in jobs]):
            yield done.result()
    except BrokenProcessPool:
        raise StateError(
            "the runs' processes must live until all is done, but one was killed, perhaps for want "
            "of memory: the same command goes on where it was."
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _prepare_process() -> None:
    # More threads than a core would take those of the neighbour.
    torch.set_num_threads(1)
    # An interrupt at the terminal reaches all processes; the parent ends the others in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process with its parent: one that is killed tells its pool nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
