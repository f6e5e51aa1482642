"""YellowFin: SGD that tunes its learning rate and momentum from gradient norms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from gap_tune.errors import StateError, check_range
from gap_tune.gradients.observed_bank import warn_of_new_start
from gap_tune.gradients.observed_set import ObservedSet
from gap_tune.gradients.reading import GradientReader, all_parameters
from gap_tune.gradients.sampling import DEFAULT_SAMPLE
from gap_tune.optim.momentum_sgd import MomentumSGD
from gap_tune.optim.vectors import observed_gradient
from gap_tune.theory.yellowfin import DECAY, YellowFinAverages, single_step, squared_mean

_KEY = "gap_tune"
_VERSION = 1
_AS_IT_IS = {"maximize": False, "weight_decay": 0.0}


class YellowFin(MomentumSGD):
    r"""SGD whose learning rate and momentum follow YellowFin's published rule at each step.

    With the minibatch gradient ``g_t``, and momentum and rate of ``theory.single_step``::

        m_t     = momentum_t m_{t-1} + g_t
        w_{t+1} = w_t - lr rate_t m_t

    ``lr`` is a factor on the rule's rate: 1 follows the rule, a schedule lets it fall, and groups
    with different factors share momentum and rate. What is in use shows in
    ``param_groups[i]["momentum"]`` and ``["rate"]``; over the first 200 steps the rate rises to
    the rule's. A gradient that is zero, NaN or infinite is not measured, and the last momentum and
    rate stay.

    The variance needs the mean gradient. It is taken from a fixed sample of coordinates, so that
    besides the momentum buffer the memory does not grow with the model. ``step`` waits for the
    device once. When parameters begin to train that did not so far, the averages start anew, since
    the gradient is another.

    Where this differs from the authors' program: the first step follows the rule too, instead of a
    rate of 1; momentum and rate are exact, without an epsilon of 1e-6 that small gradients would
    sink into; both envelopes are averaged in the logarithm; gradients are not clipped, which is
    left to the training loop. As there, weight decay moves the weights and is not measured.

    Args:
        params: Parameters or parameter groups; ``lr``, ``weight_decay`` and ``maximize`` can be set
            per group.
        lr: Factor on the rule's learning rate, >= 0.
        weight_decay: L2 penalty, >= 0, as in ``torch.optim.SGD``.
        maximize: Ascend instead of descend.
        sample: Coordinates to take the variance from; None takes all, in one vector more.

    Raises:
        InvalidValueError: When an option is out of range.
        UnsupportedError: When a parameter is complex or a gradient is sparse.
        StateError: From ``load_state_dict``, when the state is of another kind or sample.

    Source: "YellowFin and the Art of Momentum Tuning" (arXiv 1706.03471), Algorithms 1 to 4.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = YellowFin([weight])
    >>> for _ in range(300):
    ...     optimizer.zero_grad()
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> weight.norm().item() < 1e-3
    True
    """

    _averages: YellowFinAverages
    _mean: Tensor | None
    _observed: ObservedSet
    _made_reader: GradientReader | None

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        sample: int | None = DEFAULT_SAMPLE,
    ) -> None:
        self._sample = sample
        self._observed = ObservedSet(())
        self._start_anew()
        defaults = {
            "lr": lr,
            "momentum": 0.0,
            "rate": 0.0,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "steps": 0,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as in torch; the averages start anew, since the gradient is another."""
        super().add_param_group(param_group)
        self._follow_parameters()

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state dict, with the averages under the key "gap_tune"."""
        own = {
            "version": _VERSION,
            "sample": self._sample,
            "averages": asdict(self._averages),
            "observed": self._observed.layout(),
            "mean": None if self._mean is None else self._mean.clone(),
        }
        return {**super().state_dict(), _KEY: own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, whatever is frozen now.

        Averages of other parameters start anew, with a warning that says what differs.

        Raises:
            StateError: When it is of another optimizer, version or sample.
        """
        own = state_dict.get(_KEY) or {}
        self._check_own(own)
        super().load_state_dict({k: v for k, v in state_dict.items() if k != _KEY})
        self._follow_parameters()
        self._start_anew()
        if difference := self._adopt(own):
            warn_of_new_start(difference)

    def __getstate__(self) -> dict[str, Any]:
        own = {name: vars(self)[name] for name in ("_sample", "_averages", "_mean", "_observed")}
        # The reader is made again, from the parameters of the copy.
        return {**super().__getstate__(), **own, "_made_reader": None}

    @property
    def _reader(self) -> GradientReader:
        if self._made_reader is None:
            self._made_reader = GradientReader(self._observed.parameters, self._sample)
        return self._made_reader

    def _follow_parameters(self) -> None:
        """Start anew where other parameters train than so far."""
        if self._observed.follow(all_parameters(self.param_groups)):
            self._start_anew()

    def _start_anew(self) -> None:
        self._averages = YellowFinAverages()
        self._mean = None
        self._made_reader = None

    def _check_own(self, own: Mapping[str, Any]) -> None:
        found = {name: own.get(name) for name in ("version", "sample")}
        names = sorted(own.get("averages", ()))
        expected = {"version": _VERSION, "sample": self._sample}
        if found != expected or names != sorted(f.name for f in fields(YellowFinAverages)):
            raise StateError(
                f"the state must be YellowFin's, of {expected}, but got {found} with averages of "
                f"{names}."
            )

    def _adopt(self, own: Mapping[str, Any]) -> str:
        """Take over saved averages; return why they are of no use here, "" where they are."""
        layout = own.get("observed")
        if layout is not None:
            if misfit := self._observed.misfit(layout):
                return misfit
            self._observed, self._made_reader = self._observed.having(layout), None
        mean = own["mean"]
        if mean is not None:
            if tuple(mean.shape) != (self._reader.size,):
                return f"{mean.numel()} coordinates, but here {self._reader.size}"
            self._mean = self._reader.empty().copy_(mean)
        averages = own["averages"]
        self._averages = YellowFinAverages(**{**averages, "window": tuple(averages["window"])})
        return ""

    def _check_options(self, options: dict[str, Any]) -> None:
        for name in ("lr", "weight_decay", "rate"):
            check_range(name, options[name], 0.0, math.inf, high_open=True)
        check_range("momentum", options["momentum"], 0.0, 1.0)

    def _measure(self) -> None:
        self._follow_parameters()
        gradients = [
            gradient
            for group in self.param_groups
            for parameter in group["params"]
            if (gradient := observed_gradient(parameter, _AS_IT_IS)) is not None
        ]
        if gradients and self._take_in(gradients):
            momentum, rate = single_step(self._averages.measurements())
            for group in self.param_groups:
                group["momentum"] = momentum
                group["rate"] = rate * self._averages.slow_start

    def _take_in(self, gradients: list[Tensor]) -> bool:
        """Take the gradients into the averages; return whether there was something to take in."""
        seen = self._reader.read(self._reader.empty())
        if self._mean is None:
            self._mean = torch.zeros_like(seen)
        # All that is needed is read before, so that what is not finite never gets into the mean.
        squared_norm, observed, across, before = torch.stack(
            [
                _squared_norm(gradients, seen),
                seen @ seen,
                seen @ self._mean,
                self._mean @ self._mean,
            ]
        ).tolist()
        if not 0 < squared_norm < math.inf:
            return False
        mean = squared_mean(before, across, observed)
        self._mean.mul_(DECAY).add_(seen, alpha=1 - DECAY)
        self._averages = self._averages.take_in(squared_norm, observed, mean)
        return True

    def _update(self, group: dict[str, Any]) -> None:
        self._follow(group, group["momentum"], group["lr"] * group["rate"])


def _squared_norm(gradients: list[Tensor], like: Tensor) -> Tensor:
    """Return the squared norm of all gradients together, 0-d, where and as ``like`` is."""
    norms = torch._foreach_norm(gradients, 2, like.dtype)
    return torch.stack([norm.to(like.device) for norm in norms]).square().sum()
