"""Situations of users around attach: schedules, loaders, wrappers, groups that join."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

import gap_tune
from gap_tune.errors import StateError
from gap_tune.tune import keys
from tests.tune.alone import order, session, weight


def attached(optimizer: torch.optim.Optimizer, mode: str = "scheduler") -> Any:
    return gap_tune.attach(optimizer, {"gap": {"mode": mode, "trust_region": {"span": 1}}})


@pytest.mark.parametrize("mode", ["fixed", "scheduler", "trial"])
def test_bug_the_reported_momentum_is_the_one_that_trained(mode: str) -> None:
    parameter = weight()
    optimizer = torch.optim.SGD([parameter], lr=0.01, momentum=0.9)
    trial = attached(optimizer, mode)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=50)
    used: list[float] = []
    optimizer.register_step_post_hook(lambda o, *_: used.append(o.param_groups[0]["momentum"]))
    changes = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for t in range(40):
            if mode == "scheduler" and t == 20:
                trial.receive(order(1, 0.5))
            optimizer.zero_grad()
            (parameter @ torch.randn(20)).backward()
            optimizer.step()
            schedule.step()
            result = trial.result({})
            assert result[keys.MOMENTUM] == used[-1]
            changes += len(used) > 1 and used[-1] != used[-2]
    assert optimizer.param_groups[0]["momentum"] != used[-1]
    if mode == "trial":
        # Each change that is counted is one that was made, and the schedule makes none.
        assert result[keys.SEQ] <= changes < 40


def test_bug_the_rule_of_a_self_tuning_optimizer_is_told_the_momentum_in_use() -> None:
    told = []

    class Keep(gap_tune.AlignmentRule):
        def decide(self, statistics: Any, momentum: float) -> gap_tune.Decision:
            told.append(momentum)
            return gap_tune.Decision(0.5, momentum, gap_tune.Reason.BEST_GAIN, "Half.")

    from gap_tune.optim import SGD

    parameter = weight()
    optimizer = SGD([parameter], lr=0.01, momentum=0.9, rule=Keep())
    trial = gap_tune.attach(optimizer)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(5):
            parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            schedule.step()
    assert told[1:] == [0.5] * 4
    assert trial.seq == 1
    assert trial.result({})[keys.MOMENTUM] == 0.5


def test_bug_what_distributed_checkpoint_loads_is_what_adam_goes_on_from() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)

    def steps(optimizer: torch.optim.Optimizer, count: int) -> list[float]:
        sizes = []
        for _ in range(count):
            before = model.weight.detach().clone()
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            sizes.append(float((before - model.weight.detach()).max()))
        return sizes

    trained = torch.optim.Adam(model.parameters(), lr=0.01)
    steps(trained, 1000)
    saved = get_optimizer_state_dict(model, trained)
    trained.zero_grad()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trial = attached(optimizer)
    set_optimizer_state_dict(model, optimizer, saved)
    assert trial.statistics().steps == 0
    assert trial.result({})[keys.MOMENTUM] == 0.9
    sizes = steps(optimizer, 5)
    trial.receive(order(1, 0.5))
    sizes += steps(optimizer, 5)
    trial.receive(order(2, 0.99))
    sizes += steps(optimizer, 20)
    assert sizes == pytest.approx([0.01] * 30, rel=1e-4)
    assert trial.statistics().steps == 30


def test_bug_a_group_added_later_is_in_checkpoints_and_tuned(tmp_path: Path) -> None:
    backbone, head = weight(), weight()
    optimizer = torch.optim.SGD([head], lr=0.1, momentum=0.9)
    trial = session(optimizer)
    trial.receive(order(1, 0.5))
    optimizer.add_param_group({"params": [backbone], "lr": 0.01})
    trial.save(tmp_path, whole=True)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.5]
    again = torch.optim.SGD([{"params": [weight()]} for _ in range(2)], lr=0.3, momentum=0.9)
    continued = session(again)
    continued.load(tmp_path)
    assert [group["momentum"] for group in again.param_groups] == [0.5, 0.5]
    assert [group["reference_momentum"] for group in again.param_groups] == [0.9, 0.9]


def test_bug_a_change_that_two_reports_lead_to_is_counted_once() -> None:
    parameter = weight()
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    trial = attached(optimizer)
    parameter.grad = torch.ones(20)
    optimizer.step()
    for _ in range(2):
        # What trained is still 0.9, so the scheduler decides the same again.
        result = trial.result({})
        assert result[keys.MOMENTUM] == 0.9
        trial.receive(order(result[keys.SEQ] + 1, 0.5))
    optimizer.step()
    assert trial.result({})[keys.MOMENTUM] == 0.5
    assert trial.result({})[keys.SEQ] == 1
    trial.receive(order(2, 0.8))
    assert (trial.seq, trial.momentum) == (2, 0.8)


@pytest.mark.parametrize("groups", [1, 3])
def test_bug_a_checkpoint_of_another_number_of_groups_says_which(
    groups: int, tmp_path: Path
) -> None:
    optimizer = torch.optim.SGD([{"params": [weight()]} for _ in range(2)], lr=0.1, momentum=0.9)
    session(optimizer).save(tmp_path, whole=True)
    other = torch.optim.SGD([{"params": [weight()]} for _ in range(groups)], lr=0.1, momentum=0.9)
    with pytest.raises(StateError, match=f"as in the checkpoint, 2, but got {groups}"):
        session(other).load(tmp_path)


def test_bug_what_accelerate_has_prepared_is_tuned() -> None:
    from accelerate import Accelerator

    parameter = weight()
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    trial = attached(Accelerator(cpu=True).prepare(optimizer))
    parameter.grad = torch.ones(20)
    trial.receive(order(1, 0.5))
    optimizer.step()
    assert trial.result({})[keys.STEPS] == 1
    assert optimizer.param_groups[0]["momentum"] == 0.5


@pytest.mark.parametrize("mode", ["scheduler", "trial"])
def test_bug_a_step_without_gradients_is_nothing_to_decide_at(mode: str) -> None:
    parameter = weight()
    optimizer = torch.optim.AdamW([parameter], lr=0.01)
    trial = attached(optimizer, mode)
    for t in range(12):
        parameter.grad = torch.ones(20) if t % 2 else None
        optimizer.step()
    assert trial.result({})[keys.STEPS] == 6
    assert optimizer.state[parameter]["step"] == 6


class Counter:
    """A compiler's backend that runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.frame_count = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Any:
        self.frame_count += 1
        return graph.forward


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("mode", ["fixed", "scheduler", "trial"])
def test_bug_a_compiled_step_has_no_more_frames_than_without_gap_tune(kind: Any, mode: str) -> None:
    def train(attach: bool, compiled: bool) -> tuple[list[int], torch.Tensor]:
        torch.compiler.reset()
        counter = Counter()
        parameters = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
        optimizer = kind(
            parameters, lr=0.01, **{} if kind is torch.optim.AdamW else {"momentum": 0.9}
        )
        trial = attached(optimizer, mode) if attach else None
        step = torch.compile(optimizer.step, backend=counter) if compiled else optimizer.step
        frames = []
        for t in range(12):
            if trial is not None and t in (4, 9):
                trial.receive(order(trial.seq + 1, {4: 0.5, 9: 0.99}[t]))
            for i, parameter in enumerate(parameters):
                parameter.grad = torch.full_like(parameter, (-1.0) ** (t * i)) if t > i else None
            step()
            frames.append(counter.frame_count)
        return frames, torch.stack([p.detach() for p in parameters])

    frames, compiled = train(True, True)
    _, eager = train(True, False)
    torch.testing.assert_close(compiled, eager)
    without, _ = train(False, True)
    assert frames[3] <= without[3]
    if mode == "fixed":
        assert frames == without
    # A momentum is a number in torch's graph: each new one makes another. So does a group whose
    # parameters differ in what they have been through, as Adam's do here, once.
    assert frames[-1] <= without[-1] + {"fixed": 0, "scheduler": 3, "trial": 5}[mode]


@pytest.mark.parametrize(
    ("make", "config", "named"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), {"momentum": 0.9}, r"momentum=0\.9.*momentum=0,"),
        (lambda p: torch.optim.AdamW(p), {"beta1": 0.8}, r"beta1=0\.8.*betas\[0\]=0\.9,"),
        (lambda p: torch.optim.Adam(p), {"beta2": 0.9}, r"beta2=0\.9.*betas\[1\]=0\.999,"),
        (
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
            {"mu": 0.5, "gap": {"momentum_key": "mu", "mode": "scheduler"}},
            r"mu=0\.5.*momentum=0\.9,",
        ),
    ],
)
def test_bug_an_optimizer_that_ignores_the_configuration_s_momentum_is_noticed(
    make: Any, config: dict[str, Any], named: str
) -> None:
    with pytest.warns(UserWarning, match=named):
        gap_tune.attach(make([weight()]), config)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("make", "config"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), {"momentum": 0.9}),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), {"momentum": "any", "beta1": 0.1}),
        (lambda p: torch.optim.AdamW(p, betas=(0.8, 0.9)), {"momentum": 0.8, "beta2": 0.9}),
        (lambda p: torch.optim.AdamW(p), None),
    ],
)
def test_an_optimizer_that_follows_the_configuration_is_not_warned_about(
    make: Any, config: dict[str, Any]
) -> None:
    gap_tune.attach(make([weight()]), config)


@pytest.mark.parametrize(
    ("section", "follows"),
    [
        ({"scheduled": True}, True),
        ({}, True),
        ({"scheduled": False}, False),
        # What the user asks for counts.
        ({"scheduled": False, "trust_region": {}}, True),
        ({"scheduled": False, "mode": "trial"}, True),
    ],
)
def test_where_nobody_changes_momentum_learning_rates_stay_and_the_user_hears_of_it(
    section: dict[str, Any], follows: bool
) -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.01, momentum=0.9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trial = gap_tune.attach(optimizer, {"gap": {"mode": "scheduler", **section}})
    assert (keys.SCALE in trial.result({})) == follows
    alone = section.get("scheduled") is False and "mode" not in section
    assert [str(w.message)[:50] for w in caught] == (
        ["a study with GapSearch must have a GapScheduler th"] if alone else []
    )
