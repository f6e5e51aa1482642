"""Journal: a panel's folder, where every finished run is a line that a kill cannot take back."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.files import end_line, write_text
from gap_tune.panel.settings import PanelSettings
from gap_tune.records.panels import COMPARED, PANEL_FILE, RUNS_FILE, read_note
from gap_tune.rules import AlignmentRule

_UNWRITABLE = "out must be a folder that can be written, but got {}: {}."
_PACKAGES = ("gap-tune", "torch", "numpy", "scikit-learn", "ray")


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

        A panel may have other settings than the folder's, as its halves have; one that both have
        must be the same in both.

        Returns:
            The note, as it was written first, with the settings that have come since.

        Raises:
            StateError: When the folder holds another panel.
        """
        path = self.folder / PANEL_FILE
        # As JSON reads it back, so that tuples and lists do not differ.
        note: dict[str, Any] = json.loads(json.dumps(_note(settings)))
        if not path.exists():
            write_text(path, json.dumps(note, indent=2) + "\n")
            return note
        found = read_note(self.folder)
        known, asked = ({each["name"]: each for each in n["settings"]} for n in (found, note))
        # Compared is what both have: only that may differ.
        note["settings"] = [asked.get(name, setting) for name, setting in known.items()]
        differing = [key for key in COMPARED if found[key] != note[key]]
        if differing:
            raise StateError(
                f"the {' and '.join(differing)} must be those that the panel in {self.folder} was "
                "started with, but got others: choose another folder, or go back to those."
            )
        new = [setting for name, setting in asked.items() if name not in known]
        if new:
            found |= {"settings": found["settings"] + new, "command": note["command"]}
            write_text(path, json.dumps(found, indent=2) + "\n")
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


def _note(settings: PanelSettings) -> dict[str, Any]:
    return {
        **settings.describe(),
        "rule": repr(AlignmentRule()),
        "version": version("gap-tune"),
        "command": " ".join(["gap-tune", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }
