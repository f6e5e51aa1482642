from __future__ import annotations

import json
from pathlib import Path

import pytest

from gap_tune import Study
from gap_tune.errors import InvalidValueError, RayStartError, StateError, UnsupportedError
from gap_tune.records.saved_state import SavedState
from gap_tune.records.trials import read_trial
from gap_tune.study import Records, Resources, read_records
from gap_tune.study.describe import arguments_of


@pytest.fixture(scope="module")
def records(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    # 16 steps per epoch: every step is reported.
    return Study(
        "digits-resnet",
        ["gap", "fixed:0.5", "trainable-diagonal"],
        seeds=2,
        epochs=2,
        reports_per_epoch=16,
        storage=folder,
    ).run()


def test_every_arm_and_seed_is_one_finished_trial(records: Records) -> None:
    pairs = list(zip(records.trials["arm"], records.trials["seed"], strict=True))
    arms = ("gap", "fixed:0.5", "trainable-diagonal")
    assert pairs == [(arm, seed) for arm in arms for seed in (0, 1)]
    assert set(records.trials["status"]) == {"finished"}
    assert set(records.trials["reports"]) == {32}
    assert set(records.trials["steps"]) == {32}


def test_baselines_keep_their_momentum_and_gap_decides_at_every_report(records: Records) -> None:
    fixed = records.results[records.results["arm"] == "fixed:0.5"]
    assert set(fixed["gap/momentum"]) == {0.5}
    assert set(fixed["gap/seq"]) == {0}
    for _, rows in records.results[records.results["arm"] == "gap"].groupby("seed"):
        assert (rows["gap/decision"] != "").sum() >= 31
        changes = (rows["gap/momentum"].diff().fillna(0.0) != 0.0).cumsum()
        assert rows["gap/seq"].to_list() == changes.to_list()


def test_an_arm_without_momentum_is_only_observed(records: Records) -> None:
    rows = records.results[records.results["arm"] == "trainable-diagonal"]
    assert rows["gap/momentum"].isna().all()
    assert set(rows["gap/seq"]) == {0}
    assert (rows["gap/power"] > 0).all()


def test_seeds_are_paired_in_initial_weights_and_data_order(records: Records) -> None:
    # The first loss is that of the first batch under initial weights, whatever the arm.
    first = records.results[records.results["iteration"] == 1].set_index(["arm", "seed"])
    loss = first["train_loss"]
    assert loss["gap", 0] == loss["fixed:0.5", 0]
    assert loss["gap", 1] == loss["fixed:0.5", 1]
    assert loss["gap", 0] != loss["gap", 1]


def test_test_metrics_come_once_at_the_end(records: Records) -> None:
    assert records.trials["test_accuracy"].between(0, 1).all()
    assert records.results["test_loss"].notna().sum() == len(records.trials)


def test_the_study_says_how_it_was_made(records: Records) -> None:
    assert records.study["settings"]["lr"] == 0.1
    assert {"python", "ray", "torch"} <= set(records.study["versions"])


def test_a_half_written_line_of_a_killed_study_is_passed_over(
    records: Records, tmp_path: Path
) -> None:
    (tmp_path / "study.json").write_text(json.dumps(dict(records.study)))
    trial = tmp_path / "gap_seed0_x"
    trial.mkdir()
    (trial / "params.json").write_text('{"arm": "gap", "seed": 0}')
    good = '{"trial_id": "x", "training_iteration": 1, "validation_loss": 1.0}\n'
    (trial / "result.json").write_text(good + '{"trial_id": "x", "training_it')
    got = read_records(tmp_path)
    assert got.trials["status"].to_list() == ["unfinished"]
    assert len(got.results) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [("TERMINATED", "finished"), ("RUNNING", "unfinished"), ("ERROR", "failed")],
)
def test_bug_a_trial_that_died_once_and_recovered_is_not_a_failed_one(
    records: Records, tmp_path: Path, status: str, expected: str
) -> None:
    (tmp_path / "study.json").write_text(json.dumps(dict(records.study)))
    trial = tmp_path / "gap_seed0_x"
    trial.mkdir()
    (trial / "params.json").write_text('{"arm": "gap", "seed": 0}')
    (trial / "result.json").write_text('{"trial_id": "x", "training_iteration": 1}\n')
    (trial / "error.txt").write_text("The actor died.\n")
    state = {"trial_data": [[json.dumps({"trial_id": "x", "status": status}), ""]]}
    (tmp_path / "experiment_state-1.json").write_text(json.dumps(state))
    got = read_records(tmp_path).trials
    assert got["status"].to_list() == [expected]
    assert got["error"].to_list() == ["The actor died." if expected == "failed" else ""]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '"x"'])
def test_a_folder_that_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(StateError, match="must be the folder of a gap_tune study"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"workload": "imagenet"}, "workload must be one of"),
        ({"arms": ["gap", "adam"]}, "arm must be one of"),
        ({"arms": ["fixed:1.0"]}, r"\[0, 1\)"),
        ({"arms": ["fixed:"]}, "momentum of a fixed arm"),
        ({"arms": []}, "one or more different methods"),
        ({"arms": ["gap", "gap"]}, "one or more different methods"),
        ({"seeds": 0}, "seeds must be an integer of at least 1, but got 0"),
        ({"epochs": 0}, "epochs"),
        ({"lr": 0.0}, "lr must be a number in"),
        ({"lr": -1.0}, "lr must be a number in"),
        ({"mode": "lowest"}, "mode"),
        ({"reports_per_epoch": 0}, "reports_per_epoch"),
        ({"margin": 3}, r"margin must be a number in \(0, 1\), but got 3"),
        ({"margin": 0.0}, r"margin must be a number in \(0, 1\), but got 0.0"),
        ({"lr": float("inf")}, "lr must be a number in"),
        ({"metric": "test_loss"}, "metric must be one that every report holds"),
    ],
)
def test_bad_arguments_are_refused(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    arguments = {"workload": "digits-resnet", "arms": ["gap"], "storage": tmp_path / "x"} | change
    with pytest.raises(InvalidValueError, match=complaint):
        Study(**arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def test_a_study_states_its_margin_beforehand_and_goes_on_with_it(tmp_path: Path) -> None:
    made = Study("digits-resnet", ["gap"], margin=0.1, storage=tmp_path)
    assert made.describe()["margin"] == 0.1
    again = arguments_of(made.describe(), tmp_path)
    assert again["margin"] == 0.1
    usual = Study("digits-resnet", ["gap"], storage=tmp_path)
    assert usual.describe()["margin"] == Records(usual.describe(), None, None).margin == 0.03
    assert usual.differs_from(made) == ["margin"]
    # Those of earlier versions state none.
    old = {name: value for name, value in usual.describe().items() if name != "margin"}
    assert arguments_of(old, tmp_path)["margin"] == 0.03
    assert Records(old, None, None).margin == 0.03


def test_a_storage_that_cannot_be_written_or_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for storage in (tmp_path / "file" / "folder", Path("/proc/gap_tune")):
        with pytest.raises(InvalidValueError, match="can be written"):
            Study("digits-resnet", ["gap"], storage=storage).run()
    (tmp_path / "experiment").mkdir()
    with pytest.raises(InvalidValueError, match="must not hold a study yet"):
        Study("digits-resnet", ["gap"], storage=tmp_path).run()


def test_bug_a_study_killed_while_it_was_described_could_neither_begin_nor_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / ".study.json.0123456789ab").write_text('{"wor')
    made = Study("digits-resnet", ["gap"], storage=tmp_path)
    assert not made.exists()
    # It goes as far as Ray, which need not start to tell.
    monkeypatch.setattr("ray.init", _interrupt)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(RayStartError, match="but it got InterruptedError"):
        made.run()


def _interrupt(*args: object, **options: object) -> None:
    raise InterruptedError


def test_bug_a_trial_of_several_workers_counts_its_reports_anew_when_it_starts_again(
    tmp_path: Path,
) -> None:
    def row(iteration: int, steps: int) -> dict[str, object]:
        return {"trial_id": "t", "training_iteration": iteration, "gap/steps": steps}

    first = [row(i, 10 * i) for i in range(1, 16)]
    # It died after its fifteenth report, and went on from its twelfth.
    second = [row(i, 120 + 10 * i) for i in range(1, 9)]
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / "params.json").write_text("{}")
    lines = "".join(json.dumps(each) + "\n" for each in [*first, *second])
    (folder / "result.json").write_text(lines)
    trial = read_trial(folder, SavedState(({"trial_id": "t", "status": "TERMINATED"},)), 1)
    assert [r["gap/steps"] for r in trial.reports] == [10 * i for i in range(1, 21)]
    assert [r["iteration"] for r in trial.reports] == list(range(1, 21))
    assert trial.row["steps"] == 200


def test_two_reports_without_a_step_between_them_are_two(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text("{}")
    rows = [{"trial_id": "t", "training_iteration": i, "gap/steps": 5} for i in (1, 2)]
    (tmp_path / "result.json").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert len(read_trial(tmp_path, SavedState(), 1).reports) == 2


def test_population_based_training_needs_trials_of_one_gpu(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="the arm pbt must have trials of one GPU"):
        Study("quadratic", ["pbt"], resources=Resources(gpus_per_trial=2), storage=tmp_path)


def test_resources_are_checked() -> None:
    with pytest.raises(InvalidValueError, match="cpus must be an integer"):
        Resources(cpus=0)
    with pytest.raises(InvalidValueError, match="no trial could ever start"):
        Resources(cpus=1, cpus_per_trial=4)
    with pytest.raises(InvalidValueError, match=r"whole where it is above 1, but got 1\.5"):
        Resources(gpus_per_trial=1.5)


def test_a_trial_of_several_gpus_waits_for_workers_that_have_them(ray_address: str) -> None:
    assert Resources(gpus_per_trial=0.25).of_trial() == {"cpu": 1, "gpu": 0.25}
    assert Resources(gpus_per_trial=0.25).most_trials() is None
    several = Resources(gpus_per_trial=4)
    assert several.ranks == 4
    assert several.of_trial() == {"cpu": 0.1}
    assert several.most_trials() == 1
