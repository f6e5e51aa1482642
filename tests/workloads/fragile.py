"""A workload whose process dies once, in the middle of an epoch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from torch import Tensor

from gap_tune.workloads.vision.digits import DigitsMLP

_FATAL_STEP = 9


class Fragile(DigitsMLP):
    """Perceptron on digits.

    Args:
        grave: A file that says that it has died already.
    """

    name = "fragile"

    def __init__(self, *, grave: str) -> None:
        super().__init__()
        self.grave = Path(grave)
        self.steps = 0

    def augment(self, inputs: Tensor, generator: Any) -> Tensor:
        self.steps += 1
        if self.steps == _FATAL_STEP and not self.grave.exists():
            self.grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return inputs
