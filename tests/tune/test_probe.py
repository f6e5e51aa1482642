"""The probe: a real Ray task, and what it refuses."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import gap_tune
from gap_tune import AlignmentRule, AlignmentStatistics, GapSearch, GradientMonitor, cli
from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.files import write_whole
from gap_tune.tune import probe as module
from gap_tune.tune.statistics_json import dump, parse, read
from tests.tune.probed import noisy
from tests.tune.searching import Listed, leaning


def test_a_probe_is_plain_training_with_a_monitor_but_in_a_task(
    ray_address: str, tmp_path: Path
) -> None:
    path = tmp_path / "statistics.json"

    # Defined here, so that it travels to the task whole.
    def setup() -> Any:
        (tmp_path / f"process {os.getpid()}").touch()
        return noisy(momentum=0.5)

    statistics = gap_tune.probe(setup, steps=30, path=path, candidates=(0.5, 0.9))
    optimizer, train_step = noisy(momentum=0.5)
    monitor = GradientMonitor(optimizer, candidates=(0.5, 0.9), decay=1.0)
    for _ in range(30):
        train_step()
    assert statistics == monitor.statistics()
    # All steps count alike.
    assert statistics.weight == statistics.steps == 30
    assert read(path) == {None: statistics}
    assert not (tmp_path / f"process {os.getpid()}").exists()
    assert len(list(tmp_path.glob("process *"))) == 1
    search = GapSearch(Listed(), statistics=path)
    assert search.suggest("a")["momentum"] == AlignmentRule().decide(statistics, 0.9).momentum
    # The name stays the function, whatever was imported meanwhile.
    assert callable(gap_tune.probe)

    with pytest.raises(InvalidValueError, match=r"30 times, but call 7 raised RuntimeError: out"):
        gap_tune.probe(partial(noisy, fail_at=7), steps=30)
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        gap_tune.probe(noisy, speed=9)
    with pytest.raises(UnsupportedError, match="sent to another process"):
        gap_tune.probe(partial(noisy, lock=threading.Lock()))


def test_the_command_prints_what_to_start_with_and_how(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gap-tune", "probe", "digits-resnet", "--steps", "6"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    text = capsys.readouterr().out
    ((_, statistics),) = read("digits-resnet-statistics.json").items()
    assert statistics.steps == 6
    decision = AlignmentRule().decide(statistics, 0.9)
    for candidate, gain in zip(decision.candidates, decision.gains, strict=True):
        assert f"{candidate:g}" in text
        assert f"{gain:.4g}" in text
    assert f"momentum {decision.momentum:g} after 6 steps: " in text
    assert 'GapSearch(statistics="digits-resnet-statistics.json")' in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["imagenet"], "workload must be one of"),
        (["digits-resnet", "--steps", "0"], "steps must be an integer of at least 1, but got 0"),
        (["digits-resnet", "--steps", "many"], "Invalid value for '--steps'"),
        (["digits-resnet", "--lr", "-1"], "lr must be a number in (0, inf), but got -1.0"),
        (
            ["digits-resnet", "--out", "/nowhere/x"],
            "folder that can be written, but got /nowhere/x",
        ),
    ],
)
def test_bad_input_of_the_command_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["gap-tune", "probe", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.err.startswith("gap-tune: error: ")
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "10"])
def test_steps_must_be_a_positive_integer(steps: Any) -> None:
    with pytest.raises(InvalidValueError, match=f"at least 1, but got {steps!r}"):
        gap_tune.probe(noisy, steps=steps)


@pytest.mark.parametrize("resources", [{"gpu": -1}, {"cpu": "one"}, 3, {"cpu": float("nan")}])
def test_resources_must_be_amounts(resources: Any) -> None:
    with pytest.raises(InvalidValueError, match="resources must be amounts by name"):
        gap_tune.probe(noisy, resources=resources)


def test_no_function_at_all_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="setup must be a function, but got tuple"):
        gap_tune.probe(noisy())  # type: ignore[arg-type]


def without_gradients() -> Any:
    optimizer, _ = noisy()
    return optimizer, optimizer.step


def with_bad_gradients() -> Any:
    optimizer, _ = noisy()
    weight = optimizer.param_groups[0]["params"][0]

    def train_step() -> None:
        weight.grad = torch.full_like(weight, float("nan"))
        optimizer.step()

    return optimizer, train_step


def broken() -> Any:
    raise FileNotFoundError("no data here")


@pytest.mark.parametrize(
    ("setup", "error", "complaint"),
    [
        (lambda: noisy()[0], UnsupportedError, "train_step, but got (SGD)."),
        (lambda: (1, 2), UnsupportedError, "train_step, but got (int, int)."),
        (lambda: (*noisy(), 3), UnsupportedError, "but got (SGD, function, int)."),
        (lambda: None, UnsupportedError, "but got (NoneType)."),
        (
            lambda: GapSearch(3),
            UnsupportedError,
            "ray.tune.search.Searcher or the name of one, but got int.",
        ),
        (broken, InvalidValueError, "but it raised FileNotFoundError: no data here"),
        (without_gradients, InvalidValueError, "no step that had gradients"),
        (with_bad_gradients, InvalidValueError, "but got 4 steps with NaN or infinity"),
        (lambda: (noisy()[0], dict), InvalidValueError, "no step that had gradients"),
    ],
)
def test_what_goes_wrong_in_the_task_is_one_sentence(
    setup: Any, error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error) as caught:
        module.measure(setup, 4, {})
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_the_cause_happened_is_kept() -> None:
    with pytest.raises(InvalidValueError) as caught:
        module.measure(partial(noisy, fail_at=2), 4, {})
    assert 'raise RuntimeError("out of data")' in caught.value.__notes__[0]


def test_several_beta2_are_measured_and_written_together(tmp_path: Path) -> None:
    setup = partial(noisy, torch.optim.AdamW, betas=(0.9, 0.99))
    own, by_beta2 = module.measure(setup, 20, {"whitening": (0.9, 0.99, 0.999)})
    assert own == 0.99
    assert list(by_beta2) == [0.9, 0.99, 0.999]
    assert parse(dump(by_beta2)) == by_beta2
    write_whole(tmp_path / "probe.json", dump(by_beta2).encode())
    search = GapSearch(
        Listed(), optimizer=torch.optim.AdamW, beta2="beta2", statistics=tmp_path / "probe.json"
    )
    config = search.suggest("a")
    pairs = {
        (b1, b2): gain
        for b2, s in by_beta2.items()
        for b1, gain in zip(s.candidates, s.gain(), strict=True)
    }
    assert (config["beta1"], config["beta2"]) == max(pairs, key=lambda pair: pairs[pair])
    # Adam's own beta2 is measured where nothing else is asked for.
    own, by_beta2 = module.measure(setup, 20, {})
    assert own == 0.99
    assert list(by_beta2) == [0.99]
    assert by_beta2[own].whitening is not None


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"0.9": 3}', '{"1.5": {}}', '{"version": 9}', "x" * 200_000]
)
def test_text_that_is_no_statistics_is_refused(text: str) -> None:
    with pytest.raises((StateError, InvalidValueError)):
        parse(text)
    assert parse(dump({None: leaning(0.8)})) == {None: leaning(0.8)}
    assert isinstance(leaning(0.8), AlignmentStatistics)
