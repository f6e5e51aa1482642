"""TrialStorage: checkpoints of simulated trials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gap_tune.errors import StateError
from gap_tune.simulation.task import Training


class Saved(NamedTuple):
    """A checkpoint.

    Attributes:
        training: The training, a copy.
        config: The configuration that it was trained with.
        seq: How often decisions had changed its momentum.
        iteration: How often it had reported.
        total: How long it had trained, in seconds.
    """

    training: Training
    config: Mapping[str, Any]
    seq: int
    iteration: int
    total: float


class TrialStorage:
    """Checkpoints: a folder each, which Ray deletes, and what would lie in it, in memory.

    Args:
        folder: Where the folders lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: dict[str, Saved] = {}
        self._of_trial: dict[str, list[str]] = {}
        self._made = 0

    def save(self, trial_id: str, saved: Saved) -> str:
        """Keep a checkpoint; return its path."""
        made = self._of_trial.setdefault(trial_id, [])
        # Ray deletes folders of checkpoints by itself.
        for path in [each for each in made if not Path(each).exists()]:
            made.remove(path)
            del self._saved[path]
        self._made += 1
        folder = self._folder / f"{trial_id}_{self._made:08d}"
        folder.mkdir(parents=True)
        self._saved[str(folder)] = saved
        made.append(str(folder))
        return str(folder)

    def load(self, path: str) -> Saved:
        """Return a checkpoint.

        Raises:
            StateError: When there is none.
        """
        if path not in self._saved:
            raise StateError(f"a checkpoint must be one that was saved, but got {path!r}.")
        return self._saved[path]

    def __len__(self) -> int:
        return len(self._saved)
