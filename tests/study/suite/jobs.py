"""Single runs of small settings."""

from __future__ import annotations

from dataclasses import replace

from gap_tune.panel.settings import PanelSettings, Setting
from gap_tune.study import Job, Suite

SMALL = Setting("small", "digits-mlp", "sgd", 64, 2, 8, {"label_noise": 0.4})


def job(arm: str, setting: Setting = SMALL, *, lr: float = 0.05, seed: int = 3) -> Job:
    """Return a run of a panel that has no other setting, arm or learning rate."""
    panel = PanelSettings((replace(setting, lr=lr),), (arm,), seeds=max(seed + 1, 2), lr_count=1)
    return panel.suite().jobs()[seed]


def small(*arms: str, setting: Setting = SMALL) -> Suite:
    """Return the suite of one setting at three learning rates on two seeds."""
    return PanelSettings((setting,), arms, seeds=2, lr_span=100.0, lr_count=3).suite()
