"""A small text that every installation has, for the panel's language setting."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from gap_tune.workloads.base import Recipes
from gap_tune.workloads.text.characters import Characters


class ShippedText(Characters):
    """A transformer of one block on the descriptions of scikit-learn's tables, 43,000 characters.

    Small enough for hundreds of runs: two heads, no dropout.

    Args:
        window: Characters that the model sees at once.
        width: Size of a character's representation.

    Raises:
        InvalidValueError: When an option is out of range.
    """

    name = "shipped-text"
    description = "one-block GPT (20 k parameters) on characters"
    size = "43,000 characters"
    source = "shipped with scikit-learn"
    needs = "nothing"
    lr = 1e-2
    weight_decay = 1e-2
    recipes: ClassVar[Recipes] = {"sgd": {"lr": 0.2, "weight_decay": 0.0}}
    evaluation_batch_size = 256

    def __init__(self, *, window: int = 32, width: int = 32) -> None:
        found = find_spec("sklearn.datasets.descr")
        folders = (found and found.submodule_search_locations) or []
        files = [str(path) for folder in folders for path in sorted(Path(folder).glob("*.rst"))]
        super().__init__(files=files, window=window, layers=1, heads=2, width=width, dropout=0.0)
