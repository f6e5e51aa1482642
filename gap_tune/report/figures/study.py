"""study_figures: which figures a study has, in order, and which of them comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gap_tune.report.comparison import Comparison
from gap_tune.report.figures import courses, plots, rates
from gap_tune.report.figures.searches import search
from gap_tune.report.figures.settings import rate_against_momentum
from gap_tune.report.trials.settings import TrialSettings

_CURVE, _FINAL, _SEARCH, _SETTINGS, _MOMENTUM = "curve", "final", "search", "settings", "momentum"


@dataclass(frozen=True)
class StudyFigures:
    """The plotly figures of a study, but for the gains of single trials.

    Attributes:
        named: Those that show anything, by a name, in order.
        lead: The name of the one that answers most: the search curve where learning rates were
            searched, else the arms; one arm says nothing, so then learning rate against momentum.
            Empty where there is none.
        settings: The name of the one that belongs to the hyperparameters; empty where it leads.
        main: The names of those that people look at next.
        more: The names of all others.
    """

    named: Mapping[str, Any]
    lead: str
    settings: str
    main: tuple[str, ...]
    more: tuple[str, ...]

    @classmethod
    def of(cls, comparison: Comparison, settings: TrialSettings) -> StudyFigures:
        """Return the figures of a study.

        Args:
            comparison: The study.
            settings: The hyperparameters of its trials.
        """
        drawn = _drawn(comparison, settings)
        named = {name: plot for name, plot in drawn.items() if plot.data}
        first, last = (f"{kind} {comparison.metric}" for kind in (_CURVE, _FINAL))
        arms = [last] if len(comparison.arms) > 1 else []
        asked = [name for name in (_SEARCH, *arms, _SETTINGS, last, first) if name in named]
        lead = asked[0] if asked else ""
        own = _SETTINGS if _SETTINGS in named and lead != _SETTINGS else ""
        main = tuple(name for name in (first, _MOMENTUM) if name in named and name != lead)
        more = tuple(name for name in named if name not in (lead, own, *main))
        return cls(named, lead, own, main, more)


def study_figures(comparison: Comparison) -> list[Any]:
    """Return the plotly figures of a study, but for the gains of single trials."""
    settings = TrialSettings.of(comparison.records)
    return list(StudyFigures.of(comparison, settings).named.values())


def _drawn(comparison: Comparison, settings: TrialSettings) -> dict[str, Any]:
    metrics = [metric for metric in comparison.metrics if plots.has_curve(comparison, metric)]
    sweep, searches = comparison.sweep, comparison.searches
    return {
        **{f"{_CURVE} {name}": plots.learning_curves(comparison, name) for name in metrics},
        **{f"{_FINAL} {name}": plots.final_values(comparison, name) for name in comparison.metrics},
        **({} if sweep is None else {"rates": rates.final_by_rate(comparison, sweep)}),
        **({} if searches is None else {_SEARCH: search(comparison, searches)}),
        _SETTINGS: rate_against_momentum(comparison, settings),
        _MOMENTUM: courses.momentum_over_steps(comparison),
        "gain": courses.gain_over_steps(comparison),
        "scale": courses.scale_over_steps(comparison),
        "agreement": courses.agreement_over_steps(comparison),
    }
