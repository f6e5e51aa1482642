"""Studies of thousands of trials without training: recorded runs on a virtual clock."""

from gap_tune.simulation.cluster import Cluster, DriverKills, NodeLoss, Preemption, Restart
from gap_tune.simulation.quadratic import QuadraticTask
from gap_tune.simulation.simulated import Simulated
from gap_tune.simulation.study import simulate

__all__ = [
    "Cluster",
    "DriverKills",
    "NodeLoss",
    "Preemption",
    "QuadraticTask",
    "Restart",
    "Simulated",
    "simulate",
]
