"""A trial that trains on several GPUs, or several groups of cores: through ``TorchTrainer``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from gap_tune.errors import check_count
from gap_tune.training.loop import fit
from gap_tune.tune import attach

# What the trial's own process needs, which waits for its workers.
COORDINATOR = {"cpu": 0.1}


def train_on_ranks(
    ranks: int,
    storage: Path | str,
    *,
    filesystem: Any = None,
    cpus_per_rank: float = 1.0,
    use_gpu: bool = False,
) -> Callable[[dict[str, Any]], None]:
    """Return a Ray Tune function that trains each trial on several workers together.

    Every worker has a copy of the model and takes its share of each minibatch; gradients are means
    over all, so a trial learns what it would on one worker, momentum included; but for batch norm,
    whose means are those of each worker's share. Workers take their
    resources besides those of the trial, for which ``COORDINATOR`` is enough; let no more trials
    run at a time than the cluster has room for (``max_concurrent_trials``).

    Reports are those of ``loop.train``; all workers evaluate all of a split. A trial that fails
    continues from its last checkpoint, which lies in ``storage``. Validation-aware training is not
    possible.

    Args:
        ranks: Workers per trial.
        storage: A folder that all nodes see, or any path of Ray's storage.
        filesystem: The ``pyarrow.fs`` file system of that path; None lets Ray find out.
        cpus_per_rank: Cores of a worker.
        use_gpu: Whether each worker has a GPU of its own.

    Raises:
        InvalidValueError: When ``ranks`` is no positive integer.
    """
    check_count("ranks", ranks)
    resources = {"CPU": cpus_per_rank, **({"GPU": 1.0} if use_gpu else {})}

    def train(config: dict[str, Any]) -> None:
        TorchTrainer(
            _train_rank,
            train_loop_config={"config": config, "threads": max(1, int(cpus_per_rank))},
            scaling_config=ray.train.ScalingConfig(
                num_workers=ranks, use_gpu=use_gpu, resources_per_worker=resources
            ),
            run_config=ray.train.RunConfig(
                # The name by which it continues when the trial starts again.
                name=f"ranks-{tune.get_context().get_trial_id()}",
                storage_path=str(storage),
                storage_filesystem=filesystem,
                callbacks=[TuneReportCallback()],
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            ),
        ).fit()

    return train


def _train_rank(given: dict[str, Any]) -> None:
    torch.set_num_threads(given["threads"])
    fit(given["config"], attach)
