from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.panel.settings import PanelSettings, Setting, read_settings
from gap_tune.study import Suite, parse_arm
from gap_tune.training.settings import Settings
from gap_tune.workloads import get_workload
from tests.panel.tiny import SETTINGS, write_settings


def rates_of(suite: Suite, setting: str, arm: str) -> list[float]:
    return suite.learning_rates(setting, parse_arm(arm))


def test_the_shipped_panel_is_as_large_as_it_must_be() -> None:
    panel = read_settings()
    assert len(panel.settings) >= 28
    assert panel.seeds == 4
    assert {setting.family for setting in panel.settings} == {"sgd", "adamw"}
    families = [setting.family for setting in panel.settings]
    assert families.count("sgd") == families.count("adamw")
    assert len({setting.workload for setting in panel.settings}) >= 8
    assert len({setting.options.get("label_noise") for setting in panel.settings}) >= 3
    batches = {setting.batch_size for setting in panel.settings}
    assert {min(batches), max(batches)} == {16, 1024}
    assert {setting.schedule for setting in panel.settings} == {None, "none", "step"}
    assert any(setting.warmup_steps for setting in panel.settings)
    assert any(setting.weight_decay for setting in panel.settings)
    assert {"gap", "gap-trial", "gap-paper", "switch", "yellowfin"} < set(panel.arms)
    suite = panel.suite()
    jobs = suite.jobs()
    assert len({job.key for job in jobs}) == len(jobs)
    for setting in panel.settings:
        for arm in panel.arms:
            rates = rates_of(suite, setting.name, arm)
            assert len(rates) >= 4
            assert rates[-1] / rates[0] == pytest.approx(30.0, rel=1e-3)


def steps_of(setting: Setting) -> int:
    # Fashion-MNIST need not be here: its options say how much of it trains.
    told = setting.options.get("train_images")
    samples = told or len(get_workload(setting.workload, setting.options).data().train)
    return setting.epochs * (samples // setting.batch_size)


def test_at_least_four_shipped_runs_are_long() -> None:
    steps = [steps_of(setting) for setting in read_settings().settings]
    assert sum(count >= 2000 for count in steps) >= 4
    assert min(steps) >= 90


def test_learning_rates_lie_around_the_recipe_and_move_with_the_middle() -> None:
    panel = read_settings()
    suite, mlp = panel.suite(), "mlp, sgd, batch 64"
    middle = get_workload("digits-mlp").lr
    assert rates_of(suite, mlp, "gap")[2] == middle
    # YellowFin finds the scale itself: its learning rate is a factor.
    assert rates_of(suite, mlp, "yellowfin")[2] == 1.0
    (moved,) = (each for each in panel.settings if each.name == "cnn, adamw, batch 64")
    assert moved.lr is not None
    for arm in ("gap", "switch", "fixed:0.5"):
        assert rates_of(suite, moved.name, arm)[2] == pytest.approx(moved.lr)
    assert rates_of(suite, moved.name, "yellowfin")[2] == 1.0


def test_schedule_warm_up_and_weight_decay_reach_the_arms_that_they_are_for() -> None:
    setting = Setting(
        "one", "digits-mlp", "sgd", 64, 2, schedule="step", warmup_steps=7, weight_decay=0.5
    )
    arms = ("gap", "fixed:0.5", "switch", "schedulefree", "prodigy")
    jobs = PanelSettings((setting,), arms, seeds=2, lr_count=1).suite().jobs()
    configs = {job.config["arm"]: job.config for job in jobs}
    assert {config["warmup_steps"] for config in configs.values()} == {7}
    decays = {arm: config["weight_decay"] for arm, config in configs.items()}
    # AdamW's decay is another quantity than SGD's.
    assert decays == {**dict.fromkeys(arms, 0.5), "prodigy": 0.01}
    schedules = {
        arm: Settings.of(get_workload("digits-mlp"), config).schedule
        for arm, config in configs.items()
    }
    # Schedule-free optimizers are meant for none.
    assert schedules == {**dict.fromkeys(arms, "step"), "schedulefree": "none"}
    plain = Setting("one", "digits-mlp", "sgd", 64, 2).conditions().settings
    assert not {"schedule", "warmup_steps"} & set(plain)


def test_the_quick_panel_is_small() -> None:
    quick = read_settings().quick()
    assert quick.arms == read_settings().arms
    assert {setting.epochs for setting in quick.settings} == {1}
    assert len(quick.suite().jobs()) <= 8 * len(quick.arms)


def test_configurations_are_those_of_a_studys_first_trials(tmp_path: Path) -> None:
    jobs = {job.config["arm"]: job.config for job in read_settings().suite().jobs()}
    gap, fixed = jobs["gap"], jobs["fixed:0.5"]
    assert (gap["momentum"], gap["gap"]["mode"], gap["gap"]["reference_momentum"]) == (
        0.9,
        "scheduler",
        0.9,
    )
    assert (fixed["momentum"], fixed["gap"]["mode"]) == (0.5, "fixed")
    assert jobs["gap-trial"]["gap"]["mode"] == jobs["gap-paper"]["gap"]["mode"] == "trial"
    # The last setting trains with SGD.
    assert jobs["switch"]["family"] == "switch"


@pytest.mark.parametrize(
    ("old", "new", "line", "complaint"),
    [
        ("seeds: 2", "seeds: 1", 1, "seeds must be an integer of at least 2, but got 1"),
        ("seeds: 2", "seeds: ]", 1, "a panel file must be YAML, but"),
        ("seeds: 2", "seeds: two", 1, "seeds must be a whole number, but got 'two'"),
        ("seeds: 2", "seeds: 2.0", 1, "seeds must be a whole number, but got 2.0"),
        ("lr_count: 2", "lr_count: 0", 3, "lr_count must be"),
        ("lr_span: 30.0", "lr_span: 0.5", 2, "lr_span must be a number"),
        ("lr_span", "lr_spam", 2, "a key must be one of ['settings', 'arms', 'seeds', 'lr_span', "),
        ("lr_span", "lr_spam", 2, "but got 'lr_spam'"),
        ("lr_span: 30.0", "seeds: 3", 2, "a key must stand once, but 'seeds' stands in line 1 too"),
        ("epochs: 2", "epochs: 0", 11, "epochs of setting 'one' must be"),
        ("    epochs: 2\n", "", 6, "a panel file must name epochs, but got none"),
        ("epochs: 2", "epochs: 2\n    speed: 3", 12, "a key must be one of ['name', 'workload', "),
        ("epochs: 2", "epochs: 2\n    speed: 3", 12, "but got 'speed'"),
        ("epochs: 2", "epochs: 2\n    epochs: 3", 12, "'epochs' stands in line 11 too"),
        ("epochs: 2", "epochs: 2\n    lr: -1.0", 12, "lr of setting 'one'"),
        ("epochs: 2", "epochs: 2\n    lr: fast", 12, "lr must be a number, but got 'fast'"),
        ("epochs: 2", "epochs: 2\n    quick: 1", 12, "quick must be true or false, but got 1"),
        (
            "epochs: 2",
            "epochs: 2\n    schedule: up",
            12,
            "must be one of (None, 'cosine', 'step', 'none'), but got 'up'",
        ),
        ("epochs: 2", "epochs: 2\n    warmup_steps: -1", 12, "of at least 0, but got -1"),
        ("epochs: 2", "epochs: 2\n    weight_decay: -1.0", 12, "weight_decay of setting 'one'"),
        ("epochs: 2", "epochs: 2\n    half: up", 12, "('development', 'held-out'), but got 'up'"),
        (": quadratic", ": imagenet", 7, "workload must be one of"),
        (": quadratic", ": collections:Counter", 7, "must be a class with model, data, loss"),
        ("noise: 0.5", "noise: -1.0", 6, "noise must be"),
        ("noise: 0.5", "speed: 1.0", 8, "options of quadratic must be among"),
        ("{samples: 256, noise: 0.5}", "3", 8, "must be a mapping of names to values, but got 3"),
        ("samples: 256", "3: 256", 8, "options must be a mapping of names to values, but got 3"),
        (": sgd", ": prodigy", 9, "must have momentum, but got 'prodigy'"),
        ("fixed:0.90", "fixed:1.5", 4, "in [0, 1), but got 1.5"),
        ("fixed:0.90", "fixed:grid", 4, "must be one run without a search"),
        ("fixed:0.90", "gap-validation", 4, "without held-out gradients"),
        ("fixed:0.90", "gap", 4, "one or more different names"),
        ('[gap, "fixed:0.90"]', "gap", 4, "arms must be a list of names, but got 'gap'"),
        ('[gap, "fixed:0.90"]', "[]", 4, "one or more different names"),
        ('"fixed:0.90"', "0.9", 4, "arms must be a list of names, but got 0.9"),
        ("epochs: 2", "epochs: 2\n    3: 4", 12, "a key must be one of ['name', 'workload', "),
        ("epochs: 2", "? [epochs]\n    : 2", 11, "a panel file must be YAML, but found unhashable"),
        ("{samples: 256, noise: 0.5}", "&own {own: *own}", 8, "unconstructable recursive node"),
        ("  - name", "    name", 5, "settings must be a list of mappings"),
    ],
)
def test_bad_settings_are_refused(
    tmp_path: Path, old: str, new: str, line: int, complaint: str
) -> None:
    assert old in SETTINGS
    path = write_settings(tmp_path, (old, new))
    with pytest.raises(InvalidValueError) as raised:
        read_settings(path)
    message = str(raised.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert complaint in message
    assert "\n" not in message


def test_what_settings_have_in_common_may_stand_once(tmp_path: Path) -> None:
    path = write_settings(tmp_path)
    text = path.read_text().replace("- name", "- &one\n    name")
    path.write_text(f"{text}  - <<: *one\n    name: two\n    epochs: 3\n")
    one, two = read_settings(path).settings
    assert two == replace(one, name="two", epochs=3)
    path.write_text(f"{text}  - <<: *one\n    epochs: 0\n")
    with pytest.raises(InvalidValueError, match="line 14: epochs of setting 'one' must be"):
        read_settings(path)


def test_settings_made_in_python_are_checked_too() -> None:
    setting = Setting("one", "quadratic", "sgd", 32, 2)
    with pytest.raises(InvalidValueError, match="epochs of setting 'one' must be"):
        replace(setting, epochs=0)
    with pytest.raises(InvalidValueError, match="seeds must be an integer of at least 2"):
        PanelSettings((setting,), ("gap",), seeds=1)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"nowhere\.yaml: No such file or directory"):
        read_settings(tmp_path / "nowhere.yaml")


def test_the_shipped_text_is_a_small_language_task() -> None:
    task = get_workload("gap_tune.panel.text:ShippedText")
    splits = task.data()
    assert len(splits.train) > 800
    model = task.model()
    assert sum(p.numel() for p in model.parameters()) < 30_000
    inputs, targets = splits.test[:64]  # type: ignore[index]
    loss = task.loss(model(inputs), targets).item()
    # Nothing learnt: the logarithm of the number of characters.
    assert loss == pytest.approx(math.log(model.characters.num_embeddings), abs=0.2)
