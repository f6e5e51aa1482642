"""Contracts can fail: each of their tests finds the fault that it looks for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from threading import Lock
from typing import Any

import pytest
import torch

from gap_tune import AlignmentStatistics, Decision, FixedMomentum, MomentumRule, Reason
from gap_tune.errors import UnsupportedError
from gap_tune.testing import OptimizerContract, RuleContract

CREATED: list[Any] = []


class Plain(torch.optim.SGD):
    """An optimizer without a fault."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **{"lr": 0.1, "momentum": 0.9, **options})


class Forgets(Plain):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "state": {}}


class SharesItsBuffers(Plain):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self)([torch.nn.Parameter(torch.ones(1))])
        twin.param_groups = copy.deepcopy(self.param_groups, memo)
        twin.state = self.state
        return twin


class StartsAnewAsACopy(Plain):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return type(self)(self.param_groups[0]["params"])


class ShowsItsWorkings(Plain):
    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.norm = torch.zeros(())

    def step(self, closure: Any = None) -> Any:
        self.norm += 1
        return super().step(closure)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "norm": self.norm}

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "norm"})


class CountsEmptySteps(Plain):
    def step(self, closure: Any = None) -> Any:
        group = self.param_groups[0]
        group["steps"] = group.setdefault("steps", 0) + 1
        return super().step(closure)

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.param_groups[0]["steps"] = 0


class MovesTheFrozen(Plain):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    parameter.grad = torch.ones_like(parameter)
        return super().step(closure)


class ReadsEachNorm(Plain):
    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.grad.norm().item()
        return super().step(closure)


class HasOneLearningRate(Plain):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] = 0.1
        return super().step(closure)


class SwallowsTheLoss(Plain):
    def step(self, closure: Any = None) -> Any:
        super().step(closure)


class DividesByItsGradient(Plain):
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.grad = parameter.grad / parameter.grad.norm()
        return super().step(closure)


class IgnoresMaximize(Plain):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["maximize"] = False
        return super().step(closure)


class StaysForever(Plain):
    def __init__(self, params: Any) -> None:
        super().__init__(params)
        CREATED.append(self)


@pytest.fixture(autouse=True)
def created() -> Iterator[None]:
    yield
    CREATED.clear()


def call(contract: type, test: str, arguments: dict[str, Any]) -> None:
    getattr(contract(), test)(**arguments)


def of(kind: Any) -> type[OptimizerContract]:
    return type("Contract", (OptimizerContract,), {"optimizer": lambda self, params: kind(params)})


OPTIMIZERS: list[tuple[type, str, dict[str, Any]]] = [
    (
        Forgets,
        "test_save_load_continue_equals_the_uninterrupted_run",
        {"at": 5, "dtype": torch.float64},
    ),
    (SharesItsBuffers, "test_a_copy_continues_on_its_own", {"at": 5, "how": copy.deepcopy}),
    (StartsAnewAsACopy, "test_a_copy_takes_over_the_parameters", {"at": 5}),
    (ShowsItsWorkings, "test_a_saved_state_of_its_own_does_not_follow_later_steps", {}),
    (CountsEmptySteps, "test_a_step_without_any_gradient_changes_nothing", {"before": 3}),
    (MovesTheFrozen, "test_a_parameter_without_gradient_stays", {"frozen": False}),
    (ReadsEachNorm, "test_a_step_reads_nothing_back_to_the_host", {}),
    (HasOneLearningRate, "test_a_group_of_learning_rate_zero_stays", {}),
    (Forgets, "test_a_group_that_comes_later_is_stepped_and_saved", {"later": True}),
    (HasOneLearningRate, "test_a_schedule_does_what_writing_the_learning_rate_does", {}),
    (SwallowsTheLoss, "test_a_closure_is_evaluated_with_gradients_and_its_loss_returned", {}),
    (
        DividesByItsGradient,
        "test_gradients_of_zero_leave_finite_weights",
        {"dtype": torch.float32, "first": 0},
    ),
    (IgnoresMaximize, "test_maximizing_is_minimizing_along_the_negative_gradient", {}),
    (StaysForever, "test_it_is_freed_with_its_last_reference", {}),
]


@pytest.mark.parametrize(("kind", "name", "arguments"), OPTIMIZERS)
def test_an_optimizer_with_a_fault_breaks_its_contract(
    kind: type, name: str, arguments: dict[str, Any]
) -> None:
    call(of(Plain), name, arguments)
    with pytest.raises(AssertionError):
        call(of(kind), name, arguments)


class Counts(MomentumRule):
    """Remembers how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        self.asked += 1
        return Decision(0.9 / self.asked, momentum, Reason.BEST_GAIN, "As often as asked.")


class Says(MomentumRule):
    """Decides on 0.99, in words without an end."""

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        return Decision(0.99, 0.0, Reason.BEST_GAIN, "So be it")


class ChangesWhatItReads(FixedMomentum):
    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        statistics.__dict__["steps"] += 1
        return super().decide(statistics, momentum)


class PassesOn(MomentumRule):
    """Lets what is not a number through."""

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Any:
        class Unchecked(Decision):
            def __post_init__(self) -> None:
                pass

        return Unchecked(statistics.weight, momentum, Reason.BEST_GAIN, "The weight.")


class HoldsALock(FixedMomentum):
    def __init__(self) -> None:
        self.lock = Lock()


class HidesItsOptions(FixedMomentum):
    def __init__(self, speed: float = 0.1) -> None:
        self.pace = speed


RULES: list[tuple[type, str, dict[str, Any], type[Exception]]] = [
    (Counts, "test_the_same_question_has_the_same_answer", {}, AssertionError),
    (Counts, "test_neither_statistics_nor_the_rule_are_changed", {}, AssertionError),
    (ChangesWhatItReads, "test_neither_statistics_nor_the_rule_are_changed", {}, AssertionError),
    (Says, "test_momentum_stays_within_the_limits", {}, AssertionError),
    (Says, "test_a_decision_says_what_was_compared_and_why", {}, AssertionError),
    (
        PassesOn,
        "test_numbers_that_are_not_finite_are_refused_and_never_decided_on",
        {"name": "weight", "value": float("nan")},
        AssertionError,
    ),
    (HoldsALock, "test_it_pickles", {}, TypeError),
    (
        HidesItsOptions,
        "test_it_can_be_written_as_plain_json_and_made_again",
        {},
        UnsupportedError,
    ),
]


@pytest.mark.parametrize(("kind", "name", "arguments", "error"), RULES)
def test_a_rule_with_a_fault_breaks_its_contract(
    kind: type, name: str, arguments: dict[str, Any], error: type[Exception]
) -> None:
    def contract(of: type) -> type[RuleContract]:
        # Of a rule that does not decide, momenta outside the limits are none of its doing.
        limits = {"high": 0.95, "may_keep_what_is_outside": True}
        return type("Contract", (RuleContract,), {**limits, "rule": lambda self: of()})

    call(contract(FixedMomentum), name, arguments)
    with pytest.raises(error):
        call(contract(kind), name, arguments)
