"""The trust region where nobody names one: as the rule asks, or as what goes on had it."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune import AlignmentRule, FixedMomentum, MomentumRule, TrustRegion, attach, optim
from gap_tune.errors import InvalidValueError
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, SCALED_ADAM_CANDIDATES
from gap_tune.optim.adam import ADAM_CANDIDATES
from gap_tune.rules import get_rule

START = TrustRegion().start


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(-1.0, 1.0, 12))


def train(optimizer: torch.optim.Optimizer, steps: int = 5) -> list[float]:
    """Return the learning rates that the steps were taken with."""
    (weight,) = optimizer.param_groups[0]["params"]
    used: list[float] = []
    hook = optimizer.register_step_pre_hook(
        lambda o, *_: used.append(float(o.param_groups[0]["lr"]))
    )
    for _ in range(steps):
        weight.grad = weight.detach().clone()
        optimizer.step()
    hook.remove()
    return used


def same_weights(of: torch.optim.Optimizer, to: torch.optim.Optimizer) -> None:
    to.param_groups[0]["params"][0].data.copy_(of.param_groups[0]["params"][0].data)


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)


def section(**entries: Any) -> dict[str, Any]:
    return {"gap": entries}


class Mine(MomentumRule):
    """A user's rule that keeps momentum."""

    decide = FixedMomentum.decide


class MineAlone(Mine):
    """One that wants the learning rate left alone."""

    scales_lr = False


@pytest.mark.parametrize(
    ("rule", "scales"),
    [
        ("alignment", True),
        ("cross-batch", True),
        ({"name": "schedule", "steps": [0], "momenta": [0.9]}, True),
        ("paper", False),
        ({"name": "paper", "hysteresis": 0.1}, False),
        ("fixed", False),
        ("horizon", False),
    ],
)
def test_a_rule_says_whether_the_learning_rate_is_to_follow(rule: Any, scales: bool) -> None:
    assert get_rule(rule).scales_lr is scales
    for mode in ("scheduler", "trial"):
        lr = train(attached(section(mode=mode, rule=rule)), 1)[0]
        # Momentum is 0.9, so the coupled learning rate is what was set.
        assert lr == (pytest.approx(0.1 * START, rel=0.02) if scales else 0.1)


def attached(config: dict[str, Any] | None, **options: Any) -> torch.optim.Optimizer:
    optimizer = sgd()
    attach(optimizer, config, **options)
    return optimizer


def test_argument_goes_over_configuration_and_that_over_the_rule() -> None:
    off, on = TrustRegion.off(), TrustRegion(start=0.5)
    assert train(attached(section(mode="scheduler")), 1) == [pytest.approx(0.03, rel=0.02)]
    assert train(attached(section(mode="fixed")), 1) == [0.1]
    assert train(attached(section(trust_region={"span": 1})), 3) == [0.1] * 3
    assert train(attached(section(mode="scheduler", trust_region=None)), 1) == [
        pytest.approx(0.03, rel=0.02)
    ]
    assert train(attached(section(trust_region={"span": 1}), trust_region=on), 1) == [
        pytest.approx(0.05, rel=0.02)
    ]
    assert train(attached(section(trust_region={}), trust_region=off), 3) == [0.1] * 3
    assert train(attached(None, rule=Mine()), 1) == [pytest.approx(0.03, rel=0.02)]
    assert train(attached(None, rule=MineAlone()), 3) == [0.1] * 3
    assert train(attached(section(rule="fixed", trust_region={})), 1) == [
        pytest.approx(0.03, rel=0.02)
    ]


def test_what_asks_for_no_tuning_keeps_its_learning_rate() -> None:
    assert train(attached(None), 3) == [0.1] * 3
    assert train(attached({"lr": 0.1}), 3) == [0.1] * 3
    assert train(attached(section(metric="loss")), 3) == [0.1] * 3
    assert train(attached(None, trust_region={}), 1) == [pytest.approx(0.03, rel=0.02)]


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_adam_s_default_candidates_are_those_of_its_region(kind: Any) -> None:
    assert kind([parameter()]).statistics().candidates == SCALED_ADAM_CANDIDATES
    for options in ({"trust_region": TrustRegion.off()}, {"rule": AlignmentRule.paper()}):
        assert kind([parameter()], **options).statistics().candidates == ADAM_CANDIDATES
    torch_kind = getattr(torch.optim, kind.__name__)
    trial = attach(torch_kind([parameter()]), section(mode="scheduler"))
    assert trial.statistics().candidates == SCALED_ADAM_CANDIDATES
    trial = attach(torch_kind([parameter()]), {}, trust_region=TrustRegion.off())
    assert trial.statistics().candidates == DEFAULT_CANDIDATES


def test_self_tuning_optimizers_do_as_their_rules_ask() -> None:
    def lr(rule: Any, **options: Any) -> float:
        groups = [{"params": [parameter()]} for _ in range(2)]
        optimizer = optim.SGD(groups, lr=0.1, momentum=0.9, rule=rule, **options)
        optimizer.param_groups[1]["params"][0].grad = torch.ones(12)
        return train(optimizer, 1)[0]

    assert lr(None) == lr(Mine()) == lr([AlignmentRule(), Mine()]) == pytest.approx(0.03, rel=0.02)
    for alone in (FixedMomentum(), MineAlone(), AlignmentRule.paper(), [FixedMomentum(), Mine()]):
        assert lr(alone) == 0.1
    for asked in (FixedMomentum(), [FixedMomentum(), Mine()]):
        assert lr(asked, trust_region=TrustRegion()) == pytest.approx(0.03, rel=0.02)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_a_group_whose_rule_does_not_ask_for_the_scale_stays_as_torchs(
    name: str, place: int
) -> None:
    """Bit for bit; and the other group is as it would be alone."""
    options: dict[str, Any] = {"lr": 0.01} | ({"momentum": 0.9} if name == "SGD" else {})
    weights = [parameter() for _ in range(2)]
    rules = [FixedMomentum() if i == place else AlignmentRule() for i in range(2)]
    groups = [{"params": [weight]} for weight in weights]
    together = getattr(optim, name)(groups, rule=rules, **options)
    fixed, asks = parameter(), parameter()
    alone = getattr(optim, name)([asks], **options)
    plain = getattr(torch.optim, name)([fixed], **options)
    halfway: list[Any] = []
    for step in range(40):
        generator = torch.Generator().manual_seed(step)
        for weight in (*weights, fixed, asks):
            weight.grad = weight.detach() + torch.randn(12, generator=generator.manual_seed(step))
        for optimizer in (together, alone, plain):
            optimizer.step()
        if step == 20:
            halfway = copy.deepcopy([together.state_dict(), [w.detach() for w in weights]])
    assert torch.equal(weights[place], fixed)
    assert torch.equal(weights[1 - place], asks)
    assert together.scale == alone.scale != START
    assert together.state_dict()["param_groups"][place].get("coupled_lr", 0.01) == 0.01

    others = [torch.nn.Parameter(w.clone()) for w in halfway[1]]
    resumed = getattr(optim, name)([{"params": [w]} for w in others], rule=rules, **options)
    resumed.load_state_dict(halfway[0])
    for step in range(21, 40):
        for weight in others:
            generator = torch.Generator().manual_seed(step)
            weight.grad = weight.detach() + torch.randn(12, generator=generator)
        resumed.step()
    assert all(map(torch.equal, weights, others))


OPTIMIZERS = {
    "sgd": (torch.optim.SGD, optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "adamw": (torch.optim.AdamW, optim.AdamW, {"lr": 0.1}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("mode", ["scheduler", "trial"])
def test_a_trial_restored_from_a_checkpoint_without_a_scale_goes_on_without_a_region(
    name: str, mode: str, tmp_path: Path
) -> None:
    kind, _, options = OPTIMIZERS[name]

    def session(**entries: Any) -> tuple[Any, torch.optim.Optimizer]:
        optimizer = kind([parameter()], **options)
        return attach(optimizer, section(mode=mode, rule="alignment", **entries)), optimizer

    def scales(optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
        (group,) = optimizer.param_groups
        lrs = train(optimizer, steps)
        return [lr / 0.1 for lr in lrs] if name == "adamw" else [group["coupled_lr"], *lrs]

    trial, optimizer = session(trust_region={"span": 1})
    train(optimizer, 10)
    trial.save(tmp_path, whole=True)
    before = trial.statistics()
    again, continued = session()
    with warnings.catch_warnings():
        # Candidates are those of before, so that statistics go on.
        warnings.simplefilter("error")
        again.load(tmp_path)
    assert again.statistics() == before
    same_weights(optimizer, continued)
    assert scales(continued, 5) == scales(optimizer, 5)
    assert "gap/scale" not in again.result({})
    # And so does what is saved from here.
    again.save(tmp_path, whole=True)
    third, optimizer = session()
    third.load(tmp_path)
    same_weights(continued, optimizer)
    assert scales(optimizer, 5) == scales(continued, 5)
    asked, optimizer = session(trust_region={})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked.load(tmp_path)
    assert asked.result({})["gap/scale"] == pytest.approx(START)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_trial_restored_with_a_scale_goes_on_with_it(name: str, tmp_path: Path) -> None:
    kind, _, options = OPTIMIZERS[name]
    optimizer = kind([parameter()], **options)
    trial = attach(optimizer, section(mode="scheduler"))
    train(optimizer, 20)
    trial.save(tmp_path, whole=True)
    again = attach(kind([parameter()], **options), section(mode="scheduler"))
    again.load(tmp_path)
    assert again.result({})["gap/scale"] == trial.result({})["gap/scale"] != START


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("saved", ["torch", "off", "earlier version"])
def test_an_optimizer_that_loads_a_state_without_a_scale_goes_on_without_a_region(
    name: str, saved: str
) -> None:
    plain, kind, options = OPTIMIZERS[name]
    off = {**options, "trust_region": TrustRegion.off()}
    made: Any = plain([parameter()], **options) if saved == "torch" else kind([parameter()], **off)
    train(made, 10)
    state = copy.deepcopy(made.state_dict())
    if saved == "earlier version":
        del state["gap_tune"]["scale"]
    loaded, reference = kind([parameter()], **options), kind([parameter()], **off)
    for each in (loaded, reference):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            each.load_state_dict(copy.deepcopy(state))
    assert not loaded.has_region
    assert train(loaded, 8) == train(reference, 8)
    asked = kind([parameter()], **options, trust_region=TrustRegion())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked.load_state_dict(copy.deepcopy(state))
    assert asked.scale == pytest.approx(START)
    # A state with a scale brings the region back.
    scaled = kind([parameter()], **options)
    train(scaled, 10)
    loaded.load_state_dict(scaled.state_dict())
    assert loaded.has_region
    assert loaded.scale == scaled.scale != START


def test_a_self_tuning_optimizer_trains_in_the_region_of_its_study() -> None:
    narrow = {"span": 3.0, "floor": 1 / 3, "start": 0.5}
    optimizer = optim.SGD([parameter()], lr=0.1, momentum=0.9)
    attach(optimizer, section(mode="trial", trust_region=narrow))
    assert train(optimizer, 1) == [pytest.approx(0.05, rel=0.02)]
    assert optimizer.has_region
    left = optim.AdamW([parameter()], lr=0.1)
    attach(left, section(mode="trial", trust_region={"span": 1}))
    assert train(left, 3) == [0.1] * 3
    assert left.statistics().candidates == ADAM_CANDIDATES
    asked = optim.SGD([parameter()], lr=0.1, trust_region=TrustRegion())
    with pytest.raises(InvalidValueError, match="trust_region of SGD must be that of the study"):
        attach(asked, section(mode="trial", trust_region=narrow))


def test_bug_trials_failed_whose_optimizer_has_a_region_of_its_own_once_a_search_narrowed_it() -> (
    None
):
    asked = optim.SGD([parameter()], lr=0.1, trust_region=TrustRegion(start=0.7))
    attach(asked, section(mode="trial", trust_region={"span": 3.0}, lr_reason="moved"))
    assert train(asked, 1) == [pytest.approx(0.07, rel=0.02)]
    with pytest.raises(InvalidValueError, match="a trust region must be"):
        attach(asked, section(mode="trial", trust_region={"spam": 1}, lr_reason="moved"))


def test_a_region_that_a_study_changes_in_mid_training_keeps_the_scale_within_it() -> None:
    optimizer = optim.AdamW([parameter()], lr=0.01)
    train(optimizer, 60)
    before = optimizer.scale
    optimizer.enter_region(TrustRegion(span=3.0))
    assert before > optimizer.scale
    assert optimizer.scale == pytest.approx(3.0)
    optimizer = optim.AdamW([parameter()], lr=0.01)
    train(optimizer, 60)
    optimizer.enter_region(TrustRegion(span=1.1, floor=0.9))
    assert 0.9 <= optimizer.scale <= 1.1
