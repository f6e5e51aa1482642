"""QuadraticTask against torch's own SGD, and against closed forms."""

from __future__ import annotations

import json
import math
import pickle

import pytest
import torch

from gap_tune.errors import InvalidValueError
from gap_tune.gradients import AlignmentStatistics
from gap_tune.rules import Decision, Reason
from gap_tune.simulation import QuadraticTask
from gap_tune.tune import keys

CURVATURES = (1.0, 0.2)
SCHEDULED = {"lr": 0.05, "momentum": 0.9, "gap": {"mode": "scheduler", "reference_momentum": 0.9}}


def decision(old: float, new: float) -> Decision:
    return Decision(new, old, Reason.BEST_GAIN, "for a test")


def test_without_noise_losses_are_those_of_torch_also_after_a_change_of_momentum() -> None:
    task = QuadraticTask(reports=3, steps=7, curvatures=CURVATURES, noise=0.0)
    training = task.begin(SCHEDULED)
    weights = torch.nn.Parameter(torch.ones(len(CURVATURES), dtype=torch.float64))
    curvatures = torch.tensor(CURVATURES, dtype=torch.float64)
    sgd = torch.optim.SGD([weights], lr=0.05, momentum=0.9)
    for number in range(3):
        for _ in range(7):
            sgd.zero_grad()
            ((curvatures * weights**2).sum() / 2).backward()
            sgd.step()
        report = training.advance()
        loss = float((curvatures * weights.detach() ** 2).sum() / 2)
        assert report.metrics["validation_loss"] == pytest.approx(loss, rel=1e-9)
        if number == 0:
            training.follow(decision(0.9, 0.5))
            # Corollary 5: the trust region of the reference momentum stays.
            sgd.param_groups[0]["momentum"] = 0.5
            sgd.param_groups[0]["lr"] = 0.05 * math.sqrt((1 - 0.5**2) / (1 - 0.9**2))
    assert report.metrics[keys.SEQ] == 1
    assert report.metrics[keys.STEPS_SINCE_CHANGE] == 14


def test_without_momentum_the_variance_of_a_weight_is_a_geometric_series() -> None:
    lr, noise, steps = 0.3, 0.5, 11
    task = QuadraticTask(reports=1, steps=steps, curvatures=(1.0,), noise=noise)
    loss = task.begin({"lr": lr, "momentum": 0.0}).advance().metrics["validation_loss"]
    kept = (1 - lr) ** 2
    variance = kept**steps + lr**2 * noise**2 * (1 - kept**steps) / (1 - kept)
    assert loss == pytest.approx(variance / 2)


def test_without_noise_statistics_are_products_of_gradients_and_filters() -> None:
    task = QuadraticTask(reports=1, steps=5, curvatures=(1.0,), noise=0.0)
    metrics = task.begin({"lr": 0.1, "momentum": 0.5}).advance().metrics
    statistics = AlignmentStatistics.from_dict(json.loads(metrics[keys.STATISTICS]))
    weight, buffer, gradients = 1.0, 0.0, []
    for _ in range(5):
        gradients.append(weight)
        buffer = 0.5 * buffer + weight
        weight -= 0.1 * buffer
    # The next gradient, and what the filters of the candidates have by then.
    for beta, product in zip(statistics.candidates, statistics.alignment, strict=True):
        output = sum(g * beta**age for age, g in enumerate(reversed(gradients)))
        assert product / statistics.weight == pytest.approx(weight * output)
    power, lag = statistics.autocorrelation
    assert power / statistics.weight == pytest.approx(weight**2)
    assert lag / statistics.weight == pytest.approx(weight * gradients[-1])


def test_a_copy_is_a_checkpoint() -> None:
    training = QuadraticTask(reports=4).begin(SCHEDULED)
    training.advance()
    saved = training.copy()
    again = pickle.loads(pickle.dumps(saved))
    training.follow(decision(0.9, 0.99))
    changed, unchanged = training.advance(), saved.advance()
    assert changed != unchanged
    assert again.advance() == unchanged
    assert not training.done


def test_with_other_hyperparameters_it_goes_on_from_where_it_is() -> None:
    task = QuadraticTask(reports=2, noise=0.0)
    training = task.begin({"lr": 0.1, "momentum": 0.9})
    training.advance()
    before = training.copy()
    training.change({"lr": 0.01, "momentum": 0.9})
    assert training.lr == 0.01
    assert (
        training.advance().metrics["validation_loss"]
        != (before.advance().metrics["validation_loss"])
    )


def test_what_diverges_says_so() -> None:
    metrics = QuadraticTask(steps=2000).begin({"lr": 10.0, "momentum": 0.9}).advance().metrics
    assert not math.isfinite(metrics["validation_loss"])
    assert keys.STATISTICS not in metrics


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"must hold lr and momentum, but got none of"):
        QuadraticTask().begin({"momentum": 0.9})
    with pytest.raises(InvalidValueError, match="curvatures must be positive"):
        QuadraticTask(curvatures=(0.0,))
