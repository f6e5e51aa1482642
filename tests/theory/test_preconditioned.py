"""Cor. 10-19: learning rates of memoryless families, derived and as printed."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.theory import (
    THEORY_FAMILIES,
    adam_gain,
    optimal_adam,
    preconditioned_learning_rate,
    whiten,
)

B = 3.0
RNG = np.random.default_rng(11)


def _spd(d: int) -> np.ndarray:
    A = RNG.normal(size=(d, d))
    return A @ A.T + 0.2 * np.eye(d)


def _inverse_root(G: np.ndarray) -> np.ndarray:
    eigenvalues, V = np.linalg.eigh(G)
    return (V / np.sqrt(eigenvalues)) @ V.T


P, H, F1, F2, G1, G2 = _spd(6), _spd(6), _spd(2), _spd(4), _spd(2), _spd(3)
F = np.block([[F1, np.zeros((2, 4))], [np.zeros((4, 2)), F2]])
C = RNG.uniform(0.5, 2.0, size=6)
ROWS, COLUMNS = RNG.uniform(0.5, 2.0, size=2), RNG.uniform(0.5, 2.0, size=3)
FACTORED = np.kron(ROWS, COLUMNS)
INVERSE = np.linalg.inv
IDENTITY = np.eye(6)

# Family -> preconditioner, metric, W derived, W as the paper prints it (None: the same).
CASES = {
    "GD": (IDENTITY, None, 6.0, None),
    "SGD": (IDENTITY, None, 6.0, None),
    "Colored GD": (P, INVERSE(P), np.trace(P), np.trace(INVERSE(P))),
    "Newton / Gauss-Newton": (INVERSE(H), H, np.trace(INVERSE(H)), None),
    "L-BFGS": (INVERSE(H), H, np.trace(INVERSE(H)), None),
    "Natural gradient": (INVERSE(F), F, np.trace(INVERSE(F)), None),
    "K-FAC": (INVERSE(F), F, np.trace(INVERSE(F1)) + np.trace(INVERSE(F2)), None),
    "Shampoo": (
        np.kron(_inverse_root(G1), _inverse_root(G2)),
        np.kron(G1, G2),
        6.0,
        np.trace(INVERSE(np.kron(G1, G2))),
    ),
    "AdaGrad": (1.0 / C, C, (1.0 / C).sum(), None),
    "RMSProp": (1.0 / C, C, (1.0 / C).sum(), None),
    "AdaFactor": (FACTORED**-0.5, None, (1.0 / FACTORED).sum(), None),
}


def test_every_memoryless_family_of_the_table_is_checked_here():
    derived = {
        family.name
        for family in THEORY_FAMILIES.values()
        for hyperparameter in family.hyperparameters
        if hyperparameter.derived_by == "preconditioned_learning_rate"
    }
    assert derived == set(CASES)


def _as_matrix(value, d=6):
    return np.eye(d) if value is None else np.diag(value) if np.ndim(value) == 1 else value


@pytest.mark.parametrize("name", CASES)
def test_learning_rate_equals_numerical_maximum(name, maximum):
    """Maximise eta g^T P g over eta, with Tr(Q^T M Q) <= B as a norm constraint."""
    preconditioner, metric, W, _ = CASES[name]
    matrix, M = _as_matrix(preconditioner), _as_matrix(metric)
    g = RNG.normal(size=6)
    eta = cp.Variable(nonneg=True)
    root = np.linalg.cholesky(M).T
    power = maximum(eta * (g @ matrix @ g), [cp.norm(root @ matrix * eta, "fro") <= math.sqrt(B)])
    rate = preconditioned_learning_rate(B, preconditioner, metric)
    assert rate * (g @ matrix @ g) == pytest.approx(power, rel=1e-6)
    assert rate == pytest.approx(math.sqrt(B / W))


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case[3] is not None])
def test_printed_price_misses_the_budget(name):
    preconditioner, metric, _, W = CASES[name]
    matrix, M = _as_matrix(preconditioner), _as_matrix(metric)
    spent = (B / W) * np.trace(matrix.T @ M @ matrix)
    assert abs(spent - B) > 0.1


def test_printed_cone_of_the_natural_gradient_gives_another_price():
    """Cor. 14, 15 derive Tr F from the cone eta I, then conclude with Tr F^-1."""
    printed_cone = preconditioned_learning_rate(B, IDENTITY, F)
    assert printed_cone == pytest.approx(math.sqrt(B / np.trace(F)))
    assert printed_cone != pytest.approx(preconditioned_learning_rate(B, INVERSE(F), F), rel=0.05)


def test_normalised_step_of_cor_10_to_16_is_not_the_maximiser():
    """Dividing by |g| "for scale invariance" leaves budget unspent, or overspends it."""
    g = np.array([3.0, 4.0, 0.0, 0.0, 0.0, 0.0])
    rate = preconditioned_learning_rate(B, IDENTITY)
    printed = preconditioned_learning_rate(B, IDENTITY, normalize_by=g)
    assert printed == pytest.approx(math.sqrt(B) / (math.sqrt(6.0) * 5.0))
    assert printed * (g @ g) < rate * (g @ g)
    assert 6.0 * printed**2 < B
    overspent = preconditioned_learning_rate(B, IDENTITY, normalize_by=0.1 * g)
    assert 6.0 * overspent**2 > B


def test_rmsprop_s_beta2_is_adam_s_without_momentum():
    """Cor. 18: argmax sum_j (r_j[0] / c_j) / sqrt(sum_j 1/c_j)."""
    r0, beta2 = RNG.uniform(0.5, 3.0, size=(1, 6)), [0.9, 0.99, 0.999]
    costs = RNG.uniform(0.5, 2.0, size=(3, 6))
    T, W = zip(*(whiten(r0, c**2) for c in costs), strict=True)
    gains = [(r0[0] / c).sum() / math.sqrt((1.0 / c).sum()) for c in costs]
    best = optimal_adam(np.stack(T), W, beta2, low=0.0, high=0.0)
    assert best.beta2 == beta2[int(np.argmax(gains))]
    assert best.gain == pytest.approx(max(gains))


def test_adafactor_s_gain_has_the_root_that_the_statement_lacks():
    """Cor. 19: <Q, R> / |Q| on the explicit operator has G_ij^2 / sqrt(r_i c_j)."""
    G = RNG.normal(size=(2, 3))
    Q = np.diag(np.kron(ROWS, COLUMNS) ** -0.5)
    g = G.ravel()
    explicit = g @ Q @ g / np.linalg.norm(Q)
    prices = np.outer(ROWS, COLUMNS)
    derived = (G**2 / np.sqrt(prices)).sum() / math.sqrt((1.0 / prices).sum())
    printed = (G**2 / prices).sum() / math.sqrt((1.0 / prices).sum())
    assert explicit == pytest.approx(derived)
    assert explicit != pytest.approx(printed, rel=1e-3)
    # The same number from the library: its prices c are the roots, and W the sum of 1/(r c).
    assert adam_gain([(G**2 / np.sqrt(prices)).sum()], 0.0, (1.0 / prices).sum()) == pytest.approx(
        explicit
    )


def test_polyak_step_is_the_exact_line_search():
    g = RNG.normal(size=6)
    etas = np.linspace(0.0, 3.0, 300_001)
    drop = etas * (g @ g) - 0.5 * etas**2 * (g @ H @ g)
    assert (g @ g) / (g @ H @ g) == pytest.approx(etas[drop.argmax()], abs=2e-5)


def test_sign_step_maximises_the_power_in_the_box(maximum):
    """Cor. 20: max <g, step> over |step_j| <= tau is tau |g|_1, at tau sign(g)."""
    g, step = RNG.normal(size=6), cp.Variable(6)
    assert maximum(g @ step, [cp.abs(step) <= 0.3]) == pytest.approx(0.3 * np.abs(g).sum())
    assert g @ (0.3 * np.sign(g)) == pytest.approx(0.3 * np.abs(g).sum())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preconditioned_learning_rate(0.0, [1.0]), "budget must be"),
        (lambda: preconditioned_learning_rate(1.0, np.ones((2, 3))), "preconditioner must have"),
        (lambda: preconditioned_learning_rate(1.0, []), "preconditioner must have"),
        (lambda: preconditioned_learning_rate(1.0, [1.0], [1.0, 1.0]), "dimension 1, but got 2"),
        (lambda: preconditioned_learning_rate(1.0, [1.0], [0.0]), "must be positive, but got 0"),
        (lambda: preconditioned_learning_rate(1.0, [1.0], normalize_by=[0.0]), "non-zero gradient"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(InvalidValueError, match=message):
        call()
