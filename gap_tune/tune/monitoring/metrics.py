"""RayMetrics: a study's momentum, gains, decisions and faults as metrics of the Ray cluster."""

from __future__ import annotations

import math
import time
from collections import Counter as Count
from collections.abc import Sequence
from typing import Any

from ray.tune import Callback

from gap_tune.errors import InvalidValueError
from gap_tune.tune import keys
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.monitoring import latency
from gap_tune.tune.monitoring.callbacks import contained
from gap_tune.tune.monitoring.instruments import RUNNING, STATUSES, Instruments, Latest, metric_of
from gap_tune.tune.monitoring.regret import Regrets
from gap_tune.tune.ray_private.storage.experiment_files import experiment_name

# Ray's processes send a gauge only when it was set since they sent last, at most once a second and
# by default every ten; its agents drop a series that was not sent twice. So a gauge lives as long
# as it is set, and one that is no longer set is gone after 20 to 30 seconds.
_REFRESH_S = 1.0


class RayMetrics(Callback):
    """Exports what a study does through ``ray.util.metrics``, for Prometheus and Grafana.

    It runs in the driver, which sees every result anyway: trials stay as they are, and the series
    of a trial end with it, 30 seconds later at most. At the metrics port names start with
    ``ray_gap_tune_``.

    | name | tags | |
    |---|---|---|
    | ``momentum``, ``gain``, ``best_gain``, ``autocorrelation``, ``gradient_power``, \
``steps_per_second``, ``metric`` | study, arm, trial | of trials that run |
    | ``trials`` | study, status | how many trials there are |
    | ``regret`` | study, arm | metric behind the best fixed arm's so far (``Regrets``) |
    | ``decisions_total`` | study, arm, reason | reports that led to a decision, by its reason |
    | ``faults_total`` | study, arm, kind | ``failure`` for good, ``restart`` from a checkpoint |
    | ``skipped_steps_total`` | study, arm | steps with NaN or infinite gradients |
    | ``decision_seconds`` | study | from a result's arrival to the sent decision |

    The arm is ``config["arm"]``, the trainable's name where there is none; the fixed ones are named
    ``fixed:...``. A trial is paired with others by ``config["seed"]``.

    Args:
        metric: Result key of the study's metric; None leaves out ``metric`` and ``regret``. Of
            several objectives the first is shown.
        mode: "min" or "max", or one for each of several objectives; needed with ``metric``.
        study: Value of the tag; default the name of the experiment's folder.

    Raises:
        InvalidValueError: When there is a metric and ``mode`` is neither "min" nor "max".

    >>> RayMetrics("loss", "down")
    Traceback (most recent call last):
    ...
    gap_tune.errors.InvalidValueError: mode must be 'min' or 'max', but got 'down'.
    """

    def __init__(
        self,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
        *,
        study: str | None = None,
    ) -> None:
        if not metric and mode:
            raise InvalidValueError(f"metric must be given with a mode, but got mode={mode!r}.")
        self._metric, first_mode = keys.first_objective(metric, mode)
        self._regrets = None if self._metric is None else Regrets(first_mode or "")
        self._study = study
        self._complain = Complaints()
        self._latest: dict[str, Latest] = {}
        self._refreshed_at = -math.inf
        # Trials of runs before this one, by status.
        self._ended: Count[str] = Count()
        self._instruments: Instruments | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Ray saves callbacks with the study; what runs and what is exported starts anew.
        return {**self.__dict__, "_latest": {}, "_instruments": None, "_refreshed_at": -math.inf}

    def get_state(self) -> dict[str, Any] | None:
        """Return what regrets need, for a study that is restored."""
        return None if self._regrets is None else {"regrets": self._regrets.state()}

    @contained
    def set_state(self, state: dict[str, Any]) -> None:
        """Continue the regrets of a study that is restored."""
        if self._regrets is not None:
            self._regrets.load(state["regrets"])

    @contained
    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Count the result's decision and skipped steps, and keep it for the next refresh."""
        made, tags = self._made(), self._tags(trial)
        known = self._latest.get(trial.trial_id)
        if known is None:
            known = self._latest[trial.trial_id] = Latest(trial)
        known.take(result)
        if result.get(keys.REASON):
            made.decisions.inc(1, {**tags, "reason": str(result[keys.REASON])})
        seconds = latency.take(trial.trial_id)
        if seconds is not None and result.get(keys.REASON):
            made.seconds.observe(seconds, {"study": tags["study"]})
        value = metric_of(result, self._metric)
        if self._regrets is not None and value is not None:
            report = int(result["training_iteration"])
            seed = keys.setting(trial.config, "seed")
            self._regrets.add(tags["arm"], seed, trial.trial_id, report, value)

    @contained
    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        """Set the gauges of trials that run, when it is time."""
        now = time.monotonic()
        if now - self._refreshed_at >= _REFRESH_S:
            self._refreshed_at = now
            self._refresh(trials)

    @contained
    def on_trial_recover(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Count a trial that failed and is tried again."""
        self._fault(trial, "restart")

    @contained
    def on_trial_error(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Count a trial that failed for good."""
        self._fault(trial, "failure")

    @contained
    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Let a finished trial's series end."""
        self._end(trial)
        if self._regrets is not None:
            seed = keys.setting(trial.config, "seed")
            self._regrets.end(self._tags(trial)["arm"], seed, trial.trial_id)

    @contained
    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        """Set the last counts and regrets."""
        self._latest.clear()
        self._refresh(trials)
        # A study of several Ray Tune runs shares one of these.
        self._ended.update(str(trial.status) for trial in trials)

    def _end(self, trial: Any) -> None:
        known = self._latest.pop(trial.trial_id, None)
        if known is not None:
            self._show(self._made(), known)

    def _fault(self, trial: Any, kind: str) -> None:
        self._end(trial)
        self._made().faults.inc(1, {**self._tags(trial), "kind": kind})

    def _refresh(self, trials: Sequence[Any]) -> None:
        made = self._made()
        for known in self._latest.values():
            # One odd result must not cost the other trials their series.
            try:
                self._show(made, known)
            except Exception as error:
                self._complain("a trial has no metrics", known.trial, error)
        if not trials:
            return
        study = self._tags(trials[0])["study"]
        counts = self._ended + Count(str(trial.status) for trial in trials)
        for status in STATUSES:
            made.trials.set(counts[status], {"study": study, "status": status.lower()})
        for arm, regret in (self._regrets.now() if self._regrets is not None else {}).items():
            made.regret.set(regret, {"study": study, "arm": arm})

    def _show(self, made: Instruments, known: Latest) -> None:
        tags = self._tags(known.trial)
        skipped = known.read(self._metric)
        if skipped > 0:
            made.skipped.inc(skipped, tags)
        # A paused trial trains nothing.
        if known.trial.status == RUNNING:
            for name, value in known.values.items():
                made.by_trial[name].set(value, {**tags, "trial": known.trial.trial_id})

    def _tags(self, trial: Any) -> dict[str, str]:
        study = self._study or experiment_name(trial)
        return {"study": study, "arm": str(keys.setting(trial.config, "arm", trial.trainable_name))}

    def _made(self) -> Instruments:
        if self._instruments is None:
            self._instruments = Instruments()
        return self._instruments
