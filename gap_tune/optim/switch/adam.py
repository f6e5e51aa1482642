"""Adam and AdamW that switch between K values of beta1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from gap_tune.errors import InvalidValueError, check_range
from gap_tune.optim.switch.base import SwitchArguments, SwitchOptimizer, with_gradients
from gap_tune.optim.switch.buffers import (
    Slot,
    advance,
    flat,
    inner_products,
    loss_gradient,
    store,
    tiles,
)
from gap_tune.optim.switch.choice import MomentumChoice


class _AdamArguments(SwitchArguments, total=False):
    maximize: bool
    foreach: bool | None


class SwitchAdam(SwitchOptimizer):
    r"""Adam that follows, at each step, the beta1 best aligned with the whitened gradient.

    Each parameter has K momentum buffers and one second moment ``v``. With the gradient ``g_t``
    (L2 weight decay included) and the candidates ``beta_k``::

        m_t(beta_k) = beta_k m_{t-1}(beta_k) + g_t        ((1 - beta_k) m is torch's exp_avg)
        c           = sqrt(v_t / (1 - beta2^t)) + eps     Adam's own divisor; amsgrad: its maximum
        A_k         = sum_j g_j m_j(beta_k) / c_j         in-batch, summed over all parameters
        W           = sum_j 1 / c_j
        J_k         = sqrt((1 - beta_k^2) / W) A_k        all candidates at the same budget (Cor. 6)
        k*          = argmax_k E_k,    E <- smoothing E + (1 - smoothing) J
        w_{t+1}     = w_t - lr (1 - beta_k*) / (1 - beta_k*^t) m_t(beta_k*) / c

    Hysteresis (which leaves ``v`` alone), non-finite gradients, one candidate and the choice on
    the device are as in ``SwitchSGD``. Memory: K + 1 numbers per weight, K + 2 with amsgrad.

    Args:
        params: Parameters or parameter groups, as for torch; ``lr, beta2, eps, weight_decay,
            amsgrad, maximize`` can be set per group.
        lr: Learning rate, >= 0; a float or a tensor with one element.
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to the divisor, >= 0.
        weight_decay: L2 penalty, >= 0.
        amsgrad: Divide by the largest second moment so far.
        maximize: Ascend instead of descend.
        foreach: Which of torch's implementations one candidate follows; they round differently in
            half precision. Several candidates have one implementation.
        momenta: Candidates for beta1, increasing, each in [0, 1); default (0.5, 0.9, 0.99).
        per_parameter: One choice per parameter tensor instead of one for all; default False.
        smoothing: Share of the past in the compared gain, in [0, 1); default 0.
        soft_reset: Factor in [0, 1] on the buffers that point uphill, default 0.9; 1 never shrinks.
        hysteresis_threshold: Steps in a row of negative gain that shrink the buffers, >= 1; default
            10.

    Raises:
        InvalidValueError: When an argument is out of range, or there is no parameter.
        UnsupportedError: From ``step``, for sparse gradients and for sharded or non-dense
            parameters.
        StateError: From ``load_state_dict``, when the state is of other candidates or shapes.

    Source: Cor. 6 and Algorithm 2 of arXiv 2512.06370, with beta2 fixed; see ``SwitchSGD``.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SwitchAdam([weight], lr=0.01, momenta=(0.5, 0.9))
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     weight.square().sum().backward()
    ...     _ = optimizer.step()
    >>> optimizer.momentum
    0.9
    """

    _torch_buffer = "exp_avg"
    # Whether weight decay shrinks the weights (AdamW) instead of entering the gradient.
    _decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        **switch: Unpack[SwitchArguments],
    ) -> None:
        defaults = {
            "lr": lr,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
        }
        super().__init__(params, defaults, **switch)

    def _check_group(self, options: dict[str, Any]) -> None:
        super()._check_group(options)
        check_range("beta2", options["beta2"], 0.0, 1.0, high_open=True)
        check_range("eps", options["eps"], 0.0, math.inf, high_open=True)
        if options["foreach"] and isinstance(options["lr"], Tensor):
            raise InvalidValueError("foreach=True needs a float lr, but got a tensor.")

    def _extra_state(self, weights: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        state = {
            # It stays on the host, as torch keeps it: bias corrections are computed there.
            "step": torch.zeros((), dtype=torch.float32),
            "exp_avg_sq": torch.zeros_like(weights),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = torch.zeros_like(weights)
        return state

    def _follow_torch(self, group: dict[str, Any], momentum: float) -> None:
        parameters, gradients = with_gradients(group)
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter].update(self._new_state(parameter, group))
        states = [self.state[parameter] for parameter in parameters]
        (adamw if self._decoupled else adam)(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
            [state["step"] for state in states],
            foreach=group["foreach"],
            has_complex=any(parameter.is_complex() for parameter in parameters),
            amsgrad=group["amsgrad"],
            beta1=momentum,
            beta2=group["beta2"],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )

    def _advance(self, slot: Slot, choice: MomentumChoice) -> Tensor:
        group, state = slot.group, slot.state
        state["step"] += 1
        coefficients = choice.coefficients(slot.row, slot.device, slot.wide)
        measured = coefficients.new_zeros(len(self.momenta) + 1)
        for buffers, weights, raw, *seconds in self._tiles(slot, slot.gradient):
            gradient = loss_gradient(
                raw,
                weights,
                weight_decay=0.0 if self._decoupled else group["weight_decay"],
                maximize=group["maximize"],
                dtype=slot.wide,
            )
            moments = advance(buffers, gradient, coefficients)
            _accumulate_square(seconds, gradient, group["beta2"])
            divisor = _divisor(seconds[-1], slot)
            measured[:-1] += inner_products(moments, gradient / divisor)
            measured[-1] += divisor.reciprocal_().sum()
        return measured

    def _apply(self, slots: list[Slot], choice: MomentumChoice) -> None:
        for slot in slots:
            lr, weight_decay = slot.group["lr"], slot.group["weight_decay"]
            index = choice.index(slot.row, slot.device)
            scale = _step_sizes(slot, choice).index_select(0, index) * lr
            for buffers, weights, *seconds in self._tiles(slot):
                wide = weights.to(slot.wide)
                if self._decoupled and weight_decay:
                    wide.mul_(1 - lr * weight_decay)
                update = buffers.index_select(0, index)[0].to(slot.wide).mul_(scale)
                wide.addcdiv_(update, _divisor(seconds[-1], slot), value=-1.0)
                store(weights, wide)

    def _tiles(self, slot: Slot, *vectors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield pieces of buffers, weights, the vectors, v and with amsgrad its maximum."""
        names = ("exp_avg_sq", "max_exp_avg_sq") if slot.group["amsgrad"] else ("exp_avg_sq",)
        seconds = [flat(slot.state[name]) for name in names]
        return tiles(slot.buffers, slot.weights, *vectors, *seconds)


class SwitchAdamW(SwitchAdam):
    r"""AdamW that follows, at each step, the beta1 best aligned with the whitened gradient.

    ``SwitchAdam`` with decoupled weight decay: ``w <- (1 - lr weight_decay) w`` before each update,
    and no penalty in the gradient. Arguments, errors and source are those of ``SwitchAdam``, but
    ``weight_decay`` is 0.01 by default, as torch's.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SwitchAdamW([weight], lr=0.01, per_parameter=True)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> optimizer.parameter_momenta()
    [[0.5]]
    """

    _decoupled = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Unpack[_AdamArguments],
    ) -> None:
        super().__init__(params, lr, beta2, eps, weight_decay, amsgrad, **options)


def _accumulate_square(seconds: Sequence[Tensor], gradient: Tensor, beta2: float) -> None:
    """Advance v, and its maximum where there is one, in place."""
    wide = seconds[0].to(gradient.dtype)
    wide.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
    store(seconds[0], wide)
    for maximum in seconds[1:]:
        torch.maximum(maximum, seconds[0], out=maximum)


def _divisor(second: Tensor, slot: Slot) -> Tensor:
    """Return ``sqrt(v / (1 - beta2^t)) + eps`` as a new tensor."""
    correction = 1.0 - slot.group["beta2"] ** float(slot.state["step"])
    return second.to(slot.wide).sqrt().div_(correction**0.5).add_(slot.group["eps"])


def _step_sizes(slot: Slot, choice: MomentumChoice) -> Tensor:
    """Return ``(1 - beta_k) / (1 - beta_k^t)``, shape (K,), which makes m a bias-corrected mean."""
    poles = choice.poles.to(slot.device)
    return (1.0 - poles) / (1.0 - poles.pow(float(slot.state["step"])))
