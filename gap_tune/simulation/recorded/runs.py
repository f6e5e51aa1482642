"""RecordedRuns: the settings of a table, each read when it is first asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gap_tune.simulation.recorded.files import Tables
from gap_tune.simulation.recorded.task import RecordedTask

SHIPPED = Path(__file__).parents[1] / "tables"


class RecordedRuns(Mapping[str, RecordedTask]):
    """A table of recorded runs: tasks by the name of their setting.

    Args:
        tables: The table.
        folder: Where it is, for other processes to find it.
    """

    def __init__(self, tables: Tables, folder: Path) -> None:
        self._tables = tables
        self._folder = folder
        self._tasks: dict[str, RecordedTask] = {}

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> RecordedRuns:
        """Return the runs in a folder that ``gap-tune simulate record`` made.

        Args:
            path: The folder; by default that of the runs which gap_tune ships.

        Raises:
            StateError: When there are none, or they are of another version or not whole.
        """
        folder = SHIPPED if path is None else Path(path).absolute()
        return cls(Tables(folder), folder)

    @property
    def note(self) -> Mapping[str, Any]:
        """What the table's note says: versions, the suite, facts of every setting."""
        return self._tables.note

    def __getitem__(self, name: str) -> RecordedTask:
        if name not in self._tasks:
            if name not in self._tables.names:
                raise KeyError(name)
            source = (_task, (str(self._folder), name))
            self._tasks[name] = RecordedTask(self._tables.read(name), source)
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables.names)

    def __len__(self) -> int:
        return len(self._tables.names)


# Trainings are pickled by the thousand, and all of a task's need it once.
_loaded = lru_cache(maxsize=8)(RecordedRuns.load)


def _task(folder: str, name: str) -> RecordedTask:
    return _loaded(folder)[name]
