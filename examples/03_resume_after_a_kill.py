"""Run it, kill it at any time (kill -9), run it again: the study goes on where it was.

python examples/03_resume_after_a_kill.py FOLDER

Tune's own restore does it. Each trial keeps weights, optimizer, momentum and statistics in its
checkpoint; the scheduler has no state to lose, and sends a decision again whose delivery the kill
cut off.
"""

import sys
from pathlib import Path

import ray
import torch
from ray import tune

import gap_tune


def train(config: dict) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(config["seed"])
    inputs = torch.randn(512, 20, generator=generator)
    targets = inputs @ torch.randn(20, 1, generator=generator)
    torch.manual_seed(config["seed"])
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])

    trial = gap_tune.attach(optimizer, config)
    if trial.restore(model=model, order=generator):
        print(f"trial {config['seed']} goes on with momentum {trial.momentum}")
    for _ in trial.epochs(20):
        for rows in torch.randperm(512, generator=generator).split(32):
            optimizer.zero_grad()
            loss = (model(inputs[rows]) - targets[rows]).pow(2).mean()
            loss.backward()
            optimizer.step()
        trial.report({"loss": loss.item()}, checkpoint=True)


def main(folder: Path) -> None:
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    study = str(folder.resolve() / "study")
    if tune.Tuner.can_restore(study):
        tuner = tune.Tuner.restore(study, train, resume_unfinished=True)
    else:
        tuner = tune.Tuner(
            train,
            param_space={"lr": 0.02, "seed": tune.randint(0, 1000)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=4,
                search_alg=gap_tune.GapSearch(),
                scheduler=gap_tune.GapScheduler(),
            ),
            run_config=tune.RunConfig(name="study", storage_path=str(folder.resolve()), verbose=0),
        )
    for result in tuner.fit():
        shown = f"loss {result.metrics['loss']:.4f}, momentum {result.metrics['gap/momentum']}"
        print(f"{Path(result.path).name}: {shown}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "resumed"))
