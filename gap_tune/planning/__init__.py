"""A plan for a cluster: what a study asks of its driver, from measured constants.

``Request`` says what is to run where, ``plan`` what that means, ``advise`` what to change, and
``improved`` what is left then, of which ``snippet`` writes the settings. ``Constants`` are what was
measured: ``gap_tune.planning.measuring.measure``.
"""

from gap_tune.planning.advice import Advice, advise, improved
from gap_tune.planning.constants import Constants
from gap_tune.planning.planned import Plan, plan
from gap_tune.planning.request import Request
from gap_tune.planning.settings import snippet

__all__ = [
    "Advice",
    "Constants",
    "Plan",
    "Request",
    "advise",
    "improved",
    "plan",
    "snippet",
]
