"""Journal: a suite's folder, where every finished run is a line that a kill cannot take back."""

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
from gap_tune.records.suites import RUNS_FILE, note_path, read_note
from gap_tune.rules import AlignmentRule

_UNWRITABLE = "out must be a folder that can be written, but got {}: {}."
_PACKAGES = ("gap-tune", "torch", "numpy", "scikit-learn", "ray")


@dataclass(frozen=True)
class Journal:
    """The folder of a suite.

    Attributes:
        folder: Where it is.
        kind: What its owner calls it; the note is ``<kind>.json``.
    """

    folder: Path
    kind: str = "suite"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other suites out of the folder.

        Raises:
            InvalidValueError: When the folder cannot be written or another suite runs in it.
        """
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise InvalidValueError(
                f"out must be a folder that no other {self.kind} runs in, but got {self.folder}."
            ) from None
        except OSError as error:
            raise InvalidValueError(_UNWRITABLE.format(self.folder, error.strerror)) from None
        try:
            yield
        finally:
            lock.release()

    def begin(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """Note what the suite is, or check that it is the one that the folder holds.

        Args:
            described: What no later session may change, as of ``Suite.describe``. The default rule
                and the version of gap_tune belong to it, too. Under "settings" it lists mappings,
                each with a "name"; there may be others than the folder's, as the halves of a panel
                have, and one that both have must be the same in both.

        Returns:
            The note, as it was written first, with the settings that have come since.

        Raises:
            InvalidValueError: When the folder cannot be written.
            StateError: When the folder holds another suite.
        """
        # As JSON reads it back, so that tuples and lists do not differ.
        compared: dict[str, Any] = json.loads(
            json.dumps({**described, "rule": repr(AlignmentRule()), "version": version("gap-tune")})
        )
        path = note_path(self.folder, self.kind)
        if not path.exists():
            note = {**compared, **_circumstances()}
            write_text(path, json.dumps(note, indent=2) + "\n")
            return note
        found = read_note(self.folder, self.kind)
        known, asked = ({s["name"]: s for s in note["settings"]} for note in (found, compared))
        # Compared is what both have: only that may not differ.
        compared["settings"] = [asked.get(name, setting) for name, setting in known.items()]
        differing = [key for key, value in compared.items() if found.get(key) != value]
        if differing:
            raise StateError(
                f"the {' and '.join(differing)} must be those that the {self.kind} in "
                f"{self.folder} was started with, but got others: choose another folder, or go "
                "back to those."
            )
        new = [setting for name, setting in asked.items() if name not in known]
        if new:
            command = _circumstances()["command"]
            found |= {"settings": found["settings"] + new, "command": command}
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


def _circumstances() -> dict[str, Any]:
    """Return what a reader wants to know, and another session may have otherwise."""
    return {
        "command": " ".join(["gap-tune", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }
