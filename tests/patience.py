"""Waiting: a test's only limit counts the seconds in which the machine worked for it.

On a machine that others use, a study of seconds takes minutes, and nothing is wrong. So no test
has a deadline of its own: what waits, waits as long as the test may run. That is the ``timeout``
of pytest-timeout, read off a clock that stands still while our processes wait for a core. What
hangs waits for no core, and is ended as soon as ever, with the trace of every thread; except on a
crowded machine where processes of ours that wait for nothing, such as those of a Ray session, wake
up now and then and wait for a core meanwhile. So there is a last limit on the wall, which leaves
CI's own time for the trace.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import pytest_timeout

T = TypeVar("T")

# Times a test's limit, and in any case, in seconds on the wall. CI takes less than half an hour of
# its 90 minutes.
_MOST = 12.0
_MOST_S = 2400.0
_TICK_S = 5.0

# For what wants a limit in its own units, such as a page: far beyond any test's.
FOREVER_S = 24 * 3600.0


def wait_for(
    condition: Callable[[], T], what: str, *, process: subprocess.Popen[Any] | None = None
) -> T:
    """Return the first value of a condition that is true, however long it takes.

    Args:
        condition: Asked again and again.
        what: What is waited for.
        process: What must not end before.
    """
    while not (found := condition()):
        if process is not None and process.poll() is not None:
            pytest.fail(f"{what}: the process ended before, with status {process.returncode}")
        time.sleep(0.05)
    return found


class FairClock:
    """Seconds since its start, less those in which a process and its children wanted for a core.

    In an interval in which their threads ran for r seconds and waited for w, what was lost is at
    most w, and at most the part w / (r + w) of it: the first for threads that run in turns, the
    second for those that run at once. The kernel tells of a wait when it is over, so what a thread
    waited longer than the interval was counted in those before, and is taken off.

    Args:
        pid: The process; by default this one.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._root = psutil.Process(pid)
        self._seconds = 0.0
        self._at = time.monotonic()
        self._threads = self._read()

    def seconds(self) -> float:
        """Look at all processes, and return the seconds so far."""
        now, threads = time.monotonic(), self._read()
        passed = now - self._at
        ran = waited = earlier = 0.0
        for name, spent in threads.items():
            before = self._threads.get(name, (0.0, 0.0))
            ran += max(0.0, spent[0] - before[0])
            waited += max(0.0, spent[1] - before[1])
            earlier = max(earlier, spent[1] - before[1] - passed)
        share = ran / (ran + waited) if waited else 1.0
        counted = self._seconds + max(passed - waited, passed * share)
        self._seconds = max(0.0, counted - earlier)
        self._at, self._threads = now, threads
        return self._seconds

    def _read(self) -> dict[str, tuple[float, float]]:
        """Return by thread how long it has run, and how long waited for a core, in seconds."""
        spent: dict[str, tuple[float, float]] = {}
        with suppress(psutil.NoSuchProcess):
            for process in (self._root, *self._root.children(recursive=True)):
                # Threads and processes end meanwhile, and other kernels keep no account.
                with suppress(OSError):
                    for thread in Path(f"/proc/{process.pid}/task").iterdir():
                        with suppress(OSError):
                            ran, waited, _ = (thread / "schedstat").read_text().split()
                            spent[thread.name] = (int(ran) / 1e9, int(waited) / 1e9)
        return spent


class _Watch:
    """Raises the alarm in the main thread when a test's limit has passed."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True, name="time limit")
        self._thread.start()

    def cancel(self) -> None:
        self._over.set()
        self._thread.join()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _look(self) -> None:
        start, tick_s = time.monotonic(), min(_TICK_S, self._limit_s / 10)
        most_s = max(self._limit_s, min(_MOST * self._limit_s, _MOST_S))
        if self._over.wait(tick_s):
            return
        # Most tests have ended by now, and what came first counts in full.
        clock = FairClock()
        while not self._over.wait(tick_s):
            passed = time.monotonic() - start
            if tick_s + clock.seconds() > self._limit_s or passed > most_s:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
                return


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Count a test's seconds with a fair clock instead of the one on the wall."""
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        return None

    def end(signal_number: int, frame: Any) -> None:
        __tracebackhide__ = True
        pytest_timeout.timeout_sigalrm(item, settings)

    signal.signal(signal.SIGALRM, end)
    item.cancel_timeout = _Watch(settings.timeout).cancel  # type: ignore[attr-defined]
    return True
