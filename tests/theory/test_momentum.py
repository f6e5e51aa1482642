"""Cor. 5 and Nesterov's filter: gains, best momenta and learning rates against brute force."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from gap_tune.errors import InvalidValueError
from gap_tune.theory import (
    coupling_factor,
    implied_budget,
    lead_lag_gain,
    momentum_gain,
    nesterov_lead,
    nesterov_learning_rate,
    optimal_lead,
    optimal_lead_lag,
    optimal_learning_rate,
    optimal_momentum,
    optimal_nesterov_momentum,
)

DENSE = np.linspace(0.0, 0.99, 20_001)
TYPICAL = [4.0, 1.6, 1.3, 1.2, 0.8, 0.9, 0.5, 0.4, 0.3, 0.3, 0.2, 0.1, 0.1, 0.0, 0.1, 0.05, 0.1]

tenths = st.integers(-50, 50).map(lambda i: i / 10.0)
sequences = st.lists(tenths, min_size=1, max_size=20)
weights = st.sampled_from([1.0, 0.3, 0.0])


def impulse_response(optimizer_factory, steps: int) -> np.ndarray:
    """Steps of a torch optimizer at lr 1 after a single unit gradient."""
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_factory([parameter])
    moves = []
    for t in range(steps):
        parameter.grad = torch.full_like(parameter, float(t == 0))
        before = parameter.item()
        optimizer.step()
        moves.append(before - parameter.item())
    return np.array(moves)


@settings(max_examples=50)
@given(S=sequences, w=weights, beta=st.floats(0.0, 0.99))
def test_gain_is_the_weighted_sum_over_lags(S, w, beta):
    lags = sum(beta**n * s for n, s in enumerate(S) if n > 0)
    expected = math.sqrt(1.0 - beta**2) * (w * S[0] + lags)
    assert momentum_gain(S, beta, lag_zero_weight=w) == pytest.approx(expected, abs=1e-9)


def test_gain_takes_momenta_of_any_shape():
    betas = np.array([[0.0, 0.5], [0.9, 0.99]])
    gains = momentum_gain(TYPICAL, betas)
    assert gains.shape == betas.shape
    assert gains[1, 0] == pytest.approx(momentum_gain(TYPICAL, 0.9))


def test_cross_batch_gain_scores_the_previous_update():
    expected = math.sqrt(1.0 - 0.8**2) * (0.5 + 0.8 * 0.2)
    assert momentum_gain([9.0, 0.5, 0.2], 0.8, lag_zero_weight=None) == pytest.approx(expected)


@settings(max_examples=200)
@given(S=sequences, w=weights)
def test_no_momentum_beats_the_optimal_one(S, w):
    best = optimal_momentum(S, lag_zero_weight=w)
    gains = momentum_gain(S, DENSE, lag_zero_weight=w)
    if gains.max() > 0.0:
        found = momentum_gain(S, best, lag_zero_weight=w)
        assert found >= gains.max() - 1e-12 * abs(gains).max()
    else:
        assert best == 0.0


@pytest.mark.parametrize("pole", [0.1, 0.5, 0.9, 0.95])
def test_exponential_autocorrelation_has_its_own_pole_as_optimum(pole):
    """Cauchy-Schwarz: the response beta^n aligns best with S[n] = pole^n at beta = pole."""
    S = pole ** np.arange(2000)
    assert optimal_momentum(S) == pytest.approx(pole, abs=1e-9)


def test_minibatch_noise_lowers_momentum_unless_lag_zero_is_left_out():
    S = 0.9 ** np.arange(400)
    noisy = S + 5.0 * (np.arange(400) == 0)
    assert optimal_momentum(noisy) < 0.7
    assert optimal_momentum(noisy, lag_zero_weight=None) == pytest.approx(0.9, abs=1e-6)


def test_pure_noise_wants_no_momentum():
    assert optimal_momentum([1.0] + [0.0] * 16) == 0.0


def test_without_any_gain_the_shortest_memory_is_returned():
    assert optimal_momentum([1.0, -2.0, -1.0], low=0.2, lag_zero_weight=0.0) == 0.2
    assert optimal_momentum([0.0, 0.0]) == 0.0


def test_bounds_hold_and_scale_does_not_matter():
    S = 0.95 ** np.arange(400)
    assert optimal_momentum(S, high=0.8) == 0.8
    assert optimal_momentum(S, low=0.97) == 0.97
    assert optimal_momentum(S, low=0.5, high=0.5) == 0.5
    assert optimal_momentum(1e9 * S) == pytest.approx(optimal_momentum(1e-9 * S), abs=1e-12)


def test_statistics_are_read_by_their_autocorrelation():
    measured = SimpleNamespace(autocorrelation=tuple(TYPICAL), weight=5.0)
    assert optimal_momentum(measured) == optimal_momentum(TYPICAL)


def test_momentum_and_learning_rate_solve_the_constrained_problem():
    """Cor. 5: maximise <Q, R> over (eta, beta) with |Q|^2 <= B, on the explicit response."""
    B, d, n = 3.0, 50, np.arange(len(TYPICAL))
    long = np.arange(4000)

    def response(x: np.ndarray, lags: np.ndarray) -> np.ndarray:
        return x[0] * x[1] ** lags

    found = minimize(
        lambda x: -response(x, n) @ TYPICAL,
        x0=[0.1, 0.3],
        bounds=[(0.0, None), (0.0, 0.99)],
        constraints={"type": "ineq", "fun": lambda x: B - d * (response(x, long) ** 2).sum()},
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    beta = optimal_momentum(TYPICAL)
    assert beta == pytest.approx(found.x[1], abs=1e-4)
    assert optimal_learning_rate(beta, budget=B, dimension=d) == pytest.approx(found.x[0], rel=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("convention", ["torch", "ema"])
def test_learning_rate_spends_the_budget_of_torch_s_own_response(beta, convention):
    B, d = 2.0, 7
    dampening = 0.0 if convention == "torch" else beta
    lr = optimal_learning_rate(beta, budget=B, dimension=d, convention=convention)
    h = impulse_response(lambda p: torch.optim.SGD(p, lr=1.0, momentum=beta), 3000)
    if convention == "ema":
        h = (1.0 - dampening) * h
    assert d * ((lr * h) ** 2).sum() == pytest.approx(B, rel=1e-9)


@pytest.mark.parametrize("convention", ["torch", "ema"])
def test_reference_pair_and_budget_agree(convention):
    reference = optimal_learning_rate(0.9, budget=2.0, dimension=30, convention=convention)
    by_pair = optimal_learning_rate(0.97, reference=(reference, 0.9), convention=convention)
    by_budget = optimal_learning_rate(0.97, budget=2.0, dimension=30, convention=convention)
    assert by_pair == pytest.approx(by_budget)


def test_coupling_keeps_the_implied_budget():
    lr = 0.1 * coupling_factor(0.99, 0.9)
    assert implied_budget(lr, 0.99, 10) == pytest.approx(implied_budget(0.1, 0.9, 10))
    factors = coupling_factor(np.array([0.5, 0.9]), 0.9)
    assert factors[1] == 1.0
    assert factors[0] > 1.0


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9])
def test_lead_of_torch_nesterov_matches_its_impulse_response(beta):
    def make(p):
        return (
            torch.optim.SGD(p, lr=1.0, momentum=beta, nesterov=True)
            if beta
            else (torch.optim.SGD(p, lr=1.0))
        )

    h = impulse_response(make, 500)
    n = np.arange(1, 500)
    lead_lag = np.concatenate(([1.0], (beta + nesterov_lead(beta)) * beta ** (n - 1.0)))
    np.testing.assert_allclose(h, (1.0 + beta) * lead_lag, atol=1e-12)
    lr = nesterov_learning_rate(beta, budget=2.0, dimension=3)
    assert 3 * ((lr * h) ** 2).sum() == pytest.approx(2.0)


def test_lead_lag_gain_is_alignment_over_norm_and_momentum_gain_without_lead():
    beta, gamma, n = 0.7, -0.2, np.arange(1, 200)
    h = np.concatenate(([1.0], (beta + gamma) * beta ** (n - 1.0)))
    S = np.zeros(200)
    S[: len(TYPICAL)] = TYPICAL
    assert lead_lag_gain(S, beta, gamma) == pytest.approx(h @ S / np.linalg.norm(h))
    assert lead_lag_gain(S, beta, 0.0) == pytest.approx(momentum_gain(S, beta))


@settings(max_examples=60)
@given(S=st.lists(tenths, min_size=1, max_size=8), w=st.sampled_from([1.0, 0.3]))
def test_no_pole_and_lead_beat_the_optimal_lead_lag(S, w):
    S = [2.0, *S]
    best = optimal_lead_lag(S, lag_zero_weight=w)
    for beta in (0.0, 0.2, 0.5, 0.8, 0.95):
        lead = optimal_lead(S, beta, lag_zero_weight=w)
        at_beta = lead_lag_gain(S, beta, lead, lag_zero_weight=w)
        assert best.gain >= at_beta - 1e-9
        for gamma in np.linspace(-beta, 3.0, 30):
            assert at_beta >= lead_lag_gain(S, beta, gamma, lag_zero_weight=w) - 1e-9


@settings(max_examples=60)
@given(S=sequences)
def test_no_momentum_beats_the_optimal_one_of_nesterov(S):
    best = optimal_nesterov_momentum(S)
    gains = [lead_lag_gain(S, b, nesterov_lead(b)) for b in np.linspace(0.0, 0.99, 400).tolist()]
    if max(gains) > 0.0:
        assert lead_lag_gain(S, best, nesterov_lead(best)) >= max(gains) - 1e-9
    else:
        assert best == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: optimal_momentum(TYPICAL),
        lambda: optimal_nesterov_momentum(TYPICAL),
        lambda: optimal_lead_lag(TYPICAL),
        lambda: momentum_gain(TYPICAL, 0.9),
        lambda: optimal_learning_rate(0.9, reference=(0.1, 0.8)),
    ],
    ids=["momentum", "nesterov", "lead-lag", "gain", "learning rate"],
)
def test_a_scheduler_can_afford_a_call(call, cost):
    assert cost(call) <= 200e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: momentum_gain([], 0.9), "autocorrelation must be a non-empty sequence"),
        (lambda: momentum_gain([[1.0]], 0.9), r"autocorrelation must .*got shape \(1, 1\)"),
        (lambda: momentum_gain([1.0, math.inf], 0.9), "autocorrelation must be finite"),
        (lambda: momentum_gain(["a"], 0.9), "autocorrelation must be an array of real numbers"),
        (lambda: momentum_gain([1.0], 1.0), r"momentum must lie in \[0, 1\)"),
        (lambda: momentum_gain([1.0], 0.5, lag_zero_weight=2.0), "lag_zero_weight must be"),
        (lambda: momentum_gain([1.0], 0.5, lag_zero_weight=None), "must reach lag 1"),
        (lambda: optimal_momentum([1.0], low=0.9, high=0.5), r"high must be .*\[0.9, 1\)"),
        (lambda: optimal_momentum([1.0], high=1.0), "high must be"),
        (lambda: coupling_factor(0.5, 1.0), "reference_momentum must be"),
        (lambda: optimal_learning_rate(0.9), "budget must be given"),
        (lambda: optimal_learning_rate(0.9, budget=1.0), "budget must be given"),
        (
            lambda: optimal_learning_rate(0.9, budget=1.0, dimension=2, reference=(0.1, 0.9)),
            "budget must be given",
        ),
        (lambda: optimal_learning_rate(0.9, budget=-1.0, dimension=2), "budget must be a number"),
        (lambda: optimal_learning_rate(0.9, reference=(-0.1, 0.9)), "learning rate must be"),
        (lambda: optimal_learning_rate(0.9, reference=(0.1, 1.0)), "reference_momentum must be"),
        (
            lambda: optimal_learning_rate(0.9, reference=(0.1, 0.9), convention="adam"),
            "convention must be 'torch' or 'ema'",
        ),
        (lambda: implied_budget(0.1, 0.9, 0), "dimension must be"),
        (lambda: optimal_lead([0.0, 1.0], 0.5), r"S\[0\] must be positive"),
        (lambda: lead_lag_gain([1.0], 0.5, math.inf), "lead must be"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(InvalidValueError, match=message):
        call()


def test_bug_a_gain_that_starts_flat_at_zero_is_maximised_within_the_first_cell() -> None:
    S = [0.0, 0.1, -3.8]
    best = optimal_nesterov_momentum(S)
    fine = np.linspace(0.0, 0.03, 3001)
    gains = [lead_lag_gain(S, b, nesterov_lead(b)) for b in fine]
    assert best == pytest.approx(fine[int(np.argmax(gains))], abs=2e-5)
