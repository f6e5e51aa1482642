"""Theorems 1 and 3: the identities that hold for every budget, as properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gap_tune.theory import (
    DataMetricBudget,
    DiagonalBudget,
    FrobeniusBudget,
    SpectralBudget,
    filter_power_stability,
    power_stability,
)

D = 3
METRIC = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.5]])
BUDGETS = (
    FrobeniusBudget(2.0),
    SpectralBudget(tau=1.5, lam=0.7),
    DataMetricBudget(2.0, METRIC),
    DiagonalBudget(2.0, [0.5, 1.0, 3.0]),
)
TOLERANCE = 1e-7

# Small integers make degenerate moments likely: zero, low rank, repeated eigenvalues.
entries = st.integers(-4, 4).map(float)
squares = arrays(np.float64, (D, D), elements=entries)
symmetric = squares.map(lambda A: (A + A.T) / 2.0)
psd = squares.map(lambda A: A @ A.T)
sequences = st.lists(symmetric, min_size=2, max_size=2).map(np.stack)
scales = st.floats(0.0, 5.0)
budgets = pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: type(b).__name__)
property_test = settings(max_examples=60)


@budgets
@property_test
@given(M=symmetric, N=symmetric, a=scales, b=scales)
def test_power_is_sublinear(budget, M, N, a, b):
    """(i): positively homogeneous and subadditive."""
    P = budget.polar_gauge
    assert P(a * M) == pytest.approx(a * P(M), abs=TOLERANCE)
    assert P(a * M + b * N) <= a * P(M) + b * P(N) + TOLERANCE


@budgets
@property_test
@given(M=symmetric, Q=psd)
def test_gauge_and_polar_gauge_are_conjugate(budget, M, Q):
    """(ii): <Q, M> <= gauge(Q) gauge_polar(M), with equality at the optimum."""
    if isinstance(budget, DiagonalBudget):
        Q = np.diag(np.diag(Q))
    assert np.trace(Q @ M) <= budget.gauge(Q) * budget.polar_gauge(M) + TOLERANCE
    best = budget.optimum(M)
    assert np.trace(best.operator @ M) == pytest.approx(best.power, abs=TOLERANCE)
    assert budget.gauge(best.operator) <= 1.0 + TOLERANCE


@budgets
@property_test
@given(M=symmetric, Q=psd, t=st.floats(0.1, 10.0))
def test_conjugate_of_the_gauge_is_the_indicator_of_the_polar_set(budget, M, Q, t):
    """(ii): sup_Q <Q, M> - gauge(Q) is 0 where P*(M) <= 1, unbounded where P*(M) > 1."""
    power = budget.polar_gauge(M)
    if power < 1e-6:
        return
    if isinstance(budget, DiagonalBudget):
        Q = np.diag(np.diag(Q))
    inside, outside = M / power, 1.1 * M / power
    assert np.trace(Q @ inside) - budget.gauge(Q) <= TOLERANCE * (1.0 + np.trace(Q))
    far = t * budget.optimum(M).operator
    assert np.trace(far @ outside) - budget.gauge(far) >= 0.099 * t * budget.gauge(far / t)


@budgets
@property_test
@given(M=symmetric, N=symmetric)
def test_optimum_is_a_subgradient_of_the_power(budget, M, N):
    """(iii): P*(N) >= P*(M) + <Q*(M), N - M>."""
    best = budget.optimum(M)
    assert budget.polar_gauge(N) >= best.power + np.trace(best.operator @ (N - M)) - TOLERANCE


@budgets
def test_unique_optimum_is_the_gradient_of_the_power(budget):
    """(iii): finite differences of P* recover Q*."""
    M = np.array([[3.0, 0.4, 0.2], [0.4, 2.0, 0.1], [0.2, 0.1, 1.0]])
    step, gradient = 1e-5, np.zeros((D, D))
    for i in range(D):
        for j in range(D):
            E = np.zeros((D, D))
            E[i, j] = E[j, i] = 1.0
            change = budget.polar_gauge(M + step * E) - budget.polar_gauge(M - step * E)
            gradient[i, j] = change / (2.0 * step) / (1.0 if i == j else 2.0)
    np.testing.assert_allclose(budget.optimum(M).operator, gradient, atol=1e-6)


@budgets
@property_test
@given(M=symmetric, increase=psd)
def test_power_preserves_order(budget, M, increase):
    """(iv): M + increase >= M implies P*(M + increase) >= P*(M); PSD moments have P* >= 0."""
    assert budget.polar_gauge(M + increase) >= budget.polar_gauge(M) - TOLERANCE
    assert budget.polar_gauge(increase) >= 0.0


@budgets
@property_test
@given(M=symmetric, estimate=symmetric)
def test_power_is_lipschitz_in_the_symmetrised_polar_gauge(budget, M, estimate):
    """(v), through the public function."""
    stability = power_stability(budget, estimate, M - estimate)
    true = budget.polar_gauge(M)
    assert abs(true - stability.power) <= stability.change + TOLERANCE
    assert stability.low - TOLERANCE <= true <= stability.high + TOLERANCE


@budgets
@settings(max_examples=25)
@given(R=sequences, N=sequences, a=scales)
def test_theorem_3_holds_for_filters(budget, R, N, a):
    P = budget.filter_polar_gauge
    best = budget.optimum_filter(R)
    taps = best.taps[: len(R)]
    assert P(a * R) == pytest.approx(a * best.power, abs=TOLERANCE)
    assert P(R + N) <= best.power + P(N) + TOLERANCE
    assert P(N) >= best.power + float((taps * (N - R)).sum()) - TOLERANCE
    assert budget.filter_gauge(best.taps) <= 1.0 + TOLERANCE
    stability = filter_power_stability(budget, R, N - R)
    assert abs(P(N) - best.power) <= stability.change + TOLERANCE


def test_a_metric_that_moves_with_the_moment_breaks_sublinearity():
    """Cor. 2(iii) prints P* = sqrt(B Tr Sigma): no gauge, since doubling Sigma moves the budget."""
    own_metric = DataMetricBudget(2.0)
    single, double = (own_metric.optimum(s * METRIC).power for s in (1.0, 2.0))
    assert double == pytest.approx(2.0**0.5 * single)
    fixed = DataMetricBudget(2.0, METRIC)
    assert fixed.polar_gauge(2.0 * METRIC) == pytest.approx(2.0 * fixed.polar_gauge(METRIC))
