"""Optimizers with memory: one-pole and lead-lag filters, alone, per coordinate or per layer."""

from __future__ import annotations

from typing import Any

from gap_tune.theory.families.base import (
    ALL_LAGS,
    BEST_MOMENTUM,
    DECAY,
    EPS,
    MOMENTUM,
    RATE,
    Family,
    Hyperparameter,
    Implementation,
    Update,
    third_party,
    torch_class,
)

_BETA2 = Hyperparameter("beta2", "betas[1]")


def _adam(name: str, moment: str, source: str, note: str, *classes: Implementation) -> Family:
    return Family(
        name=name,
        budget="sum_j c_j sum_n q_j[n]^2 <= B, c_j = sqrt(EMA(g_j^2; beta2))",
        cone="eta (1-beta1) beta1^n diag(1/c_j)",
        equalizer="eta (1-beta1) / (1 - beta1 z^-1) diag(1/c_j)",
        moment=moment,
        optimum="(beta1*, beta2*) = argmax sqrt((1-beta1^2)/W) sum_n beta1^n T[n; beta2]; "
        "eta* = sqrt(B (1-beta1*^2)/W) / (1-beta1*), W = sum_j 1/c_j",
        hyperparameters=(
            RATE,
            Hyperparameter("beta1", "betas[0]", "optimal_adam"),
            Hyperparameter("beta2", "betas[1]", "optimal_adam"),
            EPS,
            DECAY,
        ),
        implementations=classes,
        source=source,
        note=note,
        update=Update.CORRECTED_AVERAGE,
    )


_FREE_SCALES = (
    "J^2 = (1-beta^2) sum_l A_l_+^2/(|theta_l|^2 d_l), alpha_l = A_l_+/(|theta_l|^2 d_l), "
    "A_l = sum_n beta^n S_l[n]; lr* = sqrt(B (1-beta*^2) / sum_l |theta_l|^2 d_l alpha_l^2)"
)
_FIXED_SCALES = (
    "beta* = argmax sqrt(1-beta^2) sum_n beta^n sum_l S_l[n]/|theta_l|; "
    "eta* = sqrt(B (1-beta*^2) / d) / (1-beta*)"
)


def _layerwise(name: str, cone: str, equalizer: str, optimum: str, **rest: Any) -> Family:
    return Family(
        name=name,
        budget="sum_l |theta_l|^2 sum_n |Q_l[n]|_F^2 <= B",
        cone=cone,
        equalizer=equalizer,
        moment="training, all lags, per layer",
        optimum=optimum,
        **rest,
    )


DYNAMIC = (
    Family(
        name="SGD with momentum",
        budget="sum_n |Q[n]|_F^2 <= B",
        cone="eta (1-beta) beta^n I",
        equalizer="eta (1-beta) / (1 - beta z^-1) I",
        moment=ALL_LAGS,
        optimum=f"{BEST_MOMENTUM}; lr* = sqrt(B (1-beta*^2) / d)",
        hyperparameters=(RATE, MOMENTUM, DECAY),
        implementations=(torch_class("SGD"),),
        source="Cor. 5; Tables 1-4",
        update=Update.SUM,
        note="torch steps by lr m, so lr* = eta* (1-beta*); Table 1 has |g|_H in place of sqrt(d).",
    ),
    Family(
        name="Nesterov momentum",
        budget="sum_n |Q[n]|_F^2 <= B",
        cone="eta (1 + gamma z^-1) / (1 - beta z^-1) I",
        equalizer="torch: gamma = -beta / (1+beta)",
        moment=ALL_LAGS,
        optimum="beta* = argmax sqrt((1-b^2) / (1+2b-2b^3)) ((1+b) S[0] + sum_n b^(n+1) S[n]); "
        "free lead: gamma* = (1-beta^2) X/S[0] - beta, X = sum_{n>=1} beta^(n-1) S[n]",
        hyperparameters=(
            Hyperparameter("eta", "lr", "nesterov_learning_rate"),
            Hyperparameter("beta", "momentum", "optimal_nesterov_momentum"),
            Hyperparameter("gamma", "", "optimal_lead"),
            DECAY,
        ),
        implementations=(torch_class("SGD", nesterov=True),),
        source="Tables 2-4",
        update=Update.SUM,
        note="The paper gives no optimum; derived here. torch's lead is negative.",
    ),
    _adam(
        "Adam",
        "training, all lags, whitened",
        "Cor. 6; Tables 1-4",
        "Prices c_j frozen at the current step.",
        torch_class("Adam"),
    ),
    _adam(
        "AdamW",
        "training, all lags, whitened",
        "Cor. 6; Tables 2-4",
        "As Adam: decoupled weight decay is no function of the gradient.",
        torch_class("AdamW"),
    ),
    _adam(
        "Adam, validation-aware",
        "training with validation, all lags, whitened",
        "Section 4; Tables 2-4",
        "Adam with T[n] from E g_val[t] g[t-n]; the class stays Adam's.",
    ),
    Family(
        name="Signum",
        budget="max_j sum_n |q_j[n]| <= tau",
        cone="eta (1-beta) beta^n diag(sign(m_j))",
        equalizer="step = eta sign(m), m = EMA(g; beta)",
        moment="training, all lags, signed",
        optimum="beta* = argmax (1-beta) sum_n beta^n T[n]; eta* = tau",
        hyperparameters=(
            Hyperparameter("tau", "lr"),
            Hyperparameter("beta", "momentum", "optimal_lion_momentum"),
            DECAY,
        ),
        implementations=(third_party("SignSGD"),),
        source="Cor. 21",
        update=Update.FIXED_SIZE,
        note="The paper calls the one-average form Lion. Its statement drops the factor (1-beta).",
    ),
    Family(
        name="Lion",
        budget="max_j sum_n |q_j[n]| <= tau",
        cone="eta (1-beta) beta^n diag(sign(m_j))",
        equalizer="step = eta sign(beta1 m + (1-beta1) g), m = EMA(g; beta2)",
        moment="training, all lags, signed",
        optimum="beta* = argmax (1-beta) sum_n beta^n T[n]; eta* = tau",
        hyperparameters=(
            Hyperparameter("tau", "lr"),
            Hyperparameter("beta1", "betas[0]", "optimal_lion_momentum"),
            _BETA2,
            DECAY,
        ),
        implementations=(third_party("Lion"),),
        source="Cor. 21; Tables 1-4",
        update=Update.FIXED_SIZE,
        note="Modelled with one average, beta1 = beta2; the statement drops the factor (1-beta).",
    ),
    _layerwise(
        "LARS",
        "blockdiag eta (1-beta) beta^n alpha_l I",
        "step_l = eta |theta_l| m_l / |g_l|",
        _FREE_SCALES,
        hyperparameters=(
            Hyperparameter("eta", "lr"),
            Hyperparameter("beta", "momentum", "optimal_layerwise"),
            Hyperparameter("alpha_l", "", "optimal_layerwise"),
            Hyperparameter("trust ratio", "trust_coefficient"),
            DECAY,
        ),
        implementations=(third_party("LARS"),),
        source="Cor. 22; Tables 1-4",
        update=Update.SUM,
        note="Printed with alpha_l = 1/|theta_l|, neither the maximiser nor LARS's trust ratio.",
    ),
    _layerwise(
        "LAMB",
        "blockdiag eta (1-beta1) beta1^n alpha_l I",
        "step_l = eta |theta_l| u_l / |u_l|, Adam's update u",
        _FREE_SCALES,
        hyperparameters=(
            Hyperparameter("eta", "lr"),
            Hyperparameter("beta1", "betas[0]", "optimal_layerwise"),
            Hyperparameter("alpha_l", "", "optimal_layerwise"),
            _BETA2,
            EPS,
            DECAY,
        ),
        implementations=(third_party("Lamb"),),
        source="Cor. 22; Tables 1-4",
        update=Update.FIXED_SIZE,
        note="As LARS, with S_l whitened by Adam's prices.",
    ),
    _layerwise(
        "Layer-normalised momentum",
        "blockdiag eta (1-beta) beta^n I/|theta_l|",
        "step_l = eta (1-beta) m_l / |theta_l|",
        _FIXED_SCALES,
        hyperparameters=(
            Hyperparameter("eta", "", "optimal_layerwise"),
            Hyperparameter("beta", "", "optimal_layerwise"),
        ),
        implementations=(),
        source="Cor. 22 as printed; Table 1",
        note="Scales held at alpha_l = 1/|theta_l|. Printed with sum_l d_l/|theta_l|^2 for d, but "
        "|theta_l|^2 d_l alpha_l^2 = d_l.",
    ),
)
