"""Two gloo workers of a TorchTrainer inside a trial: one report, one momentum."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer, prepare_model
from ray.train.v2._internal.execution import train_fn_utils
from ray.tune.integration.ray_train import TuneReportCallback

from gap_tune import Decision, FixedMomentum, GapScheduler, GapSearch, Reason, attach
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune.ray_private import delivery
from gap_tune.tune.ray_private.delivery import Directive
from gap_tune.tune.trial.workers import WorkerChannel
from tests.tune.functions import Cycle

REPORTS = 3


def worker(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rank = ray.train.get_context().get_world_rank()
    model = prepare_model(torch.nn.Linear(10, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=config["momentum"])
    trial = attach(optimizer, config)
    trial.restore(model=model)
    generator = torch.Generator().manual_seed(rank)
    notes = Path(config["notes"])
    for epoch in trial.epochs(REPORTS):
        for _ in range(5):
            optimizer.zero_grad()
            inputs = torch.randn(8, 10, generator=generator)
            (model(inputs) - inputs[:, :1]).square().mean().backward()
            optimizer.step()
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        note = {
            "used": optimizer.param_groups[0]["momentum"],
            "weights": weights.double().sum().item(),
        }
        (notes / f"{epoch}-{rank}.json").write_text(json.dumps(note))
        trial.report({"loss": 1.0 + rank, **note}, checkpoint=True)


def trial(config: dict[str, Any]) -> None:
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.05"
    TorchTrainer(
        worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=2, resources_per_worker={"CPU": 0.5}, placement_strategy="PACK"
        ),
        run_config=ray.train.RunConfig(
            name="inner",
            storage_path=config["notes"],
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


@pytest.fixture(scope="module")
def outcome(
    ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """What Tune was told, and what each rank noted at each report."""
    folder = tmp_path_factory.mktemp("workers")
    grid = tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.5}),
        param_space={"notes": str(folder)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=GapSearch(PlannedTrials([{}]), rule=FixedMomentum()),
            scheduler=GapScheduler(rule=Cycle()),
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    ).fit()
    assert not grid.errors
    noted = [
        [json.loads((folder / f"{i}-{rank}.json").read_text()) for i in range(REPORTS)]
        for rank in (0, 1)
    ]
    return grid[0].metrics_dataframe.to_dict("records"), noted  # type: ignore[union-attr]


@pytest.mark.slow
def test_both_workers_train_with_the_momentum_that_the_scheduler_chose(outcome: Any) -> None:
    _, noted = outcome
    for rank in noted:
        assert [note["used"] for note in rank] == list(Cycle.momenta[:REPORTS])
    assert [n["weights"] for n in noted[0]] == [n["weights"] for n in noted[1]]


@pytest.mark.slow
def test_rank_0s_report_reaches_tune_once(outcome: Any) -> None:
    rows, _ = outcome
    assert [r["gap/momentum"] for r in rows] == list(Cycle.momenta[:REPORTS])
    assert [r["gap/seq"] for r in rows] == list(range(REPORTS))
    assert [r["gap/steps"] for r in rows] == [5 * (i + 1) for i in range(REPORTS)]
    assert {r["loss"] for r in rows} == {1.0}
    assert len({r["gap/mailbox"] for r in rows}) == REPORTS


def in_a_worker(function: Callable[[], None]) -> None:
    """Call a function as a lone worker, in this process, which is none afterwards."""
    try:
        TorchTrainer(function, scaling_config=ray.train.ScalingConfig(num_workers=0)).fit()
    finally:
        # Ray leaves what makes it one, and other tests share the process.
        train_fn_utils._train_fn_utils = None


def answer(channel: WorkerChannel, seq: int) -> Directive:
    """Answer the channel's next report before it is made."""
    return reply(channel.mailbox, seq)


def reply(mailbox: str, seq: int) -> Directive:
    """Send what the scheduler would to a mailbox."""
    directive = Directive(seq, Decision(0.5, 0.9, Reason.BEST_GAIN, "because.", (0.5,), (1.0,)))
    running = SimpleNamespace(temporary_state=SimpleNamespace(ray_actor="an actor"))
    assert delivery.send(running, directive, mailbox=mailbox)
    return directive


def test_the_answer_to_a_checkpoint_stays_until_the_next_and_is_found_after_a_restart(
    ray_address: str, tmp_path: Path
) -> None:
    def found(mailbox: str, seq: int) -> Directive | None:
        return WorkerChannel(asks=True).missed(mailbox, seq)

    def life() -> None:
        channel = WorkerChannel(asks=True)
        boxes = []
        for seq, folder in ((1, tmp_path), (2, None), (3, tmp_path)):
            boxes.append(channel.mailbox)
            expected = answer(channel, seq)
            assert channel.exchange({"loss": 1.0}, folder, seq) == expected
            kept = seq if folder else 1
            assert found(boxes[kept - 1], kept) is not None
        assert found(boxes[0], 1) is found(boxes[1], 2) is None
        assert found(boxes[2], 4) is None

    in_a_worker(life)


def test_a_scheduler_that_never_answers_costs_little_and_is_complained_of_once(
    ray_address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gap_tune.tune.trial.workers._PATIENCE_S", 0.4)
    asked: list[float] = []
    wait = delivery.wait

    def life() -> None:
        channel = WorkerChannel(asks=True)
        monkeypatch.setattr(delivery, "wait", lambda *a: (asked.append(a[2]), wait(*a))[1])
        for _ in range(4):
            assert channel.exchange({"loss": 1.0}, None, 1) is None
        answer(channel, 1)
        assert channel.exchange({"loss": 1.0}, None, 1) is not None

    with caplog.at_level(logging.WARNING, "gap_tune"):
        in_a_worker(life)
    waited = [seconds for seconds in asked if seconds]
    assert waited == [0.4, 0.2, 0.1, 0.1, 0.1]
    (message,) = [r.getMessage() for r in caplog.records if r.name.startswith("gap_tune")]
    assert "no answer from the scheduler within 0.4 s" in message
    assert "TuneReportCallback()" in message


def test_bug_a_driver_that_answers_late_must_not_lose_every_later_decision(
    ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gap_tune.tune.trial.workers._PATIENCE_S", 0.1)
    asked: list[float] = []
    wait = delivery.wait

    def life() -> None:
        channel = WorkerChannel(asks=True)
        monkeypatch.setattr(delivery, "wait", lambda *a: (asked.append(a[2]), wait(*a))[1])
        for _ in range(3):
            late = channel.mailbox
            assert channel.exchange({"loss": 1.0}, None, 1) is None
            reply(late, 1)
        directive = answer(channel, 1)
        assert channel.exchange({"loss": 1.0}, None, 1) == directive
        directive = answer(channel, 2)
        assert channel.exchange({"loss": 1.0}, None, 2) == directive

    in_a_worker(life)
    # Twice as long after each answer that came late, and from then on.
    assert [seconds for seconds in asked if seconds] == [0.1, 0.2, 0.4, 0.8, 0.8]
