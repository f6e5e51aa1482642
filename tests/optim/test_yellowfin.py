"""YellowFin against a slow loop over whole gradients, and as a torch optimizer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.optim import DiagonalTO, YellowFin
from tests.optim.stepping import equal, joined, run, set_gradients, tensors

BETA = 0.999


def published(
    weights: np.ndarray,
    gradient: Callable[[np.ndarray, int], np.ndarray],
    steps: int,
    weight_decay: float = 0.0,
) -> tuple[np.ndarray, list[float]]:
    """Return weights and momenta of the published algorithm, written out coordinate by coordinate.

    Its cubic is solved by ``numpy.roots``.
    """
    velocity = np.zeros_like(weights)
    square, average = np.zeros_like(weights), np.zeros_like(weights)
    norms: list[float] = []
    log_max = log_min = norm_average = square_average = distance = 0.0
    momenta = []
    for t in range(1, steps + 1):
        g = gradient(weights, t - 1)
        norms.append(float(np.linalg.norm(g)))
        recent = [norm**2 for norm in norms[-20:]]
        log_max = BETA * log_max + (1 - BETA) * math.log(max(recent))
        log_min = BETA * log_min + (1 - BETA) * math.log(min(recent))
        square = BETA * square + (1 - BETA) * g * g
        average = BETA * average + (1 - BETA) * g
        norm_average = BETA * norm_average + (1 - BETA) * norms[-1]
        square_average = BETA * square_average + (1 - BETA) * norms[-1] ** 2
        distance = BETA * distance + (1 - BETA) * norm_average / square_average
        start = 1 - BETA**t
        h_max, h_min = math.exp(log_max / start), math.exp(log_min / start)
        variance = max(1e-12, float((square / start - (average / start) ** 2).sum()))
        p = (distance / start * h_min) ** 2 / (2 * variance)
        roots = np.roots([-1.0, 3.0, -3.0 - p, 1.0])
        free = float(roots[np.argmin(np.abs(roots.imag))].real)
        ratio = math.sqrt(h_max / h_min)
        root = max(free, (ratio - 1) / (ratio + 1))
        lr = (1 - root) ** 2 / h_min * min(1.0, t / 200)
        momenta.append(root**2)
        velocity = root**2 * velocity + g + weight_decay * weights
        weights = weights - lr * velocity
    return weights, momenta


def noisy(weights: np.ndarray, step: int) -> np.ndarray:
    noise = np.random.default_rng(step).normal(size=weights.shape)
    return np.asarray(np.linspace(0.5, 4.0, weights.size) * weights + 0.5 * noise)


@pytest.mark.parametrize("sample", [None, 8192])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_run_is_the_published_algorithms(sample: int | None, weight_decay: float) -> None:
    params = tensors()
    optimizer = YellowFin(params, sample=sample, weight_decay=weight_decay)
    start = joined(params)
    momenta = []
    for step in range(230):
        gradient = torch.from_numpy(noisy(joined(params), step))
        sizes = [p.numel() for p in params]
        for parameter, piece in zip(params, gradient.split(sizes), strict=True):
            parameter.grad = piece.reshape(parameter.shape)
        optimizer.step()
        momenta.append(optimizer.param_groups[0]["momentum"])
    weights, expected = published(start, noisy, 230, weight_decay)
    np.testing.assert_allclose(joined(params), weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(momenta[1:], expected[1:], rtol=1e-6, atol=1e-9)


def test_a_sample_of_the_coordinates_measures_almost_what_all_do() -> None:
    momenta = []
    for sample in (None, 200):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(20_000))
        optimizer = YellowFin([weight], sample=sample)
        for _ in range(40):
            weight.grad = weight.detach() + torch.randn(20_000)
            optimizer.step()
        assert optimizer.state_dict()["gap_tune"]["mean"].numel() == (sample or 20_000)
        momenta.append(optimizer.param_groups[0]["momentum"])
    assert momenta[1] == pytest.approx(momenta[0], rel=0.05)


def test_a_noiseless_quadratic_is_solved_without_a_learning_rate() -> None:
    curvatures = torch.tensor([1.0, 10.0])
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = YellowFin([weight])
    for _ in range(600):
        optimizer.zero_grad()
        (curvatures * weight.square()).sum().div(2).backward()
        optimizer.step()
    assert 0 < optimizer.param_groups[0]["momentum"] < 1
    assert weight.norm() < 1e-3


def test_gradient_norms_of_a_known_range_give_the_momentum_of_that_range() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = YellowFin([weight])
    for step in range(300):
        # Squared norms between 1 and 1.21, always downhill: almost no variance.
        weight.grad = torch.full((1,), 1.1 if step % 2 else 1.0)
        optimizer.step()
    bound = (0.1 / 2.1) ** 2
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(bound, rel=0.15)


def test_groups_share_momentum_and_rate_and_scale_it_by_their_own_lr() -> None:
    params, twins = tensors(), tensors()
    optimizer = YellowFin([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}])
    plain = YellowFin(twins)
    before = copy.deepcopy(params)
    for each in (params, twins):
        set_gradients(each, 0)
    optimizer.step()
    plain.step()
    moved = [joined([p]) - joined([b]) for p, b in zip(params, before, strict=True)]
    whole = [joined([p]) - joined([b]) for p, b in zip(twins, before, strict=True)]
    np.testing.assert_allclose(moved[0], 0.5 * whole[0])
    np.testing.assert_array_equal(moved[1], whole[1])
    rates = {(g["momentum"], g["rate"]) for g in optimizer.param_groups}
    assert rates == {(plain.param_groups[0]["momentum"], plain.param_groups[0]["rate"])}


def test_a_schedule_scales_the_rate() -> None:
    params = tensors()
    optimizer = YellowFin(params)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.0)
    run(optimizer, params, range(1))
    schedule.step()
    before = copy.deepcopy(params)
    run(optimizer, params, range(1, 2))
    assert equal(params, before)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_gradient_that_says_nothing_is_not_measured(value: float) -> None:
    params = tensors()
    optimizer = YellowFin(params)
    run(optimizer, params, range(3))
    before = optimizer.state_dict()["gap_tune"]
    for parameter in params:
        parameter.grad = torch.full_like(parameter, value)
    optimizer.step()
    assert str(optimizer.state_dict()["gap_tune"]) == str(before)


def test_parameters_without_gradients_stay_and_frozen_ones_are_no_matter() -> None:
    params, twins = tensors(), tensors()
    params[1].requires_grad_(False)
    optimizer, plain = YellowFin(params), YellowFin([twins[0], twins[2]])
    kept = params[1].detach().clone()
    for step in range(5):
        set_gradients(params, step)
        set_gradients(twins, step)
        params[1].grad = None
        optimizer.step()
        plain.step()
    assert torch.equal(params[1], kept)
    assert equal([params[0], params[2]], [twins[0], twins[2]])
    assert [len(optimizer.state[p]) for p in params] == [1, 0, 1]


def test_a_group_that_comes_later_starts_the_averages_anew() -> None:
    params = tensors()
    optimizer = YellowFin(params[:2])
    run(optimizer, params[:2], range(3))
    optimizer.add_param_group({"params": params[2:]})
    assert optimizer.state_dict()["gap_tune"]["averages"]["steps"] == 0
    run(optimizer, params, range(3, 5))
    assert optimizer.state_dict()["gap_tune"]["averages"]["steps"] == 2


def test_what_cannot_be_handled_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="lr must be a number in"):
        YellowFin(tensors(), lr=-1.0)
    with pytest.raises(UnsupportedError, match="complex64"):
        YellowFin([torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = YellowFin([weight])
    weight.grad = torch.eye(2).to_sparse()
    with pytest.raises(UnsupportedError, match="must be dense"):
        optimizer.step()


def test_states_of_others_are_refused() -> None:
    params = tensors()
    optimizer = YellowFin(params)
    run(optimizer, params, range(2))
    with pytest.raises(StateError, match="must be YellowFin's"):
        optimizer.load_state_dict(DiagonalTO(params, lr=0.1).state_dict())
    with pytest.raises(StateError, match="must be YellowFin's"):
        YellowFin(params, sample=3).load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        YellowFin(params[:1]).load_state_dict(optimizer.state_dict())
