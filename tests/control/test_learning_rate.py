"""The coupling of learning rate and momentum, by the papers' formulas written out here."""

from __future__ import annotations

import math

import pytest

from gap_tune.control.learning_rate import coupling


@pytest.mark.parametrize(("beta", "reference"), [(0.5, 0.9), (0.99, 0.9), (0.0, 0.8), (0.95, 0.0)])
def test_sums_of_gradients_are_coupled_by_corollary_5_and_averages_by_corollary_6(
    beta: float, reference: float
) -> None:
    size = math.sqrt((1.0 - beta**2) / (1.0 - reference**2))
    sums = {"momentum": beta, "reference_momentum": reference}
    assert coupling(sums) == pytest.approx(size, rel=1e-12)
    averages = {"betas": (beta, 0.999), "reference_momentum": reference}
    expected = size * (1.0 - reference) / (1.0 - beta)
    assert coupling(averages) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("group", [{"momentum": 0.7}, {"betas": (0.7, 0.99)}])
def test_without_a_reference_the_learning_rate_is_as_set(group: dict[str, object]) -> None:
    assert coupling(group) == 1.0
    assert coupling({**group, "reference_momentum": 0.7}) == 1.0
