"""A study that runs until it is told to end, in a Ray of its own, with dashboard and token."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from gap_tune import GapScheduler, GapSearch, attach
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune.monitoring.metrics import RayMetrics
from gap_tune.tune.monitoring.ray_dashboard import dashboard_link, named_job, recognisable
from tests.tune.functions import kill_once, spoil_one_step

STUDY = "watched"
ARMS = ("gap", "fixed:0.9", "fixed:0.5")


def train(config: dict[str, Any]) -> None:
    """Descend a noisy quadratic, a report every tenth of a second, until a file appears."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(config["seed"])
    weight = torch.nn.Parameter(torch.randn(50, generator=generator))
    optimizer = torch.optim.SGD([weight], lr=0.02, momentum=config["momentum"])
    trial = attach(optimizer, config)
    trial.restore(model=torch.nn.ParameterList([weight]), generator=generator)
    for epoch in trial.epochs(100_000):
        for step in range(6):
            optimizer.zero_grad()
            noise = 0.1 * torch.randn(50, generator=generator)
            (weight.pow(2).sum() / 2 + (noise * weight).sum()).backward()
            if config.get("bad_gradient_at") == epoch and step == 0:
                spoil_one_step(weight, optimizer)
            optimizer.step()
        kill_once(config, epoch)
        trial.report({"loss": weight.detach().pow(2).sum().item()}, checkpoint=True)
        if any(Path(config["folder"], name).exists() for name in ("end", f"end-{config['arm']}")):
            return
        time.sleep(0.1)


def plan(folder: Path) -> list[dict[str, Any]]:
    """Return a trial per arm; one is killed once, and one has a NaN in its gradient once."""
    trials: list[dict[str, Any]] = []
    for arm in ARMS:
        trials.append({"arm": arm, "seed": 7, "folder": str(folder)})
        if arm.startswith("fixed:"):
            trials[-1]["momentum"] = float(arm.removeprefix("fixed:"))
    trials[1] |= {"kill_at": 3, "kill_marker": str(folder / "killed")}
    trials[2] |= {"bad_gradient_at": 2}
    return trials


def main(folder: Path, temporary: str, metrics_port: int) -> None:
    """Run the study; ``session.json`` in the folder says where everything is."""
    context = ray.init(
        address="local",
        num_cpus=len(ARMS),
        include_dashboard=True,
        dashboard_port=0,
        log_to_driver=False,
        logging_level="error",
        job_config=named_job(f"{STUDY}: three arms"),
        _metrics_export_port=metrics_port,
        _temp_dir=temporary,
    )
    session = {"url": f"http://{context.dashboard_url}", "link": dashboard_link()}
    (folder / "session.part").write_text(json.dumps(session))
    (folder / "session.part").rename(folder / "session.json")
    tune.Tuner(
        recognisable(tune.with_resources(train, {"cpu": 1}), study=STUDY),
        param_space={},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=len(ARMS),
            search_alg=GapSearch(PlannedTrials(plan(folder))),
            scheduler=GapScheduler(),
        ),
        run_config=tune.RunConfig(
            name=STUDY,
            storage_path=str(folder / "results"),
            callbacks=[RayMetrics("loss", "min")],
            failure_config=tune.FailureConfig(max_failures=2),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            verbose=0,
        ),
    ).fit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
