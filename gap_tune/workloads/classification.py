"""Classification: the loss and metrics of workloads that name one class per sample."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from gap_tune.workloads.base import Workload


class Classification(Workload):
    """A workload whose outputs are logits, shape (n, classes), and targets classes, shape (n,)."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats."""
        return functional.cross_entropy(outputs, targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the mean cross-entropy in nats and the accuracy in [0, 1]."""
        accuracy = (outputs.argmax(1) == targets).float().mean().item()
        return {"loss": self.loss(outputs, targets).item(), "accuracy": accuracy}
