"""The training loop against loops written by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from gap_tune import attach
from gap_tune.errors import UnsupportedError
from gap_tune.training.batches import Loading, batches
from gap_tune.training.held_out import with_held_out
from gap_tune.training.learner import TrainedPart
from gap_tune.training.local import run
from gap_tune.training.loop import report_steps
from gap_tune.training.placement import Placement
from gap_tune.training.prepared import PreparedTrial, prepare
from gap_tune.training.schedules import make_schedule
from gap_tune.workloads import get_workload
from tests.workloads.data import cases
from tests.workloads.stopping import run_until, untimed

DIGITS = {
    "workload": "digits-mlp",
    "lr": 0.1,
    "weight_decay": 1e-3,
    "batch_size": 96,
    "epochs": 2,
    "seed": 5,
    "momentum": 0.8,
}


def weights(run: PreparedTrial) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.learner.model.parameters()])


def after_an_epoch(config: dict[str, Any]) -> PreparedTrial:
    made = prepare(config)
    for minibatch in made.minibatches():
        made.step(minibatch)
    return made


def by_hand(epochs: int) -> tuple[torch.nn.Module, float]:
    """Return the digits' model after some epochs of an ordinary loop, and its mean loss."""
    task = get_workload("digits-mlp")
    train = task.data().train
    torch.manual_seed(5)
    model = task.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.8, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 22)
    order = torch.Generator().manual_seed(5)
    for _ in range(epochs):
        losses = []
        for chosen in torch.randperm(1078, generator=order)[:1056].split(96):
            optimizer.zero_grad()
            loss = functional.cross_entropy(
                model(train.tensors[0][chosen]), train.tensors[1][chosen]
            )
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
    return model, torch.stack(losses).mean().item()


def test_the_loop_is_an_ordinary_one_bit_for_bit() -> None:
    model, train_loss = by_hand(2)
    test = get_workload("digits-mlp").data().test
    with torch.no_grad():
        loss = functional.cross_entropy(model(test.tensors[0]), test.tensors[1]).item()
    last = run({**DIGITS, "gap": {"mode": "fixed"}})[-1]
    assert last["train_loss"] == train_loss
    assert last["test_loss"] == loss


@pytest.mark.parametrize(
    "changes", [{"accumulate": 4}, {"channels_last": True}, {"clip": 1e6}], ids=str
)
def test_what_must_not_change_the_result_does_not(changes: dict[str, Any]) -> None:
    config = {**DIGITS, "workload": "digits-cnn"}
    plain, changed = after_an_epoch(config), after_an_epoch({**config, **changes})
    torch.testing.assert_close(weights(changed), weights(plain), rtol=1e-4, atol=1e-5)


def test_a_clipped_gradient_makes_a_step_of_known_length() -> None:
    config = {**DIGITS, "clip": 1e-3, "schedule": "none", "weight_decay": 0.0, "lr": 1.0}
    made = prepare(config)
    before = weights(made)
    made.step(next(made.minibatches()))
    assert (weights(made) - before).norm().item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_is_close_to_full_and_continues_after_a_stop(
    amp: str, tmp_path: Path
) -> None:
    config = {**DIGITS, "amp": amp, "epochs": 2}
    plain, mixed = after_an_epoch(DIGITS), after_an_epoch(config)
    assert not torch.equal(weights(mixed), weights(plain))
    assert (weights(mixed) - weights(plain)).norm() < 0.05 * weights(plain).norm()
    assert mixed.learner.scaler.is_enabled() == (amp == "fp16")
    stopped = run_until(config, tmp_path / "x", 1)
    assert untimed(stopped + run(config, tmp_path / "x")) == untimed(run(config))


def test_infinite_half_precision_gradients_skip_the_step_and_lower_the_scale() -> None:
    made = prepare({**DIGITS, "amp": "fp16", "clip": 1.0})
    before, scale = weights(made), made.learner.scaler.get_scale()
    ((inputs, targets),) = next(made.minibatches())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.step(((inputs * 1e30, targets),))
    assert torch.equal(weights(made), before)
    assert made.learner.scaler.get_scale() < scale


def test_compiling_keeps_the_numbers_and_the_checkpoints_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = torch.compile
    # Inductor would call a C++ compiler, which takes most of a minute.
    monkeypatch.setattr(torch, "compile", lambda model: real(model, backend="aot_eager"))
    plain, compiled = after_an_epoch(DIGITS), after_an_epoch({**DIGITS, "compile": True})
    torch.testing.assert_close(weights(compiled), weights(plain))
    names = [made.objects["model"].state_dict().keys() for made in (plain, compiled)]
    assert names[0] == names[1]


def test_workers_load_what_this_process_loads(root: Path) -> None:
    config = cases(root)["vit"].config()
    none, two = after_an_epoch(config), after_an_epoch({**config, "workers": 2})
    assert torch.equal(weights(none), weights(two))


class Noisy(torch.utils.data.Dataset[torch.Tensor]):
    """A dataset whose samples are random themselves."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.rand(1)


def test_random_numbers_of_workers_follow_the_seed_and_leave_torchs_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        order = torch.Generator().manual_seed(0)
        return torch.cat(list(batches(Noisy(), 3, order, loading=Loading(workers=2), seed=seed)))

    state = torch.get_rng_state()
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_are_an_epochs_samples_once_each_and_skipping_passes_over_the_first() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(23))

    def drawn(**options: Any) -> list[torch.Tensor]:
        order = torch.Generator().manual_seed(1)
        return [part for (part,) in batches(data, 6, order, **options)]

    whole = drawn()
    assert [len(part) for part in whole] == [6, 6, 6]
    assert len(set(torch.cat(whole).tolist())) == 18
    assert torch.equal(torch.cat(drawn(skip=1)), torch.cat(whole[1:]))
    halves = drawn(parts=2)
    assert [len(part) for part in halves] == [3] * 6
    assert torch.equal(torch.cat(halves), torch.cat(whole))


def test_bug_an_epoch_that_is_done_has_no_empty_batch_left() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(12))
    assert list(batches(data, 6, torch.Generator(), skip=2)) == []


def test_means_over_a_split_do_not_depend_on_its_batches() -> None:
    made = prepare(DIGITS)
    inputs, targets = made.splits.validation.tensors  # type: ignore[attr-defined]
    whole = made.learner.evaluate([(inputs, targets)], "x")
    parts = zip(inputs.split(100), targets.split(100), strict=True)
    assert made.learner.evaluate(parts, "x") == pytest.approx(whole, rel=1e-5)
    assert made.learner.model.training


@pytest.mark.parametrize("kind", ["cosine", "step", "none"])
def test_a_schedule_continues_from_its_state(kind: str) -> None:
    def make() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        return optimizer, make_schedule(optimizer, kind, steps=10, warmup_steps=3)

    def go(optimizer: torch.optim.Optimizer, schedule: Any, steps: int) -> list[float]:
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return rates

    optimizer, schedule = make()
    first = go(optimizer, schedule, 4)
    states = optimizer.state_dict(), schedule.state_dict()
    rest = go(optimizer, schedule, 6)
    other, again = make()
    other.load_state_dict(states[0])
    again.load_state_dict(states[1])
    assert go(other, again, 6) == rest
    assert first[:2] == pytest.approx([1 / 3, 2 / 3], rel=0.06)
    ends = {"cosine": 0.03, "step": 0.01, "none": 1.0}
    assert rest[-1] == pytest.approx(ends[kind], rel=0.2)


def test_reports_are_spread_evenly() -> None:
    assert report_steps(7, 3) == {2, 4, 7}
    assert report_steps(2, 5) == {1, 2}


def test_channels_last_and_moving_know_what_a_batch_may_be() -> None:
    placement = Placement(torch.device("cpu"), channels_last=True)
    images = torch.zeros(2, 3, 4, 4)
    assert placement.arrange(images).is_contiguous(memory_format=torch.channels_last)
    assert placement.arrange({"ids": images})["ids"] is images
    moved = placement.move(({"ids": images}, [images], "name"))
    assert moved[0]["ids"].shape == images.shape
    assert moved[2] == "name"


def test_a_checkpoint_leaves_frozen_weights_out() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    model[0].requires_grad_(False)
    state = TrainedPart(model).state_dict()
    assert set(state) == {f"1.{n}" for n in ("weight", "bias", "running_mean", "running_var")} | {
        "1.num_batches_tracked"
    }
    kept = model[0].weight.clone()
    state["1.bias"] = torch.ones(2)
    TrainedPart(model).load_state_dict(state)
    assert torch.equal(model[0].weight, kept)
    assert model[1].bias.tolist() == [1.0, 1.0]


VALIDATED = {**DIGITS, "workload": "digits-resnet", "validation_every": 2, "batch_size": 128}


class TestValidationAware:
    def test_held_out_gradients_change_nothing_but_the_statistics(self) -> None:
        config = {**VALIDATED, "gap": {"mode": "fixed"}}
        once, often = run({**config, "validation_every": 7}), run(config)
        for result in (once[-1], often[-1]):
            assert 0 < result["held_out_s"] < 60
        told = ("train_loss", "validation_loss", "test_loss", "gap/momentum", "gap/gain")
        assert [once[-1][key] for key in told] == [often[-1][key] for key in told]

    def test_they_judge_by_the_gradient_of_the_held_out_samples(self) -> None:
        made = prepare({**VALIDATED, "held_out_share": 0.05})
        trial = attach(made.learner.optimizer, {"gap": {"mode": "fixed"}}, sample=None)
        held_out = made.held_out(trial.monitor)
        assert held_out is not None
        made.step(next(made.minibatches()))
        step = torch.cat([p.grad.flatten() for p in made.learner.model.parameters()])
        held_out.before_step(2)
        inputs, targets = made.splits.held_out.tensors  # type: ignore[union-attr]
        loss = functional.cross_entropy(made.learner.model(inputs), targets)
        gradients = torch.autograd.grad(loss, list(made.learner.model.parameters()))
        expected = torch.dot(step, torch.cat([g.flatten() for g in gradients])).item()
        statistics = trial.statistics()
        # After one step every filter holds that step's gradient.
        assert statistics.validation_alignment == pytest.approx(
            [expected] * len(statistics.candidates), rel=1e-3
        )
        assert not any(p.grad is not None for p in made.learner.model.parameters())

    def test_a_stopped_run_continues_as_if_never_stopped(self, tmp_path: Path) -> None:
        config = {**VALIDATED, "reports_per_epoch": 2, "checkpoints_per_epoch": 2, "epochs": 1}
        config["gap"] = {"mode": "trial"}
        stopped = run_until(config, tmp_path / "x", 1)
        assert untimed(stopped + run(config, tmp_path / "x")) == untimed(run(config))

    def test_a_share_of_train_is_held_out_of_it(self) -> None:
        splits = get_workload("digits-mlp").data()
        held = with_held_out(splits, 0.1)
        assert (len(held.train), len(held.held_out or ())) == (970, 108)
        rows = {tuple(x.flatten().tolist()) for x, _ in held.train}  # type: ignore[attr-defined]
        assert not rows & {tuple(x.flatten().tolist()) for x, _ in held.held_out}  # type: ignore[union-attr]
        own = with_held_out(held, 0.5)
        assert own is held

    def test_it_needs_an_optimizer_that_is_observed_from_outside(self) -> None:
        made = prepare(VALIDATED)
        with pytest.raises(UnsupportedError, match="validation_every must go with"):
            made.held_out(None)


def test_a_checkpoint_that_a_kill_cut_off_is_passed_over_and_removed(tmp_path: Path) -> None:
    (tmp_path / ".gap_tune.pt.0123").write_bytes(b"half")
    config = {"workload": "logistic", "epochs": 1}
    assert len(run(config, tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["gap_tune.pt"]
    assert run(config, tmp_path) == []
