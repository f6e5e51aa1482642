"""LiveFIFO against Ray's own FIFO, whatever becomes of the trials."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from gap_tune.tune.ray_private.fifo import LiveFIFO
from gap_tune.tune.scheduling.wrapping import SchedulerWrapper

STATUSES = (Trial.PENDING, Trial.RUNNING, Trial.PAUSED, Trial.TERMINATED, Trial.ERROR)


@dataclass(eq=False)
class Stub:
    trial_id: str
    status: str = Trial.PENDING


class Controller:
    def __init__(self) -> None:
        self.trials: list[Stub] = []

    def get_trials(self) -> list[Stub]:
        return self.trials

    def get_live_trials(self) -> set[Stub]:
        # As Ray's does, it keeps trials that failed until they are tried again.
        return {trial for trial in self.trials if trial.status != Trial.TERMINATED}


@given(
    st.lists(
        st.one_of(st.just("add"), st.tuples(st.integers(0, 9), st.sampled_from(STATUSES))),
        max_size=30,
    )
)
def test_it_chooses_what_rays_does(events: list[str | tuple[int, str]]) -> None:
    controller, ours, rays = Controller(), LiveFIFO(), FIFOScheduler()
    for event in events:
        if isinstance(event, str):
            trial = Stub(f"{len(controller.trials)}")
            controller.trials.append(trial)
            ours.on_trial_add(controller, trial)
        elif event[0] < len(controller.trials):
            trial = controller.trials[event[0]]
            if trial.status == Trial.TERMINATED:
                continue
            trial.status = event[1]
            if trial.status == Trial.TERMINATED:
                ours.on_trial_complete(controller, trial, {})
        assert ours.choose_trial_to_run(controller) is rays.choose_trial_to_run(controller)
        ours = pickle.loads(pickle.dumps(ours))


def test_it_does_not_look_at_trials_that_have_ended() -> None:
    class Ended(Controller):
        def get_trials(self) -> list[Stub]:
            raise AssertionError("all trials there ever were")

    controller, scheduler = Ended(), LiveFIFO()
    controller.trials = [Stub("a", Trial.TERMINATED), Stub("b"), Stub("c")]
    for trial in controller.trials:
        scheduler.on_trial_add(controller, trial)
    assert scheduler.choose_trial_to_run(controller) is controller.trials[1]


def test_a_controller_that_does_not_tell_live_trials_is_asked_for_all() -> None:
    class Plain:
        def get_trials(self) -> list[Stub]:
            return [Stub("a", Trial.TERMINATED), pending]

    pending, scheduler = Stub("b"), LiveFIFO()
    scheduler.on_trial_add(None, pending)
    assert scheduler.choose_trial_to_run(Plain()) is pending


@pytest.mark.parametrize(
    "make",
    [LiveFIFO, lambda: SchedulerWrapper(AsyncHyperBandScheduler(metric="loss", mode="min"))],
    ids=["alone", "around ASHA"],
)
def test_bug_a_trial_that_is_tried_again_went_before_those_that_wait(
    make: Callable[[], TrialScheduler],
) -> None:
    controller, ours, rays = Controller(), make(), FIFOScheduler()
    controller.trials = [Stub("a", Trial.ERROR), Stub("b"), Stub("c")]
    for trial in controller.trials:
        ours.on_trial_add(controller, trial)
    # Ray asks for it to be run after all others.
    again = controller.trials.pop(0)
    controller.trials.append(again)
    ours.on_trial_error(controller, again)
    again.status = Trial.PENDING
    ours.on_trial_add(controller, again)
    for expected in "bca":
        chosen = ours.choose_trial_to_run(controller)
        assert chosen is rays.choose_trial_to_run(controller)
        assert chosen.trial_id == expected
        chosen.status = Trial.RUNNING
