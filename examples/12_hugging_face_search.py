"""Hugging Face's hyperparameter_search: the trainer searches, and its momentum is tuned.

The callback finds each trial's configuration by itself, and its numbers are in the trainer's own
reports, whose metric is "objective". The model is a tiny GPT-2 of random weights that learns to
count, so that nothing is downloaded.
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


def new_model() -> GPT2LMHeadModel:
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def space(trial: Any) -> dict[str, Any]:
    return {"learning_rate": tune.loguniform(1e-3, 1e-2)}


if __name__ == "__main__":
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model_init=new_model,
            args=TrainingArguments(
                output_dir=f"{folder}/trainer",
                num_train_epochs=4,
                per_device_train_batch_size=8,
                eval_strategy="epoch",
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=[counting(start) for start in range(0, 50)],
            eval_dataset=[counting(start) for start in range(0, 50, 5)],
            callbacks=[GapCallback()],
        )
        best = trainer.hyperparameter_search(
            backend="ray",
            hp_space=space,
            n_trials=2,
            metric="objective",
            mode="min",
            # Supplies the beta1 that TrainingArguments calls adam_beta1.
            search_alg=gap_tune.GapSearch(optimizer=torch.optim.AdamW, momentum="adam_beta1"),
            scheduler=gap_tune.GapScheduler(),
            storage_path=f"{folder}/ray",
            verbose=0,
        )
        for reports in best.run_summary.trial_dataframes.values():
            momenta = [f"{m:g}" for m in reports["gap/momentum"]]
            print(f"loss {reports['objective'].iloc[-1]:.3f}, beta1", *momenta)
        print(f"best: learning_rate {best.hyperparameters['learning_rate']:.2g}")
