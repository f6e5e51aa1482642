from __future__ import annotations

from pathlib import Path

import pytest

from tests.workloads import data


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small data for every workload."""
    folder = tmp_path_factory.mktemp("data")
    data.write(folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep prepared data out of the home folder."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("GAP_TUNE_CACHE", str(folder))
    return folder
