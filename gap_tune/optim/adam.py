"""Adam and AdamW that tune their own beta1, and beta2 on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gap_tune.control import TrustRegion
from gap_tune.gradients.sampling import DEFAULT_SAMPLE
from gap_tune.gradients.statistics import SCALED_ADAM_CANDIDATES
from gap_tune.optim.self_tuning import SelfTuningOptimizer
from gap_tune.optim.tuned_groups import Rules

# Adam's usual 0.9 and what lies below: above it no rule, and no fixed beta1, did well.
ADAM_CANDIDATES = (0.5, 0.8, 0.9, 0.95)


class _SelfTuningAdam(SelfTuningOptimizer):
    """The constructor that Adam and AdamW share."""

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *args: Any,
        rule: Rules = None,
        update_every: int = 1,
        sample: int | None = DEFAULT_SAMPLE,
        couple_lr: bool = False,
        candidates: Sequence[float] | None = None,
        beta2_candidates: Sequence[float] | None = None,
        decay: float = 0.8,
        trust_region: TrustRegion | None = None,
        **kwargs: Any,
    ) -> None:
        # The next class in line is torch's optimizer, which mypy cannot know.
        super().__init__(params, lr, betas, *args, **kwargs)  # type: ignore[call-arg, arg-type]
        self._start_tuning(
            rule,
            update_every=update_every,
            couple_lr=couple_lr,
            trust_region=trust_region,
            sample=sample,
            candidates=candidates,
            decay=decay,
            whitening=(float(betas[1]),) if beta2_candidates is None else tuple(beta2_candidates),
            eps=self.defaults["eps"],
        )

    def _default_candidates(self, region: TrustRegion) -> Sequence[float]:
        return SCALED_ADAM_CANDIDATES if region.is_on else ADAM_CANDIDATES


class Adam(_SelfTuningAdam, torch.optim.Adam):
    """``torch.optim.Adam`` that chooses its beta1 from the gradients it sees.

    Gradients are whitened by ``c_j = sqrt(v_j)``, and the candidate with the largest
    ``J = sqrt((1-beta1^2)/W) A(beta1)``, ``W = sum_j 1/c_j``, wins (Cor. 6 of arXiv 2512.06370).
    One pair of buffers as in torch. With ``rule=FixedMomentum()`` it follows torch bit for bit.

    Args:
        params: Parameters or parameter groups, as for torch.
        lr: Learning rate.
        betas: beta1 to start with and beta2.
        *args: Further positional arguments of torch's optimizer.
        rule: Chooses beta1; default ``AlignmentRule()``. One for all groups, or one per group.
        update_every: Steps between decisions. Each waits for the device once.
        sample: Coordinates to observe; None observes all.
        couple_lr: Whether the learning rate follows beta1 so that the trust region stays. Off by
            default: Adam's update is scaled by (1 - beta1) already, and did better without.
        candidates: Values of beta1 to choose from; default 0.5 and 0.8, and without a trust region
            that follows the agreement 0.5, 0.8, 0.9 and 0.95.
        beta2_candidates: Values of beta2, increasing, to choose from together with beta1; None
            keeps beta2.
        decay: Factor by which the statistics shrink each step.
        trust_region: How the learning rate follows the agreement (``gap_tune.TrustRegion``). None
            is as the rule asks (``MomentumRule.scales_lr``): it follows, but with the papers' rule,
            ``FixedMomentum`` and ``HorizonRule``; of several rules, for the groups whose rule asks.
            ``TrustRegion.off()`` leaves it alone. The factor in use is ``scale``.
        **kwargs: Further keyword arguments of torch's optimizer.

    Raises:
        InvalidValueError: When an argument is out of range, or rules and groups differ in number.
        UnsupportedError: When ``rule`` is no rule, or ``differentiable=True``.

    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = Adam([weight], lr=0.01, beta2_candidates=(0.9, 0.99, 0.999))
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     (weight ** 2).sum().backward()
    ...     _ = optimizer.step()
    >>> optimizer.momentum in optimizer.statistics().candidates
    True
    """


class AdamW(_SelfTuningAdam, torch.optim.AdamW):
    """``torch.optim.AdamW`` that chooses its beta1; see ``Adam`` for arguments and errors.

    Decoupled weight decay is no part of the gradient, so it is no part of the statistics.

    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> AdamW([weight]).momentum
    0.9
    """
