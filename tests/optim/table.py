"""The table of optimizers: every class of gap_tune.optim, and what each can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from gap_tune import AlignmentRule, TrustRegion, optim
from tests.optim.budgeted_cases import KINDS, diagonal, spectral


@dataclass(frozen=True)
class Row:
    """An optimizer with options, and class attributes of its contract."""

    name: str
    make: Callable[[Any], torch.optim.Optimizer]
    can: dict[str, Any] = field(default_factory=dict)
    # What saved states are loaded into, where that differs.
    loader: Callable[[Any], torch.optim.Optimizer] | None = None


def budgeted() -> list[Row]:
    options = {"update_every": 3, "decay": 0.7, "weight_decay": 0.1}
    structured = [
        Row(
            f"{make.__name__} {structure}",
            partial(make, structure=structure, **options),
            {
                "steps": 10,
                # Costs are those of one group of three.
                "has_groups": make is not diagonal,
                # It moves the coordinates of largest power only.
                "every_gradient_moves": (make, structure) != (spectral, "diagonal"),
            },
        )
        for make, _, structures in KINDS
        for structure in structures
    ]
    plain = [Row(f"{make.__name__} plain", make) for make, *_ in KINDS if make is not diagonal]
    return [*structured, *plain, Row("diagonal plain", partial(optim.DiagonalOptimizer, B=0.3))]


def trainable() -> list[Row]:
    kinds: dict[str, Any] = {
        "full": optim.FullTO,
        "diagonal": optim.DiagonalTO,
        "rank one": optim.RankOneTO,
        "rank one per tensor": partial(optim.RankOneTO, per_tensor=True),
    }
    options = {"alpha": 0.03, "beta": 0.6, "alpha_decay": 0.97, "beta_decay": 0.98}
    return [
        Row(f"trainable {name}", partial(make, lr=0.1, weight_decay=0.1, **options))
        for name, make in kinds.items()
    ]


def switches() -> list[Row]:
    sgd, adam, adamw = optim.SwitchSGD, optim.SwitchAdam, optim.SwitchAdamW
    makes = {
        "sgd": partial(sgd, smoothing=0.6, hysteresis_threshold=2),
        "sgd one": partial(sgd, momenta=(0.9,), nesterov=True),
        "sgd each": partial(sgd, per_parameter=True, soft_reset=0.5, dampening=0.2),
        "adam": partial(adam, amsgrad=True, hysteresis_threshold=1),
        "adam one": partial(adam, momenta=(0.9,), amsgrad=True),
        "adam each": partial(adam, per_parameter=True, hysteresis_threshold=1),
        "adamw": partial(adamw, hysteresis_threshold=1),
        "adamw each": partial(adamw, per_parameter=True, smoothing=0.5),
    }
    can = {
        "steps": 20,
        "interruptions": (0, 1, 8, 9, 12),
        "dtypes": (torch.float32, torch.float64, torch.bfloat16),
    }
    return [Row(f"switch {name}", partial(make, lr=0.1), can) for name, make in makes.items()]


def self_tuning() -> list[Row]:
    # A closure's gradient comes after the decision, and so judges only the next one.
    can = {
        "steps": 25,
        "interruptions": (0, 1, 13),
        "steps_alike_by_closure": False,
        # On the CPU the filter bank is the host's; each decision reads once elsewhere.
        "stays_on_device": False,
    }
    sgd = partial(optim.SGD, lr=0.05, momentum=0.9)
    off = TrustRegion.off()
    others: dict[str, tuple[Any, Any]] = {
        "sgd": (sgd, partial(optim.SGD, lr=0.7, momentum=0.1)),
        "sgd of the paper, seldom": (
            partial(sgd, rule=AlignmentRule.paper(), update_every=3),
            partial(optim.SGD, lr=0.7, momentum=0.1, rule=AlignmentRule.paper(), update_every=3),
        ),
        "adam": (
            partial(optim.Adam, lr=0.01, couple_lr=True, trust_region=off),
            partial(optim.Adam, lr=0.5, betas=(0.1, 0.999), couple_lr=True, trust_region=off),
        ),
        "adamw": (
            partial(optim.AdamW, lr=0.01, amsgrad=True),
            partial(optim.AdamW, lr=0.5, betas=(0.1, 0.999)),
        ),
        "sgd in a trust region": (
            partial(sgd, trust_region=TrustRegion(start_gain=0.5)),
            partial(optim.SGD, lr=0.7, momentum=0.1, trust_region=TrustRegion(start_gain=0.5)),
        ),
        "adamw in a trust region": (
            partial(optim.AdamW, lr=0.01, trust_region=TrustRegion()),
            partial(optim.AdamW, lr=0.5, betas=(0.1, 0.999), trust_region=TrustRegion()),
        ),
    }
    return [Row(f"self-tuning {name}", *pair[:1], can, pair[1]) for name, pair in others.items()]


def baselines() -> list[Row]:
    long = {"steps": 40, "interruptions": (0, 1, 5, 25)}
    hypergradient = partial(
        optim.HypergradientSGD, lr=0.05, momentum=0.8, weight_decay=0.1, hypergrad_lr=1e-3
    )
    adamw = partial(optim.HypergradientAdamW, lr=0.05, hypergrad_lr=1e-3)
    return [
        Row("yellowfin", optim.YellowFin, long),
        Row("yellowfin decaying", partial(optim.YellowFin, weight_decay=0.1), long),
        Row("hypergradient", hypergradient),
        Row("hypergradient adamw", adamw, {"steps": 20, "interruptions": (0, 1, 5, 13)}),
        Row("adaptive memory", partial(optim.AdaptiveMemorySGD, lr=0.1, weight_decay=0.1)),
        Row("adaptive memory adamw", partial(optim.AdaptiveMemoryAdamW, lr=0.1)),
    ]


TABLE = [*budgeted(), *trainable(), *switches(), *self_tuning(), *baselines()]
