"""The trial's side of every mode, without Ray where it decides nothing."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from ray.tune.search import BasicVariantGenerator
from torch import nn

from gap_tune import AlignmentStatistics, Decision, FixedMomentum, GradientMonitor, Reason, attach
from gap_tune.errors import InvalidValueError, NonFiniteMetricError, StateError, UnsupportedError
from gap_tune.optim import SGD, Adam
from gap_tune.tune import checkpointing
from gap_tune.tune.attaching import make_tuning
from gap_tune.tune.delivery import Directive
from gap_tune.tune.session import TrialSession
from tests.tune.conftest import make_run
from tests.tune.functions import Cycle

SCHEDULER, TRIAL, FIXED = ({"gap": {"mode": mode}} for mode in ("scheduler", "trial", "fixed"))


class Recorded:
    """A channel whose other end is the test."""

    speaks = True
    mailbox = "here"

    def __init__(self, *answers: Directive | None) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answers = list(answers)

    def exchange(self, result: dict[str, Any], folder: Path | None, seq: int) -> Directive | None:
        self.sent.append(result)
        return self.answers.pop(0) if self.answers else None

    def missed(self, mailbox: str, seq: int) -> Directive | None:
        return self.answers.pop(0) if self.answers else None

    def checkpoint(self) -> Any:
        return None


def session(optimizer: torch.optim.Optimizer, *answers: Directive | None) -> TrialSession:
    own = {"mode": "scheduler", "metric": "loss"}
    return TrialSession(make_tuning(optimizer, own), Recorded(*answers), own)


def order(seq: int, momentum: float) -> Directive:
    return Directive(seq, Decision(momentum, 0.9, Reason.BEST_GAIN, "because."))


def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(20))


def train(optimizer: torch.optim.Optimizer, steps: int, *, closure: bool = False) -> list[float]:
    """Descend a noisy quadratic; return the momentum that each step ended with."""
    (parameter,) = optimizer.param_groups[0]["params"]
    generator = torch.Generator().manual_seed(1)
    momenta = []
    for _ in range(steps):
        noise = 0.3 * torch.randn(len(parameter), generator=generator)

        def evaluate(noise: torch.Tensor = noise) -> Any:
            optimizer.zero_grad()
            loss = (parameter.square().sum() / 2) + (noise * parameter).sum()
            loss.backward()
            return loss

        if closure:
            optimizer.step(evaluate)
        else:
            evaluate()
            optimizer.step()
        group = optimizer.param_groups[0]
        momenta.append(group["momentum"] if "momentum" in group else group["betas"][0])
    return momenta


def changes(momenta: list[float], first: float) -> int:
    return sum(a != b for a, b in zip([first, *momenta], momenta, strict=False))


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("update_every", [1, 3])
def test_a_trial_that_decides_itself_trains_as_the_self_tuning_optimizer_does(
    closure: bool, update_every: int
) -> None:
    plain, tuning = weight(), weight()
    optimizer = torch.optim.SGD([plain], lr=0.1, momentum=0.9)
    trial = attach(optimizer, TRIAL, update_every=update_every)
    twin = SGD([tuning], lr=0.1, momentum=0.9, update_every=update_every)
    momenta = train(optimizer, 40, closure=closure)
    assert momenta == train(twin, 40, closure=closure)
    assert torch.equal(plain, tuning)
    assert len(set(momenta)) > 1
    assert trial.seq == changes(momenta, 0.9)


@pytest.mark.parametrize("config", [TRIAL, None, {"lr": 0.1}])
def test_a_self_tuning_optimizer_reports_its_own_statistics_momentum_and_decisions(
    config: Any,
) -> None:
    optimizer = SGD([weight()], lr=0.1, momentum=0.9)
    trial = attach(optimizer, config)
    assert trial.monitor is None
    momenta = train(optimizer, 40)
    result = trial.result({"loss": 1.0})
    assert json.loads(result["gap/statistics"]) == optimizer.statistics().to_dict()
    assert result["gap/momentum"] == momenta[-1] == optimizer.momentum
    assert result["gap/seq"] == changes(momenta, 0.9) > 0
    assert result["gap/decision"] == optimizer.decision.explanation  # type: ignore[union-attr]
    unchanged = next(i for i, m in enumerate(reversed(momenta)) if m != momenta[-1])
    assert result["gap/steps_since_change"] == unchanged - 1
    # Watching it changes nothing.
    twin = SGD([weight()], lr=0.1, momentum=0.9)
    assert train(twin, 40) == momenta


def test_a_self_tuning_optimizer_must_not_have_a_second_master() -> None:
    for config in (SCHEDULER, FIXED):
        optimizer = SGD([weight()], lr=0.1, momentum=0.9)
        with pytest.raises(
            UnsupportedError, match=r"but got SGD of gap_tune.optim, which tunes it"
        ):
            attach(optimizer, config)
    with pytest.raises(
        InvalidValueError, match=r"given to SGD itself, but got \['rule', 'sample'\]"
    ):
        attach(optimizer, TRIAL, rule=FixedMomentum(), sample=10)
    still = SGD([weight()], lr=0.1, momentum=0.5, rule=FixedMomentum())
    trial = attach(still, {"gap": {"mode": "fixed", "reference_momentum": 0.9}})
    plain = torch.optim.SGD([weight()], lr=0.1, momentum=0.5)
    assert train(still, 10) == train(plain, 10)
    assert torch.equal(still.param_groups[0]["params"][0], plain.param_groups[0]["params"][0])
    assert trial.statistics().steps == 10


def test_an_unknown_mode_and_a_rule_that_is_none_are_refused() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    with pytest.raises(InvalidValueError, match=r"'trial', 'fixed'\), but got 'trail'"):
        attach(optimizer, {"gap": {"mode": "trail"}})
    with pytest.raises(UnsupportedError, match="MomentumRule, but got str"):
        attach(optimizer, rule="paper")  # type: ignore[arg-type]


class Homemade(torch.optim.Optimizer):
    """An optimizer that no table knows, with momentum."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"momentum": 0.9, "lr": 0.1})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (torch.optim.Adagrad, "Adagrad of the family 'AdaGrad', where only lr can"),
        (torch.optim.RMSprop, "RMSprop of the family 'RMSProp', where only lr, alpha can"),
        (torch.optim.Rprop, "momentum can be read and set in"),
    ],
)
def test_an_optimizer_without_momentum_to_derive_is_only_observed(
    make: Any, complaint: str
) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        attach(make([weight()]), SCHEDULER)
    trial = attach(make([weight()]), FIXED)
    assert "gap/gain" not in trial.result({}) or trial.momentum is not None


def test_an_unknown_optimizer_with_momentum_is_tuned() -> None:
    assert attach(Homemade([weight()]), SCHEDULER).momentum == 0.9
    assert attach(torch.optim.RMSprop([weight()], momentum=0.8), SCHEDULER).momentum == 0.8


def test_every_beta2_of_the_configuration_has_its_statistics() -> None:
    config = {"gap": {"mode": "scheduler", "betas2": [0.9, 0.99]}}
    optimizer = torch.optim.AdamW([weight()], lr=0.01, betas=(0.9, 0.999))
    trial = attach(optimizer, config)
    apart = {b: GradientMonitor(optimizer, whitening=(b,)) for b in (0.9, 0.99, 0.999)}
    train(optimizer, 12)
    result = trial.result({})
    by_beta2 = json.loads(result["gap/statistics_by_beta2"])
    assert sorted(by_beta2) == ["0.9", "0.99"]
    by_beta2["0.999"] = json.loads(result["gap/statistics"])
    for beta2, monitor in apart.items():
        expected = monitor.statistics().to_dict()
        got = AlignmentStatistics.from_dict(by_beta2[str(beta2)]).to_dict()
        assert got["alignment"] == pytest.approx(expected["alignment"], rel=1e-5)
        assert got["whitening"] == pytest.approx(expected["whitening"], rel=1e-5)
    sgd = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    with pytest.raises(UnsupportedError, match="several beta2 to be compared, but got SGD"):
        attach(sgd, config)
    assert "gap/statistics_by_beta2" not in attach(sgd).result({})


def test_decisions_are_followed_once_and_in_turn() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    answers = [order(1, 0.5), order(1, 0.99), None, order(3, 0.8), order(2, 0.95)]
    trial = session(optimizer, *answers)
    seen = []
    for _ in range(5):
        trial.report({"loss": 1.0})
        seen.append((trial.seq, trial.momentum))
    assert seen == [(1, 0.5), (1, 0.5), (1, 0.5), (1, 0.5), (2, 0.95)]


def test_a_trial_that_decides_itself_ignores_the_scheduler() -> None:
    for optimizer in (
        torch.optim.SGD([weight()], lr=0.1, momentum=0.9),
        SGD([weight()], lr=0.1, momentum=0.9),
    ):
        own = {"mode": "trial"}
        trial = TrialSession(make_tuning(optimizer, own), Recorded(order(1, 0.5)), own)
        trial.report({})
        assert (trial.momentum, trial.seq) == (0.9, 0)


def test_a_failure_that_the_scheduler_sends_ends_the_trial() -> None:
    trial = session(torch.optim.SGD([weight()], lr=0.1, momentum=0.9), Directive(0, failure="NaN."))
    with pytest.raises(NonFiniteMetricError, match="NaN"):
        trial.report({})
    with pytest.raises(NonFiniteMetricError, match="'loss' must be finite"):
        trial.report({"loss": np.float32("inf")})


@pytest.mark.parametrize("answer", [(4, 0.5), (3, 0.99), (5, 0.99)])
def test_a_restored_trial_follows_the_decision_that_its_checkpoint_missed_and_no_other(
    answer: tuple[int, float], tmp_path: Path
) -> None:
    first = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = session(first, *(order(i, m) for i, m in ((1, 0.8), (2, 0.95), (3, 0.8))))
    for _ in range(3):
        train(first, 4)
        trial.report({})
    trial.save(tmp_path, whole=True)
    second = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    again = session(second, order(*answer))
    again.load(tmp_path)
    assert (again.seq, again.momentum) == ((4, 0.5) if answer[0] == 4 else (3, 0.8))
    assert again.statistics() == trial.statistics()
    if answer[0] != 4:
        assert again.decision == trial.decision
        # The coupled learning rate goes on as well.
        assert train(first, 5) == train(second, 5)
        assert second.param_groups[0]["coupled_lr"] == first.param_groups[0]["coupled_lr"] != 0.1


@pytest.mark.parametrize(
    "make", [SGD, Adam, lambda p, lr: torch.optim.Adam(p, lr=lr), lambda p, lr: SGD(p, lr, 0.9)]
)
def test_a_trial_that_decides_itself_continues_as_if_it_had_not_stopped(
    make: Any, tmp_path: Path
) -> None:
    def half(optimizer: Any) -> TrialSession:
        own = {"mode": "trial"}
        return TrialSession(make_tuning(optimizer, own), Recorded(), own)

    whole, stopped, resumed = (make([weight()], lr=0.05) for _ in range(3))
    uninterrupted, before, after = half(whole), half(stopped), half(resumed)
    model = {"model": nn.ParameterList(stopped.param_groups[0]["params"])}
    before.keep(**model)
    train(whole, 15)
    train(stopped, 15)
    before.save(tmp_path, whole=True)
    after.keep(model=nn.ParameterList(resumed.param_groups[0]["params"]))
    after.load(tmp_path)
    assert train(resumed, 15) == train(whole, 15)
    results = [trial.result({}) for trial in (uninterrupted, after)]
    assert results[0] == results[1]


Pair = namedtuple("Pair", "first second")


class Keeper:
    """Something to save, with any state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def test_bug_named_tuples_and_module_versions_survive_a_checkpoint(tmp_path: Path) -> None:
    norm = nn.BatchNorm1d(2)
    keeper = Keeper({"pair": Pair(np.float64(1.5), [Reason.FIXED]), 3: torch.Size([2])})
    trial = session(torch.optim.SGD(norm.parameters(), lr=0.1, momentum=0.9))
    trial.keep(norm=norm, keeper=keeper)
    trial.save(tmp_path, whole=True)
    state = checkpointing.read(tmp_path, {"keeper": None})["objects"]
    assert state["keeper"] == {"pair": (1.5, ["fixed"]), 3: (2,)}
    assert isinstance(state["norm"], OrderedDict)
    assert state["norm"]._metadata == norm.state_dict()._metadata


def test_a_state_that_could_not_be_loaded_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    trial = session(torch.optim.SGD([weight()], lr=0.1, momentum=0.9))
    trial.keep(keeper=Keeper({"path": Path("x")}))
    with pytest.raises(UnsupportedError, match=r"tensors and plain values, .* but got a state"):
        trial.report({}, checkpoint=True)


def test_a_folder_of_ones_own_becomes_the_checkpoint(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = session(optimizer, order(1, 0.5))
    trial.report({}, checkpoint=tmp_path)
    assert "optimizer" not in checkpointing.read(tmp_path, {})
    with pytest.raises(StateError, match=r"hold \['model'\], but got version 2, which lacks"):
        checkpointing.read(tmp_path, {"model": None})
    again = session(torch.optim.SGD([weight()], lr=0.1, momentum=0.9), order(1, 0.5))
    again.load(tmp_path)
    assert (again.seq, again.momentum) == (1, 0.5)
    with pytest.raises(StateError, match=r"must hold gap_tune.pt, but got a folder without"):
        again.load(tmp_path.parent)


def test_bug_a_step_that_raised_leaves_no_coupled_learning_rate_behind_a_report() -> None:
    def bug() -> None:
        raise RuntimeError("out of memory")

    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = session(optimizer, order(1, 0.5))
    trial.report({})
    with pytest.raises(RuntimeError):
        optimizer.step(bug)  # type: ignore[arg-type]
    assert optimizer.param_groups[0]["lr"] != 0.1
    trial.report({})
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_outside_of_ray_a_training_function_runs_and_is_told_that_nothing_is_sent() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = attach(optimizer, SCHEDULER)
    assert not trial.restore(model=nn.Linear(1, 1))
    for _ in trial.epochs(2):
        train(optimizer, 3)
        with pytest.warns(
            UserWarning, match="outside of a Ray Tune trial: nothing is sent"
        ) as seen:
            trial.report({"loss": 1.0}, checkpoint=True)
        assert seen[0].filename == __file__
    assert trial.statistics().steps == 6
    trial.detach()
    train(optimizer, 3)
    assert trial.statistics().steps == 6


def either_mode(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    kind = torch.optim.Adam if "betas2" in config["gap"] else SGD
    optimizer = kind([weight()], lr=0.05)
    trial = attach(optimizer, config)
    for _ in trial.epochs(3):
        momenta = train(optimizer, 8)
        trial.report({"loss": 1.0, "last": momenta[-1]})


@pytest.fixture(scope="module")
def grid(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> tune.ResultGrid:
    """A trial that tunes itself and one that compares two beta2, in one study."""
    sections = [{"mode": "trial"}, {"mode": "scheduler", "betas2": [0.9, 0.999]}]
    grid = make_run(tmp_path_factory.mktemp("modes"))(
        [],
        function=either_mode,
        search=BasicVariantGenerator(),
        space={"gap": tune.grid_search(sections)},
    )
    assert not grid.errors
    return grid


def rows(grid: tune.ResultGrid, mode: str) -> list[dict[str, Any]]:
    (result,) = [r for r in grid if r.config["gap"]["mode"] == mode]
    return result.metrics_dataframe.to_dict("records")  # type: ignore[union-attr]


def test_the_scheduler_leaves_a_trial_alone_that_decides_itself(grid: tune.ResultGrid) -> None:
    reports = rows(grid, "trial")
    # The scheduler's rule would have walked through a list of its own.
    assert [r["gap/momentum"] for r in reports] == [r["last"] for r in reports]
    assert reports[-1]["last"] in (0.8, 0.95, 0.99)
    assert reports[-1]["gap/seq"] > 0
    assert [r["gap/steps"] for r in reports] == [8, 16, 24]


def test_statistics_by_beta2_reach_the_study(grid: tune.ResultGrid) -> None:
    reports = rows(grid, "scheduler")
    assert [r["gap/momentum"] for r in reports] == list(Cycle.momenta[:3])
    for report in reports:
        by_beta2 = json.loads(report["gap/statistics_by_beta2"])
        assert by_beta2["0.999"] == json.loads(report["gap/statistics"])
        assert by_beta2["0.9"]["whitening"] != by_beta2["0.999"]["whitening"]
