"""The theory of optimal optimizers as functions on NumPy arrays; no torch, no Ray.

Follows "Optimizing Optimizers for Fast Gradient-Based Learning" (arXiv 2512.06370), whose corollary
numbers the docstrings cite. Where its statement and its derivation differ, the functions implement
the derivation and say so. The formulas of YellowFin (arXiv 1706.03471) stand beside them.
"""

from gap_tune.theory.adam import AdamOptimum, adam_gain, optimal_adam, whiten
from gap_tune.theory.budgets import (
    Budget,
    DataMetricBudget,
    DiagonalBudget,
    FrobeniusBudget,
    Optimum,
    OptimumFilter,
    OptimumSpectrum,
    SpectralBudget,
)
from gap_tune.theory.families import (
    THEORY_FAMILIES,
    Family,
    Hyperparameter,
    Implementation,
    family_of,
)
from gap_tune.theory.layerwise import LayerwiseOptimum, optimal_layerwise
from gap_tune.theory.learning_rate import (
    implied_budget,
    optimal_learning_rate,
    preconditioned_learning_rate,
)
from gap_tune.theory.lion import lion_gain, optimal_lion_momentum
from gap_tune.theory.moments import (
    lag_moments,
    spectral_density,
    training_moment,
    validation_moment,
)
from gap_tune.theory.momentum import (
    HasAutocorrelation,
    coupling_factor,
    momentum_gain,
    optimal_momentum,
)
from gap_tune.theory.nesterov import (
    LeadLag,
    lead_lag_gain,
    nesterov_lead,
    nesterov_learning_rate,
    optimal_lead,
    optimal_lead_lag,
    optimal_nesterov_momentum,
)
from gap_tune.theory.stability import PowerStability, filter_power_stability, power_stability
from gap_tune.theory.yellowfin import (
    MomentumAndRate,
    YellowFinAverages,
    YellowFinMeasurements,
    single_step,
)

__all__ = [
    "THEORY_FAMILIES",
    "AdamOptimum",
    "Budget",
    "DataMetricBudget",
    "DiagonalBudget",
    "Family",
    "FrobeniusBudget",
    "HasAutocorrelation",
    "Hyperparameter",
    "Implementation",
    "LayerwiseOptimum",
    "LeadLag",
    "MomentumAndRate",
    "Optimum",
    "OptimumFilter",
    "OptimumSpectrum",
    "PowerStability",
    "SpectralBudget",
    "YellowFinAverages",
    "YellowFinMeasurements",
    "adam_gain",
    "coupling_factor",
    "family_of",
    "filter_power_stability",
    "implied_budget",
    "lag_moments",
    "lead_lag_gain",
    "lion_gain",
    "momentum_gain",
    "nesterov_lead",
    "nesterov_learning_rate",
    "optimal_adam",
    "optimal_layerwise",
    "optimal_lead",
    "optimal_lead_lag",
    "optimal_learning_rate",
    "optimal_lion_momentum",
    "optimal_momentum",
    "optimal_nesterov_momentum",
    "power_stability",
    "preconditioned_learning_rate",
    "single_step",
    "spectral_density",
    "training_moment",
    "validation_moment",
    "whiten",
]
