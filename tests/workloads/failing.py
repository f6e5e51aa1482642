"""A workload that no trial survives."""

from __future__ import annotations

from torch import Tensor

from gap_tune.workloads.quadratic import Quadratic


class Failing(Quadratic):
    """Quadratic whose loss cannot be computed."""

    name = "failing"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("no loss today")
