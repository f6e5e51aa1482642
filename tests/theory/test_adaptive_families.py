"""Cor. 6, 21, 22: Adam, Lion and layer-wise momentum against brute force."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gap_tune.errors import InvalidValueError
from gap_tune.theory import (
    adam_gain,
    lion_gain,
    optimal_adam,
    optimal_layerwise,
    optimal_lion_momentum,
    optimal_momentum,
    whiten,
)

DENSE = np.linspace(0.0, 0.99, 4001)
RNG = np.random.default_rng(5)
sequences = st.lists(st.integers(-50, 50).map(lambda i: i / 10.0), min_size=2, max_size=12)


def _gradients(steps: int = 400, d: int = 6) -> np.ndarray:
    g = np.zeros((steps, d))
    for t in range(1, steps):
        g[t] = 0.7 * g[t - 1] + RNG.normal(size=d) * np.logspace(-1, 1, d)
    return g


def _second_moment(g: np.ndarray, beta2: float) -> np.ndarray:
    """Adam's bias-corrected second moment after the last step."""
    v = np.zeros(g.shape[1])
    for row in g:
        v = beta2 * v + (1.0 - beta2) * row**2
    return v / (1.0 - beta2 ** len(g))


def test_adam_optimum_solves_the_constrained_problem():
    """Cor. 6 by brute force on the explicit filter Q[n] = eta (1 - b1) b1^n diag(1/c)."""
    g, lags, B = _gradients(), 12, 2.0
    r = np.stack([(g[k:] * g[: len(g) - k]).mean(axis=0) for k in range(lags + 1)])
    beta2 = [0.9, 0.99, 0.999]
    whitened, best = [], (-math.inf,)
    for decay in beta2:
        v = _second_moment(g, decay)
        whitened.append(whiten(r, v))
        c = np.sqrt(v)
        for b1 in DENSE[::4]:
            h = (1.0 - b1) * b1 ** np.arange(3000)
            spent = (c[:, None] * (h[None, :] / c[:, None]) ** 2).sum()
            eta = math.sqrt(B / spent)
            power = eta * (h[: lags + 1, None] * r / c).sum()
            best = max(best, (power, b1, decay, eta))
    T, W = zip(*whitened, strict=True)
    optimum = optimal_adam(np.stack(T), W, beta2)
    assert optimum.beta2 == best[2]
    assert optimum.beta1 == pytest.approx(best[1], abs=2e-3)
    assert optimum.gain * math.sqrt(B) == pytest.approx(best[0], rel=1e-5)
    assert optimum.learning_rate(B) == pytest.approx(best[3], rel=1e-2)


def test_adam_with_equal_prices_is_momentum_sgd():
    S = [3.0, 1.0, 0.5]
    T, W = whiten(np.array(S)[:, None] * np.ones(5) / 5.0, np.ones(5))
    np.testing.assert_allclose(T, S)
    assert W == 5.0
    assert optimal_adam([T], [W], [0.99]).beta1 == optimal_momentum(S)
    assert adam_gain(T, 0.5, 4.0) == pytest.approx(adam_gain(T, 0.5, 1.0) / 2.0)


@settings(max_examples=80)
@given(T=sequences, w=st.sampled_from([1.0, 0.3, 0.0]))
def test_no_momentum_beats_the_optimal_one_of_lion(T, w):
    best = optimal_lion_momentum(T, lag_zero_weight=w)
    gains = lion_gain(T, DENSE, lag_zero_weight=w)
    if gains.max() > 0.0:
        assert lion_gain(T, best, lag_zero_weight=w) >= gains.max() - 1e-12 * abs(gains).max()
    else:
        assert best == 0.0


def test_lion_learning_rate_spends_the_same_at_every_momentum(maximum):
    """The L-infinity budget: sum_n |q_j[n]| = eta sum_n (1 - b) b^n = eta, for any b."""
    for beta in (0.0, 0.5, 0.9):
        response = (1.0 - beta) * beta ** np.arange(600)
        eta = cp.Variable()
        spent = eta * response.sum()
        assert maximum(eta, [spent <= 0.3]) == pytest.approx(0.3, rel=1e-5)


def test_printed_lion_gain_always_asks_for_the_largest_momentum():
    """Cor. 21's statement lacks the factor (1 - beta) of its proof."""
    T = np.array([1.0, 1.2, 0.4, 0.1])
    printed = np.polynomial.polynomial.polyval(DENSE, T)
    assert DENSE[printed.argmax()] == DENSE[-1]
    derived = optimal_lion_momentum(T)
    assert 0.0 < derived < 0.5
    assert lion_gain(T, derived) > lion_gain(T, 0.99)


@settings(max_examples=60)
@given(T=sequences)
def test_lion_never_wants_momentum_where_lag_zero_is_the_largest(T):
    T[0] = max(map(abs, T)) + 0.1
    assert optimal_lion_momentum(T) == 0.0


NORMS, DIMENSIONS = np.array([1.0, 3.0, 0.5]), np.array([10, 40, 5])
LAYERS = np.array([[3.0, 1.0, 0.5, 0.2], [8.0, 6.0, 5.0, 4.0], [1.0, -0.8, 0.1, 0.0]])


def test_layer_scales_maximise_the_power_at_the_optimal_momentum(maximum):
    optimum = optimal_layerwise(LAYERS, NORMS, DIMENSIONS)
    prices = NORMS**2 * DIMENSIONS

    def best_power(beta: float) -> float:
        alignments = LAYERS @ beta ** np.arange(4)
        alpha = cp.Variable(3, nonneg=True)
        norm = cp.norm(cp.multiply(np.sqrt(prices / (1.0 - beta**2)), alpha))
        return maximum(alignments @ alpha, [norm <= 1.0])

    assert optimum.gain == pytest.approx(best_power(optimum.momentum), rel=1e-6)
    for beta in np.linspace(0.0, 0.95, 20):
        assert best_power(float(beta)) <= optimum.gain * (1.0 + 1e-6)
    lr, beta = optimum.learning_rate(2.0), optimum.momentum
    spent = prices @ (lr * optimum.scales) ** 2 / (1.0 - beta**2)
    assert spent == pytest.approx(2.0)


def test_printed_layer_scales_are_feasible_but_gain_less():
    """Cor. 22 fixes alpha_l = 1/|theta_l|, though its cone leaves alpha free."""
    printed = optimal_layerwise(LAYERS, NORMS, DIMENSIONS, scales=1.0 / NORMS)
    combined = (LAYERS / NORMS[:, None]).sum(axis=0)
    assert printed.momentum == pytest.approx(optimal_momentum(combined))
    assert optimal_layerwise(LAYERS, NORMS, DIMENSIONS).gain > 1.02 * printed.gain


def test_printed_layerwise_learning_rate_misses_the_budget():
    """Cor. 22 prints W = sum d_l/|theta_l|^2; |theta_l|^2 d_l alpha_l^2 = d_l gives W = d."""
    B, n = 2.0, np.arange(2000)
    optimum = optimal_layerwise(LAYERS, NORMS, DIMENSIONS, scales=1.0 / NORMS)
    beta = optimum.momentum

    def spent(eta: float) -> float:
        taps = eta * (1.0 - beta) * beta ** n[None, :] / NORMS[:, None]
        return float((NORMS**2 * DIMENSIONS * (taps**2).sum(axis=1)).sum())

    derived = optimum.learning_rate(B, convention="ema")
    unit = math.sqrt(B * (1.0 - beta**2)) / (1.0 - beta)
    assert derived == pytest.approx(unit / math.sqrt(DIMENSIONS.sum()))
    assert spent(derived) == pytest.approx(B)
    printed = unit / math.sqrt((DIMENSIONS / NORMS**2).sum())
    assert spent(printed) == pytest.approx(B * DIMENSIONS.sum() / (DIMENSIONS / NORMS**2).sum())
    assert abs(spent(printed) - B) > 0.1


def test_layerwise_cross_batch_ignores_lag_zero():
    changed = LAYERS + np.array([7.0, 0.0, 0.0, 0.0])
    for scales in (None, 1.0 / NORMS):
        first, second = (
            optimal_layerwise(S, NORMS, DIMENSIONS, scales=scales, lag_zero_weight=None)
            for S in (LAYERS, changed)
        )
        assert first.momentum == pytest.approx(second.momentum)
        assert first.gain == pytest.approx(second.gain)


def test_layers_without_gain_do_not_move():
    optimum = optimal_layerwise([[1.0, 0.5], [-1.0, -0.5]], [1.0, 1.0], [2, 2])
    assert optimum.scales[0] > 0.0
    assert optimum.scales[1] == 0.0
    none = optimal_layerwise([[-1.0, -0.5]], [1.0], [2])
    assert (none.gain, none.momentum) == (0.0, 0.0)
    with pytest.raises(InvalidValueError, match="not to move"):
        none.learning_rate(1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: optimal_adam([[4.0, *(0.9 ** np.arange(16))]], [2.0], [0.99]),
        lambda: optimal_lion_momentum([1.0, *(0.9 ** np.arange(16))]),
        lambda: optimal_layerwise(np.tile(LAYERS, (7, 4)), np.tile(NORMS, 7), np.ones(21)),
    ],
    ids=["adam", "lion", "layerwise"],
)
def test_a_scheduler_can_afford_a_call(call, cost):
    assert cost(call) <= 200e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: whiten([[1.0, 2.0]], [1.0]), "second_moment must hold 2 numbers, but got 1"),
        (lambda: whiten([[1.0, 2.0]], [1.0, 0.0]), "second_moment must be positive"),
        (lambda: whiten([1.0, 2.0], [1.0]), r"autocorrelation must .*\(lags \+ 1, d\)"),
        (lambda: adam_gain([1.0], 0.5, -1.0), "whitening must be positive"),
        (lambda: optimal_adam([[1.0]], [1.0, 2.0], [0.9]), "whitening must hold 1 numbers"),
        (lambda: optimal_adam([[1.0]], [1.0], [1.0]), r"beta2 must be 1 numbers in \[0, 1\)"),
        (lambda: optimal_adam([[1.0]], [1.0], [0.9]).learning_rate(0.0), "budget must be"),
        (lambda: optimal_lion_momentum([]), "autocorrelation must be a non-empty"),
        (lambda: lion_gain([1.0], -0.1), r"momentum must lie in \[0, 1\)"),
        (lambda: optimal_layerwise([[1.0]], [1.0, 2.0], [1]), "parameter_norms must hold 1"),
        (lambda: optimal_layerwise([[1.0]], [1.0], [0]), "dimensions must be positive"),
        (lambda: optimal_layerwise([[1.0]], [1.0], [1], scales=[-1.0]), "scales must be positive"),
        (lambda: optimal_layerwise([1.0], [1.0], [1]), r"\(layers, lags \+ 1\)"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(InvalidValueError, match=message):
        call()
