"""Oracles for the theory: constrained maximisation by cvxpy, and moments to try it on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import cvxpy as cp
import numpy as np
import pytest

from gap_tune.theory import (
    Budget,
    DataMetricBudget,
    DiagonalBudget,
    FrobeniusBudget,
    SpectralBudget,
)

DIMENSION = 4
_RNG = np.random.default_rng(7)
_FACTOR = _RNG.normal(size=(DIMENSION, DIMENSION))
_ROTATION = np.linalg.qr(_FACTOR)[0]
METRIC = _FACTOR @ _FACTOR.T + 0.1 * np.eye(DIMENSION)
COSTS = np.array([0.5, 1.0, 2.0, 4.0])


def with_eigenvalues(*eigenvalues: float) -> np.ndarray:
    return _ROTATION @ np.diag(eigenvalues) @ _ROTATION.T


MOMENTS = {
    "generic": with_eigenvalues(4.0, 2.5, 1.0, 0.3),
    "rank deficient": with_eigenvalues(3.0, 1.0, 0.0, 0.0),
    "rank one": with_eigenvalues(2.0, 0.0, 0.0, 0.0),
    "repeated eigenvalues": with_eigenvalues(2.0, 2.0, 2.0, 1.0),
    "isotropic": 1.5 * np.eye(DIMENSION),
    "zero": np.zeros((DIMENSION, DIMENSION)),
    "diagonal": np.diag([3.0, 2.0, 1.0, 0.5]),
}
CROSS_MOMENTS = {
    "indefinite": with_eigenvalues(3.0, 0.5, -1.0, -2.0),
    "mostly negative": with_eigenvalues(0.2, -1.0, -3.0, -3.0),
    "negative definite": with_eigenvalues(-0.1, -1.0, -2.0, -3.0),
}
BUDGETS: dict[str, Budget] = {
    "Frobenius": FrobeniusBudget(2.5),
    "spectral": SpectralBudget(tau=1.7, lam=0.6),
    "spectral, trace slack": SpectralBudget(tau=9.0, lam=0.6),
    "spectral, cap slack": SpectralBudget(tau=1.7, lam=5.0),
    "data-metric": DataMetricBudget(2.5, METRIC),
    "diagonal": DiagonalBudget(2.5, COSTS),
}


def constraints_of(budget: Budget, Q: cp.Expression) -> list[cp.Constraint]:
    """The budget written down for cvxpy from its definition, for one operator."""
    match budget:
        case FrobeniusBudget(B=B):
            return [Q >> 0, cp.norm(Q, "fro") <= np.sqrt(B)]
        case SpectralBudget(tau=tau, lam=lam):
            return [Q >> 0, cp.trace(Q) <= tau, lam * np.eye(Q.shape[0]) - Q >> 0]
        case DataMetricBudget(B=B, metric=metric):
            root = np.linalg.cholesky(np.asarray(metric) + 1e-15 * np.eye(Q.shape[0]))
            return [Q >> 0, cp.norm(root.T @ Q, "fro") <= np.sqrt(B)]
        case DiagonalBudget(B=B, costs=costs):
            q = cp.diag(Q)
            return [cp.diag(q) == Q, q >= 0, cp.norm(cp.multiply(np.sqrt(costs), q)) <= np.sqrt(B)]
    raise NotImplementedError(budget)


def maximum(objective: cp.Expression, constraints: list[cp.Constraint]) -> float:
    problem = cp.Problem(cp.Maximize(objective), constraints)
    problem.solve(solver=cp.CLARABEL)
    assert problem.status in ("optimal", "optimal_inaccurate"), problem.status
    return float(problem.value)


@pytest.fixture(scope="session")
def best_power() -> Callable[[Budget, np.ndarray], tuple[float, np.ndarray]]:
    """Largest ``Tr(Q M)`` over a budget and an operator that attains it, found numerically."""

    def solve(budget: Budget, moment: np.ndarray) -> tuple[float, np.ndarray]:
        Q = cp.Variable(moment.shape, symmetric=True)
        value = maximum(cp.trace(Q @ moment), constraints_of(budget, Q))
        return value, Q.value

    return solve


@pytest.fixture(scope="session", name="maximum")
def maximum_fixture() -> Callable[[cp.Expression, list[cp.Constraint]], float]:
    return maximum


def _seconds(call: Callable[[], object]) -> float:
    """The quickest of forty calls, in seconds of this thread: other work only ever adds time."""
    times = []
    for _ in range(40):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return min(times)


@pytest.fixture(scope="session")
def cost() -> Callable[[Callable[[], object]], float]:
    """Seconds per call, on a machine that is no slower than one adding 2000 integers in 40 us."""

    if sys.gettrace() is not None:
        pytest.skip("lines are counted, which takes longer than what they do")

    def measured(call: Callable[[], object]) -> float:
        call()
        # How slow a shared machine is changes from moment to moment: both in turns, and the best
        # of several, since other work only ever adds time.
        found = []
        for _ in range(25):
            slowdown = max(1.0, _seconds(lambda: sum(range(2000))) / 40e-6)
            found.append(_seconds(call) / slowdown)
        return min(found)

    return measured


@pytest.fixture(params=BUDGETS.values(), ids=BUDGETS.keys())
def budget(request: pytest.FixtureRequest) -> Budget:
    return request.param


@pytest.fixture(params=MOMENTS.values(), ids=MOMENTS.keys())
def training(request: pytest.FixtureRequest) -> np.ndarray:
    return request.param


@pytest.fixture(params=[*MOMENTS.values(), *CROSS_MOMENTS.values()], ids=[*MOMENTS, *CROSS_MOMENTS])
def moment(request: pytest.FixtureRequest) -> np.ndarray:
    return request.param
