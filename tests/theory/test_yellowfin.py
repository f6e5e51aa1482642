"""YellowFin's rule against numerical solutions, its averages against sums over the whole past."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from gap_tune.errors import InvalidValueError
from gap_tune.theory.yellowfin import (
    DECAY,
    WINDOW,
    YellowFinAverages,
    YellowFinMeasurements,
    single_step,
    squared_mean,
)


def random_measurements(count: int) -> list[YellowFinMeasurements]:
    chance = np.random.default_rng(0)
    h_min, spread, variance, distance = 10 ** chance.uniform(-3, 3, size=(4, count))
    spread = np.maximum(spread, 1.0)
    rows = zip(h_min, h_min * spread, variance, distance, strict=True)
    return [YellowFinMeasurements(*map(float, row)) for row in rows]


def lower_bound(measured: YellowFinMeasurements) -> float:
    ratio = math.sqrt(measured.h_max / measured.h_min)
    return (ratio - 1) / (ratio + 1)


@pytest.mark.parametrize("measured", random_measurements(40), ids=range(40))
def test_the_rule_minimises_the_published_objective(measured: YellowFinMeasurements) -> None:
    def objective(root: float) -> float:
        lr = (1 - root) ** 2 / measured.h_min
        return root**2 * measured.distance**2 + lr**2 * measured.variance

    found = single_step(measured)
    bound = lower_bound(measured)
    best = minimize_scalar(objective, bounds=(bound, 1.0), method="bounded")
    root = math.sqrt(found.momentum)
    assert bound - 1e-12 <= root <= 1
    assert objective(root) <= best.fun * (1 + 1e-9)
    assert found.lr == pytest.approx((1 - root) ** 2 / measured.h_min, rel=1e-9)


@pytest.mark.parametrize("measured", random_measurements(40), ids=range(40))
def test_the_rule_is_the_cubics_real_root_or_its_bound(measured: YellowFinMeasurements) -> None:
    p = (measured.distance * measured.h_min) ** 2 / (2 * measured.variance)
    # (1 - x)^3 = p x
    roots = np.roots([-1.0, 3.0, -3.0 - p, 1.0])
    (real,) = (root.real for root in roots if abs(root.imag) < 1e-6 * (1 + abs(root)))
    expected = max(real, lower_bound(measured))
    assert math.sqrt(single_step(measured).momentum) == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("variance", [0.0, 1e-12])
def test_without_noise_momentum_is_that_of_polyaks_heavy_ball(
    condition: float, variance: float
) -> None:
    quiet = YellowFinMeasurements(2.0, 2.0 * condition, variance, 1.0)
    momentum, lr = single_step(quiet)
    root = math.sqrt(condition)
    assert momentum == pytest.approx(((root - 1) / (root + 1)) ** 2, abs=1e-9)
    # Polyak's learning rate, of the same two curvatures.
    assert lr == pytest.approx(4 / (math.sqrt(2.0) + math.sqrt(2.0 * condition)) ** 2)


def test_extreme_measurements_stay_in_range() -> None:
    for variance in (0.0, 1e-30, 1e30):
        for distance in (1e-30, 1e30):
            for h_min in (1e-30, 1e30):
                momentum, lr = single_step(YellowFinMeasurements(h_min, h_min, variance, distance))
                assert 0 <= momentum <= 1
                assert 0 <= lr <= 1 / h_min


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0, 1.0, 1.0, 1.0), r"h_min must be a number in \(0, inf\), but got 0.0"),
        ((2.0, 1.0, 1.0, 1.0), r"h_max must be a number in \[2, inf\), but got 1.0"),
        ((1.0, 1.0, -1.0, 1.0), "variance must be"),
        ((1.0, 1.0, 1.0, math.nan), "distance must be"),
    ],
)
def test_impossible_measurements_are_refused(values: tuple[float, ...], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        YellowFinMeasurements(*values)


def mean(values: list[float]) -> float:
    """Return the zero-debiased average of a whole past."""
    weights = DECAY ** np.arange(len(values))[::-1]
    return float(np.average(values, weights=weights))


def test_averages_are_those_of_the_whole_past() -> None:
    chance = np.random.default_rng(1)
    gradients = chance.normal(0.3, 1.0, size=(60, 5))
    averages = YellowFinAverages()
    average = np.zeros(5)
    for gradient in gradients:
        average = DECAY * average + (1 - DECAY) * gradient
        square = float(gradient @ gradient)
        averages = averages.take_in(square, square, float(average @ average))
    norms = np.linalg.norm(gradients, axis=1)
    windows = [norms[max(0, t + 1 - WINDOW) : t + 1] ** 2 for t in range(60)]
    distances = [mean([*norms[: t + 1]]) / mean([*norms[: t + 1] ** 2]) for t in range(60)]
    measured = averages.measurements()
    assert measured.h_max == pytest.approx(math.exp(mean([math.log(max(w)) for w in windows])))
    assert measured.h_min == pytest.approx(math.exp(mean([math.log(min(w)) for w in windows])))
    assert measured.distance == pytest.approx(mean(distances))
    weights = DECAY ** np.arange(60)[::-1]
    around = gradients - np.average(gradients, axis=0, weights=weights)
    variance = np.average((around**2).sum(1), weights=weights)
    assert measured.variance == pytest.approx(variance)


def test_the_squared_mean_follows_from_what_is_known_before() -> None:
    chance = np.random.default_rng(2)
    average, squared = np.zeros(5), 0.0
    for gradient in chance.normal(0.3, 1.0, size=(60, 5)):
        squared = squared_mean(squared, float(average @ gradient), float(gradient @ gradient))
        average = DECAY * average + (1 - DECAY) * gradient
        assert squared == pytest.approx(float(average @ average))


def test_an_exploding_gradient_raises_the_upper_curvature_by_the_limit_only() -> None:
    averages = YellowFinAverages()
    for _ in range(30):
        averages = averages.take_in(1.0, 1.0, 1.0)
    before = averages.measurements()
    after = averages.take_in(1e30, 1.0, 1.0).measurements()
    assert before.h_max == pytest.approx(1.0)
    # One of 31 logarithms, of 100 instead of 1e30.
    assert math.log(after.h_max) == pytest.approx(math.log(100) / 31, rel=0.02)


def test_gradients_that_grow_for_long_leave_an_order_of_curvatures() -> None:
    averages = YellowFinAverages().take_in(1.0, 1.0, 1.0)
    for _ in range(100):
        averages = averages.take_in(1e30, 1.0, 1.0)
        measured = averages.measurements()
        assert measured.h_min <= measured.h_max


def test_the_learning_rate_rises_over_ten_windows() -> None:
    averages = YellowFinAverages()
    shares = []
    for _ in range(250):
        averages = averages.take_in(1.0, 1.0, 1.0)
        shares.append(averages.slow_start)
    assert shares[0] == 1 / 200
    assert shares[99] == 0.5
    assert shares[199:] == [1.0] * 51
