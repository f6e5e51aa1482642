"""Finished experiments, replayed: what another scheduler would have done with their trials."""

from gap_tune.simulation.replay.experiment import read_task, replay
from gap_tune.simulation.replay.replayed_task import NotRecordedError, Recording, ReplayedTask

__all__ = ["NotRecordedError", "Recording", "ReplayedTask", "read_task", "replay"]
