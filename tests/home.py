"""A home of a test's own, for what runs in this process and keeps files at home."""

from __future__ import annotations

from pathlib import Path

import pytest


def at_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder the home, and where Ray keeps studies by default.

    Ray asks for the home when it is imported. And it names an experiment's folder by the training
    function and the second: two processes that test share one where both start a study at once.
    """
    monkeypatch.setenv("HOME", str(folder))
    storage = str(folder / "ray_results")
    monkeypatch.setattr("ray.train.constants.DEFAULT_STORAGE_PATH", storage)
