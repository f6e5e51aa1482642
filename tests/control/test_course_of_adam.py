"""Where all gradients are alike, every true mean is the gradient: no momentum changes the course.

So the course of an optimizer whose momentum is changed, whatever else happens to it, must be that
of torch's own optimizer whose momentum is not.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

import gap_tune
from gap_tune import apply_momentum
from tests.tune.alone import order

CHANGES = {3: 0.5, 10: 0.99, 12: 0.0, 25: 0.95, 27: 0.99, 40: 0.8}
STEPS = 45
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW, fused": lambda p: torch.optim.AdamW(p, weight_decay=0.1, fused=True),
    "Adamax": torch.optim.Adamax,
}
ALWAYS: Callable[[int, int], bool] = lambda i, t: True  # noqa: E731
PATTERNS: dict[str, Callable[[int, int], bool]] = {
    "late": lambda i, t: i == 0 or t >= 8,
    "in turn": lambda i, t: (i + t) % 2 == 0,
}


def attached(optimizer: torch.optim.Optimizer) -> Any:
    return gap_tune.attach(optimizer, {"gap": {"mode": "scheduler", "trust_region": {"span": 1}}})


def load_its_own_state(run: Run) -> None:
    run.optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))


def load_by_distributed_checkpoint(run: Run) -> None:
    model = torch.nn.ParameterList(run.parameters)
    state = copy.deepcopy(get_optimizer_state_dict(model, run.optimizer))
    set_optimizer_state_dict(model, run.optimizer, state)


def go_there_and_back(run: Run) -> None:
    now = copy.deepcopy(run.optimizer.state_dict())
    if run.earlier is not None:
        run.optimizer.load_state_dict(copy.deepcopy(run.earlier))
    run.optimizer.load_state_dict(now)


def copy_the_groups(run: Run) -> None:
    run.optimizer.param_groups = [{**group} for group in run.optimizer.param_groups]


def attach_again(run: Run) -> None:
    run.trial = attached(run.optimizer)


def let_go_and_attach(run: Run) -> None:
    run.trial.detach()
    attach_again(run)


def fail_in_the_step(run: Run) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    hook = run.optimizer.register_step_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        run.optimizer.step()
    hook.remove()


EVENTS = [
    load_its_own_state,
    load_by_distributed_checkpoint,
    go_there_and_back,
    copy_the_groups,
    attach_again,
    let_go_and_attach,
    fail_in_the_step,
]


class Run:
    """One training run, with gradients that never change."""

    def __init__(self, make: Callable[..., torch.optim.Optimizer]) -> None:
        self.parameters = [torch.nn.Parameter(torch.ones(3) * (1 + i)) for i in range(2)]
        self.optimizer = make(self.parameters)
        self.trial: Any = None
        self.earlier: Any = None

    def step(self, t: int, pattern: Callable[[int, int], bool]) -> None:
        for i, parameter in enumerate(self.parameters):
            value = torch.full_like(parameter, 1.0 - 3 * i)
            parameter.grad = value if pattern(i, t) else None
        self.optimizer.step()
        if t == 5:
            self.earlier = copy.deepcopy(self.optimizer.state_dict())


# Right before a change, right after it, and between two.
@pytest.mark.parametrize("at", [(10, False), (10, True), (26, False)], ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bug_what_happened_to_an_optimizer_changed_the_size_of_its_steps(
    name: str, event: Callable[[Run], None], pattern: str, at: tuple[int, bool]
) -> None:
    if event is load_by_distributed_checkpoint and pattern == "late" and at[0] < 20:
        # Distributed checkpoints lack parameters without state, and so refuse to load.
        pattern = "in turn"
    plain, tuned = Run(OPTIMIZERS[name]), Run(OPTIMIZERS[name])
    tuned.trial = attached(tuned.optimizer)
    for t in range(STEPS):
        for changed in (False, True):
            if changed and t in CHANGES:
                tuned.trial.receive(order(tuned.trial.seq + 1, CHANGES[t]))
            if (t, changed) == at:
                event(tuned)
        for run in (plain, tuned):
            run.step(t, PATTERNS[pattern])
        for expected, got in zip(plain.parameters, tuned.parameters, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"]
)
def test_bug_a_copy_made_right_after_a_change_took_larger_steps(
    duplicate: Callable[[Any], Any],
) -> None:
    def own(parameters: Any) -> torch.optim.Optimizer:
        rule = gap_tune.FixedMomentum()
        return gap_tune.optim.AdamW(parameters, betas=(0.5, 0.999), rule=rule)

    plain = Run(lambda p: torch.optim.AdamW(p, betas=(0.5, 0.999)))
    tuned = Run(own)
    for t in range(30):
        if t == 6:
            apply_momentum(tuned.optimizer, 0.99)
            tuned.optimizer = duplicate(tuned.optimizer)
            tuned.parameters = tuned.optimizer.param_groups[0]["params"]
        for run in (plain, tuned):
            run.step(t, ALWAYS)
        torch.testing.assert_close(tuned.parameters[0], plain.parameters[0], rtol=1e-4, atol=1e-4)


def raised(late: int = 4) -> Run:
    """Return a run whose last step raised while its parameters had steps of several sizes."""
    run = Run(lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.999)))
    run.trial = attached(run.optimizer)
    for t in range(late + 2):
        run.step(t, lambda i, t: i == 0 or t >= late)
    run.trial.receive(order(1, 0.99))
    fail_in_the_step(run)
    return run


def test_bug_the_state_after_a_step_that_raised_had_other_groups() -> None:
    state = raised().optimizer.state_dict()
    assert [group["lr"] for group in state["param_groups"]] == [0.01]
    run = raised()
    run.optimizer.load_state_dict(state)
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.01]


def test_bug_a_group_that_joined_after_a_step_that_raised_was_lost() -> None:
    run = raised()
    late = torch.nn.Parameter(torch.ones(3))
    run.optimizer.add_param_group({"params": [late]})
    late.grad = torch.ones(3)
    run.optimizer.step()
    assert [len(group["params"]) for group in run.optimizer.param_groups] == [2, 1]
    torch.testing.assert_close(
        late.detach(), torch.full((3,), 0.99 - 0.01 * 0.01), rtol=1e-3, atol=0
    )


def test_bug_what_a_step_writes_into_its_groups_was_lost_where_their_steps_differ() -> None:
    class Counting(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["taken"] = group.get("taken", 0) + 1
            return super().step(closure)

    run = Run(lambda p: Counting(p, betas=(0.8, 0.999)))
    run.trial = attached(run.optimizer)
    for t in range(10):
        if t == 6:
            run.trial.receive(order(1, 0.99))
        run.step(t, lambda i, t: i == 0 or t >= 4)
    assert run.optimizer.param_groups[0]["taken"] == 10


def test_bug_a_learning_rate_that_a_hook_wrote_was_undone_after_the_step() -> None:
    run = Run(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))
    run.trial = attached(run.optimizer)
    run.trial.receive(order(1, 0.8))

    def write(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        optimizer.param_groups[0]["lr"] = 0.05

    run.optimizer.register_step_pre_hook(write)
    run.step(0, ALWAYS)
    assert run.optimizer.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("first", ["attached", "scheduled"])
def test_bug_a_schedule_of_momentum_changed_the_learning_rate_before_any_decision(
    first: str,
) -> None:
    def course(tuned: bool) -> list[torch.Tensor]:
        run = Run(lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9))
        if tuned and first == "attached":
            run.trial = attached(run.optimizer)
        schedule = torch.optim.lr_scheduler.OneCycleLR(run.optimizer, 0.01, 40)
        if tuned and first == "scheduled":
            run.trial = attached(run.optimizer)
        for t in range(30):
            run.step(t, ALWAYS)
            schedule.step()
        return [parameter.detach() for parameter in run.parameters]

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert all(map(torch.equal, course(False), course(True)))
    # Which momentum is kept, and from when on, is said once and early; else nothing is.
    (message,) = {str(each.message) for each in told}
    assert len(told) == 1
    assert "is kept from its first change on, and the other's until then" in message
