"""One trial on two workers learns what it learns on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

from gap_tune import GapScheduler
from gap_tune.errors import InvalidValueError
from gap_tune.training.distributed import COORDINATOR, train_on_ranks
from gap_tune.training.local import run
from gap_tune.training.ranks import Ranks
from tests.tune.functions import Cycle

CONFIG = {
    "workload": "digits-mlp",
    "batch_size": 256,
    "epochs": 2,
    "reports_per_epoch": 2,
    "seed": 1,
    "momentum": 0.9,
}


@pytest.mark.slow
def test_two_workers_learn_what_one_does(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    trial = train_on_ranks(2, tmp_path / "ranks", cpus_per_rank=0.4)
    grid = tune.Tuner(
        tune.with_resources(trial, COORDINATOR),
        param_space={**CONFIG, "gap": {"mode": tune.grid_search(["fixed", "scheduler"])}},
        tune_config=tune.TuneConfig(
            metric="validation_loss",
            mode="min",
            scheduler=GapScheduler(rule=Cycle()),
            max_concurrent_trials=1,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0),
    ).fit()
    assert not grid.errors, grid.errors
    fixed, tuned = (r.metrics_dataframe.to_dict("records") for r in grid)  # type: ignore[union-attr]
    expected = run(CONFIG)
    for key in ("train_loss", "validation_loss", "validation_accuracy", "gap/power"):
        assert close(fixed, key) == pytest.approx(close(expected, key), rel=1e-4), key
    assert [row["epoch"] for row in fixed] == [0.5, 1.0, 1.5, 2.0]
    assert fixed[-1]["test_loss"] == pytest.approx(expected[-1]["test_loss"], rel=1e-4)
    assert [row["gap/momentum"] for row in tuned] == list(Cycle.momenta[:4])


def close(rows: list[dict[str, Any]], key: str) -> list[float]:
    return [row[key] for row in rows]


def test_shares_are_equal_and_together_the_whole() -> None:
    ranks = [Ranks(rank, 3) for rank in range(3)]
    shares = [each.share_of(torch.arange(12)) for each in ranks]
    assert sorted(torch.cat(shares).tolist()) == list(range(12))
    assert {len(share) for share in shares} == {4}
    with pytest.raises(InvalidValueError, match="multiple of the number of ranks, 3, but got 32"):
        ranks[0].check_parts(32)


def test_alone_nothing_is_shared_or_joined() -> None:
    model = torch.nn.Linear(2, 1)
    assert Ranks().join(model) is model
    assert Ranks().mean(0.25) == 0.25
