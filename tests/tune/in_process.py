"""One trial of a function in this process: Ray's own session and trainable, no actor to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.trainable.function_trainable import wrap_function
from ray.tune.utils import flatten_dict

from gap_tune import GapScheduler
from tests.contracts.insides import StorageContext, shutdown_session
from tests.tune.functions import Cycle


class Life:
    """A trial from its start, or from a checkpoint, until it ends or is given up.

    A real ``GapScheduler`` answers each result, as Tune's controller would have it answer.
    """

    def __init__(
        self,
        function: Callable[[dict[str, Any]], None],
        config: dict[str, Any],
        folder: Path,
        *,
        continues: Life | None = None,
    ) -> None:
        name = f"life-{len(list(folder.iterdir()))}"
        storage = StorageContext(str(folder), experiment_dir_name=name, trial_dir_name="trial")
        self._trainable = wrap_function(function)(config=config, storage=storage)
        self._scheduler = GapScheduler(rule=Cycle())
        self._trial = Trial("__fake", stub=True, config=config, trial_id=self._trainable.trial_id)
        remote = SimpleNamespace(remote=lambda call: self._trainable.execute(call))
        self._trial.temporary_state.ray_actor = SimpleNamespace(execute=remote)
        if continues is not None:
            self._trainable.restore(continues.saved)
        self.saved: Any = None

    def answer_again(self, result: dict[str, Any]) -> None:
        """Send what the scheduler answers to a result, which another life has reported."""
        self._scheduler.on_trial_result(None, self._trial, result)

    def reports(self, most: int) -> list[dict[str, Any]]:
        """Run until the function ends, or for so many reports; return them."""
        found: list[dict[str, Any]] = []
        while len(found) < most:
            result = self._trainable.train()
            if result.get("done") or "__duplicate__" in result:
                break
            if result.get("should_checkpoint"):
                self.saved = self._trainable.save()
            found.append(flatten_dict(result))
            self._scheduler.on_trial_result(None, self._trial, found[-1])
        return found


@pytest.fixture
def life(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Life]]:
    """Make lives of trials in a folder of their own."""
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "storage").mkdir()

    def start(*args: Any, **kwargs: Any) -> Life:
        shutdown_session()
        return Life(*args, folder=tmp_path / "storage", **kwargs)

    yield start
    shutdown_session()
