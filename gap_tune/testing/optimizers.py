"""OptimizerContract: what a training loop expects of any optimizer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from gap_tune.testing.comparing import same
from gap_tune.testing.host_reads import HostReads
from gap_tune.testing.optimizer_case import Params
from gap_tune.testing.saving import SavingTests


class OptimizerContract(SavingTests):
    """Tests of an optimizer: saving, copying, missing gradients, groups, closures, dtypes.

    Inherit it in a class that pytest collects, and write ``optimizer``. Class attributes say what
    the optimizer can do; a test of what it cannot do is skipped.

    Attributes:
        dtypes: Types of parameters that it trains.
        steps: Length of the runs that are interrupted.
        interruptions: Steps before which they are.
        has_groups: Whether it takes parameter groups, and further ones later.
        steps_alike_by_closure: Whether ``step(closure)`` does what ``closure()`` and then
            ``step()`` do.
        every_gradient_moves: Whether each parameter with a gradient moves at each step.
        stays_on_device: Whether steps after the first read nothing back to the host.

    >>> class TestMomentumSGD(OptimizerContract):
    ...     def optimizer(self, params):
    ...         return torch.optim.SGD(params, lr=0.1, momentum=0.9)
    >>> TestMomentumSGD().test_a_step_without_any_gradient_changes_nothing(before=3)
    """

    @pytest.mark.parametrize("before", [0, 3])
    def test_a_step_without_any_gradient_changes_nothing(self, before: int) -> None:
        """Neither a weight nor the state, counts of steps included.

        An option that a first step adds to the groups, to show what it uses, is no change.
        """
        params = self.parameters()
        optimizer = self.optimizer(
            [{"params": params}, {"params": []}] if self.has_groups else params
        )
        self.run(optimizer, params, range(before))
        optimizer.zero_grad()
        weights, state = copy.deepcopy(params), copy.deepcopy(optimizer.state_dict())
        optimizer.step()
        assert same(params, weights)
        now = optimizer.state_dict()
        for group, old in zip(now["param_groups"], state["param_groups"], strict=True):
            for option in group.keys() - old.keys():
                del group[option]
        assert same(now, state)

    @pytest.mark.parametrize("frozen", [False, True])
    def test_a_parameter_without_gradient_stays(self, frozen: bool) -> None:
        """The others are stepped, and so is it as soon as it has a gradient."""
        for place in range(3):
            params = self.parameters()
            params[place].requires_grad_(not frozen)
            optimizer = self.optimizer(params)
            for step in range(2):
                before = copy.deepcopy(params)
                self.set_gradients(params, step)
                params[place].grad = None
                optimizer.step()
                moved = [not same(p, b) for p, b in zip(params, before, strict=True)]
                assert not moved[place]
                assert moved.count(True) == 2 or (any(moved) and not self.every_gradient_moves)
            params[place].requires_grad_(True)
            self.run(optimizer, params, range(3, 6))
            assert not (self.every_gradient_moves and same(params[place], before[place]))
            assert all(parameter.isfinite().all() for parameter in params)

    def test_a_step_reads_nothing_back_to_the_host(self) -> None:
        """Apart from the first, and from step counts that torch keeps on the host."""
        if not self.stays_on_device:
            pytest.skip("stays_on_device is False")
        params = self.parameters()
        optimizer = self.optimizer(params)
        self.run(optimizer, params, range(1))
        counts = [state["step"] for state in optimizer.state.values() if "step" in state]
        for step in range(1, 5):
            self.set_gradients(params, step)
            params[step % 3].grad = None
            with HostReads(counts) as reads:
                optimizer.step()
            assert not reads.found

    def test_a_group_of_learning_rate_zero_stays(self) -> None:
        """Each group has a learning rate of its own."""
        self._needs_groups()
        params = self.parameters()
        before = copy.deepcopy(params)
        optimizer = self.optimizer([{"params": params[:1]}, {"params": params[1:], "lr": 0.0}])
        self.set_gradients(params, 0)
        optimizer.step()
        moved = [not same(p, b) for p, b in zip(params, before, strict=True)]
        assert moved == [True, False, False]

    def test_a_schedule_does_what_writing_the_learning_rate_does(self) -> None:
        """Every scheduler of torch writes ``lr`` into the groups."""
        params, twins, others = (self.parameters() for _ in range(3))
        scheduled, written, constant = map(self.optimizer, (params, twins, others))
        scheduler = torch.optim.lr_scheduler.ExponentialLR(scheduled, 0.5)
        for step in range(4):
            for each in (params, twins, others):
                self.set_gradients(each, step)
            for optimizer in (scheduled, written, constant):
                optimizer.step()
            scheduler.step()
            for group in written.param_groups:
                group["lr"] = group["lr"] * 0.5
            assert same(params, twins)
        assert not same(params, others)

    def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned(self) -> None:
        """The step is that of the closure's gradients."""
        params, twins = self.parameters(), self.parameters()
        optimizer, plain = self.optimizer(params), self.optimizer(twins)
        losses: list[Tensor] = []

        def backward(weights: Params, of: torch.optim.Optimizer) -> Tensor:
            of.zero_grad()
            loss = torch.stack([(weight - 1).square().sum() for weight in weights]).sum()
            loss.backward()
            return loss

        def closure() -> Any:
            losses.append(backward(params, optimizer))
            return losses[-1]

        for count in range(1, 4):
            before = copy.deepcopy(params)
            returned: Any = optimizer.step(closure)
            assert returned is losses[-1]
            assert len(losses) == count
            assert losses[-1].requires_grad
            assert not same(params, before)
            backward(twins, plain)
            plain.step()
            if self.steps_alike_by_closure:
                assert same(params, twins)

    @pytest.mark.parametrize("set_to_none", [True, False])
    def test_zero_grad_clears_every_gradient(self, set_to_none: bool) -> None:
        """Either there is none left, or it is zero."""
        params = self.parameters()
        optimizer = self.optimizer(params)
        self.set_gradients(params, 0)
        optimizer.zero_grad(set_to_none=set_to_none)
        gradients = [parameter.grad for parameter in params]
        assert all(g is None if set_to_none else g is not None and not g.any() for g in gradients)

    @pytest.mark.parametrize("first", [0, 3])
    def test_gradients_of_zero_leave_finite_weights(self, dtype: torch.dtype, first: int) -> None:
        """At the start, where averages are zero as well, and in between."""
        params = self.parameters(dtype)
        optimizer = self.optimizer(params)
        self.run(optimizer, params, range(first))
        for _ in range(2):
            for parameter in params:
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        self.run(optimizer, params, range(first, 6))
        assert all(parameter.isfinite().all() for parameter in params)

    def test_maximizing_is_minimizing_along_the_negative_gradient(self) -> None:
        """Where groups have the option ``maximize``, as torch's optimizers do."""
        params, twins = self.parameters(), self.parameters()
        up, down = self.optimizer(params), self.optimizer(twins)
        self._needs_option(up, "maximize")
        up.param_groups[0]["maximize"] = True
        for step in range(4):
            self.set_gradients(params, step)
            for parameter, twin in zip(params, twins, strict=True):
                twin.grad = None if parameter.grad is None else -parameter.grad
            up.step()
            down.step()
            assert same(params, twins)

    def test_steps_of_all_tensors_together_are_those_of_one_by_one(self) -> None:
        """Where groups have the option ``foreach``, as torch's optimizers do."""
        params, twins = self.parameters(), self.parameters()
        together, one_by_one = self.optimizer(params), self.optimizer(twins)
        self._needs_option(together, "foreach")
        together.param_groups[0]["foreach"] = True
        one_by_one.param_groups[0]["foreach"] = False
        self.run(together, params, range(self.steps))
        self.run(one_by_one, twins, range(self.steps))
        for parameter, twin in zip(params, twins, strict=True):
            torch.testing.assert_close(parameter, twin)
