"""Programs that some tests drive: found, skipped without, or a failure where all must be there."""

from __future__ import annotations

import os
import shutil

import pytest


def program(*names: str) -> str:
    """Return the path of the first of these programs that is installed.

    Without any the test skips; it fails where ``GAP_TUNE_REQUIRE_PROGRAMS`` is set, as it is in
    CI, lest a test that never runs looks like one that passes.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    missing = f"{' or '.join(names)} is not installed"
    if os.environ.get("GAP_TUNE_REQUIRE_PROGRAMS"):
        pytest.fail(f"{missing}, but GAP_TUNE_REQUIRE_PROGRAMS is set")
    pytest.skip(missing)
