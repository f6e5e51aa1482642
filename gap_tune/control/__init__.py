"""Control: what writes momentum, and the numbers that follow it, into an optimizer."""

from __future__ import annotations

from gap_tune.control.applying import apply_momentum
from gap_tune.control.momentum import group_momentum, has_momentum
from gap_tune.control.momentum_control import MomentumControl
from gap_tune.control.scale import ScaleControl
from gap_tune.control.self_tuning import SelfTuning
from gap_tune.control.trust_region import RegionChoice, TrustRegion

__all__ = [
    "MomentumControl",
    "RegionChoice",
    "ScaleControl",
    "SelfTuning",
    "TrustRegion",
    "apply_momentum",
    "group_momentum",
    "has_momentum",
]
