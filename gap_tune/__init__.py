"""gap_tune: momentum for Ray Tune studies, read off the gradients that training computes.

``import gap_tune`` imports neither torch nor Ray, and ``import gap_tune.optim`` does not import
Ray: names, and packages such as ``gap_tune.rules``, load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gap_tune import _moved
from gap_tune._lazy import lazily

__version__ = "0.2.0"

_moved.install()

if TYPE_CHECKING:
    from gap_tune import control as control
    from gap_tune import errors as errors
    from gap_tune import gradients as gradients
    from gap_tune import optim as optim
    from gap_tune import report as report
    from gap_tune import rules as rules
    from gap_tune import study as study
    from gap_tune import theory as theory
    from gap_tune import tune as tune
    from gap_tune import workloads as workloads
    from gap_tune.control.applying import apply_momentum as apply_momentum
    from gap_tune.control.trust_region import TrustRegion as TrustRegion
    from gap_tune.gradients.monitor import GradientMonitor as GradientMonitor
    from gap_tune.gradients.statistics import DEFAULT_CANDIDATES as DEFAULT_CANDIDATES
    from gap_tune.gradients.statistics import AlignmentStatistics as AlignmentStatistics
    from gap_tune.report.take_home.best import best as best
    from gap_tune.rules.alignment import AlignmentRule as AlignmentRule
    from gap_tune.rules.base import Decision as Decision
    from gap_tune.rules.base import MomentumRule as MomentumRule
    from gap_tune.rules.base import Reason as Reason
    from gap_tune.rules.fixed import FixedMomentum as FixedMomentum
    from gap_tune.rules.horizon import HorizonRule as HorizonRule
    from gap_tune.rules.schedule import MomentumSchedule as MomentumSchedule
    from gap_tune.study.study import Study as Study
    from gap_tune.tune.integrations.trainable import GapTrainable as GapTrainable
    from gap_tune.tune.probe import probe as probe
    from gap_tune.tune.scheduling.scheduler import GapScheduler as GapScheduler
    from gap_tune.tune.search import GapSearch as GapSearch
    from gap_tune.tune.trial.attaching import attach as attach
    from gap_tune.tune.trial.session import TrialSession as TrialSession
    from gap_tune.tune.tuner import tuner as tuner
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "gap_tune.control.applying": ["apply_momentum"],
            "gap_tune.control.trust_region": ["TrustRegion"],
            "gap_tune.gradients.monitor": ["GradientMonitor"],
            "gap_tune.gradients.statistics": ["DEFAULT_CANDIDATES", "AlignmentStatistics"],
            "gap_tune.report.take_home.best": ["best"],
            "gap_tune.rules.alignment": ["AlignmentRule"],
            "gap_tune.rules.base": ["Decision", "MomentumRule", "Reason"],
            "gap_tune.rules.fixed": ["FixedMomentum"],
            "gap_tune.rules.horizon": ["HorizonRule"],
            "gap_tune.rules.schedule": ["MomentumSchedule"],
            "gap_tune.study.study": ["Study"],
            "gap_tune.tune.integrations.trainable": ["GapTrainable"],
            "gap_tune.tune.probe": ["probe"],
            "gap_tune.tune.scheduling.scheduler": ["GapScheduler"],
            "gap_tune.tune.search": ["GapSearch"],
            "gap_tune.tune.trial.attaching": ["attach"],
            "gap_tune.tune.trial.session": ["TrialSession"],
            "gap_tune.tune.tuner": ["tuner"],
        },
        packages=[
            "control",
            "errors",
            "gradients",
            "optim",
            "report",
            "rules",
            "study",
            "theory",
            "tune",
            "workloads",
        ],
    )
