"""Journal: a panel's folder, where every finished run is a line that a kill cannot take back."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.files import end_line, json_lines, write_text
from gap_tune.panel.running import RunKey
from gap_tune.panel.settings import PanelSettings
from gap_tune.rules import AlignmentRule

PANEL_FILE = "panel.json"
RUNS_FILE = "runs.jsonl"
_UNWRITABLE = "out must be a folder that can be written, but got {}: {}."
_PACKAGES = ("gap-tune", "torch", "numpy", "scikit-learn", "ray")
# What makes runs of another day comparable; the command and other versions are told only.
_COMPARED = ("settings", "seeds", "lr_span", "lr_count", "rule", "version")


@dataclass(frozen=True)
class Journal:
    """The folder of a panel.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other panels out of the folder.

        Raises:
            InvalidValueError: When the folder cannot be written or another panel runs in it.
        """
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise InvalidValueError(
                f"out must be a folder that no other panel runs in, but got {self.folder}."
            ) from None
        except OSError as error:
            raise InvalidValueError(_UNWRITABLE.format(self.folder, error.strerror)) from None
        try:
            yield
        finally:
            lock.release()

    def begin(self, settings: PanelSettings) -> dict[str, Any]:
        """Note what the panel is, or check that it is the one that the folder holds.

        Returns:
            The note, as it was written first.

        Raises:
            StateError: When the folder holds another panel.
        """
        path = self.folder / PANEL_FILE
        # As JSON reads it back, so that tuples and lists do not differ.
        note: dict[str, Any] = json.loads(json.dumps(_note(settings)))
        if not path.exists():
            write_text(path, json.dumps(note, indent=2) + "\n")
            return note
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            differing = [key for key in _COMPARED if found[key] != note[key]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"{path} must be a panel's note, but got: {error!r}.") from None
        if differing:
            raise StateError(
                f"the {' and '.join(differing)} must be those that the panel in {self.folder} was "
                "started with, but got others: choose another folder, or go back to those."
            )
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a finished run, and wait until it is on the disk.

        Raises:
            InvalidValueError: When the file cannot be written.
        """
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        try:
            end_line(self.folder / RUNS_FILE)
            with (self.folder / RUNS_FILE).open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InvalidValueError(_UNWRITABLE.format(self.folder, error.strerror)) from None

    def rows(self) -> list[dict[str, Any]]:
        """Return the finished runs; of one that was done twice, the later."""
        found: dict[RunKey, dict[str, Any]] = {}
        for row in json_lines(self.folder / RUNS_FILE):
            with suppress(KeyError, TypeError):
                found[key_of(row)] = row
        return list(found.values())


def key_of(row: Mapping[str, Any]) -> RunKey:
    """Return what tells a line apart from the panel's other runs."""
    return row["setting"], row["arm"], row["lr"], row["seed"]


def _note(settings: PanelSettings) -> dict[str, Any]:
    return {
        **settings.describe(),
        "rule": repr(AlignmentRule()),
        "version": version("gap-tune"),
        "command": " ".join(["gap-tune", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }
