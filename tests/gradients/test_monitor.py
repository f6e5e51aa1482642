from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from gap_tune import GradientMonitor
from gap_tune.errors import InvalidValueError, UnsupportedError
from tests.gradients import oracle

CANDIDATES = (0.0, 0.5, 0.9, 0.99)


def make(
    shapes: Sequence[tuple[int, ...]] = ((30, 4), (7,)), **options: object
) -> tuple[list[torch.nn.Parameter], torch.optim.SGD, GradientMonitor]:
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    optimizer = torch.optim.SGD(parameters, lr=0.0, momentum=0.9)
    return parameters, optimizer, GradientMonitor(optimizer, **options)


def feed(
    parameters: Sequence[torch.nn.Parameter], optimizer: torch.optim.Optimizer, gradient: np.ndarray
) -> None:
    start = 0
    for p in parameters:
        p.grad = torch.tensor(gradient[start : start + p.numel()]).to(p.dtype).view_as(p)
        start += p.numel()
    optimizer.step()


def correlated(count: int, size: int, rho: float = 0.6) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    series = [rng.normal(size=size)]
    for _ in range(count - 1):
        series.append(rho * series[-1] + np.sqrt(1 - rho**2) * rng.normal(size=size))
    # What the float32 parameters will hold.
    return [g.astype(np.float32).astype(np.float64) for g in series]


@pytest.mark.parametrize("decay", [0.8, 1.0])
def test_statistics_equal_the_oracle_on_random_gradients(decay: float) -> None:
    parameters, optimizer, monitor = make(candidates=CANDIDATES, sample=None, decay=decay, lags=5)
    history = correlated(40, 127)
    for gradient in history:
        feed(parameters, optimizer, gradient)
    s = monitor.statistics()
    expected = [oracle.alignment(history, beta, decay) for beta in CANDIDATES]
    np.testing.assert_allclose(s.alignment, expected, rtol=1e-5)
    lags = [oracle.autocorrelation(history, lag, decay) for lag in range(6)]
    np.testing.assert_allclose(s.autocorrelation, lags, rtol=1e-5)
    assert s.weight == pytest.approx(oracle.weight(40, decay))
    assert (s.steps, s.skipped_steps, s.dimension, s.sampled) == (40, 0, 127, 127)


def test_gain_of_ar1_gradients_matches_the_closed_form() -> None:
    # E<g_t, g_{t-n}> = d rho^n, so A(beta) = d (w + beta rho / (1 - beta rho)).
    rho, size, steps, w = 0.7, 64, 2000, 0.3
    parameters, optimizer, monitor = make([(size,)], candidates=CANDIDATES, sample=None, decay=1.0)
    blocks: list[np.ndarray] = []
    for t, gradient in enumerate(correlated(steps, size, rho)):
        feed(parameters, optimizer, gradient)
        if (t + 1) % 100 == 0:
            blocks.append(monitor.statistics().gain(w) * monitor.statistics().weight)
    beta = np.asarray(CANDIDATES)
    closed = np.sqrt(1 - beta**2) * size * (w + beta * rho / (1 - beta * rho))
    per_block = np.diff(blocks, axis=0)[2:] / 100
    mean = per_block.mean(axis=0)
    error = per_block.std(axis=0, ddof=1) / np.sqrt(len(per_block))
    assert (np.abs(mean - closed) < 3 * error).all(), (mean, closed, error)
    assert (error < 0.05 * closed).all(), "the test must be able to fail"


def test_merging_two_halves_equals_the_whole() -> None:
    history = correlated(30, 127)
    whole_parameters, whole_optimizer, whole = make(candidates=CANDIDATES, sample=None, decay=1.0)
    parameters, optimizer, monitor = make(candidates=CANDIDATES, sample=None, decay=1.0)
    for t, gradient in enumerate(history):
        feed(whole_parameters, whole_optimizer, gradient)
        if t == 15:
            first = monitor.statistics()
            monitor.reset_statistics()
        feed(parameters, optimizer, gradient)
    merged, expected = first.merge(monitor.statistics()), whole.statistics()
    np.testing.assert_allclose(merged.alignment, expected.alignment, rtol=1e-6)
    np.testing.assert_allclose(merged.autocorrelation, expected.autocorrelation, rtol=1e-6)
    assert (merged.weight, merged.steps) == (expected.weight, expected.steps)


def test_observing_changes_nothing() -> None:
    def run(watch: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Linear(20, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        if watch:
            GradientMonitor(optimizer)
        for _ in range(10):
            optimizer.zero_grad()
            model(torch.randn(8, 20)).pow(2).sum().backward()
            optimizer.step()
        return model.weight.detach().clone()

    assert torch.equal(run(True), run(False))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_gradient_is_skipped_and_counted(bad: float) -> None:
    history = correlated(20, 127)
    _, _, clean = pair = make(candidates=CANDIDATES, lags=3)
    dirty_parameters, dirty_optimizer, dirty = make(candidates=CANDIDATES, lags=3)
    for t, gradient in enumerate(history):
        feed(pair[0], pair[1], gradient)
        if t in (0, 7, 8):
            poisoned = gradient.copy()
            poisoned[t] = bad
            feed(dirty_parameters, dirty_optimizer, poisoned)
        feed(dirty_parameters, dirty_optimizer, gradient)
    expected, got = clean.statistics(), dirty.statistics()
    assert got.skipped_steps == 3
    assert got.alignment == expected.alignment
    assert got.autocorrelation == expected.autocorrelation
    assert (got.steps, got.weight) == (expected.steps, expected.weight)


def test_a_non_finite_validation_gradient_is_not_observed() -> None:
    parameters, optimizer, monitor = make(candidates=CANDIDATES)
    feed(parameters, optimizer, np.ones(127))
    parameters[0].grad = torch.full_like(parameters[0], float("nan"))
    monitor.observe_validation()
    assert monitor.statistics().validation_weight == 0
    assert monitor.statistics().validation_alignment == (0.0,) * 4


def test_validation_alignment_is_the_product_with_the_present_filters() -> None:
    parameters, optimizer, monitor = make(candidates=CANDIDATES, sample=None)
    history = correlated(6, 127)
    for gradient in history[:5]:
        feed(parameters, optimizer, gradient)
    feed_only = history[5]
    parameters[0].grad = torch.tensor(feed_only[:120], dtype=torch.float32).view(30, 4)
    parameters[1].grad = torch.tensor(feed_only[120:], dtype=torch.float32)
    monitor.observe_validation()
    expected = [
        sum(beta**n * float(feed_only @ history[4 - n]) for n in range(5)) for beta in CANDIDATES
    ]
    np.testing.assert_allclose(monitor.statistics().validation_alignment, expected, rtol=1e-5)


def test_a_closure_is_observed_with_the_gradients_it_computes() -> None:
    weight = torch.nn.Parameter(torch.ones(5))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    monitor = GradientMonitor(optimizer)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.pow(2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    s = monitor.statistics()
    assert s.steps == 3
    assert s.power > 0


def test_every_scores_some_steps_but_filters_all() -> None:
    history = correlated(12, 127)
    parameters, optimizer, monitor = make(candidates=(0.9,), sample=None, decay=1.0, every=3)
    for gradient in history:
        feed(parameters, optimizer, gradient)
    expected = sum(
        sum(0.9 ** (n - 1) * float(history[t] @ history[t - n]) for n in range(1, t + 1))
        for t in (2, 5, 8, 11)
    )
    s = monitor.statistics()
    assert s.alignment[0] == pytest.approx(expected, rel=1e-5)
    assert (s.steps, s.weight) == (12, 4.0)


def test_the_sample_estimates_the_exact_gain() -> None:
    # Coordinates of one tensor share one law here, so a sample must agree up to noise.
    shapes = [(200, 300), (300,), (300, 100)]
    size = sum(int(np.prod(s)) for s in shapes)
    exact_parameters, exact_optimizer, exact = make(shapes, sample=None)
    parameters, optimizer, sampled = make(shapes, sample=4096)
    for gradient in correlated(15, size):
        feed(exact_parameters, exact_optimizer, gradient)
        feed(parameters, optimizer, gradient)
    assert sampled.statistics().sampled < 5000
    np.testing.assert_allclose(sampled.statistics().gain(), exact.statistics().gain(), rtol=0.1)


@pytest.mark.parametrize("at", [0, 1, 9])
def test_saving_and_loading_continues_exactly(at: int) -> None:
    history = correlated(20, 127)
    parameters, optimizer, monitor = make(lags=3)
    other_parameters, other_optimizer, other = make(lags=3)
    for t, gradient in enumerate(history):
        if t == at:
            other.load_state_dict(monitor.state_dict())
        feed(parameters, optimizer, gradient)
        if t >= at:
            feed(other_parameters, other_optimizer, gradient)
    assert other.statistics() == monitor.statistics()


def test_detach_stops_observing() -> None:
    parameters, optimizer, monitor = make()
    monitor.detach()
    monitor.detach()
    feed(parameters, optimizer, np.ones(127))
    assert monitor.statistics().steps == 0


@pytest.mark.parametrize(
    "options",
    [
        {"candidates": (0.9, 0.8)},
        {"candidates": (1.0,)},
        {"candidates": 0.9},
        {"sample": 0},
        {"decay": 0.0},
        {"decay": 1.5},
        {"lags": 0},
        {"every": 0},
        {"every": 1.5},
    ],
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidValueError, match="but got"):
        make(**options)


def test_something_else_than_an_optimizer_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"torch\.optim\.Optimizer, but got list"):
        GradientMonitor([])  # type: ignore[arg-type]
