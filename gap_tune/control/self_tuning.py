"""SelfTuning: what an optimizer offers that chooses its own momentum."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules import Decision


@runtime_checkable
class SelfTuning(Protocol):
    """An optimizer that observes its gradients and chooses its own momentum from them.

    ``gap_tune.optim.SGD``, ``Adam`` and ``AdamW`` do. Any other ``torch.optim.Optimizer`` that has
    these five is treated as they are: ``gap_tune.attach`` reports its momentum, decisions and
    statistics, sets nothing, and refuses a trial in which somebody else would set them too.

    >>> import torch
    >>> from gap_tune.optim import SGD
    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> isinstance(SGD([weight]), SelfTuning), isinstance(torch.optim.SGD([weight]), SelfTuning)
    (True, False)
    """

    @property
    def momentum(self) -> float:
        """The momentum (beta1) of the next step, in [0, 1)."""
        ...

    @property
    def trained_momentum(self) -> float:
        """The momentum of the last step, whatever was written into the groups since.

        That of the next step before the first.
        """
        ...

    @property
    def changes_momentum(self) -> bool:
        """Whether it ever changes its momentum; where it does not, it may serve as a baseline."""
        ...

    @property
    def decision(self) -> Decision | None:
        """The last decision, a new object for each; None before the first."""
        ...

    def statistics(self) -> AlignmentStatistics:
        """Return the statistics of the gradients so far."""
        ...
