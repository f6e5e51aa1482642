"""Hugging Face's search with Ray Tune, on Fashion-MNIST: a small vision transformer, ASHA.

Against plain Ray Tune 4 lines are new (`# +`) and 2 are gone (`# -`): nobody sweeps AdamW's beta1.
It trains with a part of the files that Debian and Ubuntu have as the package
dataset-fashion-mnist; name another folder as the first argument. About two minutes on two cores.
Needs `pip install 'gap-tune[language]'`; no weights are downloaded.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import gap_tune.tune.integrations.hugging_face  # +

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")


def clothes(part: str, most: int) -> list[dict[str, Any]]:
    """Return the first images and labels of "train" or "t10k", from their files in idx format."""
    with gzip.open(FOLDER / f"{part}-images-idx3-ubyte.gz") as file:
        _, _, height, width = np.frombuffer(file.read(16), ">i4")
        pixels = np.frombuffer(file.read(most * int(height * width)), np.uint8)
    with gzip.open(FOLDER / f"{part}-labels-idx1-ubyte.gz") as file:
        file.read(8)
        labels = np.frombuffer(file.read(most), np.uint8)
    images = torch.tensor(pixels.reshape(-1, 1, height, width)) / 255
    pairs = zip(images, labels.tolist(), strict=True)
    return [{"pixel_values": image, "labels": label} for image, label in pairs]


def new_model() -> ViTForImageClassification:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    images = {"image_size": 28, "patch_size": 7, "num_channels": 1, "num_labels": 10}
    return ViTForImageClassification(ViTConfig(**sizes, **images, intermediate_size=64))


def space(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": tune.loguniform(3e-4, 1e-2),
        "weight_decay": tune.uniform(0.0, 0.3),
        # - "adam_beta1": tune.choice([0.5, 0.8, 0.9, 0.95]),
    }


def accuracy(evaluated: Any) -> dict[str, float]:
    outputs, labels = evaluated
    return {"accuracy": float((outputs.argmax(-1) == labels).mean())}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model_init=new_model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=4,
                per_device_train_batch_size=32,
                eval_strategy="epoch",
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=clothes("train", 2000),
            eval_dataset=clothes("t10k", 500),
            compute_metrics=accuracy,
            callbacks=[gap_tune.tune.integrations.hugging_face.GapCallback()],  # +
        )
        best = trainer.hyperparameter_search(
            backend="ray",
            hp_space=space,
            n_trials=4,
            metric="objective",
            mode="max",
            direction="maximize",
            search_alg=gap_tune.GapSearch("random", momentum="adam_beta1"),  # +
            # - scheduler=ASHAScheduler(max_t=4, grace_period=2),
            scheduler=gap_tune.GapScheduler(ASHAScheduler(max_t=4, grace_period=2)),  # +
            verbose=0,
        )
    print(f"best trial: accuracy {best.objective:.3f}")
    print(f"gap-tune report {Path(best.run_summary.experiment_path)}")


if __name__ == "__main__":
    main()
