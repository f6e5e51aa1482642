"""The scale of the trust region, moved in real optimizers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gap_tune
from gap_tune import FixedMomentum, TrustRegion, optim
from gap_tune.control.scale import ScaleControl
from gap_tune.gradients import GradientMonitor, used_filter
from gap_tune.tune.trial.attaching import make_tuning

Params = list[torch.nn.Parameter]
ON = {"sample": None, "trust_region": TrustRegion()}


def parameters(seed: int = 0) -> Params:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3,), (2, 2), (5,))
    return [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]


def gradients(step: int, params: Params) -> list[Tensor]:
    """Gradients that agree for twenty steps, and then oppose those before."""

    def noise(of: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(1000 + of)
        return [torch.randn(p.shape, generator=generator) for p in params]

    if step < 20:
        return [1.0 + 0.3 * fresh for fresh in noise(step)]
    return [10.0 * (new - old) for new, old in zip(noise(step), noise(step - 1), strict=True)]


def train(
    optimizer: torch.optim.Optimizer, params: Params, steps: range, factor: float = 1.0
) -> None:
    for step in steps:
        for parameter, gradient in zip(params, gradients(step, params), strict=True):
            parameter.grad = factor * gradient
        optimizer.step()


class Hand:
    """The control by hand, over all coordinates and the whole history: docs/design.md's formulas.

    Args:
        momenta: What each parameter trains with.
        beta2: Adam's, which whitens; None for SGD.
    """

    def __init__(self, momenta: list[float], beta2: float | None = None) -> None:
        self.momenta, self.beta2, self.region = momenta, beta2, TrustRegion()
        self.used: dict[int, Tensor] = {}
        self.slow: dict[int, Tensor] = {}
        self.moments: dict[int, Tensor] = {}
        self.steps: dict[int, int] = {}
        self.products: list[tuple[float, float]] = []

    def step(self, gradients: list[Tensor | None]) -> float:
        """Take in a step's gradients, None where a parameter has none; return the scale."""
        products = [0.0, 0.0]
        for i, gradient in enumerate(gradients):
            if gradient is None:
                continue
            fresh = gradient.double()
            judge = fresh
            if self.beta2 is not None:
                steps = self.steps[i] = self.steps.get(i, 0) + 1
                moment = self.moments.get(i, torch.zeros_like(fresh))
                moment = self.moments[i] = self.beta2 * moment + (1 - self.beta2) * fresh**2
                judge = fresh / ((moment / (1 - self.beta2**steps)).sqrt() + 1e-8)
            for place, buffers in enumerate((self.used, self.slow)):
                before = buffers.get(i, torch.zeros_like(fresh))
                products[place] += float((judge * before).sum())
                pole = self.region.slow if place else self.momenta[i]
                averaged = fresh if self.beta2 is None else (1 - pole) * fresh
                buffers[i] = pole * before + (judge if place else averaged)
        self.products.append((products[0], products[1]))
        return self.scale()

    def scale(self) -> float:
        region, log_scale = self.region, math.log(self.region.start)
        for t in range(len(self.products)):
            z, slow = (self.agreement(t, place) for place in (0, 1))
            gain = region.gain + (region.start_gain - region.gain) * math.exp(
                -t / region.start_steps
            )
            fading = min(1.0, region.fade_steps / t) if t else 1.0
            growing = min(1.0, region.growth_steps / t) ** 2 if t else 1.0
            drawn = gain * fading * region.pull * log_scale
            if z > 0 and slow >= 0:
                log_scale += gain * growing * z
            elif z < 0 and slow < -region.opposition:
                log_scale += gain * fading * z
            log_scale -= drawn
            log_scale = min(max(log_scale, math.log(region.floor)), math.log(region.span))
        return math.exp(log_scale)

    def agreement(self, t: int, place: int) -> float:
        memory = self.region.slow_memory if place else self.region.memory
        weights = memory ** np.arange(t + 1)[::-1]
        seen = np.array([each[place] for each in self.products[: t + 1]])
        size = np.average(np.abs(seen), weights=weights)
        return float(np.average(seen, weights=weights) / size) if size else 0.0


def test_scale_follows_the_products_with_torchs_own_momentum_buffer() -> None:
    params = parameters()
    optimizer = optim.SGD(params, lr=1e-3, momentum=0.9, **ON)
    hand, found, expected, chosen = Hand([0.9] * 3), [], [], set()
    for step in range(60):
        fresh = gradients(step, params)
        # Whatever momentum was chosen, torch's buffer is the filter that was really used.
        buffers = [optimizer.state[p].get("momentum_buffer") for p in params]
        hand.used = {i: b.double().clone() for i, b in enumerate(buffers) if b is not None}
        expected.append(hand.step(list(fresh)))
        train(optimizer, params, range(step, step + 1))
        found.append(optimizer.scale)
        chosen.add(optimizer.momentum)
    assert len(chosen) > 1
    assert found == pytest.approx(expected, rel=1e-4)
    assert max(found) > 0.9
    assert any(b < a for a, b in pairwise(found))


def test_products_of_adam_are_whitened_by_its_own_second_moments() -> None:
    params = parameters()
    optimizer = optim.AdamW(params, lr=1e-3, rule=FixedMomentum(), **ON)
    hand, found, expected = Hand([0.9] * 3, beta2=0.999), [], []
    for step in range(50):
        expected.append(hand.step(list(gradients(step, params))))
        train(optimizer, params, range(step, step + 1))
        found.append(optimizer.scale)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_filter_of_adam_is_its_own_average_also_after_beta1_has_changed() -> None:
    params = parameters()
    optimizer = optim.AdamW(params, lr=1e-3, **ON)
    hand, chosen = Hand([0.9] * 3, beta2=0.999), set()
    for step in range(60):
        averages = [optimizer.state[p].get("exp_avg") for p in params]
        hand.used = {i: m.double().clone() for i, m in enumerate(averages) if m is not None}
        expected = hand.step(list(gradients(step, params)))
        train(optimizer, params, range(step, step + 1))
        assert optimizer.scale == pytest.approx(expected, rel=1e-4)
        chosen.add(optimizer.momentum)
    assert len(chosen) > 1


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("family", ["SGD", "Adam"])
def test_weight_decay_in_the_gradient_is_part_of_it(family: str, maximize: bool) -> None:
    """The decay in the optimizer, or written into the gradient: the scale is the same."""
    scales = []
    for written in (False, True):
        params = parameters()
        decay = 0.0 if written else 0.5
        optimizer = getattr(optim, family)(
            params, lr=0.01, weight_decay=decay, maximize=maximize, rule=FixedMomentum(), **ON
        )
        for step in range(40):
            for p, fresh in zip(params, gradients(step, params), strict=True):
                sign = -1.0 if maximize else 1.0
                p.grad = fresh + (sign * 0.5 * p.detach() if written else 0.0)
            optimizer.step()
        scales.append(optimizer.scale)
    assert scales[0] == pytest.approx(scales[1], rel=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_bug_with_a_closure_the_first_step_was_not_scaled(name: str) -> None:
    params = parameters()
    optimizer: Any = MAKERS[name](params)
    seen: list[float] = []
    optimizer.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))

    def step_of(these: Params, of: Any, step: int) -> None:
        def closure() -> float:
            for p, g in zip(these, gradients(step, these), strict=True):
                p.grad = g
            return 0.0

        of.step(closure)

    step_of(params, optimizer, 0)
    assert seen == [pytest.approx(0.01 * TrustRegion().start)]
    for step in range(1, 9):
        step_of(params, optimizer, step)
    others = copy.deepcopy(params)
    resumed: Any = MAKERS[name](others)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(9, 15):
        step_of(params, optimizer, step)
        step_of(others, resumed, step)
        assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


@pytest.mark.parametrize("correlation", [0.8, 0.2, -0.6])
def test_agreement_of_autoregressive_gradients_is_what_theory_says(correlation: float) -> None:
    """``E[x] = rho / (1 - beta rho)``; of Gaussians of correlation r, by the angle between them.

    ``E|x| = 2 / pi (sqrt(1 - r^2) + r asin(r))`` times their standard deviations.
    """
    beta, steps = 0.8, 20_000
    rng = np.random.default_rng(3)
    noise = rng.normal(size=steps) * math.sqrt(1 - correlation**2)
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=0.0, momentum=beta)
    monitor = GradientMonitor(optimizer)
    region = TrustRegion(memory=0.9999)
    control = ScaleControl(region, [monitor], optimizer)
    value = 0.0
    for shock in noise:
        value = correlation * value + shock
        parameter.grad = torch.full((1,), value, dtype=torch.float64)
        monitor.observe()
        control.follow(beta)
    mean = correlation / (1 - beta * correlation)
    power = (1 + beta * correlation) / ((1 - beta**2) * (1 - beta * correlation))
    r = mean / math.sqrt(power)
    size = (math.sqrt(1 - r**2) + r * math.asin(r)) * 2 / math.pi
    assert control.agreement == pytest.approx(r / size, abs=0.02)


@pytest.mark.parametrize("family", [torch.optim.SGD, torch.optim.AdamW])
def test_scale_is_blind_to_the_scale_of_the_loss(family: Any) -> None:
    options = {"momentum": 0.9} if family is torch.optim.SGD else {"eps": 0.0}
    scales = []
    for factor in (1.0, 2.0**20, 2.0**-20):
        params = parameters()
        optimizer = getattr(optim, family.__name__)(params, lr=0.0, **options, **ON)
        train(optimizer, params, range(40), factor)
        scales.append(optimizer.scale)
    assert scales[0] != TrustRegion().start
    assert scales == pytest.approx([scales[0]] * 3, rel=1e-6)


def controlled(params: Params, mode: str = "scheduler", **options: Any) -> Any:
    optimizer = torch.optim.SGD(params, lr=0.1, momentum=0.9)
    return make_tuning(optimizer, {"mode": mode}, sample=None, **options)


@pytest.mark.parametrize("mode", ["scheduler", "trial"])
def test_the_scale_multiplies_the_learning_rate_of_the_step_alone(mode: str) -> None:
    params = parameters()
    tuning = controlled(
        params, mode, rule=FixedMomentum() if mode == "trial" else None, trust_region={"start": 0.5}
    )
    seen: list[float] = []
    tuning.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"])
    )
    scheduler = torch.optim.lr_scheduler.ExponentialLR(tuning.optimizer, 0.5)
    for step in range(5):
        train(tuning.optimizer, params, range(step, step + 1))
        assert tuning.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**step)
        assert seen[-1] == pytest.approx(0.1 * 0.5**step * tuning.scale)
        assert scheduler.get_last_lr() == [tuning.optimizer.param_groups[0]["lr"]]
        scheduler.step()
    assert tuning.scale > 0.5


class Unscaled(gap_tune.AlignmentRule):
    """The default rule, which leaves the learning rate alone."""

    scales_lr = False


@pytest.mark.parametrize("off", [{"span": 1.0}, TrustRegion(span=1), TrustRegion.off()])
@pytest.mark.parametrize("mode", ["scheduler", "trial"])
def test_a_span_of_one_is_without_control_bit_for_bit(off: Any, mode: str) -> None:
    runs = []
    for options in ({"rule": Unscaled()}, {"trust_region": off}):
        params = parameters()
        tuning = controlled(params, mode, **options)
        train(tuning.optimizer, params, range(30))
        assert (tuning.scale, tuning.agreement) == (1.0, None)
        runs.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_weight_decay_of_adamw_is_not_scaled() -> None:
    """Decoupled, it is lr * decay of the schedule's learning rate, whatever the scale."""
    params = [torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(2))]
    optimizer = optim.AdamW(params, lr=0.01, weight_decay=0.1, rule=FixedMomentum(), **ON)
    for step in range(10):
        params[0].grad = torch.zeros(4)
        params[1].grad = torch.ones(2)
        optimizer.step()
        assert params[0].tolist() == pytest.approx([(1 - 0.001) ** (step + 1)] * 4, rel=1e-5)
    assert optimizer.scale != 1.0


def test_baselines_are_left_alone() -> None:
    params = parameters()
    tuning = controlled(params, "fixed", trust_region=TrustRegion())
    plain = parameters()
    other = torch.optim.SGD(plain, lr=0.1, momentum=0.9)
    train(tuning.optimizer, params, range(10))
    train(other, plain, range(10))
    assert all(torch.equal(a, b) for a, b in zip(params, plain, strict=True))
    assert tuning.agreement is None


@pytest.mark.parametrize("spoiled", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_moves_nothing(spoiled: float) -> None:
    params = parameters()
    optimizer = optim.SGD(params, lr=0.0, momentum=0.9, rule=FixedMomentum(), **ON)
    train(optimizer, params, range(10))
    scale, twin = optimizer.scale, copy.deepcopy(optimizer)
    params[0].grad = torch.full((3,), spoiled)
    optimizer.step()
    assert optimizer.scale == scale
    train(optimizer, params, range(10, 15))
    train(twin, [p for g in twin.param_groups for p in g["params"]], range(10, 15))
    assert optimizer.scale == twin.scale


def test_a_parameter_without_gradient_keeps_its_part_of_the_filters() -> None:
    """As torch keeps its momentum buffer."""
    params = parameters()
    optimizer = optim.SGD(params, lr=0.0, momentum=0.5, rule=FixedMomentum(), **ON)
    hand = Hand([0.5] * 3)
    for step in range(12):
        fresh: list[Tensor | None] = list(gradients(step, params))
        fresh[step % 3] = None
        for parameter, gradient in zip(params, fresh, strict=True):
            parameter.grad = gradient
        optimizer.step()
        assert optimizer.scale == pytest.approx(hand.step(fresh), rel=1e-5)


def test_groups_of_different_momenta_are_filtered_by_their_own() -> None:
    params = parameters()
    groups = [{"params": params[:1], "momentum": 0.3}, {"params": params[1:]}]
    optimizer = optim.SGD(groups, lr=0.0, momentum=0.9, rule=FixedMomentum(), **ON)
    hand = Hand([0.3, 0.9, 0.9])
    for step in range(12):
        train(optimizer, params, range(step, step + 1))
        expected = hand.step(list(gradients(step, params)))
        assert optimizer.scale == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", [torch.optim.SGD, torch.optim.AdamW])
def test_a_parameter_that_joins_late_starts_from_zero(family: Any) -> None:
    params = parameters()
    sgd = family is torch.optim.SGD
    options: dict[str, Any] = {"momentum": 0.9} if sgd else {}
    optimizer = getattr(optim, family.__name__)(
        params[:2], lr=0.0, rule=FixedMomentum(), **options, **ON
    )
    hand = Hand([0.9] * 3, beta2=None if sgd else 0.999)
    for step in range(12):
        if step == 5:
            optimizer.add_param_group({"params": params[2:]})
        present = params if step >= 5 else params[:2]
        train(optimizer, present, range(step, step + 1))
        expected = hand.step(list(gradients(step, params)[: len(present)]))
        assert optimizer.scale == pytest.approx(expected, rel=1e-5)


MAKERS: dict[str, Callable[[Params], torch.optim.Optimizer]] = {
    "sgd": lambda params: optim.SGD(params, lr=0.01, momentum=0.9, **ON),
    "adamw": lambda params: optim.AdamW(params, lr=0.01, **ON),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("steps", [0, 1, 7, 25])
def test_a_run_that_is_resumed_is_that_run_bit_for_bit(name: str, steps: int) -> None:
    params = parameters()
    optimizer: Any = MAKERS[name](params)
    train(optimizer, params, range(steps))
    others = copy.deepcopy(params)
    resumed: Any = MAKERS[name](others)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(optimizer, params, range(steps, steps + 20))
    train(resumed, others, range(steps, steps + 20))
    assert resumed.scale == optimizer.scale
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


def test_agreement_that_comes_three_steps_late_is_that_of_three_steps_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a device, whose numbers nobody waits for."""
    params = parameters()
    optimizer = torch.optim.SGD(params, lr=0.0, momentum=0.9)
    monitors = [GradientMonitor(optimizer, sample=None) for _ in range(2)]
    prompt, late = (ScaleControl(TrustRegion(), [m], optimizer) for m in monitors)
    course: list[tuple[float, float]] = []
    for step in range(30):
        train(optimizer, params, range(step, step + 1))
        prompt.follow(0.9)
        with monkeypatch.context() as patch:
            patch.setattr(used_filter, "lives_on_host", lambda device: False)
            late.follow(0.9)
        course.append((prompt.scale, late.scale))
    prompts, lates = zip(*course, strict=True)
    assert lates[3:] == pytest.approx(prompts[:-3], rel=1e-6)
    assert lates[:3] == (TrustRegion().start,) * 3


def test_two_runs_are_the_same_bit_for_bit() -> None:
    scales = []
    for _ in range(2):
        params = parameters()
        optimizer: Any = MAKERS["adamw"](params)
        train(optimizer, params, range(30))
        scales.append((optimizer.scale, optimizer.agreement))
    assert scales[0] == scales[1]


def test_the_scale_is_found_by_its_public_name() -> None:
    assert gap_tune.TrustRegion is TrustRegion


class OnDevice(torch.Tensor):
    """A number that nobody may ask for, as on a device."""

    @property
    def is_cpu(self) -> bool:
        return False

    def __float__(self) -> float:
        raise AssertionError("a device was asked for its number")


def beta2_of_device(value: float) -> Tensor:
    return torch.tensor(value).as_subclass(OnDevice)


@pytest.mark.parametrize(
    ("place", "made"),
    [
        ("host", float),
        ("host", torch.tensor),
        ("device", float),
        ("device", beta2_of_device),
    ],
)
def test_bug_products_are_whitened_by_the_beta2_in_use(
    place: str, made: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is a tensor, in host memory or on the gradients' device."""
    params = parameters()
    o = torch.optim.Adam(params, lr=1e-3, betas=(0.9, 0.999), foreach=False)
    monitor = GradientMonitor(o, sample=None)
    if place == "device":
        monkeypatch.setattr(used_filter, "lives_on_host", lambda device: False)
    used = used_filter.UsedFilter(monitor, o, 0.99)
    moment, filtered, missing = 0.0, 0.0, 1.0
    found, expected = [], []
    for step in range(8):
        beta2 = 0.999 if step < 4 else 0.5
        for p, fresh in zip(params, gradients(step, params), strict=True):
            p.grad = fresh
        monitor.observe()
        o.param_groups[0]["betas"] = (0.9, made(beta2))
        products = used.products(0.9)
        assert products is not None
        found.append(float(products[0]))
        g = np.concatenate([p.grad.numpy().ravel() for p in params]).astype(float)  # type: ignore[union-attr]
        moment, missing = beta2 * moment + (1 - beta2) * g**2, missing * beta2
        judge = g / (np.sqrt(moment / (1 - missing)) + 1e-8)
        expected.append(float(np.sum(judge * filtered)))
        filtered = 0.9 * filtered + 0.1 * g
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_tensor_beta2_that_is_tuned_is_that_of_a_number() -> None:
    """The whole optimizer: choices of beta2, averages and scale."""
    courses = []
    for made in (float, lambda beta: torch.tensor(beta, dtype=torch.float64)):
        params = parameters()
        optimizer: Any = optim.Adam(
            params,
            lr=0.01,
            betas=(made(0.9), made(0.99)),
            beta2_candidates=(0.5, 0.9),
            foreach=False,
            **ON,
        )
        course = []
        for step in range(30):
            train(optimizer, params, range(step, step + 1))
            course.append((optimizer.scale, float(optimizer.param_groups[0]["betas"][1])))
        courses.append((course, torch.cat([p.detach().reshape(-1) for p in params]).tolist()))
    (numbers, weights), (tensors, others) = courses
    assert len({beta2 for _, beta2 in numbers}) > 1
    assert np.array(tensors) == pytest.approx(np.array(numbers), rel=1e-4)
    assert others == pytest.approx(weights, rel=1e-4)
