"""A training loop of Accelerate: attach takes what it has prepared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils.data import DataLoader, TensorDataset

from gap_tune import attach
from tests.tune.functions import Cycle
from tests.tune.in_process import Life, life

__all__ = ["life"]

ASKS = {"gap": {"mode": "scheduler", "metric": "loss"}, "momentum": 0.9}
EPOCHS, BATCHES, ACCUMULATED = 4, 6, 2
STEPS = BATCHES // ACCUMULATED


@pytest.fixture(autouse=True)
def no_state() -> Iterator[None]:
    """Leave nothing behind: Accelerate keeps one state in a process."""
    yield
    AcceleratorState._reset_state(True)


def train(config: dict[str, Any]) -> None:
    """Train as Accelerate's guide does, with two batches in each step and clipped gradients."""
    torch.manual_seed(0)
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=ACCUMULATED,
        mixed_precision=config["precision"],
    )
    inputs = torch.randn(8 * BATCHES, 8, generator=torch.Generator().manual_seed(1))
    model = torch.nn.Linear(8, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=config["momentum"])
    loader = DataLoader(TensorDataset(inputs), batch_size=8)
    prepared, optimizer, batches = accelerator.prepare(model, sgd, loader)
    trial = attach(optimizer, config)
    trial.restore(model=prepared)
    for _ in trial.epochs(EPOCHS):
        for (batch,) in batches:
            with accelerator.accumulate(prepared):
                loss = (prepared(batch) - batch[:, :1]).square().mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(prepared.parameters(), 0.1)
                optimizer.step()
                optimizer.zero_grad()
        used = sgd.param_groups[0]["momentum"]
        trial.report({"loss": loss.item(), "used": used}, checkpoint=True)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_momentum_of_a_prepared_optimizer_changes_and_a_restored_trial_goes_on_alike(
    life: Any, precision: str
) -> None:
    config = {**ASKS, "precision": precision}
    whole = life(train, config).reports(9)
    assert [r["used"] for r in whole] == pytest.approx(Cycle.momenta)
    assert [r["gap/momentum"] for r in whole] == list(Cycle.momenta)
    # A step is what the optimizer takes, not each batch; its gradient is the clipped one.
    assert [r["gap/steps"] for r in whole] == [STEPS * (i + 1) for i in range(EPOCHS)]
    assert all(r["gap/power"] == pytest.approx(0.1**2, rel=1e-3) for r in whole)

    first: Life = life(train, config)
    before = first.reports(2)
    second = life(train, config, continues=first)
    second.answer_again(before[-1])
    after = second.reports(9)
    for name in ("loss", "used", "gap/seq", "gap/statistics", "gap/momentum"):
        assert [r[name] for r in before + after] == [r[name] for r in whole], name
