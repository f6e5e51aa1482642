"""The claims of Figure 2 of arXiv 2512.06370, as the example draws them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune.errors import InvalidValueError
from gap_tune.optim.budgeted.comparison import best_settings, losses_from, relative

EXAMPLE = Path(__file__).parents[2] / "examples" / "10_figure_2_budgets.py"


@pytest.fixture(scope="module")
def figure() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def test_frobenius_optimum_is_fastest_among_operators_of_equal_power(
    figure: dict[str, Any],
) -> None:
    optimum, random = figure["equal_power"]()
    assert random.shape == (figure["STEPS"] + 1, figure["RANDOM_OPERATORS"])
    assert (optimum[1:, None] < random[1:]).all()


@pytest.mark.parametrize(
    ("name", "winners"),
    [("elliptic", {"Frobenius", "spectral"}), ("Rosenbrock", {"diagonal"})],
)
def test_frobenius_budget_is_best_on_the_elliptic_and_not_on_a_nonconvex_loss(
    name: str, winners: set[str], figure: dict[str, Any]
) -> None:
    best = best_settings(*figure["LOSSES"][name])
    assert set(best) == {"Frobenius", "spectral", "data-metric", "diagonal"}
    assert min(best, key=lambda budget: best[budget].score) in winners


def test_the_search_scores_settings_as_the_optimizers_run(figure: dict[str, Any]) -> None:
    loss, starts = figure["LOSSES"]["Rosenbrock"]
    for best in best_settings(loss, starts[:4], steps=20).values():
        curve = relative(losses_from(loss, starts[:4], best.make, steps=20))
        assert float(curve.log10().mean()) == pytest.approx(best.score, abs=1e-6)


def test_starts_must_be_a_matrix_and_decays_below_one() -> None:
    with pytest.raises(InvalidValueError, match=r"starts must be a matrix, but got the shape"):
        best_settings(lambda w: w.square().sum(-1), torch.ones(2))
    with pytest.raises(InvalidValueError, match=r"decay must be .* but got 1"):
        best_settings(lambda w: w.square().sum(-1), torch.ones(1, 2).double(), decays=[1.0])


@pytest.mark.slow
def test_the_figure_is_written_and_its_scores_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "figure.html"
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, str(path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    scores = {(loss, budget): float(score) for loss, budget, score in rows}
    assert len(scores) == 12
    assert scores["Rosenbrock", "diagonal"] < scores["Rosenbrock", "Frobenius"] - 0.1
    assert scores["Ackley", "data-metric"] < scores["Ackley", "Frobenius"] - 0.1
    assert "elliptic, equal power" in path.read_text()
