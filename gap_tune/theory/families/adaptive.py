"""Optimizers that the paper does not name, with the family's filter that each has."""

from __future__ import annotations

from gap_tune.theory.families.base import (
    DECAY,
    EPS,
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
            Hyperparameter("eta", "lr", "optimal_learning_rate"),
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
    Family(
        name="RMSProp with momentum",
        budget="sum_j c_j sum_n q_j[n]^2 <= B, c_j = sqrt(EMA(g_j^2; alpha))",
        cone="eta beta^n diag(1/c_j)",
        equalizer="eta / (1 - beta z^-1) diag(1/c_j)",
        moment="training, all lags",
        optimum="beta* = argmax sqrt(1-beta^2) sum_n beta^n S[n]",
        hyperparameters=(
            Hyperparameter("eta", "lr", "optimal_learning_rate"),
            Hyperparameter("beta", "momentum", "optimal_momentum"),
            Hyperparameter("alpha", "alpha"),
            EPS,
            DECAY,
        ),
        implementations=(torch_class("RMSprop", momentum=SWITCHED_ON),),
        source="as Cor. 5",
        note="S[n] is measured without the costs c_j.",
        update=Update.SUM,
    ),
    Family(
        name="Muon",
        budget="max_i sigma_i(step) <= tau per matrix",
        cone="tau (1-beta) beta^n, orthogonalised",
        equalizer="step = tau U V^T of m = EMA(g; beta)",
        moment="training, all lags",
        optimum="beta* = argmax sqrt(1-beta^2) sum_n beta^n S[n]; tau is free",
        hyperparameters=(
            Hyperparameter("tau", "lr"),
            Hyperparameter("beta", "momentum", "optimal_momentum"),
            EPS,
            DECAY,
        ),
        implementations=(torch_class("Muon"), third_party("Muon")),
        source="as Cor. 5",
        note="beta is chosen as if the step were linear in m; its size does not depend on it.",
        update=Update.FIXED_SIZE,
    ),
)
