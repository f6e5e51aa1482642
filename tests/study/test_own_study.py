"""Studies of users' own Tune functions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.utils import merge_dicts

from gap_tune import Study, cli
from gap_tune.errors import GapTuneError, StateError, UnsupportedError
from gap_tune.report import write_page
from gap_tune.study import Arm, read_records
from gap_tune.study.compared import Clock, Compared
from gap_tune.study.describe import arguments_of
from gap_tune.study.grammar import arm_names, parse_arm
from gap_tune.study.methods.base import SearchTask
from gap_tune.study.methods.median import Median
from gap_tune.study.own.conditions import check_own_arm
from gap_tune.study.own.function import OwnFunction
from gap_tune.study.own.space import drawn
from tests.patience import wait_for
from tests.study import own_functions
from tests.study.own_functions import Trainable, nested_train, train

SPACE = {"lr": tune.loguniform(1e-3, 1e-1), "epochs": 3}
ARMS = ["gap", "fixed:0.5|0.9"]


def study(folder: Path, function: Any = train, **options: Any) -> Study:
    given = {"param_space": SPACE, "seeds": 2, "metric": "size", "mode": "min", **options}
    return Study(function, given.pop("arms", ARMS), **given, storage=folder)


def planned(made: Study) -> list[dict[str, Any]]:
    """Return the configurations of the run that arms share."""
    (search,) = made.plan.searches()
    searcher = search.make().searcher
    # Ray tells a searcher nothing where param_space is empty, as it is here.
    assert not search.make().space
    return [searcher.suggest(str(i)) for i in range(made.total_trials() or 0)]


def test_every_arm_has_the_same_configuration_on_a_seed(tmp_path: Path) -> None:
    configs = planned(study(tmp_path, arms=["gap", "gap-trial", "fixed:0.9", "fixed:grid"]))
    by_seed: dict[int, set[str]] = {}
    for config in configs:
        rest = {name: config[name] for name in config.keys() - {"arm", "momentum", "gap"}}
        by_seed.setdefault(config["seed"], set()).add(json.dumps(rest, sort_keys=True))
    assert [len(others) for others in by_seed.values()] == [1, 1]
    assert by_seed[0] != by_seed[1]
    assert {config["gap"]["metric"] for config in configs} == {"size"}
    modes = [(c["arm"], c["gap"]["mode"], c["momentum"]) for c in configs if c["seed"] == 0]
    assert modes[:3] == [
        ("gap", "scheduler", 0.9),
        ("gap-trial", "trial", 0.9),
        ("fixed:0.9", "fixed", 0.9),
    ]
    assert [m for *_, m in modes[3:]] == [0.0, 0.5, 0.8, 0.9, 0.95, 0.99]
    # Whoever makes the study anew draws the same.
    assert planned(study(tmp_path, arms=["gap", "gap-trial", "fixed:0.9", "fixed:grid"])) == configs


def test_a_momentum_in_a_nested_configuration_has_seed_and_section_beside_it(
    tmp_path: Path,
) -> None:
    space = {"loop": {"lr": tune.uniform(0.01, 0.1), "epochs": 2}}
    made = study(tmp_path, nested_train, param_space=space, momentum="loop/momentum")
    for config in planned(made):
        assert config["loop"]["seed"] == config["seed"]
        assert config["loop"]["gap"] == config["gap"]
        assert 0 <= config["loop"]["momentum"] < 1
        assert "momentum" not in config


@pytest.mark.parametrize("inner", [False, True])
def test_arms_that_search_begin_at_the_configuration_of_their_seed(
    tmp_path: Path, inner: bool
) -> None:
    options: dict[str, Any] = {"seeds": 1}
    if inner:
        options |= {"param_space": {"loop": SPACE}, "momentum": "loop/momentum"}
    made = study(tmp_path, arms=["gap", "fixed:0.5", "optuna"], budget="trials:3", **options)
    starts = []
    for search in made.plan.searches():
        found = search.make()
        assert found.searcher.set_search_properties("size", "min", dict(found.space))
        # As Ray does.
        whole = merge_dicts(dict(found.space), found.searcher.suggest("a"))
        starts.append(whole["loop"] if inner else whole)
    assert len({config["lr"] for config in starts}) == 1
    assert [config["momentum"] for config in starts] == [0.9, 0.5, 0.9]
    assert [config["gap"]["mode"] for config in starts] == ["scheduler", "fixed", "fixed"]
    (shared,) = planned(study(tmp_path, arms=["gap"], **options))
    assert starts[0]["lr"] == (shared["loop"] if inner else shared)["lr"]


def test_arms_that_need_something_of_the_loop_are_refused_by_name() -> None:
    taken = set()
    for name in arm_names():
        arm = parse_arm(f"{name}0.9" if name == "fixed:" else name)
        complaint = _refusal(arm)
        if complaint is None:
            taken.add(name)
        else:
            assert f"but got {arm.name!r} for train, which needs " in complaint
    # What decides about momentum alone, and searches that end no trial early.
    assert {"gap", "gap-trial", "gap-paper", "gap-unscaled", "scaled", "fixed:", "optuna"} <= taken
    refused = {"switch", "schedulefree", "gap-validation", "nesterov:0.9", "warmup:0.9", "pbt"}
    assert not taken & {*refused, "asha", "median", "yellowfin", "trainable-diagonal"}
    assert all(name.startswith(("gap", "fixed:", "scaled", "optuna")) for name in taken)


def _refusal(arm: Arm, reports: int | None = None) -> str | None:
    try:
        check_own_arm(arm, "train", reports)
    except UnsupportedError as error:
        return str(error)
    return None


def test_arms_that_stop_trials_early_ask_for_the_number_of_reports() -> None:
    for name in ("asha", "median:4"):
        complaint = _refusal(parse_arm(name)) or ""
        assert f"but got {name!r} for train" in complaint
        assert complaint.endswith(
            "which needs to be told how many reports a full trial makes: reports=<n>, or --reports."
        )
        assert _refusal(parse_arm(name), 9) is None
    # What it may not do with them is no question of how many there are.
    assert (_refusal(parse_arm("pbt"), 9) or "").endswith(
        "but got 'pbt' for train, which needs trials that read each other's checkpoints, and a "
        "function need save none."
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"metric": None}, "metric must name what .*own_functions:train reports .* but got None"),
        ({"mode": "least"}, "mode must be 'min' or 'max', but got 'least'"),
        ({"epochs": 3}, "epochs must be left out where a function of one's own is compared"),
        ({"lr": 0.1, "lrs": 3}, "lr, lrs must be left out"),
        ({"param_space": {"momentum": 0.9}}, "param_space must not hold 'momentum'"),
        ({"param_space": {"seed": 3}}, "param_space must not hold 'seed', which the study sets"),
        ({"param_space": {"x": object()}}, "param_space must hold domains .* at 'x'"),
        ({"param_space": {"x": tune.grid_search([1])}}, "param_space must hold .* at 'x'"),
        ({"budget": "steps:100"}, r"must be of a workload, .* take trials:<n>"),
        ({"budget": "trials:2", "param_space": {"lr": 0.1}}, "must have something to search"),
        ({"reports": 0}, "reports must be an integer of at least 1, but got 0"),
        ({"arms": ["gap", "asha"]}, "but got 'asha' for .*train, which needs .* reports=<n>"),
        ({"function": Trainable}, "must be a function of a configuration, .* got the class"),
        ({"function": "train"}, r"must be named as my_module:train or path/script.py:train"),
        ({"function": "tests.study.own_functions:none"}, 'function ".*:none" must name a function'),
        ({"function": "no_such_file.py:train"}, 'function "no_such_file.py:train" must name'),
    ],
)
def test_what_a_function_cannot_be_compared_with_is_told(
    options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(GapTuneError, match=complaint):
        study(tmp_path, **options)


def test_a_function_is_found_by_module_or_script_and_has_no_name_elsewhere() -> None:
    path = "tests.study.own_functions:train"
    assert OwnFunction.of(train).path == path
    assert OwnFunction.of(path).function is train
    # The script's main part, which would fail without its variable, is left out.
    script = OwnFunction.of(f"{own_functions.__file__}:train")
    assert script.path == f"{own_functions.__file__}:train"
    assert script.name == "own_functions.py:train"
    assert OwnFunction.of(script.function) == script
    for nameless in (lambda config: None, partial(train), lambda: train):
        assert OwnFunction.of(nameless).path is None


def test_bug_a_script_does_not_take_the_place_of_a_module_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def train(config):\n    return 'mine'\n")
    assert OwnFunction.of(f"{tmp_path / 'json.py'}:train").function({}) == "mine"
    assert sys.modules["json"] is json


@pytest.fixture(scope="module")
def finished(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = study(tmp_path_factory.mktemp("own"), seeds=3)
    made.run()
    return made


def test_a_study_of_a_function_has_records_and_a_report(finished: Study, tmp_path: Path) -> None:
    records = finished.records()
    # All that the function reports, whatever it is called.
    assert records.study["metrics"] == ["size", "first", "epoch_done"]
    assert set(records.trials["status"]) == {"finished"}
    assert len(records.trials) == finished.total_trials() == 9
    # The same seed is the same weights to begin with, in every arm.
    assert (records.trials.groupby("seed")["first"].nunique() == 1).all()
    assert records.trials["first"].nunique() == 3
    tuned = records.results[records.results["arm"] == "gap"]
    assert (tuned["gap/decision"] != "").any()
    page = write_page(records, tmp_path / "report.html")
    text = Path(page or tmp_path / "report.html").read_text()
    assert "fixed:0.5|0.9" in text
    assert "loguniform" in text


def test_a_study_is_made_again_from_what_it_wrote_in_another_process(finished: Study) -> None:
    described = json.loads((finished.folder / "study.json").read_text())
    assert described["settings"]["function"] == "tests.study.own_functions:train"
    code = (
        "import sys; from gap_tune import Study; study = Study.restore(sys.argv[1]);"
        "print(study.conditions.function.__name__, study.total_trials(), study.settings)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(finished.storage)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == f"train 9 {finished.settings}"
    restored = Study.restore(finished.storage)
    assert restored.differs_from(finished) == []
    assert len(restored.resume().trials) == 9


REPORTS = 9
SLOW = {"lr": tune.loguniform(1e-4, 1e-1), "epochs": REPORTS}


# Every trial starts a process.
@pytest.mark.slow
@pytest.mark.parametrize("arm", ["asha:6", "median:6"])
def test_trials_of_a_function_are_stopped_at_shares_of_its_reports(
    ray_address: str, tmp_path: Path, arm: str
) -> None:
    made = study(tmp_path, arms=["gap", arm], param_space=SLOW, seeds=1, reports=REPORTS)
    records = made.run()
    trials = records.trials
    whole = trials[trials["arm"] == "gap"]
    assert (whole["status"].to_list(), whole["reports"].to_list()) == (["finished"], [REPORTS])
    own = trials[trials["arm"] == arm]
    assert len(own) == 6
    assert set(own["status"]) == {"finished", "stopped"}
    assert ((own["reports"] == REPORTS) == (own["status"] == "finished")).all()
    if arm == "asha:6":
        # Successive halving judges after a ninth, a third, and all of a full trial.
        assert set(own["reports"]) <= {1, 3, REPORTS}
    # Each search begins with the seed's own configuration.
    assert drawn(SLOW, 0)["lr"] in {records.configs[name]["lr"] for name in own["trial_id"]}
    restored = Study.restore(tmp_path)
    assert restored.conditions.clock == Clock("training_iteration", REPORTS, pauses=False)
    assert restored.differs_from(made) == []


def test_studies_of_other_numbers_of_reports_differ(tmp_path: Path) -> None:
    made, other = (
        study(tmp_path, arms=["asha"], param_space=SLOW, reports=reports) for reports in (9, 8)
    )
    assert json.loads(json.dumps(made.describe()))["settings"]["reports"] == 9
    assert other.differs_from(made) == ["settings"]
    # As an earlier version described it.
    described = study(tmp_path).describe()
    del described["settings"]["reports"]
    assert arguments_of(described, tmp_path)["reports"] is None


def test_bug_the_median_rule_pauses_no_function_which_would_begin_again(tmp_path: Path) -> None:
    class Waiting:
        """Ray's controller, with a trial that could run if another were paused."""

        def get_live_trials(self) -> list[Any]:
            return [Trial("train", stub=True)]

    def told(compared: Compared) -> set[str]:
        arm = parse_arm("median")
        assert isinstance(arm.search, Median)
        rule = arm.search.stopping(SearchTask(compared, arm, 0, 8))
        rule.set_search_properties("size", "min")
        running = Trial("train", stub=True)
        results = ({compared.clock.time_attr: i, "size": 1.0} for i in range(1, REPORTS + 1))
        return {rule.on_trial_result(Waiting(), running, result) for result in results}

    own = study(tmp_path / "own", arms=["median"], param_space=SLOW, reports=REPORTS)
    assert told(own.conditions) == {"CONTINUE"}
    # A workload saves checkpoints.
    workload = Study("quadratic", ["median"], storage=tmp_path / "workload")
    assert "PAUSE" in told(workload.conditions)


def test_a_budget_of_steps_pays_trials_of_a_function_by_their_reports(tmp_path: Path) -> None:
    options: dict[str, Any] = {"arms": ["asha"], "param_space": SLOW, "seeds": 1}
    made = study(tmp_path, budget="steps:2x", reports=REPORTS, **options)
    (search,) = made.plan.searches()
    searcher = search.make().searcher
    assert searcher.set_search_properties("size", "min", dict(search.make().space))
    assert isinstance(searcher.suggest("a"), dict)
    assert isinstance(searcher.suggest("b"), dict)
    assert searcher.suggest("c") is None
    # Stopped after a third of its reports, it leaves two thirds, and the other as much.
    for name, paid in (("a", False), ("b", True)):
        searcher.on_trial_complete(name, {"training_iteration": REPORTS // 3, "size": 1.0})
        assert isinstance(searcher.suggest("c"), dict) == paid


def test_a_workload_has_epochs_and_no_number_of_reports(tmp_path: Path) -> None:
    with pytest.raises(GapTuneError, match=r"reports must come with a function .* but got 3 for q"):
        Study("quadratic", ["gap"], reports=3, storage=tmp_path)


def test_a_function_without_a_name_runs_and_has_to_be_passed_to_restore(
    ray_address: str, tmp_path: Path
) -> None:
    def inner(config: dict[str, Any]) -> None:
        train(config)

    made = study(tmp_path, inner, seeds=1, arms=["gap"])
    assert set(made.run().trials["status"]) == {"finished"}
    with pytest.raises(StateError, match="must name a function that can be imported, but inner"):
        Study.restore(tmp_path)
    assert Study.restore(tmp_path, inner).differs_from(made) == []


@pytest.mark.slow
def test_a_killed_comparison_of_a_script_is_resumed_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "my_script.py").write_text(Path(own_functions.__file__).read_text())
    (tmp_path / "space.yaml").write_text(
        "lr: {loguniform: [1e-3, 1e-1]}\nepochs: 6\npause_s: 0.3\n"
    )
    command = [sys.executable, "-c", "from gap_tune.cli import main; main()"]
    command += ["compare", "my_script:train"]
    command += ["--space", "space.yaml", "--arms", "gap,fixed:0.9", "--metric", "size"]
    command += ["--seeds", "2", "--out", "out"]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.5"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    environment["GAP_TUNE_TEST_MARKER"] = str(tmp_path / "was_run")
    driver = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        experiment = tmp_path / "out" / "experiment"
        reports = partial(_lines, experiment)
        wait_for(lambda: reports() >= 8, "eight reports", process=driver)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert not (tmp_path / "was_run").exists()
    subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment, check=True)
    records = read_records(experiment)
    assert records.trials["status"].to_list() == ["finished"] * 4
    for _, rows in records.results.groupby(["arm", "seed"]):
        assert rows["epoch_done"].to_list() == list(range(6))
    assert (tmp_path / "out" / "report.html").exists()


def _lines(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/result.json"))


def test_the_command_line_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text("lr: {loguniform: [1, 0]}\n")
    (tmp_path / "good.yaml").write_text("epochs: 2\n")
    function = "tests.study.own_functions:train"
    good = ["--space", str(tmp_path / "good.yaml"), "--metric", "size"]
    for arguments, complaint in (
        (["--space", str(tmp_path / "space.yaml")], "line 1: 'lr' must have positive numbers"),
        ([], "must be a class with model, data"),
        ([], "A Tune function of yours comes with --space."),
        (["--momentum", "beta1"], "--momentum must come with --space"),
        (["--reports", "3"], "--reports must come with --space"),
        ([*good, "--arms", "gap,median"], "reports a full trial makes: reports=<n>, or --reports"),
        ([*good, "--arms", "gap,switch"], "but got 'switch' for tests.study.own_functions:train"),
        ([*good, "--epochs", "3"], "epochs must be left out"),
    ):
        monkeypatch.setattr(sys, "argv", ["gap-tune", "compare", function, *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert exit_.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith("gap-tune: error: ")
        assert complaint in told
        assert len(told.splitlines()) == 1
