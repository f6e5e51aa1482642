"""RIVALS: published optimizers to compare with, as rows of TRAINING_FAMILIES.

Where arms are compared at several learning rates, each is trained at as many, over as wide a range,
about a middle of its own: where SGD or AdamW has its workload's recipe, a family has
``OptimizerFamily.recipe``. By ``lr_factor`` that is what its authors recommend relative to SGD or
AdamW; of those that find the step size themselves the middle is ``lr``, a factor on it, of which
they publish 1. Other hyperparameters stay at the authors' defaults where nothing is searched.
"""

from __future__ import annotations

from gap_tune.training.families.base import BETA2, MOMENTUM, OptimizerFamily, Range

NESTEROV = "nesterov"
_YELLOWFIN = "arXiv 1706.03471"
_HYPERGRADIENT = "arXiv 1703.04782"
_SCHEDULE_FREE = "arXiv 2405.15682"
_PRODIGY = "arXiv 2306.06101"
_D_ADAPTATION = "arXiv 2301.07733"
_ADAPTIVE_MEMORY = "arXiv 2510.04988"
_ADAI = "arXiv 2006.15815"

# At 0 there is nothing to look ahead along, and torch refuses it.
_LOOKING_AHEAD = Range(0.01, 0.99)
_AVERAGING_MOMENTUM = Range(0.5, 0.99)
_LAM = Range(0.01, 1.0, logarithmic=True)

RIVALS = (
    OptimizerFamily(
        NESTEROV,
        "torch.optim.SGD",
        ranges={"momentum": _LOOKING_AHEAD},
        defaults={"momentum": 0.9},
        arguments={"nesterov": True},
        like="sgd",
        source="Sutskever et al. (2013)",
    ),
    OptimizerFamily(
        "nesterov-adamw",
        "torch.optim.NAdam",
        ranges={"momentum": _LOOKING_AHEAD, "beta2": BETA2},
        defaults={"momentum": 0.9, "beta2": 0.999},
        arguments={"decoupled_weight_decay": True},
        betas=("momentum", "beta2"),
        like="adamw",
        source="Dozat (2016)",
    ),
    # Its learning rate is a factor on what it finds itself.
    OptimizerFamily("yellowfin", "gap_tune.optim.YellowFin", like="sgd", lr=1.0, source=_YELLOWFIN),
    OptimizerFamily(
        "hypergradient",
        "gap_tune.optim.HypergradientSGD",
        ranges={
            "momentum": MOMENTUM,
            "hypergrad_lr": Range(1e-6, 1e-2, logarithmic=True),
        },
        defaults={"momentum": 0.9, "hypergrad_lr": 1e-3},
        like="sgd",
        source=_HYPERGRADIENT,
    ),
    OptimizerFamily(
        "hypergradient-adamw",
        "gap_tune.optim.HypergradientAdamW",
        ranges={
            "momentum": MOMENTUM,
            "beta2": BETA2,
            "hypergrad_lr": Range(1e-9, 1e-5, logarithmic=True),
        },
        defaults={"momentum": 0.9, "beta2": 0.999, "hypergrad_lr": 1e-7},
        betas=("momentum", "beta2"),
        like="adamw",
        source=_HYPERGRADIENT,
    ),
    OptimizerFamily(
        "schedulefree",
        "pytorch_optimizer.ScheduleFreeSGD",
        ranges={"momentum": _AVERAGING_MOMENTUM},
        defaults={"momentum": 0.9},
        like="sgd",
        # Its steps are not summed up by momentum, so that they are as long as those of SGD at
        # 0.9 with ten times the learning rate; the authors recommend 10 to 50 times.
        lr_factor=10.0,
        schedule="none",
        source=_SCHEDULE_FREE,
    ),
    OptimizerFamily(
        "schedulefree-adamw",
        "pytorch_optimizer.ScheduleFreeAdamW",
        ranges={"momentum": _AVERAGING_MOMENTUM, "beta2": BETA2},
        defaults={"momentum": 0.9, "beta2": 0.999},
        betas=("momentum", "beta2"),
        like="adamw",
        schedule="none",
        source=_SCHEDULE_FREE,
    ),
    OptimizerFamily(
        "prodigy",
        "pytorch_optimizer.Prodigy",
        ranges={"d_coef": Range(0.1, 10.0, logarithmic=True)},
        defaults={"d_coef": 1.0},
        like="adamw",
        lr=1.0,
        source=_PRODIGY,
    ),
    OptimizerFamily(
        "dadapt",
        "pytorch_optimizer.DAdaptSGD",
        ranges={"momentum": MOMENTUM},
        defaults={"momentum": 0.9},
        like="sgd",
        lr=1.0,
        source=_D_ADAPTATION,
    ),
    OptimizerFamily(
        "dadapt-adamw",
        "pytorch_optimizer.DAdaptAdam",
        ranges={"momentum": MOMENTUM, "beta2": BETA2},
        defaults={"momentum": 0.9, "beta2": 0.999},
        arguments={"weight_decouple": True},
        betas=("momentum", "beta2"),
        like="adamw",
        lr=1.0,
        source=_D_ADAPTATION,
    ),
    OptimizerFamily(
        "adaptive-memory",
        "gap_tune.optim.AdaptiveMemorySGD",
        ranges={"lam": _LAM},
        defaults={"lam": 0.1},
        like="sgd",
        # It averages gradients, as Adai does below.
        lr_factor=10.0,
        source=_ADAPTIVE_MEMORY,
    ),
    OptimizerFamily(
        "adaptive-memory-adamw",
        "gap_tune.optim.AdaptiveMemoryAdamW",
        ranges={"lam": _LAM, "beta2": BETA2},
        defaults={"lam": 0.1, "beta2": 0.999},
        like="adamw",
        source=_ADAPTIVE_MEMORY,
    ),
    OptimizerFamily(
        "adai",
        "pytorch_optimizer.Adai",
        ranges={"beta0": Range(0.01, 0.5, logarithmic=True), "beta2": BETA2},
        defaults={"beta0": 0.1, "beta2": 0.99},
        betas=("beta0", "beta2"),
        like="sgd",
        # Its momentum averages gradients instead of summing them up: 1 for SGD's 0.1, as
        # published.
        lr_factor=10.0,
        source=_ADAI,
    ),
)
