"""WorkloadContract: what the training loop expects of any workload."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Subset

from gap_tune.testing.comparing import same
from gap_tune.workloads import Workload, get_workload
from gap_tune.workloads.base import Samples, Splits

_SPLITS = ("train", "validation", "test")


class WorkloadContract:
    """Tests of a workload: options, data, model, loss and metrics, augmentation, training.

    Inherit it in a class that pytest collects, and write ``config``.

    Attributes:
        samples: How many samples of a split are looked at.
        has_distinct_samples: Whether no sample is in the data twice, so that one which is found in
            two splits has leaked from one into the other.
        learns: Whether an epoch must lower the loss on the training samples; else it need only
            stay finite.

    >>> class TestWine(WorkloadContract):
    ...     def config(self):
    ...         return {"workload": "logistic", "workload_options": {"table": "wine"}}
    >>> TestWine().test_splits_have_samples_of_their_own()
    """

    samples: int = 12
    has_distinct_samples: bool = True
    learns: bool = True

    def config(self) -> Mapping[str, Any]:
        """Return a trial's configuration, as of ``gap_tune.training.local.run``.

        It names the workload ("my_module:MyWorkload") and holds its ``workload_options``; one epoch
        of it should take a second or so.
        """
        raise NotImplementedError("config() must return a configuration, but is not written.")

    def workload(self) -> Workload:
        """Return the workload that the configuration names."""
        config = self.config()
        return get_workload(config["workload"], config.get("workload_options"))

    def batch(
        self, workload: Workload, samples: Samples, start: int = 0, stop: int | None = None
    ) -> Any:
        """Return (inputs, targets) of a row of samples, as the training loop makes them."""
        from gap_tune.training.batches import Loading, load

        stop = min(self.samples, len(samples)) if stop is None else stop
        return next(iter(load(samples, [torch.arange(start, stop)], Loading(workload.collate))))

    def test_options_are_plain_json(self) -> None:
        """Ray, study files and reports write and read them."""
        config = dict(self.config())
        options = config.get("workload_options") or {}
        assert json.loads(json.dumps(options)) == options
        made = get_workload(config["workload"], json.loads(json.dumps(options)))
        assert isinstance(made, Workload)

    def test_its_defaults_are_settings_to_train_with(self) -> None:
        """Users need not name a learning rate, a batch size or an optimizer family."""
        from gap_tune.training.settings import Settings

        workload = self.workload()
        settings = Settings.of(workload, {"workload": self.config()["workload"]})
        for family in {settings.family, "sgd", "adamw"}:
            recipe = workload.recipe(family)
            assert recipe.keys() >= {"lr", "weight_decay"}
            assert all(math.isfinite(value) and value >= 0 for value in recipe.values())
            assert recipe["lr"] > 0

    def test_the_data_are_the_same_at_every_call(self) -> None:
        """Whatever seed a trial has set, since trials are compared on the same samples."""
        torch.manual_seed(0)
        first = self.workload().data()
        torch.manual_seed(1)
        workload = self.workload()
        for again in (workload.data(), workload.data()):
            for split in _SPLITS:
                own, other = getattr(first, split), getattr(again, split)
                assert len(own) == len(other)
                assert same([*_some(own, self.samples)], [*_some(other, self.samples)])

    def test_splits_have_samples_of_their_own(self) -> None:
        """None is trained on and judged by, as far as samples can be told apart."""
        splits = self.workload().data()
        named = {split: getattr(splits, split) for split in _SPLITS}
        if splits.held_out is not None:
            named["held_out"] = splits.held_out
        assert all(len(samples) > 0 for samples in named.values())
        seen: dict[Any, str] = {}
        for split, samples in named.items():
            for known in set(_identities(samples, by_value=self.has_distinct_samples)):
                assert seen.setdefault(known, split) == split, f"{seen[known]} and {split} overlap"

    def test_initial_weights_follow_torchs_seed(self) -> None:
        """The same seed starts at the same point."""
        workload, _ = self._with_data()
        states = []
        for seed in (3, 3):
            torch.manual_seed(seed)
            states.append(dict(workload.model().state_dict()))
        assert states[0]
        assert same(*states)

    def test_the_loss_is_a_number_that_gradients_come_from(self) -> None:
        """A mean over the batch, without dimensions."""
        workload, splits = self._with_data()
        model = self._model(workload)
        inputs, targets = self._training_batch(workload, splits)
        loss = workload.loss(workload.forward(model, inputs), targets)
        assert loss.shape == ()
        assert loss.isfinite()
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert any(gradient.any() for gradient in gradients)
        assert all(gradient.isfinite().all() for gradient in gradients)

    def test_metrics_are_finite_numbers_and_hold_the_loss(self) -> None:
        """On every split that is evaluated."""
        workload, splits = self._with_data()
        model = self._model(workload).eval()
        for split in ("validation", "test"):
            inputs, targets = self.batch(workload, getattr(splits, split))
            with torch.no_grad():
                outputs = workload.forward(model, inputs)
                metrics = workload.metrics(outputs, targets)
                loss = float(workload.loss(outputs, targets))
            assert all(isinstance(name, str) for name in metrics)
            assert all(math.isfinite(float(value)) for value in metrics.values())
            assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-3, abs=1e-5)

    def test_means_of_two_batches_weigh_as_much_as_weight_says(self) -> None:
        """The loss of a split must not depend on the batches that it is evaluated in."""
        workload, splits = self._with_data()
        model = self._model(workload).eval()
        # Splits of one sample cannot be evaluated in two batches.
        samples = splits.validation if len(splits.validation) > 1 else splits.train
        count = min(self.samples, len(samples))
        losses, weights = [], []
        for start, stop in ((0, count), (0, 1), (1, count)):
            inputs, targets = self.batch(workload, samples, start, stop)
            with torch.no_grad():
                losses.append(float(workload.loss(workload.forward(model, inputs), targets)))
            weights.append(workload.weight(targets))
        assert all(weight > 0 for weight in weights)
        assert weights[0] == weights[1] + weights[2]
        parts = (losses[1] * weights[1] + losses[2] * weights[2]) / weights[0]
        assert parts == pytest.approx(losses[0], rel=1e-3, abs=1e-5)

    def test_augmentation_draws_from_the_generator_alone(self) -> None:
        """Checkpoints hold the generator, and so a run that continues augments as before."""
        workload, splits = self._with_data()
        inputs, _ = self.batch(workload, splits.train)
        before = _global_states()
        first, again = (
            workload.augment(copy.deepcopy(inputs), torch.Generator().manual_seed(5))
            for _ in range(2)
        )
        assert same(_global_states(), before)
        assert same(first, again)
        workload.forward(self._model(workload), first)

    def test_an_epoch_of_training_stays_finite_and_lowers_the_loss(self) -> None:
        """By the loop of ``gap_tune.training``, with the configuration as it is."""
        from gap_tune.training.prepared import prepare

        run = prepare({**self.config(), "epochs": 1})
        model = run.learner.model
        inputs, targets = self._training_batch(run.workload, run.splits)

        def training_loss() -> float:
            # As in training: the same dropout, and normalised by the batch's own statistics.
            torch.manual_seed(0)
            with torch.no_grad():
                return float(run.workload.loss(run.workload.forward(model, inputs), targets))

        before = training_loss()
        for minibatch in run.minibatches():
            run.step(minibatch)
        assert math.isfinite(run.position.mean_loss)
        assert all(map(math.isfinite, run.evaluate("validation").values()))
        after = training_loss()
        assert math.isfinite(after)
        assert after < before or not self.learns

    def _with_data(self) -> tuple[Workload, Splits]:
        """Return the workload after it has read its data, as the loop has it."""
        workload = self.workload()
        return workload, workload.data()

    def _training_batch(self, workload: Workload, splits: Splits) -> tuple[Any, Any]:
        inputs, targets = self.batch(workload, splits.train)
        return workload.augment(inputs, torch.Generator().manual_seed(0)), targets

    def _model(self, workload: Workload) -> torch.nn.Module:
        torch.manual_seed(0)
        return workload.model()


def _some(samples: Samples, count: int) -> Iterator[Any]:
    """Yield samples from everywhere in a split."""
    for place in np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int):
        yield samples[int(place)]


def _identities(samples: Samples, *, by_value: bool) -> Iterator[Any]:
    """Yield what tells samples apart: places in a dataset that splits share, and their values."""
    if isinstance(samples, Subset):
        for place in samples.indices:
            yield "place", id(samples.dataset), place
    if by_value:
        for place in range(len(samples)):
            yield "value", *_bytes(samples[place])


def _bytes(sample: Any) -> Iterator[bytes]:
    if isinstance(sample, Tensor):
        yield sample.numpy().tobytes()
    elif isinstance(sample, Mapping):
        for value in sample.values():
            yield from _bytes(value)
    elif isinstance(sample, list | tuple):
        for value in sample:
            yield from _bytes(value)
    else:
        yield repr(sample).encode()


def _global_states() -> list[Any]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return [torch.get_rng_state(), random.getstate(), kind, torch.from_numpy(keys), *rest]
