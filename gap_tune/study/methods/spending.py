"""WithinSteps: a Searcher that starts trials as long as a budget of training steps pays them."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher


class WithinSteps(Searcher):
    """Passes on another searcher's suggestions while a full trial of them can be paid.

    Trials that end early leave what they did not use to more trials. A running trial counts as a
    full one until it has ended, so that none has to be cut off for want of steps.

    Args:
        searcher: The searcher to wrap.
        full_trials: The budget, in full trials.
        epochs: Epochs of a full trial, or what else ``time_attr`` counts.
        time_attr: Key of results that tells how many of them are done.
    """

    # Runs that an earlier version began, and Ray restores, have none of their own.
    _time_attr = "epoch"

    def __init__(
        self, searcher: Searcher, full_trials: float, epochs: int, *, time_attr: str = "epoch"
    ) -> None:
        # Ray walks this attribute name to find wrapped searchers when it saves a study.
        self.searcher = searcher
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self._budget = full_trials
        self._epochs = epochs
        self._time_attr = time_attr
        # Share of a full trial, by trial.
        self._running: dict[str, float] = {}
        self._ended = 0.0

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Pass the space on."""
        return bool(self.searcher.set_search_properties(metric, mode, config, **spec))

    def suggest(self, trial_id: str) -> Any:
        """Return a suggestion, None when it must wait for others to end, or that all is spent."""
        # Shares are sums of rounded quotients.
        if self._ended + len(self._running) + 1 > self._budget + 1e-9:
            return None if self._running else Searcher.FINISHED
        suggestion = self.searcher.suggest(trial_id)
        if suggestion is not None and suggestion != Searcher.FINISHED:
            self._running[trial_id] = 0.0
        return suggestion

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note what the trial has spent."""
        self._note(trial_id, result)
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note what the trial has spent in all.

        One that failed counts as a full trial: what it did after its last report, and again after
        each restart, nobody knows, and trials that all fail at once must come to an end.
        """
        self._note(trial_id, result or {})
        spent = self._running.pop(trial_id, 0.0)
        self._ended += 1.0 if error else spent
        self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def _note(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self._running and self._time_attr in result:
            self._running[trial_id] = result[self._time_attr] / self._epochs

    def get_state(self) -> dict[str, Any]:
        """Return what was spent; Ray saves the wrapped searcher by itself."""
        return {"running": dict(self._running), "ended": self._ended}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what ``get_state`` returned."""
        self._running, self._ended = dict(state["running"]), state["ended"]

    def save(self, checkpoint_path: str) -> None:
        """Save the wrapped searcher."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the wrapped searcher."""
        self.searcher.restore(checkpoint_path)
