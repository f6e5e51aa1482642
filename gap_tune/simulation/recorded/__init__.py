"""Recorded runs: a table of them, and trainings that are looked up in it."""

from gap_tune.simulation.recorded.packing import pack
from gap_tune.simulation.recorded.runs import RecordedRuns
from gap_tune.simulation.recorded.task import RecordedTask
from gap_tune.simulation.recorded.training import RecordedTraining

__all__ = ["RecordedRuns", "RecordedTask", "RecordedTraining", "pack"]
