"""SGD that tunes its own momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gap_tune.control import TrustRegion
from gap_tune.gradients.sampling import DEFAULT_SAMPLE
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES
from gap_tune.optim.self_tuning import SelfTuningOptimizer
from gap_tune.optim.tuned_groups import Rules


class SGD(SelfTuningOptimizer, torch.optim.SGD):
    """``torch.optim.SGD`` that chooses its momentum from the gradients it sees.

    One momentum buffer as in torch; only its coefficient changes. With
    ``rule=FixedMomentum()`` it follows ``torch.optim.SGD`` bit for bit.

    Args:
        params: Parameters or parameter groups, as for torch.
        lr: Learning rate that belongs to the constructor's ``momentum`` (see ``couple_lr``).
        momentum: Momentum to start with, in [0, 1); also the reference of the coupling.
        *args: Further positional arguments of ``torch.optim.SGD``.
        rule: Chooses the momentum; default ``AlignmentRule()``. One for all groups, or a sequence
            of one per group, each of which then decides from its own group's gradients.
        update_every: Steps between decisions. Each waits for the device once.
        sample: Coordinates to observe; None observes all.
        couple_lr: Whether the learning rate follows momentum so that the trust region stays
            (Cor. 5 of arXiv 2512.06370). The value in use is ``param_groups[i]["coupled_lr"]``.
        candidates: Momentum values to choose from.
        decay: Factor by which the statistics shrink each step.
        trust_region: How the learning rate follows the agreement (``gap_tune.TrustRegion``). None
            is as the rule asks (``MomentumRule.scales_lr``): it follows, but with the papers' rule,
            ``FixedMomentum`` and ``HorizonRule``; of several rules, for the groups whose rule asks.
            ``TrustRegion.off()`` leaves it alone. The factor in use is ``scale``.
        **kwargs: Further keyword arguments of ``torch.optim.SGD``.

    Raises:
        InvalidValueError: When an argument is out of range, or rules and groups differ in number.
        UnsupportedError: When ``rule`` is no rule, or ``differentiable=True``.

    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = SGD([weight], lr=0.01, momentum=0.9)
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     (weight ** 2).sum().backward()
    ...     _ = optimizer.step()
    >>> optimizer.momentum in optimizer.statistics().candidates
    True
    """

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-3,
        momentum: float = 0,
        *args: Any,
        rule: Rules = None,
        update_every: int = 1,
        sample: int | None = DEFAULT_SAMPLE,
        couple_lr: bool = True,
        candidates: Sequence[float] = DEFAULT_CANDIDATES,
        decay: float = 0.8,
        trust_region: TrustRegion | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, lr, momentum, *args, **kwargs)
        self._start_tuning(
            rule,
            update_every=update_every,
            couple_lr=couple_lr,
            trust_region=trust_region,
            sample=sample,
            candidates=candidates,
            decay=decay,
        )
