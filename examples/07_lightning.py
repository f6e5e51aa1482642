"""Lightning: one callback, and the momentum of the module's optimizer is tuned.

It reports what the module logs whenever a validation ends, with Lightning's own checkpoint.
Needs `pip install 'gap-tune[lightning]'`; it takes less than a minute on two cores.
"""

import tempfile
from typing import Any

import lightning
import ray
import torch
from ray import tune
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split

import gap_tune
from gap_tune.tune.integrations.lightning import GapCallback


class Digits(lightning.LightningModule):
    """An ordinary module: nothing in it knows of gap_tune."""

    def __init__(self, lr: float, momentum: float) -> None:
        super().__init__()
        self.lr, self.momentum = lr, momentum
        layers = torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
        self.layers = torch.nn.Sequential(*layers)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("loss", cross_entropy(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=self.momentum)


def train(config: dict[str, Any]) -> None:
    lightning.seed_everything(0, verbose=False)
    images, labels = load_digits(return_X_y=True)
    digits = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(labels))
    training, validation = random_split(digits, [1400, 397])
    gap = GapCallback(config)
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        callbacks=[gap],
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(
        Digits(config["lr"], config["momentum"]),
        DataLoader(training, batch_size=64, shuffle=True),
        DataLoader(validation, batch_size=397),
        ckpt_path=gap.checkpoint_path(),  # None, or where a killed trial was
    )


if __name__ == "__main__":
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            train,
            param_space={"lr": tune.loguniform(0.01, 0.3)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=2,
                search_alg=gap_tune.GapSearch(),
                scheduler=gap_tune.GapScheduler(),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        for result in results:
            momenta = [f"{m:g}" for m in result.metrics_dataframe["gap/momentum"]]
            print(f"loss {result.metrics['loss']:.3f}, momentum", *momenta)
