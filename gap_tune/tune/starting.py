"""start_ray: Ray on this machine or the cluster of RAY_ADDRESS, or in one sentence why not."""

from __future__ import annotations

import _thread
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from gap_tune.errors import RayStartError
from gap_tune.formatting import plain

# Beside other busy processes Ray may take a minute; what is no cluster never answers it.
_LIMIT_S = 180.0
_CONNECT_S = 10.0
_LONGEST_CAUSE = 300
_LOCAL = "local"


def start_ray(*, join: bool = True, limit_s: float = _LIMIT_S, **options: Any) -> None:
    """Start Ray where it does not run yet, or join the cluster of ``RAY_ADDRESS``.

    Args:
        join: Whether to join that cluster; else ``RAY_ADDRESS`` counts for nothing.
        limit_s: Seconds after which it is given up, where the main thread waits. The default is
            several times what a start takes on a busy machine.
        **options: Options of ``ray.init`` without the address; a cluster that is joined has cores
            of its own, and is not given ``num_cpus``.

    Raises:
        RayStartError: When it does not start.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS") if join else None
    # Ray's own word for no cluster.
    if address == _LOCAL:
        address = None
    if address:
        _check_answers(address)
        options.pop("num_cpus", None)
    else:
        # "local": without it Ray may join a cluster that happens to run on this machine.
        options["address"] = _LOCAL
    what = f"join the cluster of RAY_ADDRESS={address}" if address else "start on this machine"
    with _given_up_after(limit_s, what):
        try:
            ray.init(**options)
        except Exception as error:
            raise RayStartError(f"Ray must {what}, but it got {_cause(error)}.") from error


def _check_answers(address: str) -> None:
    """Raise where nobody is at a cluster's address: Ray itself would ask for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    # Others are Ray's own words, such as "auto".
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RayStartError(
            f"RAY_ADDRESS must be the address of a Ray cluster that runs, but got {address}: "
            f"{reason}. Without it Ray starts on this machine."
        ) from None


@contextmanager
def _given_up_after(seconds: float, what: str) -> Iterator[None]:
    """Interrupt what takes longer; in other threads than the main one it goes on."""
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    if threading.current_thread() is threading.main_thread():
        timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if not late.is_set():
            raise
        raise RayStartError(
            f"Ray must {what} within {seconds:g} s, but it did not: see session_latest/logs in "
            "Ray's temporary folder."
        ) from None
    finally:
        timer.cancel()


def _cause(error: Exception) -> str:
    """Return an exception in one line: Ray's have whole paragraphs."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return plain(f"{type(error).__name__}: {first}".rstrip(".: "), _LONGEST_CAUSE)
