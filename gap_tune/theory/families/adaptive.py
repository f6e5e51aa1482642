"""Optimizers that the paper does not name, with the family's filter that each has."""

from __future__ import annotations

from typing import Any

from gap_tune.theory.families.base import (
    ALL_LAGS,
    BEST_MOMENTUM,
    DECAY,
    EPS,
    MOMENTUM,
    RATE,
    SWITCHED_ON,
    Family,
    Hyperparameter,
    Implementation,
    Update,
    third_party,
    torch_class,
)


def _like_adam(
    name: str, divisor: str, update: Update, note: str, implementation: Implementation
) -> Family:
    """Return a row of Adam's filter over other costs; the gain is measured with Adam's."""
    return Family(
        name=name,
        budget=f"sum_j c_j sum_n q_j[n]^2 <= B, c_j = {divisor}",
        cone="eta (1-beta1) beta1^n diag(1/c_j)",
        equalizer="eta (1-beta1) / (1 - beta1 z^-1) diag(1/c_j)",
        moment="training, all lags, whitened",
        optimum="beta1* as Adam's: argmax sqrt((1-beta1^2)/W) sum_n beta1^n T[n]",
        hyperparameters=(
            RATE,
            Hyperparameter("beta1", "betas[0]", "optimal_adam"),
            Hyperparameter("beta2", "betas[1]"),
            EPS,
            *((DECAY,) if name != "SparseAdam" else ()),
        ),
        implementations=(implementation,),
        source="as Cor. 6",
        note=note,
        update=update,
    )


def _like_sgd(name: str, *hyperparameters: Hyperparameter, **row: Any) -> Family:
    """Return a row whose momentum is chosen as that of SGD, from the same statistics."""
    return Family(
        name=name,
        moment=ALL_LAGS,
        hyperparameters=(*hyperparameters, EPS, DECAY),
        source="as Cor. 5",
        **row,
    )


ADAPTIVE = (
    _like_adam(
        "AdaMax",
        "max_n beta2^n |g_j[t-n]|",
        Update.CORRECTED_AVERAGE,
        "T[n] is measured with Adam's sqrt(v) for c_j.",
        torch_class("Adamax"),
    ),
    _like_adam(
        "RAdam",
        "sqrt(EMA(g_j^2; beta2)) once its variance is small, else 1",
        Update.CORRECTED_AVERAGE,
        "The rectification is a warm-up of eta.",
        torch_class("RAdam"),
    ),
    _like_adam(
        "NAdam",
        "sqrt(EMA(g_j^2; beta2))",
        Update.AVERAGE,
        "Its weights come from a running product of momenta, which is right when they change.",
        torch_class("NAdam"),
    ),
    _like_adam(
        "SparseAdam",
        "sqrt(EMA(g_j^2; beta2)) over steps with a gradient",
        Update.CORRECTED_AVERAGE,
        "Rows without a gradient keep their averages.",
        torch_class("SparseAdam"),
    ),
    _like_sgd(
        "RMSProp with momentum",
        RATE,
        MOMENTUM,
        Hyperparameter("alpha", "alpha"),
        budget="sum_j c_j sum_n q_j[n]^2 <= B, c_j = sqrt(EMA(g_j^2; alpha))",
        cone="eta beta^n diag(1/c_j)",
        equalizer="eta / (1 - beta z^-1) diag(1/c_j)",
        optimum=BEST_MOMENTUM,
        implementations=(torch_class("RMSprop", momentum=SWITCHED_ON),),
        note="S[n] is measured without the costs c_j.",
        update=Update.SUM,
    ),
    _like_sgd(
        "Muon",
        Hyperparameter("tau", "lr"),
        MOMENTUM,
        budget="max_i sigma_i(step) <= tau per matrix",
        cone="tau (1-beta) beta^n, orthogonalised",
        equalizer="step = tau U V^T of m = EMA(g; beta)",
        optimum=f"{BEST_MOMENTUM}; tau is free",
        implementations=(torch_class("Muon"), third_party("Muon")),
        note="beta is chosen as if the step were linear in m; its size does not depend on it.",
        update=Update.FIXED_SIZE,
    ),
)
