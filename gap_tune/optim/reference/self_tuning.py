"""Self-tuning SGD and Adam by hand: statistics of the whole history before every decision."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, AlignmentStatistics
from gap_tune.optim.reference.statistics import adam_divisors, alignment_statistics
from gap_tune.rules import MomentumRule

Array = NDArray[np.float64]


class _ReferenceSelfTuning(ABC):
    """Decision and coupling; subclasses move the weights.

    At step t, before the weights move, the rule sees the statistics of ``g_1 .. g_t``. With
    coupling, the learning rate in use keeps the trust region of the given one (Cor. 5)::

        lr* = lr sqrt((1 - beta^2) / (1 - beta_0^2))      beta_0: the momentum at the start

    Attributes:
        weights: As of now, shape (n,).
        momentum: In use at the last step.
        coupled_lr: In use at the last step.
        history: All gradients so far, each of shape (n,).
    """

    def __init__(
        self,
        weights: Array,
        *,
        lr: float,
        momentum: float,
        rule: MomentumRule,
        update_every: int,
        couple_lr: bool,
        candidates: Sequence[float],
        decay: float,
        weight_decay: float,
        maximize: bool,
    ) -> None:
        self.weights = np.array(weights, dtype=np.float64)
        self.lr = self.coupled_lr = lr
        self.momentum = self.reference_momentum = momentum
        self.rule, self.update_every, self.couple_lr = rule, update_every, couple_lr
        self.candidates, self.decay = tuple(candidates), decay
        self.weight_decay, self.maximize = weight_decay, maximize
        self.history: list[Array] = []

    def step(self, gradient: Array | None) -> None:
        """Decide and take one step; assign ``lr`` before it to follow a schedule.

        Args:
            gradient: Shape (n,); None is a step without a gradient, which is none.
        """
        if gradient is None:
            return
        self.history.append(np.asarray(gradient, dtype=np.float64))
        if len(self.history) % self.update_every == 0:
            self._adopt(self.rule.decide(self.statistics(), self.momentum).momentum)
        self.coupled_lr = self.lr * self._coupling() if self.couple_lr else self.lr
        self._move(-self.history[-1] if self.maximize else self.history[-1])

    def statistics(self) -> AlignmentStatistics:
        """Return the statistics of all gradients so far."""
        return alignment_statistics(
            self.history, self.candidates, decay=self.decay, divisors=self._divisors()
        )

    def _coupling(self) -> float:
        return math.sqrt((1 - self.momentum**2) / (1 - self.reference_momentum**2))

    def _adopt(self, momentum: float) -> None:
        self.momentum = momentum

    def _divisors(self) -> list[Array] | None:
        return None

    @abstractmethod
    def _move(self, gradient: Array) -> None:
        """Move the weights down the gradient, weight penalty not yet included."""


class ReferenceSGD(_ReferenceSelfTuning):
    """``gap_tune.optim.SGD`` on one parameter of shape (n,), observed whole, by hand.

    ``m = momentum m + (1 - dampening) g`` with the momentum decided at each step; the first
    gradient, and the first after a momentum of 0, becomes the buffer undampened, as in torch.

    >>> import numpy as np
    >>> from gap_tune.rules import FixedMomentum
    >>> sgd = ReferenceSGD(np.array([1.0]), lr=0.1, momentum=0.5, rule=FixedMomentum())
    >>> sgd.step(np.array([1.0]))
    >>> sgd.step(np.array([1.0]))
    >>> sgd.weights.round(6).tolist()
    [0.75]
    """

    def __init__(
        self,
        weights: Array,
        *,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        rule: MomentumRule,
        update_every: int = 1,
        couple_lr: bool = True,
        candidates: Sequence[float] = DEFAULT_CANDIDATES,
        decay: float = 0.8,
    ) -> None:
        super().__init__(
            weights,
            lr=lr,
            momentum=momentum,
            rule=rule,
            update_every=update_every,
            couple_lr=couple_lr,
            candidates=candidates,
            decay=decay,
            weight_decay=weight_decay,
            maximize=maximize,
        )
        self.dampening, self.nesterov = dampening, nesterov
        self.buffer: Array | None = None

    def _adopt(self, momentum: float) -> None:
        super()._adopt(momentum)
        if momentum == 0:
            self.buffer = None

    def _move(self, gradient: Array) -> None:
        gradient = gradient + self.weight_decay * self.weights
        update = gradient
        if self.momentum != 0:
            if self.buffer is None:
                self.buffer = gradient
            else:
                self.buffer = self.momentum * self.buffer + (1 - self.dampening) * gradient
            update = gradient + self.momentum * self.buffer if self.nesterov else self.buffer
        self.weights = self.weights - self.coupled_lr * update


class ReferenceAdam(_ReferenceSelfTuning):
    """``gap_tune.optim.Adam`` on one parameter of shape (n,), observed whole, by hand.

    Gradients are whitened by ``adam_divisors``. ``decoupled`` is AdamW. The average is divided by
    the total weight that it really has, whatever beta1 was at each step, and the coupled learning
    rate is that of an average (Cor. 6)::

        lr* = lr sqrt((1 - beta1^2) / (1 - beta_0^2)) (1 - beta_0) / (1 - beta1)

    >>> import numpy as np
    >>> from gap_tune.rules import FixedMomentum
    >>> adam = ReferenceAdam(np.array([1.0]), lr=0.1, rule=FixedMomentum(), eps=0.0)
    >>> adam.step(np.array([5.0]))
    >>> adam.weights.round(6).tolist()
    [0.9]
    """

    def __init__(
        self,
        weights: Array,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        maximize: bool = False,
        rule: MomentumRule,
        update_every: int = 1,
        couple_lr: bool = False,
        candidates: Sequence[float] = DEFAULT_CANDIDATES,
        decay: float = 0.8,
    ) -> None:
        super().__init__(
            weights,
            lr=lr,
            momentum=betas[0],
            rule=rule,
            update_every=update_every,
            couple_lr=couple_lr,
            candidates=candidates,
            decay=decay,
            weight_decay=weight_decay,
            maximize=maximize,
        )
        self.beta2, self.eps, self.decoupled = betas[1], eps, decoupled
        self.mean, self.square = np.zeros_like(self.weights), np.zeros_like(self.weights)
        self.mass = 0.0

    def _coupling(self) -> float:
        return super()._coupling() * (1 - self.reference_momentum) / (1 - self.momentum)

    def _divisors(self) -> list[Array]:
        return adam_divisors(self.history, beta2=self.beta2, eps=self.eps)

    def _move(self, gradient: Array) -> None:
        if self.decoupled:
            self.weights = (1 - self.lr * self.weight_decay) * self.weights
        else:
            gradient = gradient + self.weight_decay * self.weights
        steps = len(self.history)
        self.mean = self.momentum * self.mean + (1 - self.momentum) * gradient
        self.square = self.beta2 * self.square + (1 - self.beta2) * gradient**2
        self.mass = self.momentum * self.mass + (1 - self.momentum)
        mean = self.mean / self.mass
        divisor = np.sqrt(self.square / (1 - self.beta2**steps)) + self.eps
        self.weights = self.weights - self.coupled_lr * mean / divisor
