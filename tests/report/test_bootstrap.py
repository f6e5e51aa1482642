"""The bootstrap of groups and seeds against loops, and against what is known of means."""

from __future__ import annotations

import numpy as np
import pytest

from gap_tune.report.evidence.bootstrap import Resamples, interval


def test_intervals_are_those_of_a_bootstrap_in_loops() -> None:
    random = np.random.default_rng(3)
    values = random.normal(random.normal(0.0, 0.2, (7, 1)), 0.1, (7, 4))
    other = np.random.default_rng(4)
    by_loops = []
    for _ in range(4000):
        groups = [values[other.integers(7)] for _ in range(7)]
        seeds = [group[other.integers(4, size=4)].mean() for group in groups]
        by_loops.append(np.clip(seeds, -0.2, 0.2).mean())
    low, high = interval(Resamples(7, 4, draws=4000).means(values, lambda m: m.clip(-0.2, 0.2)))
    assert (low, high) == pytest.approx(np.quantile(by_loops, [0.025, 0.975]), abs=0.015)


def test_a_resample_draws_seeds_and_groups_both() -> None:
    groups_differ = np.repeat(np.array([[0.0], [1.0], [2.0]]), 4, axis=1)
    seeds_differ = np.tile(np.array([0.0, 1.0, 2.0, 3.0]), (3, 1))
    assert Resamples.of(3, 4).means(groups_differ).std() == pytest.approx(
        np.sqrt(2 / 3 / 3), rel=0.1
    )
    assert Resamples.of(3, 4).means(seeds_differ).std() == pytest.approx(
        np.sqrt(1.25 / 4 / 3), rel=0.1
    )


def test_the_same_sizes_give_the_same_draws() -> None:
    values = np.random.default_rng(0).random((5, 4))
    assert (Resamples(5, 4).means(values) == Resamples.of(5, 4).means(values)).all()
    # Of what differs by a constant nothing is uncertain.
    difference = Resamples(5, 4).means(values + 1.0) - Resamples(5, 4).means(values)
    assert difference == pytest.approx(1.0)


def test_further_axes_are_kept() -> None:
    values = np.random.default_rng(0).random((5, 4, 3))
    found = Resamples.of(5, 4).means(values)
    assert found.shape == (2000, 3)
    assert found[:, 1] == pytest.approx(Resamples.of(5, 4).means(values[:, :, 1]))


def test_an_interval_may_end_at_infinity() -> None:
    low, high = interval(np.array([1.0] * 50 + [np.inf] * 50))
    assert (low, high) == (1.0, np.inf)


def test_the_ends_are_the_samples_between_which_the_middle_share_lies() -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1.0, 1_000.0))
    assert interval(samples) == (25.0, 975.0)
    assert interval(samples, 0.9) == (50.0, 950.0)
    low, high = interval(np.array([[1.0, np.inf], [2.0, np.inf], [3.0, 5.0]]))
    assert (low.tolist(), high.tolist()) == ([1.0, 5.0], [3.0, np.inf])
