"""What the scheduler decides, sends and records; trials are Ray's own, without processes."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint
from ray.tune.callback import CallbackList
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2

from gap_tune import (
    AlignmentRule,
    AlignmentStatistics,
    Decision,
    FixedMomentum,
    GapScheduler,
    MomentumRule,
    MomentumSchedule,
    Reason,
)
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.tune import delivery, read_decisions
from gap_tune.tune.decisions import RecordedDecision
from gap_tune.tune.wrapping import SchedulerWrapper
from tests.tune.conftest import make_run
from tests.tune.functions import Cycle, Raises

STATISTICS = AlignmentStatistics(
    candidates=(0.8, 0.9, 0.95, 0.99),
    alignment=(4.0, 6.0, 12.0, 2.0),
    validation_alignment=(0.0,) * 4,
    autocorrelation=(1.0, 0.9, 0.8),
    whitening=None,
    weight=4.0,
    validation_weight=0.0,
    steps=40,
    skipped_steps=0,
    dimension=10,
    sampled=10,
)
# The same problem with another seed: by itself it asks for 0.99.
OTHER = replace(STATISTICS, alignment=(1.0, 2.0, 30.0, 99.0), steps=50)


class Process:
    """Stands for the trial's process: what is sent to it is called in this one."""

    class execute:  # noqa: N801
        @staticmethod
        def remote(function: Callable[[Any], None]) -> None:
            function(None)


class Controller:
    """What a scheduler and delivery ask of Ray's controller."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self._callbacks = CallbackList([])

    def get_trials(self) -> list[Trial]:
        return self.trials

    def start(self, trial: Trial) -> None:
        self._callbacks.on_trial_start(iteration=0, trials=self.trials, trial=trial)

    def reported(self, trial: Trial, result: dict[str, Any]) -> None:
        self._callbacks.on_trial_result(iteration=0, trials=self.trials, trial=trial, result=result)


class Always(FIFOScheduler):  # type: ignore[misc]
    """Says the same to every result."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self._action = action

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._action


class Returns(MomentumRule):
    """A user's rule that returns anything at all."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Any:
        return self._value


class Keeps(FixedMomentum):
    """Keeps the momentum, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[AlignmentStatistics] = []

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        self.asked.append(statistics)
        return super().decide(statistics, momentum)


class Study:
    """A scheduler with trials that report when they are told to."""

    def __init__(self, folder: Path, **arguments: Any) -> None:
        self.folder = folder / "run"
        self.storage = StorageContext(storage_path=str(folder), experiment_dir_name="run")
        self.controller = Controller()
        self.scheduler = GapScheduler(**arguments)
        self.scheduler.set_search_properties("loss", "min")

    def add(self, mode: str | None = "scheduler", **config: Any) -> Trial:
        section = {} if mode is None else {"gap": {"mode": mode}}
        trial_id = f"t{len(self.controller.trials)}"
        config = {"lr": 0.1, "momentum": 0.9, **section, **config}
        trial = Trial("__fake", stub=True, trial_id=trial_id, config=config, storage=self.storage)
        trial.temporary_state.ray_actor = Process()
        self.controller.trials.append(trial)
        self.scheduler.on_trial_add(self.controller, trial)
        trial.status = Trial.RUNNING
        return trial

    def report(self, trial: Trial, **changes: Any) -> delivery.Directive | None:
        """Process a result as Ray does; return what arrived in the trial's process."""
        result = reported(**changes)
        self.scheduler.on_trial_result(self.controller, trial, dict(result))
        self.controller.reported(trial, result)
        trial.update_last_result(result)
        return delivery.take(trial.trial_id)

    def log(self) -> list[RecordedDecision]:
        return read_decisions(self.folder)


def reported(**changes: Any) -> dict[str, Any]:
    result = {
        "loss": 1.0,
        "momentum": 0.9,
        "seq": 4,
        "steps": 40,
        "steps_since_change": 10,
        "statistics": json.dumps(STATISTICS.to_dict()),
        **changes,
    }
    ours = {"momentum", "seq", "steps", "steps_since_change", "statistics", "mailbox", "reason"}
    flat = {f"gap/{k}" if k in ours | {"decision"} else k: v for k, v in result.items()}
    return {k: v for k, v in flat.items() if v is not MISSING}


MISSING = object()


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    return lambda **arguments: Study(tmp_path, **arguments)


def test_a_tuned_trial_is_sent_the_rules_decision_and_it_is_logged(
    study: Callable[..., Study],
) -> None:
    s = study()
    directive = s.report(s.add())
    expected = AlignmentRule().decide(STATISTICS, 0.9)
    assert directive == delivery.Directive(5, expected)
    (line,) = s.log()
    assert (line.trial, line.step, line.seq, line.old, line.new) == ("t0", 40, 5, 0.9, 0.95)
    assert line.gains == pytest.approx(expected.gains, rel=1e-5)
    assert (line.candidates, line.reason) == (expected.candidates, "best gain")
    assert (line.mode, line.dry_run) == ("scheduler", False)


@pytest.mark.parametrize("action", ["STOP", "PAUSE"])
def test_a_trial_that_does_not_continue_is_sent_nothing(
    study: Callable[..., Study], action: str
) -> None:
    s = study(scheduler=Always(action))
    assert s.report(s.add()) is None
    assert not (s.folder / "decisions.jsonl").exists()


def test_the_last_result_is_not_decided_twice(study: Callable[..., Study]) -> None:
    s = study()
    trial = s.add()
    s.report(trial)
    # Ray repeats it with this mark when the training function has returned.
    assert s.report(trial, done=True) is None
    assert len((s.folder / "decisions.jsonl").read_text().splitlines()) == 1


def test_a_change_that_comes_too_early_is_not_made_and_says_so(
    study: Callable[..., Study],
) -> None:
    s = study(min_steps=11)
    trial = s.add()
    assert s.report(trial) is None
    assert trial.last_result["gap/reason"] == s.log()[0].reason == "rate limit"
    why = "10 of 11 steps since the last change, so 0.9 stays."
    assert trial.last_result["gap/decision"] == s.log()[0].explanation == why


def test_a_decision_that_changes_nothing_is_shown_but_costs_no_message(
    ray_address: str, study: Callable[..., Study]
) -> None:
    s = study(rule=Keeps())
    trial = s.add()
    assert s.report(trial) is None
    assert trial.last_result["gap/reason"] == s.log()[0].reason == "fixed"
    # Whoever waits for an answer gets one.
    assert s.report(trial, mailbox="box") is None
    assert delivery.wait("box", 5, 0.0) == delivery.Directive(5)
    delivery.clear("box")


def test_a_result_shows_the_decision_on_itself_and_no_older_one(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    s.report(trial)
    assert trial.last_result["gap/reason"] == "best gain"
    s.report(trial, statistics="{", steps=50)
    assert "gap/reason" not in trial.last_result
    assert [line.reason for line in s.log()] == ["best gain", "error"]


@pytest.mark.parametrize(("old", "new"), [(0.9, 0.95), (0.95, 0.9)])
@pytest.mark.parametrize(("dead_band", "held"), [(0.0, False), (0.9, False), (1.1, True)])
def test_the_dead_band_holds_small_changes_of_the_horizon_in_both_directions(
    old: float, new: float, dead_band: float, held: bool
) -> None:
    rule = Returns(Decision(new, old, Reason.BEST_GAIN, "It is best."))
    decision = GapScheduler(rule=rule, dead_band=dead_band).decide(reported(momentum=old))
    # Horizons 10 and 20: one is longer than the other by all of the shorter.
    assert decision.momentum == (old if held else new)
    assert (decision.reason == Reason.DEAD_BAND) is held
    if held:
        assert f"so {old} stays: It is best." in decision.explanation


def test_a_dry_run_records_and_sends_nothing(study: Callable[..., Study]) -> None:
    s = study(dry_run=True)
    assert s.report(s.add()) is None
    (line,) = s.log()
    assert (line.new, line.dry_run) == (0.95, True)


def test_baselines_are_left_alone_and_not_logged(study: Callable[..., Study]) -> None:
    s = study()
    assert s.report(s.add(mode="fixed")) is None
    assert not (s.folder / "decisions.jsonl").exists()


def test_decisions_of_optimizers_that_tune_themselves_are_logged_once(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add(mode="trial")
    own = {"reason": "best gain", "decision": "Better."}
    for seq, momentum in ((0, 0.9), (3, 0.95), (3, 0.95), (4, 0.8)):
        assert s.report(trial, seq=seq, momentum=momentum, **own) is None
    assert [(d.seq, d.old, d.new, d.reason, d.explanation, d.mode) for d in s.log()] == [
        (3, 0.9, 0.95, "best gain", "Better.", "trial"),
        (4, 0.95, 0.8, "best gain", "Better.", "trial"),
    ]


NOT_A_NUMBER = STATISTICS.to_dict() | {"weight": float("nan")}
WRONG_K = STATISTICS.to_dict() | {"alignment": [1.0]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"statistics": "{"}, "must be JSON"),
        ({"statistics": "[" * 90_000}, "must be JSON"),
        ({"statistics": "x" * 10**7}, "10000000 characters"),
        ({"statistics": None}, "NoneType"),
        ({"statistics": ["a list"]}, "list"),
        ({"statistics": json.dumps(NOT_A_NUMBER)}, "weight must be finite"),
        ({"statistics": json.dumps(WRONG_K)}, "one number per candidate"),
        ({"seq": "many"}, "gap/seq must be a whole number, but got 'many'"),
        ({"seq": float("nan")}, "gap/seq must be a whole number, but got nan"),
        ({"seq": MISSING}, "must hold 'gap/seq'"),
        ({"momentum": MISSING}, "must hold 'gap/momentum'"),
        ({"momentum": 1.5}, r"gap/momentum must be a number in [0, 1), but got 1.5"),
        ({"steps_since_change": "a"}, "gap/steps_since_change must be a whole number"),
    ],
)
def test_garbage_in_a_result_leads_to_no_decision_one_warning_and_an_error_in_the_log(
    study: Callable[..., Study],
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    why: str,
) -> None:
    s = study()
    trial = s.add()
    with caplog.at_level(logging.WARNING):
        for step in (40, 44):
            assert s.report(trial, steps=step, **changes) is None
    (warning,) = (r.message for r in caplog.records if "no decision" in r.message)
    assert "trial t0" in warning
    assert why in warning
    assert [(d.step, d.reason, d.new) for d in s.log()] == [
        (40, "error", None),
        (44, "error", None),
    ]
    assert why in s.log()[0].explanation
    # The study goes on.
    assert s.report(trial) is not None


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (Raises(), "a bug in a user's rule"),
        (Returns(0.9), "Returns.decide must return a Decision, but got float"),
        (Returns(None), "Returns.decide must return a Decision, but got NoneType"),
    ],
)
def test_a_rule_with_a_bug_leads_to_no_decision(
    study: Callable[..., Study], caplog: pytest.LogCaptureFixture, rule: MomentumRule, why: str
) -> None:
    s = study(rule=rule)
    trials = [s.add(), s.add()]
    with caplog.at_level(logging.WARNING):
        assert [s.report(trial) for trial in trials] == [None, None]
    (warning,) = (r.message for r in caplog.records if "no decision" in r.message)
    assert why in warning
    assert [d.reason for d in s.log()] == ["error", "error"]


def test_a_trial_that_waits_at_a_mailbox_is_always_answered(
    study: Callable[..., Study], ray_address: str
) -> None:
    cases: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
        ("decision", {}, {}, "scheduler"),
        ("error", {}, {"statistics": "{"}, "scheduler"),
        ("dry", {"dry_run": True}, {}, "scheduler"),
        ("baseline", {}, {}, "fixed"),
        ("own", {}, {}, "trial"),
    ]
    for mailbox, arguments, changes, mode in cases:
        s = study(**arguments)
        trial = s.add(mode=mode)
        # What is sent by mailbox does not go to the trial's own process.
        assert s.report(trial, mailbox=mailbox, **changes) is None
        answer = delivery.wait(mailbox, 5, 0.0)
        assert answer is not None, mailbox
        assert (answer.decision is not None) is (mailbox == "decision")
        s.scheduler.on_trial_complete(s.controller, trial, {})
        assert delivery.wait(mailbox, 5, 0.0) is None, "the mailbox of an ended trial stays"


def test_a_trial_that_did_not_hear_that_it_must_fail_is_stopped(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    bad = reported(loss=float("nan"))
    actions = [s.scheduler.on_trial_result(s.controller, trial, dict(bad)) for _ in range(2)]
    assert actions == ["CONTINUE", "STOP"]
    # A trial that was tried again is told again.
    s.controller.start(trial)
    assert s.scheduler.on_trial_result(s.controller, trial, dict(bad)) == "CONTINUE"


def test_a_trial_with_a_mailbox_is_told_that_its_metric_is_not_finite(
    study: Callable[..., Study], ray_address: str
) -> None:
    s = study()
    s.report(s.add(), mailbox="nan", loss=float("nan"))
    answer = delivery.wait("nan", 5, 0.0)
    assert answer is not None
    assert "must be finite" in str(answer.failure)
    delivery.clear("nan")


def restart(s: Study, trial: Trial, **checkpointed: Any) -> delivery.Directive | None:
    """Start a trial from the checkpoint that came with a result."""
    result = _TrainingResult(Checkpoint(str(s.folder)), reported(**checkpointed))
    trial.run_metadata.checkpoint_manager._latest_checkpoint_result = result
    s.controller.start(trial)
    return delivery.take(trial.trial_id)


def test_a_restarted_trial_is_sent_again_what_its_process_took_with_it(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    sent = s.report(trial)
    s.report(trial, seq=5, momentum=0.95, steps=50)
    # Another driver, which has seen none of this, as after Tuner.restore.
    again = Study(s.folder.parent)
    other = again.add()
    assert restart(again, other) == sent == delivery.Directive(5, sent.decision)  # type: ignore[union-attr]
    lines = (s.folder / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [5, 6, 5]
    # The trial goes back behind what it had decided at step 50.
    assert [(line.seq, line.step) for line in s.log()] == [(5, 40)]


def test_nothing_is_sent_to_a_trial_that_starts_without_statistics_or_is_not_tuned(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    s.controller.start(trial)
    assert delivery.take(trial.trial_id) is None
    assert restart(s, trial, statistics=MISSING) is None
    assert restart(s, s.add(mode="fixed")) is None
    dry = study(dry_run=True)
    assert restart(dry, dry.add()) is None


def test_a_trial_that_was_paused_is_sent_its_momentum_when_it_goes_on(
    study: Callable[..., Study],
) -> None:
    s = study(scheduler=Always("PAUSE"))
    trial = s.add()
    s.report(trial, training_iteration=5)
    assert delivery.take(trial.trial_id) is None
    assert restart(s, trial, training_iteration=5) is not None


def test_a_ray_that_hides_its_callbacks_costs_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callbacks = CallbackList([])
    del callbacks._callbacks
    trial = Trial("__fake", stub=True)
    GapScheduler().on_trial_add(SimpleNamespace(_callbacks=callbacks), trial)
    assert "miss one decision" in caplog.text


def test_garbage_in_a_checkpoints_result_does_not_end_the_study(
    study: Callable[..., Study],
) -> None:
    s = study()
    assert restart(s, s.add(), statistics="{", seq="x") is None
    assert s.log()[0].reason == "error"


def test_siblings_share_their_statistics(study: Callable[..., Study]) -> None:
    s = study(pool="siblings", rule=Keeps())
    own, sibling = s.add(seed=0), s.add(seed=1, momentum=0.5)
    s.report(sibling, statistics=json.dumps(OTHER.to_dict()), steps=50)
    s.report(own)
    merged = STATISTICS.merge(OTHER)
    # Rules go by the trial's own steps.
    assert s.scheduler._decider.rule.asked[-1] == replace(merged, steps=40)
    assert own.last_result["gap/decision"].endswith("Pooled over 2 trials.")


def test_by_default_each_trial_is_judged_by_itself(study: Callable[..., Study]) -> None:
    s = study(rule=Keeps())
    own, sibling = s.add(seed=0), s.add(seed=1)
    s.report(sibling, statistics=json.dumps(OTHER.to_dict()))
    s.report(own)
    assert s.scheduler._decider.rule.asked[-1] == STATISTICS


def test_other_trials_are_no_siblings(study: Callable[..., Study]) -> None:
    s = study(pool="siblings", rule=Keeps())
    own = s.add(seed=0, layers=[1, 2])
    ended = s.add(seed=5, layers=[1, 2])
    strangers = [
        s.add(seed=1, layers=[1, 3]),
        s.add(seed=2, layers=[1, 2], lr=0.2),
        s.add(seed=3, layers=[1, 2], mode="fixed"),
        s.add(seed=4, layers=[1, 2], extra=0),
        ended,
    ]
    for other in strangers:
        s.report(other, statistics=json.dumps(OTHER.to_dict()))
    ended.status = Trial.TERMINATED
    s.report(own)
    assert s.scheduler._decider.rule.asked[-1] == STATISTICS


@pytest.mark.parametrize(("steps", "taken"), [(19, False), (20, True), (80, True), (81, False)])
def test_siblings_far_ahead_or_behind_are_left_out(
    study: Callable[..., Study], steps: int, taken: bool
) -> None:
    s = study(pool="siblings", rule=Keeps())
    own, sibling = s.add(seed=0), s.add(seed=1)
    s.report(sibling, statistics=json.dumps(replace(OTHER, steps=steps).to_dict()))
    s.report(own)
    assert (s.scheduler._decider.rule.asked[-1].weight == 8.0) is taken


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "x" * 10**7,
        json.dumps(NOT_A_NUMBER),
        json.dumps(replace(OTHER, candidates=(0.1, 0.2, 0.3, 0.4)).to_dict()),
        json.dumps(replace(OTHER, dimension=11).to_dict()),
    ],
)
def test_a_sibling_with_unusable_statistics_is_left_out_with_a_warning(
    study: Callable[..., Study], caplog: pytest.LogCaptureFixture, text: str
) -> None:
    s = study(pool="siblings", rule=Keeps())
    own, good, bad = (s.add(seed=seed) for seed in range(3))
    with caplog.at_level(logging.WARNING):
        s.report(bad, statistics=text)
        s.report(good, statistics=json.dumps(OTHER.to_dict()))
        s.report(own)
    assert own.last_result["gap/reason"] == "fixed"
    assert s.scheduler._decider.rule.asked[-1] == replace(STATISTICS.merge(OTHER), steps=40)
    (warning,) = (r.message for r in caplog.records if "sibling" in r.message)
    assert "t2" in warning


def test_the_key_of_the_seed_can_be_another(study: Callable[..., Study]) -> None:
    s = study(pool="siblings", seed_key="rng", rule=Keeps())
    own, sibling = s.add(rng=0), s.add(rng=1)
    s.report(sibling)
    s.report(own)
    assert s.scheduler._decider.rule.asked[-1].weight == 8.0


def test_a_replayed_schedule_makes_the_same_changes_at_the_same_steps(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    s = study(rule=Cycle())
    trial, reports, momentum = s.add(), [], 0.9
    for i in range(6):
        reports.append({"seq": i, "steps": 8 * (i + 1), "momentum": momentum})
        reports[-1]["statistics"] = json.dumps(replace(STATISTICS, steps=8 * (i + 1)).to_dict())
        directive = s.report(trial, **reports[-1])
        momentum = directive.decision.momentum  # type: ignore[union-attr]
    replay = GapScheduler(rule=MomentumSchedule.from_decisions(s.folder))
    made = [replay.decide(reported(**report)) for report in reports]
    assert [d.momentum for d in made] == [0.5, 0.99, 0.8, 0.9, 0.5, 0.99]
    assert [(d.new, d.old) for d in s.log()] == [(d.momentum, d.previous) for d in made]


@pytest.fixture(scope="module")
def finished(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A real study: a trial that is killed, and the same trial undisturbed."""
    folder = tmp_path_factory.mktemp("real")
    plan = [{"kill_marker": str(folder / "killed"), "kill_at": 4}, {}]
    grid = make_run(folder)(
        plan, max_failures=1, scheduler=GapScheduler(FIFOScheduler(), rule=Cycle())
    )
    assert (folder / "killed").exists()
    assert not grid.errors
    return folder / "run", grid


@pytest.mark.slow
def test_a_killed_trial_ends_as_it_would_have_undisturbed(finished: tuple[Path, Any]) -> None:
    killed, undisturbed = (r.metrics_dataframe.to_dict("records") for r in finished[1])
    for column in ("used", "gap/seq", "checksum"):
        assert [r[column] for r in killed] == [r[column] for r in undisturbed], column


@pytest.mark.slow
def test_every_decision_of_a_real_study_is_a_line_in_its_folder(
    finished: tuple[Path, Any],
) -> None:
    folder, grid = finished
    raw = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    lines = {result.metrics["trial_id"]: [] for result in grid}
    for line in read_decisions(folder):
        lines[line.trial].append(line)
    for result in grid:
        rows = result.metrics_dataframe.to_dict("records")
        own = lines[result.metrics["trial_id"]]
        assert [d.seq for d in own] == list(range(1, 9))
        assert [d.step for d in own] == [row["gap/steps"] for row in rows]
        # What was decided on a report is what the next one says it used.
        assert [d.new for d in own][:-1] == [row["used"] for row in rows][1:]
    (name,) = (r.metrics["trial_id"] for r in grid if "kill_marker" in r.config)
    killed = [d["seq"] for d in raw if d["trial"] == name]
    # The checkpoint came with the fourth report; its answer was sent once more.
    assert killed == [1, 2, 3, 4, 4, 5, 6, 7, 8]


def test_a_real_trajectory_replays(finished: tuple[Path, Any]) -> None:
    folder, grid = finished
    rows = grid[1].metrics_dataframe.to_dict("records")
    rule = MomentumSchedule.from_decisions(folder, trial=grid[1].metrics["trial_id"])
    made = [GapScheduler(rule=rule).decide(row).momentum for row in rows]
    assert made[:-1] == [row["used"] for row in rows][1:]


def test_every_question_is_passed_on_to_the_wrapped_scheduler() -> None:
    asked = {
        name
        for name in vars(TrialScheduler)
        if not name.startswith("_") and not name.isupper() and name != "supports_buffered_results"
    }
    assert asked <= set(vars(SchedulerWrapper))
    inner = ASHAScheduler(metric="loss", mode="min", grace_period=1, max_t=9)
    scheduler = GapScheduler(inner)
    assert scheduler.metric == "loss"
    assert scheduler.supports_buffered_results is False
    assert inner.debug_string() in scheduler.debug_string()


def test_a_scheduler_in_use_can_be_saved(study: Callable[..., Study]) -> None:
    s = study(scheduler=ASHAScheduler(), pool="siblings")
    for seed in range(2):
        s.report(s.add(seed=seed), training_iteration=1)
    loaded = pickle.loads(pickle.dumps(s.scheduler))
    assert loaded.decide(reported()) == s.scheduler.decide(reported())
    assert len(pickle.dumps(s.controller._callbacks)) < 1000


def test_schedulers_that_cannot_be_wrapped_are_refused_with_what_to_do_instead(
    tmp_path: Path,
) -> None:
    policy = tmp_path / "pbt_policy.txt"
    policy.write_text('["a", "b", 1, 2, {"lr": 1}, {"lr": 2}]\n')
    pbt = PopulationBasedTraining(hyperparam_mutations={"lr": [0.1]})
    for scheduler, instead in (
        (PB2(hyperparam_bounds={"lr": [0.1, 0.2]}), "run it as a study of its own"),
        (HyperBandForBOHB(), "use ASHAScheduler"),
        (PopulationBasedTrainingReplay(str(policy)), "MomentumSchedule.from_decisions"),
        (ResourceChangingScheduler(pbt), "run it as a study of its own"),
        (GapScheduler(), "pass it to tune.TuneConfig as it is"),
        (ResourceChangingScheduler(GapScheduler()), "pass it to tune.TuneConfig as it is"),
    ):
        with pytest.raises(UnsupportedError, match=instead):
            GapScheduler(scheduler)
    GapScheduler(ResourceChangingScheduler(ASHAScheduler()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool": "all"}, "pool must be None or 'siblings', but got 'all'"),
        ({"dead_band": -0.1}, "dead_band must be a number"),
        ({"min_steps": 0}, "min_steps must be an integer of at least 1"),
    ],
)
def test_options_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        GapScheduler(**arguments)
