"""Control: what writes momentum, and the numbers that follow it, into an optimizer."""

from __future__ import annotations

from gap_tune.control.applying import apply_momentum
from gap_tune.control.momentum import group_momentum, has_momentum
from gap_tune.control.momentum_control import MomentumControl
from gap_tune.control.self_tuning import SelfTuning

__all__ = ["MomentumControl", "SelfTuning", "apply_momentum", "group_momentum", "has_momentum"]
