from __future__ import annotations

import json
import pickle
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.errors import InvalidValueError
from gap_tune.testing import make_statistics
from gap_tune.tune import keys, read_decisions
from gap_tune.tune.monitoring import metrics as module
from gap_tune.tune.monitoring.instruments import TRIAL_GAUGES, Latest
from gap_tune.tune.monitoring.metrics import RayMetrics
from gap_tune.tune.monitoring.regret import Regrets
from tests.tune.conftest import Run

# tests/dashboards reads what Ray's own instruments export, which takes too long here.


class Recorder:
    """An instrument that remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, dict[str, str]]] = []

    def record(self, value: float, tags: dict[str, str]) -> None:
        self.calls.append((value, tags))

    inc = set = observe = record

    def total(self, *names: str) -> dict[Any, float]:
        """Return the sums of what was recorded, by some tags."""
        sums: dict[Any, float] = defaultdict(float)
        for value, tags in self.calls:
            key = tuple(tags[name] for name in names)
            sums[key[0] if len(key) == 1 else key] += value
        return sums


class Recorders(SimpleNamespace):
    """In the place of Ray's instruments."""

    def __init__(self) -> None:
        named = ("trials", "regret", "decisions", "faults", "skipped", "seconds")
        super().__init__(**{name: Recorder() for name in named})
        self.by_trial = {name: Recorder() for name in TRIAL_GAUGES}


# In the order in which they will be used.
WAITING: list[Recorders] = []


@pytest.fixture(autouse=True)
def instruments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "Instruments", lambda: WAITING.pop(0))
    yield
    WAITING.clear()


class AtTheEnd(RayMetrics):
    """Sets its gauges when the study has ended, and not before."""

    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        pass


def recorded(
    metric: Any = "loss", mode: Any = "min", *, kind: type[RayMetrics] = RayMetrics, **options: Any
) -> tuple[RayMetrics, Recorders]:
    WAITING.append(Recorders())
    return kind(metric, mode, **options), WAITING[-1]


@pytest.mark.slow
def test_a_real_studys_decisions_faults_and_gauges(run: Run, tmp_path: Path) -> None:
    metrics, recorders = recorded(kind=AtTheEnd)
    marker = str(tmp_path / "killed")
    plan: list[dict[str, Any]] = [
        {"arm": "gap", "seed": 1, "bad_gradient_at": 2, "kill_at": 4, "kill_marker": marker},
        {"arm": "fixed:0.9", "momentum": 0.9, "seed": 1},
        {"arm": "gap", "seed": 2, "fails": True},
    ]
    results = run(plan, callbacks=[metrics], max_failures=1)
    lines = [line for line in read_decisions(Path(results.experiment_path)) if line.reason]
    assert recorders.decisions.total("arm") == {"gap": len(lines)}
    assert recorders.decisions.total("reason") == Counter(line.reason for line in lines)
    assert {tags["study"] for _, tags in recorders.decisions.calls} == {"run"}
    assert len(recorders.seconds.calls) == len(lines)
    assert all(seconds > 0 for seconds, _ in recorders.seconds.calls)
    # The bug is tried again once.
    assert recorders.faults.total("kind") == {"restart": 2, "failure": 1}
    assert recorders.skipped.total("arm") == {"gap": 1}
    statuses = {tags["status"]: n for n, tags in recorders.trials.calls}
    assert statuses == {"terminated": 2, "error": 1, "pending": 0, "running": 0, "paused": 0}
    last = {r.config["arm"]: r.metrics["loss"] for r in results if r.config["seed"] == 1}
    regrets = {tags["arm"]: regret for regret, tags in recorders.regret.calls}
    assert regrets["fixed:0.9"] == 0.0
    assert regrets["gap"] == pytest.approx(last["gap"] - last["fixed:0.9"])


def trial(status: str = "RUNNING", **last: Any) -> Any:
    return SimpleNamespace(
        trial_id="id1",
        trainable_name="train",
        status=status,
        config={"arm": "gap", "seed": 1},
        run_metadata=SimpleNamespace(last_result=last),
        storage=SimpleNamespace(experiment_dir_name="experiment"),
    )


def result(report: int = 1, skipped: int = 0, **more: Any) -> dict[str, Any]:
    statistics = make_statistics(
        (0.0, 0.9),
        alignment=(1.0, 8.0),
        autocorrelation=(4.0, 1.0),
        weight=2.0,
        steps=10 * report,
        skipped_steps=skipped,
    )
    return {
        "loss": 0.5,
        "training_iteration": report,
        "time_total_s": 4.0 * report,
        keys.MOMENTUM: 0.0,
        keys.GAIN: 0.6,
        keys.POWER: 2.0,
        keys.SCALE: 3.0,
        keys.AGREEMENT: -0.2,
        keys.STEPS: 10 * report,
        keys.STATISTICS: json.dumps(statistics.to_dict()),
        **more,
    }


def test_gauges_show_what_the_latest_result_says() -> None:
    metrics, recorders = recorded(study="digits")
    one = trial()
    metrics.on_trial_result(1, [one], one, result(1))
    metrics.on_trial_result(1, [one], one, result(3))
    metrics.on_step_end(1, [one])
    shown: dict[str, Any] = {name: recorder.calls for name, recorder in recorders.by_trial.items()}
    tags = {"study": "digits", "arm": "gap", "trial": "id1"}
    by_hand = {
        "momentum": 0.0,
        "gain": 0.6,
        # sqrt(1 - 0.9^2) (0.3 * 4 + 0.9 * 8) / 2
        "best_gain": 1.830737,
        "autocorrelation": 0.25,
        "gradient_power": 2.0,
        "scale": 3.0,
        "agreement": -0.2,
        "steps_per_second": 2.5,
        "metric": 0.5,
    }
    assert shown == {name: [(pytest.approx(v, rel=1e-6), tags)] for name, v in by_hand.items()}


def test_gauges_of_a_trial_are_no_longer_set_once_it_ended_or_paused() -> None:
    for ends in ("on_trial_complete", "on_trial_error", "on_trial_recover", None):
        metrics, recorders = recorded()
        one = trial()
        metrics.on_trial_result(1, [one], one, result())
        if ends is None:
            one.status = "PAUSED"
        else:
            one.status = "TERMINATED"
            getattr(metrics, ends)(iteration=1, trials=[one], trial=one)
        metrics.on_step_end(1, [one])
        assert not any(recorder.calls for recorder in recorders.by_trial.values()), ends


def test_gauges_are_set_again_while_a_trial_says_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("gap_tune.tune.monitoring.metrics.time.monotonic", lambda: clock[0])
    metrics, recorders = recorded()
    one = trial()
    metrics.on_trial_result(1, [one], one, result())
    for moment in (100.0, 100.5, 101.0, 150.0):
        clock[0] = moment
        metrics.on_step_end(1, [one])
    assert [value for value, _ in recorders.by_trial["momentum"].calls] == [0.0] * 3


def test_bug_trials_of_earlier_runs_of_a_study_stay_counted() -> None:
    metrics, recorders = recorded()
    for ended in (2, 1):
        trials = [trial("TERMINATED") for _ in range(ended)]
        metrics.on_step_end(1, trials)
        metrics.on_experiment_end(trials)
    counts = [n for n, tags in recorders.trials.calls if tags["status"] == "terminated"]
    assert counts[-1] == 3


@pytest.mark.parametrize("best_is", ["max", "min"])
def test_bug_of_several_objectives_there_were_no_regrets(best_is: str) -> None:
    modes = [best_is, "min" if best_is == "max" else "max"]
    metrics, recorders = recorded(["size", "loss"], modes)
    trials = []
    for arm, size in (("gap", 3.0), ("fixed:0.9", 2.0), ("fixed:0.5", 1.0)):
        trials.append(trial())
        trials[-1].trial_id, trials[-1].config = arm, {"arm": arm, "seed": 1}
        metrics.on_trial_result(1, trials, trials[-1], result(size=size))
    metrics.on_experiment_end(trials)
    # Of the first objective, against the fixed momentum that is best by it.
    regrets = {tags["arm"]: regret for regret, tags in recorders.regret.calls}
    assert regrets["gap"] == (-1.0 if best_is == "max" else 2.0)


def test_skipped_steps_of_a_checkpoint_are_not_counted_again() -> None:
    latest = Latest(trial(**result(1, skipped=3)))
    latest.take(result(2, skipped=3))
    assert latest.read("loss") == 0
    latest.take(result(3, skipped=5))
    assert latest.read("loss") == 2
    assert latest.read("loss") == 0


@pytest.mark.parametrize(
    "odd",
    [
        {keys.STATISTICS: "{"},
        {keys.STATISTICS: 3},
        {keys.MOMENTUM: "high", keys.GAIN: float("nan"), "loss": None},
        {"training_iteration": "x"},
        {keys.STEPS: [], "time_total_s": {}},
        {keys.REASON: 5},
    ],
)
def test_an_odd_result_neither_raises_nor_hides_other_trials(odd: dict[str, Any]) -> None:
    metrics, recorders = recorded()
    one, other = trial(), trial()
    other.trial_id = "id2"
    for number in (1, 2):
        metrics.on_trial_result(1, [one, other], one, result(number) | odd)
        metrics.on_trial_result(1, [one, other], other, result(number))
    metrics.on_step_end(1, [one, other])
    metrics.on_trial_complete(1, [one, other], one)
    metrics.on_experiment_end([one, other])
    assert "id2" in {tags["trial"] for _, tags in recorders.by_trial["best_gain"].calls}


def test_nothing_raises_out_of_a_callback(caplog: pytest.LogCaptureFixture) -> None:
    metrics, _ = recorded()
    metrics.on_trial_result(1, [], None, {})
    metrics.on_trial_error(1, [], None)
    metrics.on_step_end(1, [None])
    metrics.set_state({})
    assert "RayMetrics.on_trial_result failed" in caplog.text


def test_it_can_be_saved_with_the_study_and_goes_on_after_a_restore() -> None:
    metrics, _ = recorded()
    one = trial()
    metrics.on_trial_result(1, [one], one, result())
    pickle.loads(pickle.dumps(metrics))
    restored, recorders = recorded()
    restored.set_state(json.loads(json.dumps(metrics.get_state())))
    fixed = trial()
    fixed.config = {"arm": "fixed:0.9", "seed": 1}
    restored.on_trial_result(1, [fixed], fixed, result(loss=0.2))
    restored.on_experiment_end([one, fixed])
    assert recorders.regret.total("arm") == {"gap": pytest.approx(0.3), "fixed:0.9": 0.0}


def test_a_metric_needs_a_mode() -> None:
    for arguments in (("loss", None), ("loss", "down"), (None, "min")):
        with pytest.raises(InvalidValueError, match="must be"):
            RayMetrics(*arguments)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_regrets_are_those_of_a_slow_search_through_all_reports(mode: str) -> None:
    dice = random.Random(3)
    arms = ["gap", "fixed:0.5", "fixed:0.9", "optuna"]
    regrets = Regrets(mode)
    told: dict[str, dict[int, dict[str, list[float]]]] = {}
    for arm in arms:
        for seed in range(dice.randint(2, 4)):
            for number in range(3 if arm == "optuna" else 1):
                curve = [dice.random() for _ in range(dice.randint(1, 6))]
                told.setdefault(arm, {}).setdefault(seed, {})[f"{arm}{seed}{number}"] = curve
                for report, value in enumerate(curve, 1):
                    regrets.add(arm, seed, f"{arm}{seed}{number}", report, value)
    best = min if mode == "min" else max

    def at(arm: str, seed: int, reports: int) -> float:
        curves = told[arm][seed].values()
        return best((curve[:reports] or curve)[-1] for curve in curves)

    for arm, found in regrets.now().items():
        against = []
        for fixed in ("fixed:0.5", "fixed:0.9"):
            gaps = []
            for seed in set(told[arm]) & set(told[fixed]):
                longest = [max(map(len, told[each][seed].values())) for each in (arm, fixed)]
                gaps.append(at(arm, seed, min(longest)) - at(fixed, seed, min(longest)))
            against.append(sum(gaps) / len(gaps) * (1 if mode == "min" else -1))
        assert found == pytest.approx(max(against))
    assert set(regrets.now()) == set(arms)


def test_a_trial_that_goes_back_to_a_checkpoint_is_compared_by_what_it_reports_then() -> None:
    regrets = Regrets("min")
    for report, value in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 5.0)):
        regrets.add("gap", 0, "a", report, value)
        regrets.add("fixed:0.9", 0, "b", report, 4.0)
    assert regrets.now()["gap"] == 1.0


def test_arms_without_a_fixed_one_have_no_regret() -> None:
    regrets = Regrets("max")
    regrets.add("gap", 0, "a", 1, 1.0)
    assert regrets.now() == {}


curves = st.lists(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=5), max_size=6)


@given(curves, curves, st.data())
def test_trials_that_have_ended_count_in_regrets_as_before(
    ours: list[list[float]], fixed: list[list[float]], data: st.DataObject
) -> None:
    kept, ended = Regrets("min"), Regrets("min")
    for arm, each in (("gap", ours), ("fixed:0.9", fixed)):
        for number, curve in enumerate(each):
            for regrets in (kept, ended):
                for report, value in enumerate(curve, 1):
                    regrets.add(arm, 0, str(number), report, value)
            if data.draw(st.booleans()):
                ended.end(arm, 0, str(number))
    assert ended.now() == kept.now()


def test_bug_every_report_of_a_study_was_kept_for_regrets() -> None:
    metrics, _ = recorded()
    sizes = []
    for number in range(300):
        one = trial()
        one.trial_id = str(number)
        for report in range(1, 6):
            metrics.on_trial_result(1, [one], one, result(report))
        metrics.on_trial_complete(1, [one], one)
        sizes.append(len(pickle.dumps(metrics.get_state())))
    assert sizes[-1] == sizes[0]
