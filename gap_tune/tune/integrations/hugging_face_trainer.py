"""Hooks: the moments of a Hugging Face ``Trainer`` of which it tells no callback."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gap_tune.tune.trial.storage import go_on_without, is_storage_fault

_ROUND = "_report_to_hp_search"
_SAVE = "_save_checkpoint"
_SAVE_FOR_RAY = "_tune_save_checkpoint"


class Hooks:
    """Methods of one trainer that are replaced while it trains.

    Callbacks are told of each evaluated data set, but not where the round of all of them ends;
    they may ask for a checkpoint, but an error while it is saved passes them by; and what a search
    reports, it reports itself. So the trainer's own methods for these three are replaced, in this
    one object, until ``remove``. A trainer without them is left alone.

    Args:
        trainer: The trainer; None where it was not found.
        on_round: Called at the end of an evaluation round with the metrics of all its data sets.
    """

    def __init__(self, trainer: Any, on_round: Callable[[dict[str, Any]], None]) -> None:
        self.trainer = trainer
        self._on_round = on_round
        self._before: dict[str, Any] = {}
        self._failed = False
        self._replace(_ROUND, self._round)
        self._replace(_SAVE, self._save)

    @property
    def searches(self) -> bool:
        """Whether the trainer is one of ``hyperparameter_search(backend="ray")``."""
        backend = getattr(self.trainer, "hp_search_backend", None)
        return backend == "ray" and getattr(self.trainer, "_trial", None) is not None

    def can_follow(self, state: Any) -> bool:
        """Tell whether reports of a search, if this is one, can hold more than the trainer's."""
        if self.trainer is None:
            return getattr(state, "trial_params", None) is None
        return not self.searches or (
            _ROUND in self._before and hasattr(self.trainer, _SAVE_FOR_RAY)
        )

    def checkpoint(self, output_dir: str, step: int) -> Path | None:
        """Return the folder of the checkpoint just saved; None where saving has failed."""
        folder = self._folder(output_dir, step)
        saved = not self._failed and folder.is_dir()
        self._failed = False
        return folder if _all_ranks(saved) else None

    def save_for_ray(self, folder: Path) -> Path | None:
        """Save what a search resumes from into a folder; return it, or None where that failed."""
        try:
            getattr(self.trainer, _SAVE_FOR_RAY)(checkpoint_dir=str(folder))
            for saved in folder.iterdir():
                # Without it, dropout after a resume is not what it would have been.
                self.trainer._save_rng_state(str(saved))
        except Exception as error:
            if not is_storage_fault(error):
                raise
            go_on_without(error)
            return None
        return folder

    def remove(self) -> None:
        """Give the trainer its own methods back."""
        for name, before in self._before.items():
            vars(self.trainer).pop(name, None)
            if before is not None:
                setattr(self.trainer, name, before)
        self._before = {}

    def _replace(self, name: str, by: Callable[..., None]) -> None:
        own = getattr(self.trainer, name, None)
        if own is not None:
            self._before[name] = vars(self.trainer).get(name)
            setattr(self.trainer, name, partial(by, own))

    def _round(self, own: Callable[..., None], trial: Any, step: int, metrics: Any) -> None:
        if not self.searches:
            own(trial, step, metrics)
        self._on_round(dict(metrics))

    def _save(self, own: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        try:
            own(*args, **kwargs)
        except Exception as error:
            if not is_storage_fault(error):
                raise
            go_on_without(error)
            self._failed = True
            # It is a part of a checkpoint, which no resume must find.
            of_trainer = self.trainer.args.output_dir, self.trainer.state.global_step
            shutil.rmtree(self._folder(*of_trainer), ignore_errors=True)

    def _folder(self, output_dir: str, step: int) -> Path:
        # A search has a folder for each trial in there.
        asked = getattr(self.trainer, "_get_output_dir", None)
        folder = output_dir if asked is None else asked(getattr(self.trainer, "_trial", None))
        return Path(folder) / f"checkpoint-{step}"


def calling_trainer() -> Any:
    """Return the trainer that is calling a callback; None where there is none.

    transformers hands its callbacks everything but the trainer, so the stack must tell.
    """
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if "callback_handler" in getattr(found, "__dict__", ()):
            return found
        frame = frame.f_back
    return None


def _all_ranks(done: bool) -> bool:
    """Tell whether all ranks say so: a part of a checkpoint is none."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return done
    told: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(told, done)
    return all(told)
