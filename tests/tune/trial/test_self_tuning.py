"""An optimizer of somebody else's that chooses its own momentum, by the protocol alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune import AlignmentStatistics, Decision, GradientMonitor, Reason, attach
from gap_tune.control import SelfTuning
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.tune.trial.attaching import make_tuning
from gap_tune.tune.trial.session import TrialSession
from tests.tune.alone import Recorded, changes, train, weight


class Swinging(torch.optim.Optimizer):
    """Heavy ball that goes from one momentum to the other every four steps."""

    def __init__(self, params: Any, momenta: tuple[float, ...] = (0.9, 0.5)) -> None:
        super().__init__(params, {"lr": 0.1, "momentum": momenta[0]})
        self.momenta = momenta
        self.steps = 0
        self.decision: Decision | None = None
        self.trained_momentum = momenta[0]
        self.monitor = GradientMonitor(self)

    @property
    def momentum(self) -> float:
        return float(self.param_groups[0]["momentum"])

    @property
    def changes_momentum(self) -> bool:
        return len(self.momenta) > 1

    def statistics(self) -> AlignmentStatistics:
        return self.monitor.statistics()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        if self.changes_momentum:
            new = self.momenta[self.steps // 4 % len(self.momenta)]
            self.decision = Decision(new, self.momentum, Reason.SCHEDULE, f"Now {new:g}.")
            self.param_groups[0]["momentum"] = new
        self.trained_momentum = self.momentum
        for parameter in self.param_groups[0]["params"]:
            buffer = self.state[parameter].setdefault("buffer", torch.zeros_like(parameter))
            buffer.mul_(self.momentum).add_(parameter.grad)
            parameter.sub_(buffer, alpha=self.param_groups[0]["lr"])


def test_it_has_the_protocol_and_torchs_own_optimizers_do_not() -> None:
    assert isinstance(Swinging([weight()]), SelfTuning)
    assert not isinstance(torch.optim.SGD([weight()], momentum=0.9), SelfTuning)


@pytest.mark.parametrize("config", [{"gap": {"mode": "trial"}}, None])
def test_its_statistics_momentum_and_decisions_are_reported(config: Any) -> None:
    optimizer, twin = Swinging([weight()]), Swinging([weight()])
    trial = attach(optimizer, config)
    momenta = train(optimizer, 18)
    assert momenta == train(twin, 18)
    assert trial.monitor is None
    result = trial.result({"loss": 1.0})
    assert result["gap/mode"] == "trial"
    assert result["gap/momentum"] == momenta[-1] == 0.9
    assert result["gap/seq"] == changes(momenta, 0.9) == 4
    assert result["gap/decision"] == "Now 0.9."
    assert result["gap/steps_since_change"] == 2
    assert json.loads(result["gap/statistics"]) == optimizer.statistics().to_dict()


def test_it_must_not_have_a_second_master() -> None:
    for mode in ("scheduler", "fixed"):
        with pytest.raises(
            UnsupportedError, match=r"got Swinging of tests\.tune\.trial, which tunes it itself"
        ):
            attach(Swinging([weight()]), {"gap": {"mode": mode}})
    with pytest.raises(InvalidValueError, match=r"given to Swinging itself, but got \['sample'\]"):
        attach(Swinging([weight()]), sample=10)


def test_it_is_a_baseline_where_it_never_changes_momentum() -> None:
    still, plain = Swinging([weight()], (0.5,)), torch.optim.SGD([weight()], 0.1, 0.5)
    trial = attach(still, {"gap": {"mode": "fixed"}})
    assert train(still, 10) == train(plain, 10)
    assert torch.equal(still.param_groups[0]["params"][0], plain.param_groups[0]["params"][0])
    assert trial.statistics().steps == 10
    assert trial.result({})["gap/momentum"] == 0.5


def test_its_trial_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    def session(optimizer: torch.optim.Optimizer) -> TrialSession:
        return TrialSession(make_tuning(optimizer, {}), Recorded(), {})

    first = Swinging([weight()])
    trial = session(first)
    train(first, 18)
    trial.save(tmp_path, whole=True)
    second = Swinging([weight()])
    continued = session(second)
    continued.load(tmp_path)
    assert continued.seq == trial.seq == 4
    assert second.momentum == first.momentum
    (ours,), (theirs,) = second.state.values(), first.state.values()
    assert torch.equal(ours["buffer"], theirs["buffer"])
