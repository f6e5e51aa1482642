from __future__ import annotations

import math
from pathlib import Path

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.panel.panel import plan
from gap_tune.panel.settings import read_settings
from gap_tune.workloads import get_workload
from tests.panel.tiny import SETTINGS, write_settings


def test_the_shipped_panel_is_as_large_as_it_must_be() -> None:
    panel = read_settings()
    assert len(panel.settings) >= 8
    assert panel.seeds == 4
    assert {setting.family for setting in panel.settings} == {"sgd", "adamw"}
    assert len({setting.workload for setting in panel.settings}) >= 4
    assert len({setting.options.get("label_noise") for setting in panel.settings}) >= 3
    assert len({setting.batch_size for setting in panel.settings}) >= 3
    assert {"gap", "gap-trial", "gap-paper", "switch", "yellowfin"} < set(panel.arms)
    jobs = plan(panel)
    assert len({job.key for job in jobs}) == len(jobs)
    for setting in panel.settings:
        for arm in panel.arms:
            rates = panel.learning_rates(setting, arm)
            assert len(rates) >= 4
            assert rates[-1] / rates[0] == pytest.approx(30.0, rel=1e-3)


def test_learning_rates_lie_around_the_recipe_and_move_with_the_middle() -> None:
    panel = read_settings()
    by_name = {setting.name: setting for setting in panel.settings}
    mlp = by_name["mlp, sgd, batch 64"]
    middle = get_workload("digits-mlp").lr
    assert panel.learning_rates(mlp, "gap")[2] == middle
    # YellowFin finds the scale itself: its learning rate is a factor.
    assert panel.learning_rates(mlp, "yellowfin")[2] == 1.0
    moved = by_name["cnn, adamw, batch 64"]
    assert moved.lr is not None
    for arm in ("gap", "switch", "fixed:0.5"):
        assert panel.learning_rates(moved, arm)[2] == pytest.approx(moved.lr)
    assert panel.learning_rates(moved, "yellowfin")[2] == 1.0


def test_the_quick_panel_is_small() -> None:
    quick = read_settings().quick()
    assert quick.arms == read_settings().arms
    assert {setting.epochs for setting in quick.settings} == {1}
    assert len(plan(quick)) <= 150


def test_configurations_are_those_of_a_studys_first_trials(tmp_path: Path) -> None:
    jobs = {job.arm: job.configuration() for job in plan(read_settings())}
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
    ("old", "new", "complaint"),
    [
        ("seeds = 2", "seeds = 1", "seeds must be an integer of at least 2, but got 1"),
        ("seeds = 2", "seeds = ", "must be a TOML file that can be read"),
        ("lr_count = 2", "lr_count = 0", "lr_count must be"),
        ("lr_span = 30.0", "lr_span = 0.5", "lr_span must be a number"),
        ("lr_span", "lr_spam", r"must be among .* but got \['lr_spam'\]"),
        ("epochs = 2", "epochs = 0", "epochs of setting 'one' must be"),
        ("epochs = 2", "", "must be complete"),
        ("epochs = 2", "epochs = 2\nspeed = 3", r"but got \['speed'\]"),
        ("epochs = 2", "epochs = 2\nlr = -1.0", "lr of setting 'one'"),
        ('"quadratic"', '"imagenet"', "workload must be one of"),
        ("noise = 0.5", "noise = -1.0", "noise must be"),
        ('"sgd"', '"prodigy"', "must have momentum, but got 'prodigy'"),
        ("fixed:0.90", "fixed:1.5", r"in \[0, 1\), but got 1.5"),
        ("fixed:0.90", "fixed:grid", "must be one run without a search"),
        ("fixed:0.90", "gap-validation", "without held-out gradients"),
        ("fixed:0.90", "gap", "one or more different names"),
        ('["gap", "fixed:0.90"]', '"gap"', "must be a list of names"),
        ("[[setting]]", "[setting]", r"as \[\[setting\]\]"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in SETTINGS
    with pytest.raises(InvalidValueError, match=complaint):
        read_settings(write_settings(tmp_path, (old, new)))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"nowhere\.toml"):
        read_settings(tmp_path / "nowhere.toml")


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
