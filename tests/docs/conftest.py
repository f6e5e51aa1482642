"""What the pages' code is run with: what readers have of their own, and a study that has run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.pages import blocks
from tests.home import at_home

# What readers have of their own.
THEIRS = """
import torch

def train_one_epoch(model, optimizer):
    for _ in range(8):
        inputs = torch.randn(16, 20)
        optimizer.zero_grad()
        loss = (model(inputs)[:, 0] - inputs.sum(1)).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()
"""


def run(code: str, namespace: dict[str, Any], page: str) -> dict[str, Any]:
    """Run a block of a page in a namespace, and return what that holds afterwards."""
    exec(compile(code, page, "exec"), namespace)
    return namespace


@pytest.fixture(scope="session")
def first(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return the names that README's first block defines, after it has run."""
    with pytest.MonkeyPatch.context() as patch:
        # Ray Tune writes to the home folder where no storage is named.
        at_home(patch, tmp_path_factory.mktemp("home"))
        # Each trial starts a process; two show as much as four.
        code = blocks("README.md", "python")[0].replace("num_samples=4", "num_samples=2")
        yield run(THEIRS + code, {"__name__": "__readme__"}, "README.md")
