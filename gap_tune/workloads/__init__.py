"""Workloads: model, data and loss by name, and one training loop for all."""

from __future__ import annotations

from gap_tune.workloads.base import Samples, Splits, Workload
from gap_tune.workloads.classification import Classification
from gap_tune.workloads.registry import WORKLOADS, get_workload

__all__ = ["WORKLOADS", "Classification", "Samples", "Splits", "Workload", "get_workload"]
