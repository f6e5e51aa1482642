"""The contracts that the wheel ships, for one rule, workload and optimizer of each kind.

It is copied to an environment that has the wheel and no checkout, and run by pytest there.
"""

from __future__ import annotations

from typing import Any

import torch

from gap_tune import AlignmentRule, MomentumRule
from gap_tune.optim import SGD, AdamW
from gap_tune.testing import OptimizerContract, RuleContract, WorkloadContract


class TestTheDefaultRule(RuleContract):
    def rule(self) -> MomentumRule:
        return AlignmentRule()


class TestWine(WorkloadContract):
    def config(self) -> dict[str, Any]:
        return {"workload": "logistic", "workload_options": {"table": "wine"}}


class TestSelfTuningSGD(OptimizerContract):
    # A closure's gradient comes after the decision; each decision reads once.
    steps_alike_by_closure, stays_on_device = False, False

    def optimizer(self, params: Any) -> torch.optim.Optimizer:
        return SGD(params, lr=0.01, momentum=0.9)


class TestSelfTuningAdamW(OptimizerContract):
    steps_alike_by_closure, stays_on_device = False, False

    def optimizer(self, params: Any) -> torch.optim.Optimizer:
        return AdamW(params, lr=0.01)
