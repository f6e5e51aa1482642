"""Optimizers that need torch and NumPy, not Ray: self-tuning, trainable, of a given budget."""

from gap_tune.optim.adam import Adam, AdamW
from gap_tune.optim.adaptive_memory import AdaptiveMemoryAdamW, AdaptiveMemorySGD
from gap_tune.optim.budgeted import (
    DataMetricOptimizer,
    DiagonalOptimizer,
    FrobeniusOptimizer,
    SpectralOptimizer,
)
from gap_tune.optim.hypergradient import HypergradientAdamW, HypergradientSGD
from gap_tune.optim.sgd import SGD
from gap_tune.optim.switch import SwitchAdam, SwitchAdamW, SwitchSGD
from gap_tune.optim.trainable import DiagonalTO, FullTO, RankOneTO
from gap_tune.optim.yellowfin import YellowFin

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AdaptiveMemoryAdamW",
    "AdaptiveMemorySGD",
    "DataMetricOptimizer",
    "DiagonalOptimizer",
    "DiagonalTO",
    "FrobeniusOptimizer",
    "FullTO",
    "HypergradientAdamW",
    "HypergradientSGD",
    "RankOneTO",
    "SpectralOptimizer",
    "SwitchAdam",
    "SwitchAdamW",
    "SwitchSGD",
    "YellowFin",
]
