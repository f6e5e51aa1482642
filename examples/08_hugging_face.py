"""Hugging Face's Trainer: one callback, and the beta1 of its AdamW is tuned.

It reports every evaluation, with the trainer's own checkpoint. The model is a tiny GPT-2 of random
weights that learns to count, so that nothing is downloaded.
Needs `pip install 'gap-tune[language]'`; it takes less than a minute on two cores.
"""

import tempfile
from typing import Any

import ray
import torch
from ray import tune
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import gap_tune
from gap_tune.tune.integrations.hugging_face import GapCallback


def counting(start: int) -> dict[str, torch.Tensor]:
    tokens = (torch.arange(16) + start) % 50
    return {"input_ids": tokens, "labels": tokens}


def train(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2}
    gap = GapCallback(config)
    trainer = Trainer(
        model=GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)),
        args=TrainingArguments(
            output_dir="trainer",
            num_train_epochs=4,
            per_device_train_batch_size=8,
            learning_rate=config["lr"],
            adam_beta1=config["beta1"],
            eval_strategy="epoch",
            save_total_limit=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=[counting(start) for start in range(0, 50)],
        eval_dataset=[counting(start) for start in range(0, 50, 5)],
        callbacks=[gap],
    )
    trainer.train(resume_from_checkpoint=gap.checkpoint_path())


if __name__ == "__main__":
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            train,
            param_space={"lr": tune.loguniform(1e-3, 1e-2)},
            tune_config=tune.TuneConfig(
                metric="eval_loss",
                mode="min",
                num_samples=2,
                search_alg=gap_tune.GapSearch(optimizer=torch.optim.AdamW),  # supplies "beta1"
                scheduler=gap_tune.GapScheduler(),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        for result in results:
            momenta = [f"{m:g}" for m in result.metrics_dataframe["gap/momentum"]]
            print(f"loss {result.metrics['eval_loss']:.3f}, beta1", *momenta)
