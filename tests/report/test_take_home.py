"""What to take home: against the arithmetic of known courses, and code that is run."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

import gap_tune
from gap_tune import MomentumSchedule
from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.report import Comparison, summary_table, write_page
from gap_tune.report.take_home.best import Best
from gap_tune.report.take_home.used import Course
from gap_tune.rules import get_rule
from tests.records.test_pairing import made_up, without, written

MOMENTA = st.sampled_from([0.0, 0.5, 0.8, 0.9, 0.99])


def course(steps: list[float], momenta: list[float], **more: Any) -> Course:
    nothing = np.full(len(steps), np.nan)
    return Course(
        np.array(steps),
        np.array(momenta),
        more.get("changes", 0),
        np.array(more.get("lrs", nothing)),
        np.array(more.get("scales", np.ones(len(steps)))),
    )


def test_means_are_over_steps_and_not_over_reports() -> None:
    found = course([10, 40], [0.5, 0.9], changes=1, lrs=[0.1, 0.5])
    momentum, rate = found.momentum(), found.rate(0.3)
    assert (momentum.start, momentum.last, momentum.changes) == (0.5, 0.9, 1)
    assert momentum.mean == pytest.approx((10 * 0.5 + 30 * 0.9) / 40)
    assert rate.mean == pytest.approx((10 * 0.1 + 30 * 0.5) / 40)
    assert (rate.set, rate.low, rate.high, rate.last) == (0.3, 0.1, 0.5, 0.5)


def test_without_reported_rates_the_scale_is_all_that_is_known() -> None:
    rate = course([10, 20], [0.9, 0.9], scales=[0.5, 2.0]).rate(0.1)
    assert (rate.low, rate.high, rate.followed) == (0.05, 0.2, False)
    assert "its own schedule and coupling left aside" in rate.text


@given(st.lists(MOMENTA, min_size=1, max_size=12), st.data())
def test_the_schedule_has_at_each_step_what_trained_there(
    momenta: list[float], data: st.DataObject
) -> None:
    spans = data.draw(st.lists(st.integers(1, 50), min_size=len(momenta), max_size=len(momenta)))
    ends = np.cumsum(spans)
    schedule = course(ends.astype(float).tolist(), momenta).schedule()
    for step in range(int(ends[-1])):
        (held,) = [m for s, m in zip(schedule.steps, schedule.momenta, strict=True) if s <= step][
            -1:
        ]
        assert held == momenta[int(np.searchsorted(ends, step, side="right"))]


@given(MOMENTA, st.floats(0.1, 10.0), st.floats(0.001, 1.0))
def test_what_never_changed_is_its_own_closest_pair(held: float, scale: float, lr: float) -> None:
    found = course([10, 30], [held, held], scales=[scale, scale])
    pair = (pytest.approx(lr * scale), pytest.approx(held, abs=1e-12))
    assert found.closest_pair(lr, held) == pair
    assert found.closest_pair(lr, None) == pair


def test_the_closest_pair_keeps_the_trust_region() -> None:
    found = course([10, 40], [0.5, 0.9], scales=[1.0, 1.0])
    lr, momentum = found.closest_pair(0.1, 0.5)
    # Memories of 2 steps for a quarter of the time, and of 10.
    assert 1 / (1 - momentum) == pytest.approx(2**0.25 * 10**0.75)
    # Corollary 5, by hand.
    assert lr == pytest.approx(0.1 * math.sqrt((1 - momentum**2) / (1 - 0.25)))


def run(code: str) -> torch.optim.Optimizer:
    names: dict[str, Any] = {"model": torch.nn.Linear(3, 1), "torch": torch}
    exec(code, names)
    found: torch.optim.Optimizer = names["optimizer"]
    return found


SETTINGS = [
    ({"lr": 0.05, "momentum": 0.8, "weight_decay": 5e-4}, "SGD"),
    ({"lr": 0.05, "momentum": 0.8, "nesterov": True}, "SGD"),
    ({"lr": 0.001, "beta1": 0.8, "beta2": 0.99}, "AdamW"),
]
SECTIONS: list[dict[str, Any]] = [
    {},
    {"rule": "paper"},
    {"rule": {"name": "alignment", "hysteresis": 0.05}, "trust_region": {"span": 3.0}},
    {"trust_region": {"span": 1.0}},
]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(("config", "name"), SETTINGS)
def test_the_code_makes_the_optimizer_that_it_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    name: str,
    section: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    key = {"momentum_key": "beta1"} if "beta1" in config else {}
    own = {"mode": "scheduler", "reference_momentum": 0.8, **key, **section}
    best = gap_tune.best(one_trial(tmp_path / "own", {**config, "gap": own}, [0.8, 0.9, 0.9, 0.8]))
    best.save_schedule("momentum.json")
    for code in (best.code, best.replay_code):
        optimizer = run(code)
        assert type(optimizer).__module__.startswith("gap_tune.optim")
        assert type(optimizer).__name__ == name
        group = optimizer.param_groups[0]
        assert group["lr"] == config["lr"]
        assert (group["betas"] if name == "AdamW" else group["momentum"]) == (
            (0.8, 0.99) if name == "AdamW" else 0.8
        )
        for option in ("weight_decay", "nesterov"):
            assert option not in config or group[option] == config[option]
        # The papers' rule leaves learning rates alone, and so does a replay of what it chose.
        off = section.get("trust_region", {}).get("span") == 1.0 or section.get("rule") == "paper"
        assert optimizer.has_region is not off
    fixed = run(best.fixed_code)
    assert type(fixed) is getattr(torch.optim, name)
    assert best.fixed_pair is not None
    assert fixed.param_groups[0]["lr"] == pytest.approx(best.fixed_pair[0], rel=1e-3)


def test_bug_a_learning_rate_that_did_not_follow_momentum_is_taken_home_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"mode": "trial", "rule": "horizon", "reference_momentum": 0.8}
    config = {"lr": 0.05, "momentum": 0.8, "gap": {**own, "trust_region": {"span": 1.0}}}
    best = gap_tune.best(one_trial(tmp_path / "own", config, [0.9, 0.99, 0.99], scaled=False))
    assert best.fixed_pair is not None
    assert best.fixed_pair[0] == pytest.approx(0.05)
    best.save_schedule("momentum.json")
    for code in (best.code, best.replay_code):
        optimizer = run(code)
        (group,) = optimizer.param_groups
        assert group["lr"] == 0.05
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
        for _ in range(5):
            optimizer.step()
        assert group["momentum"] != 0.9
        assert group.get("coupled_lr", group["lr"]) == 0.05


def test_bug_an_optimizer_that_averages_without_dividing_is_not_taken_for_sgd(
    tmp_path: Path,
) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    monitor = gap_tune.GradientMonitor(optimizer := torch.optim.SGD([parameter], lr=0.1))
    parameter.grad = torch.ones(3)
    optimizer.step()
    own = {"mode": "scheduler", "momentum_key": "beta1", "reference_momentum": 0.9}
    folder = one_trial(tmp_path, {"lr": 1e-4, "beta1": 0.9, "gap": own}, [0.9, 0.95])
    file = folder / "train_1" / "result.json"
    said = {"gap/statistics": json.dumps(monitor.statistics().to_dict())}
    rows = [{**json.loads(line), **said} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    best = gap_tune.best(folder)
    assert best.momentum is not None
    assert (best.code, best.replay_code, best.fixed_code, best.fixed_pair) == ("", "", "", None)


def one_trial(
    folder: Path,
    config: dict[str, Any],
    momenta: list[float],
    *,
    checkpoint: bool = False,
    scaled: bool = True,
) -> Path:
    """Write an experiment of one trial with three steps between reports."""
    trial = folder / "train_1"
    trial.mkdir(parents=True)
    (trial / "params.json").write_text(json.dumps(config))
    rows = [
        {
            "loss": 1.0 / i,
            "training_iteration": i,
            "trial_id": "t1",
            "time_total_s": 1.0,
            "gap/momentum": momentum,
            "gap/seq": int(sum(np.diff(momenta[:i]) != 0)),
            "gap/steps": 3 * i,
            "gap/scale": 0.5 * i if scaled else 1.0,
            "gap/lr": 0.01 * i,
        }
        for i, momentum in enumerate(momenta, 1)
    ]
    (trial / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    state = {"trial_id": "t1", "status": "TERMINATED", "relative_logdir": "train_1"}
    saved = {"trial_data": [[json.dumps(state), "{}"]]}
    (folder / "experiment_state-2026.json").write_text(json.dumps(saved))
    asked = {"_tune_config": {"metric": "loss", "mode": "min"}}
    (folder / "tuner.pkl").write_bytes(pickle.dumps(asked))
    for number in range(2 * checkpoint):
        (trial / f"checkpoint_00000{number}").mkdir()
    return folder


def test_what_a_trial_used_is_told_and_not_where_it_started(tmp_path: Path) -> None:
    config = {"lr": 0.05, "momentum": 0.9, "width": 64, "gap": {"mode": "scheduler"}}
    best = gap_tune.best(one_trial(tmp_path, config, [0.9, 0.95, 0.99], checkpoint=True))
    assert (best.trial_id, best.value, best.ended) == ("t1", pytest.approx(1 / 3), True)
    assert best.hyperparameters == {"width": 64}
    assert best.momentum is not None
    assert best.momentum.text == ("0.9 at the start, 0.947 on the mean, 0.99 at the end; 2 changes")
    assert best.learning_rate is not None
    assert best.learning_rate.last == 0.03
    assert best.checkpoint == str(tmp_path / "train_1" / "checkpoint_000001")
    assert best.schedule().steps == (0, 3, 6)
    for part in ("config holds the start only", "width=64", "checkpoint_000001", "from gap_tune"):
        assert part in best.text
    assert all(len(line) <= 80 for line in best.text.splitlines() if "/" not in line)


def test_a_saved_schedule_is_a_rule(tmp_path: Path) -> None:
    schedule = MomentumSchedule([0, 20], [0.9, 0.8])
    file = schedule.save(tmp_path / "deep" / "momentum.json")
    assert MomentumSchedule.from_file(file).__dict__ == schedule.__dict__
    assert repr(get_rule(json.loads(file.read_text()))) == repr(schedule)
    (tmp_path / "other.json").write_text("[1]")
    for name in ("other.json", "none.json"):
        with pytest.raises(InvalidValueError, match=r"must be a file that MomentumSchedule\.save"):
            MomentumSchedule.from_file(tmp_path / name)


def test_what_fixing_loses_is_told_by_the_nearest_momentum_over_all_pairs(tmp_path: Path) -> None:
    losses = made_up(5, 1, gap=0.9)
    comparison = Comparison.of(written(tmp_path, losses))
    best = gap_tune.best(comparison)
    assert best.arm == "gap"
    logs = np.log([losses["fixed:0.9"][place] / losses["gap"][place] for place in losses["gap"]])
    change = 100 * (np.exp(logs.mean()) - 1)
    side = "worse" if change > 0 else "better"
    assert f"0.9, over 5 configurations, is {abs(change):.1f} % {side} than gap" in best.fixing
    # The pair's own learning rate, three times as high here, was not trained with.
    assert best.fixing.endswith("at the learning rates that were set, not at this one.")


def test_what_fixing_loses_is_not_known_without_pairs(tmp_path: Path) -> None:
    losses = without(made_up(3, 1), "fixed:0.5", "fixed:0.9", "fixed:0.99")
    assert "is not known" in gap_tune.best(written(tmp_path, losses)).fixing


def test_a_fixed_momentum_that_is_best_is_taken_as_it_was(tmp_path: Path) -> None:
    best = gap_tune.best(written(tmp_path, without(made_up(3, 1, gap=2.0), "fixed:0.5")))
    assert best.arm == "fixed:0.9"
    assert (best.code, best.replay_code, best.fixing) == ("", "", "")
    assert best.fixed_pair == (pytest.approx(best.config["lr"]), 0.9)


def test_a_trial_that_was_stopped_early_is_not_the_best(tmp_path: Path) -> None:
    losses = {"gap": {(0, 0): 0.5, (0, 1): 0.001}, "fixed:0.9": {(0, 0): 0.6, (0, 1): 0.7}}
    best = gap_tune.best(written(tmp_path, losses, {("gap", 0, 1): "stopped"}))
    assert best.value == 0.5


def test_terminal_and_page_begin_with_it(tmp_path: Path) -> None:
    from rich.console import Console

    records = written(tmp_path, made_up(4, 1, gap=0.5))
    best = Best.of(Comparison.of(records))
    assert best is not None
    console = Console(record=True, width=80)
    console.print(summary_table(records))
    text = console.export_text()
    assert text.index("Stop sweeping") < text.index("Best trial:") < text.index("regret")
    page = write_page(records, tmp_path / "report.html").read_text()
    assert page.index("<h1>") < page.index('<section id="take-home">') < page.index('id="summary"')
    assert best.fixed_code in page


@pytest.mark.parametrize("given", [None, 3, {"loss": 1.0}])
def test_something_else_is_no_study(given: object) -> None:
    with pytest.raises(UnsupportedError, match=r"results must be what Tuner\.fit returned"):
        gap_tune.best(given)


def test_nothing_finite_has_no_best(tmp_path: Path) -> None:
    records = written(tmp_path, {"gap": {(0, 0): math.nan}})
    with pytest.raises(InvalidValueError, match="finite 'loss', but got none"):
        gap_tune.best(records)
    assert Best.of(Comparison.of(records)) is None


def test_without_momentum_there_is_no_schedule(tmp_path: Path) -> None:
    records = written(tmp_path, made_up(2, 1))
    results = records.results.drop(columns="gap/momentum")
    bare = type(records)(records.study, results, records.trials, records.configs)
    best = gap_tune.best(bare)
    assert (best.momentum, best.code, best.fixed_pair) == (None, "", None)
    with pytest.raises(StateError, match="must have reported its momentum"):
        best.schedule()


def _train(config: dict[str, Any]) -> None:
    weight = torch.nn.Parameter(torch.tensor([4.0, -2.0]))
    optimizer = torch.optim.SGD([weight], lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    trial.restore()
    for _ in range(3):
        for _ in range(10):
            optimizer.zero_grad()
            loss = (weight**2).sum()
            loss.backward()
            optimizer.step()
        used = optimizer.param_groups[0].get("coupled_lr", optimizer.param_groups[0]["lr"])
        trial.report({"distance": loss.item(), "used": used}, checkpoint=True)


def test_a_real_study_is_told_as_ray_tells_it(ray_address: str, tmp_path: Path) -> None:
    tuner = tune.Tuner(
        _train,
        param_space={"lr": tune.uniform(0.01, 0.02)},
        tune_config=tune.TuneConfig(
            metric="distance",
            mode="min",
            num_samples=2,
            search_alg=gap_tune.GapSearch(),
            scheduler=gap_tune.GapScheduler(),
        ),
        run_config=tune.RunConfig(name="mine", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    told, best = results.get_best_result(), gap_tune.best(results)
    assert best.trial_id == told.metrics["trial_id"]
    assert best.value == told.metrics["distance"]
    assert told.checkpoint is not None
    assert best.checkpoint == told.checkpoint.path
    frame = told.metrics_dataframe
    assert frame["gap/lr"].tolist() == pytest.approx(frame["used"].tolist())
    assert best.learning_rate is not None
    assert best.learning_rate.followed
    assert best.learning_rate.last == pytest.approx(frame["used"].iloc[-1])
    assert gap_tune.best(tmp_path / "mine").text == best.text


def test_rows_of_configurations_are_not_called_seeds(tmp_path: Path) -> None:
    comparison = Comparison.of(written(tmp_path / "experiment", made_up(3, 2, gap=0.9)))
    page = write_page(comparison, tmp_path / "report.html").read_text()
    assert "<summary>Configuration by configuration: loss</summary>" in page
    assert '<th scope="col">seed</th>' not in page
    assert "mean of configurations, shaded from lowest to highest" in page
    assert "mean of seeds" not in page
    assert "these same seeds" not in page
