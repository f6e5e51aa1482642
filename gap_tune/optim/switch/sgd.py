"""SGD that switches between K momenta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT
from torch.optim.sgd import sgd

from gap_tune.errors import InvalidValueError, check_range
from gap_tune.optim.switch.base import SwitchArguments, SwitchOptimizer, with_gradients
from gap_tune.optim.switch.buffers import Slot, advance, inner_products, loss_gradient, tiles
from gap_tune.optim.switch.choice import MomentumChoice


class SwitchSGD(SwitchOptimizer):
    r"""SGD that follows, at each step, the momentum best aligned with the gradient.

    Each parameter has K momentum buffers. With the gradient ``g_t`` (L2 weight decay included)
    and the candidates ``beta_k``::

        m_t(beta_k) = beta_k m_{t-1}(beta_k) + (1 - dampening) g_t        (m_1 = g_1)
        A_k         = <g_t, m_t(beta_k)>                in-batch, summed over all parameters
        J_k         = sqrt(1 - beta_k^2) A_k            all candidates at the same budget (Cor. 5)
        k*          = argmax_k E_k,    E <- smoothing E + (1 - smoothing) J
        w_{t+1}     = w_t - lr m_t(beta_k*)             nesterov: g_t + beta_k* m_t(beta_k*)

    When ``J_k* < 0`` at ``hysteresis_threshold`` observed steps in a row, all buffers shrink by
    ``soft_reset`` before the next gradient. A step whose alignments are not finite is not
    observed: the choice stays, and buffers and weights become what torch makes of such a
    gradient. With one candidate the step is torch's own, bit for bit, and nothing is measured or
    shrunk.

    Memory: K numbers per weight. A step moves 2K + 4 numbers per weight: it reads the gradient,
    reads and writes K buffers, then reads the chosen one and updates the weights. The choice stays
    on the device, so the host never waits. Half-precision parameters have half-precision buffers,
    computed in float32.

    Args:
        params: Parameters or parameter groups, as for torch; ``lr, dampening, weight_decay,
            nesterov, maximize`` can be set per group.
        lr: Learning rate, >= 0; a float or a tensor with one element.
        dampening: Share of the gradient kept out of the buffers, in [0, 1].
        weight_decay: L2 penalty, >= 0.
        nesterov: Whether to look ahead; the buffers are judged all the same.
        maximize: Ascend instead of descend.
        foreach: Which of torch's implementations one candidate follows; they round differently in
            half precision. Several candidates have one implementation.
        momenta: The candidates, increasing, each in [0, 1). The default, (0.5, 0.9, 0.99), spans
            memories of 2 to 100 steps.
        per_parameter: One choice per parameter tensor instead of one for all; default False.
        smoothing: Share of the past in the compared gain, in [0, 1). The default 0, the paper's,
            compares single steps; more helps where batches are small.
        soft_reset: Factor in [0, 1] on the buffers that point uphill, default 0.9; 1 never shrinks.
        hysteresis_threshold: Steps in a row of negative gain that shrink the buffers, >= 1; default
            10.

    Raises:
        InvalidValueError: When an argument is out of range, or there is no parameter.
        UnsupportedError: From ``step``, for sparse gradients and for sharded or non-dense
            parameters.
        StateError: From ``load_state_dict``, when the state is of other candidates or shapes.

    Source: Cor. 5 and Algorithm 1 of arXiv 2512.06370; the switch and its reset are those of the
    later versions (Greedy Alignment Principle). In-batch alignment counts the minibatch's noise as
    progress, which favours low momenta; ``gap_tune.optim.SGD`` weighs it down.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SwitchSGD([weight], lr=0.01, momenta=(0.5, 0.9))
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     weight.square().sum().backward()
    ...     _ = optimizer.step()
    >>> optimizer.momentum
    0.9
    """

    _torch_buffer = "momentum_buffer"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        **switch: Unpack[SwitchArguments],
    ) -> None:
        defaults = {
            "lr": lr,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
        }
        super().__init__(params, defaults, **switch)

    def _check_group(self, options: dict[str, Any]) -> None:
        super()._check_group(options)
        check_range("dampening", options["dampening"], 0.0, 1.0)
        if options["nesterov"] and (options["dampening"] != 0 or self.momenta[0] == 0):
            raise InvalidValueError(
                "nesterov needs positive momenta and dampening 0, "
                f"but got momenta={self.momenta} and dampening={options['dampening']}."
            )

    def _extra_state(self, weights: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        return {}

    def _follow_torch(self, group: dict[str, Any], momentum: float) -> None:
        parameters, gradients = with_gradients(group)
        buffers = [self.state[p].get(self._torch_buffer) for p in parameters]
        sgd(
            parameters,
            gradients,
            buffers,
            weight_decay=group["weight_decay"],
            momentum=momentum,
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            foreach=group["foreach"],
            has_sparse_grad=any(gradient.is_sparse for gradient in gradients),
        )
        if momentum != 0:
            for parameter, buffer in zip(parameters, buffers, strict=True):
                self.state[parameter][self._torch_buffer] = buffer

    def _advance(self, slot: Slot, choice: MomentumChoice) -> Tensor:
        group = slot.group
        share = 1.0 if slot.first else 1.0 - group["dampening"]
        coefficients = choice.coefficients(slot.row, slot.device, slot.wide)
        alignment = coefficients.new_zeros(len(self.momenta))
        for buffers, weights, raw in tiles(slot.buffers, slot.weights, slot.gradient):
            gradient = loss_gradient(
                raw,
                weights,
                weight_decay=group["weight_decay"],
                maximize=group["maximize"],
                dtype=slot.wide,
            )
            fresh = gradient if share == 1 else gradient * share
            alignment += inner_products(advance(buffers, fresh, coefficients), gradient)
        return alignment

    def _apply(self, slots: list[Slot], choice: MomentumChoice) -> None:
        alike: dict[tuple[Any, ...], list[Slot]] = {}
        for slot in slots:
            key = (id(slot.group), slot.row, slot.device, slot.weights.dtype)
            alike.setdefault(key, []).append(slot)
        for members in alike.values():
            self._descend(members, choice.unchosen(members[0].row, members[0].device))

    def _descend(self, slots: list[Slot], unchosen: Sequence[Tensor]) -> None:
        group, weights = slots[0].group, [slot.weights for slot in slots]
        lr = group["lr"]
        lr = lr.to(slots[0].device) if isinstance(lr, Tensor) else lr
        if group["nesterov"]:
            gradients = [slot.gradient for slot in slots]
            _sgd(weights, gradients, lr, group["weight_decay"], group["maximize"])
        rows = zip(*(slot.buffers.unbind() for slot in slots), strict=True)
        for buffers, momentum, skip in zip(rows, self.momenta, unchosen, strict=True):
            step = lr * momentum if group["nesterov"] else lr
            _sgd(weights, list(buffers), step, skip=skip)


def _sgd(
    weights: list[Tensor],
    gradients: list[Tensor],
    lr: float | Tensor,
    weight_decay: float = 0.0,
    maximize: bool = False,
    skip: Tensor | None = None,
) -> None:
    """Descend, unless the 0-d float ``skip`` is 1.

    torch's fused kernels look at their ``found_inf`` on the device and return at once when it is
    set. That applies one buffer of K without copying it and without asking the host which one.
    """
    torch._fused_sgd_(
        weights,
        gradients,
        [],
        weight_decay=weight_decay,
        momentum=0.0,
        lr=lr,
        dampening=0.0,
        nesterov=False,
        maximize=maximize,
        is_first_step=False,
        found_inf=skip,
    )
