"""Ray's dashboard: trials that can be told apart there, a name for the job, and the way in."""

from __future__ import annotations

import os
from typing import Any

import ray
from ray.job_config import JobConfig
from ray.tune import Callback
from ray.tune.trainable import wrap_function
from rich.console import Console

from gap_tune.tune import keys
from gap_tune.tune.monitoring.callbacks import contained

# What the column "Name" of the page Jobs shows.
_JOB_NAME = "job_name"
# What the dashboard that `gap-tune dashboards` writes is called in Grafana's addresses.
GRAFANA_UID = "gap-tune"


def recognisable(trainable: Any, *, study: str, reused: bool = False) -> Any:
    """Return the trainable with study, arm and seed in the column "Repr" of the page Actors.

    Ray asks an actor for it once, when it starts. With ``reuse_actors=True`` the actor goes on to
    other trials, and nothing on the page can say to which; then it says so.

    Args:
        trainable: A training function, with resources and parameters if any, or a ``Trainable``.
        study: Name of the study.
        reused: Whether the tuner has ``reuse_actors=True``.

    Returns:
        A ``Trainable`` class of the same name, for ``tune.Tuner``.
    """
    base = trainable if isinstance(trainable, type) else wrap_function(trainable)

    class Recognisable(base):  # type: ignore[misc,valid-type]
        def __repr__(self) -> str:
            first = f"{study}: {trial_label(self.config, self.trial_name)}"
            return f"{first}, then others" if reused else first

    name = getattr(trainable, "__name__", base.__name__)
    Recognisable.__name__ = Recognisable.__qualname__ = name
    return Recognisable


def trial_label(config: dict[str, Any], name: str | None) -> str:
    """Return arm and seed of a trial's configuration; its name where there is no arm.

    >>> trial_label({"arm": "fixed:0.9", "seed": 3}, "train_1")
    'fixed:0.9 seed 3'
    """
    arm, seed = (keys.setting(config, key) for key in ("arm", "seed"))
    if arm is None:
        return str(name)
    return f"{arm}" if seed is None else f"{arm} seed {seed}"


def named_job(name: str) -> JobConfig:
    """Return the ``job_config`` for ``ray.init`` that names the job on the page Jobs.

    >>> named_job("digits: gap, fixed:0.9").metadata
    {'job_name': 'digits: gap, fixed:0.9'}
    """
    return JobConfig(metadata={_JOB_NAME: name})


class DashboardLink(Callback):
    """Says where Ray's dashboard is when the first run of a study starts.

    Args:
        stderr: Whether to say it on standard error.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr
        self._told = False

    @contained
    def setup(self, **info: Any) -> None:
        """Print the address, once, where there is one."""
        link = None if self._told else dashboard_link()
        if link is not None:
            self._told = True
            console = Console(stderr=self._stderr)
            # A terminal would break it within a word; a file takes lines of any length.
            wraps = not console.is_terminal
            console.print(f"Ray dashboard: {link}", soft_wrap=wraps, highlight=False, markup=False)


def links_line() -> str:
    """Return in one line where to see more of a study: Ray's dashboard, and Grafana if it is known.

    Ray takes Grafana's address from ``RAY_GRAFANA_HOST``, and so does this.
    """
    dashboard, grafana = _dashboard_address(), os.environ.get("RAY_GRAFANA_HOST")
    known = {
        "Ray dashboard": dashboard,
        "Grafana": f"{grafana.rstrip('/')}/d/{GRAFANA_UID}" if grafana else None,
    }
    return "  ".join(f"{name} {address}" for name, address in known.items() if address)


def _dashboard_address() -> str | None:
    if not ray.is_initialized():
        return None
    # This is the public way to ask a session that runs already.
    url = ray.init(ignore_reinit_error=True, configure_logging=False).dashboard_url
    return f"http://{url.removeprefix('http://')}" if url else None


def dashboard_link() -> str | None:
    """Return where this driver's Ray dashboard is and how to get past its token.

    Returns:
        None without a session, or where the session has no dashboard, which needs ``ray[default]``.
    """
    address = _dashboard_address()
    if address is None:
        return None
    if os.environ.get("RAY_AUTH_MODE", "token") == "disabled":
        return address
    return f"{address} (asks for a token: `ray get-auth-token` prints it)"
