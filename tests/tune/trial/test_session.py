"""The trial's side of every mode, without Ray where it decides nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from ray.tune.search import BasicVariantGenerator
from torch import nn

from gap_tune import AlignmentStatistics, FixedMomentum, GradientMonitor, attach
from gap_tune.errors import InvalidValueError, NonFiniteMetricError, UnsupportedError
from gap_tune.optim import SGD
from gap_tune.tune.ray_private.delivery import Directive
from gap_tune.tune.trial.attaching import make_tuning
from gap_tune.tune.trial.session import TrialSession
from tests.tune.alone import Recorded, changes, order, session, train, weight
from tests.tune.conftest import make_run
from tests.tune.functions import Cycle

SCHEDULER, TRIAL, FIXED = ({"gap": {"mode": mode}} for mode in ("scheduler", "trial", "fixed"))


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
    config = {"gap": {"mode": "scheduler", "betas2": [0.9, 0.99], "trust_region": {"span": 1}}}
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
        at_once=1,
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
