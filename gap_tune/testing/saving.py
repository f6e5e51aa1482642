"""SavingTests: optimizers that are saved, copied and let go of."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gap_tune.testing.comparing import same
from gap_tune.testing.optimizer_case import OptimizerCase, Params


class SavingTests(OptimizerCase):
    """The part of ``OptimizerContract`` that is about the optimizer's state."""

    def test_save_load_continue_equals_the_uninterrupted_run(
        self, at: int, dtype: torch.dtype
    ) -> None:
        """Everything that the next step depends on is in the state, which torch can read."""
        params = self.parameters(dtype)
        whole = self.optimizer(params)
        self.run(whole, params, range(self.steps))

        half = self.parameters(dtype)
        saving = self.optimizer(half)
        self.run(saving, half, range(at))
        file = io.BytesIO()
        torch.save({"weights": half, "optimizer": saving.state_dict()}, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        continuing = self.loader(loaded["weights"])
        continuing.load_state_dict(loaded["optimizer"])
        self.run(continuing, loaded["weights"], range(at, self.steps))
        assert same(loaded["weights"], params)
        assert same(continuing.state_dict(), whole.state_dict())

    @pytest.mark.parametrize(
        "how",
        [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))],  # nosec B301
    )
    def test_a_copy_continues_on_its_own(self, at: int, how: Callable[[Any], Any]) -> None:
        """A copy with its parameters neither follows the original nor moves it."""
        params = self.parameters()
        optimizer = self.optimizer(params)
        self.run(optimizer, params, range(at))
        twins, twin = how((params, optimizer))
        self.run(twin, twins, range(at, self.steps))
        assert not same(twins, params)
        self.run(optimizer, params, range(at, self.steps))
        assert same(twins, params)
        assert same(twin.state_dict(), optimizer.state_dict())

    def test_a_copy_takes_over_the_parameters(self, at: int) -> None:
        """A copy of the optimizer alone goes on in its place."""
        params, twins = self.parameters(), self.parameters()
        whole, optimizer = self.optimizer(params), self.optimizer(twins)
        self.run(whole, params, range(self.steps))
        self.run(optimizer, twins, range(at))
        taking_over = copy.deepcopy(optimizer, {id(twin): twin for twin in twins})
        self.run(taking_over, twins, range(at, self.steps))
        assert same(twins, params)
        assert same(taking_over.state_dict(), whole.state_dict())

    def test_a_saved_state_of_its_own_does_not_follow_later_steps(self) -> None:
        """What it saves beside torch's state and groups is a copy, not what it works with."""
        params = self.parameters()
        optimizer = self.optimizer(params)
        self.run(optimizer, params, range(3))
        torchs = ("state", "param_groups")
        own = {key: value for key, value in optimizer.state_dict().items() if key not in torchs}
        before = copy.deepcopy(own)
        self.run(optimizer, params, range(3, self.steps))
        assert same(own, before)

    @pytest.mark.parametrize("later", [False, True])
    def test_a_group_that_comes_later_is_stepped_and_saved(self, later: bool) -> None:
        """Whether a run is interrupted right after it came, or later."""
        self._needs_groups()

        def start(params: Params) -> torch.optim.Optimizer:
            optimizer = self.optimizer(params[:2])
            self.run(optimizer, params[:2], range(6))
            optimizer.add_param_group({"params": params[2:]})
            return optimizer

        params, until = self.parameters(), 8 if later else 6
        optimizer = start(params)
        before = copy.deepcopy(params[2])
        self.run(optimizer, params, range(6, until))
        saved, twins = copy.deepcopy((optimizer.state_dict(), params))
        self.run(optimizer, params, range(until, 12))
        assert not same(params[2], before)

        resumed = self.loader(twins[:2])
        resumed.add_param_group({"params": twins[2:]})
        resumed.load_state_dict(saved)
        self.run(resumed, twins, range(until, 12))
        assert same(twins, params)

    def test_it_is_freed_with_its_last_reference(self) -> None:
        """No hook, registry or global list keeps it and its tensors alive."""
        params = self.parameters()
        optimizer = self.optimizer(params)
        self.run(optimizer, params, range(2))
        alive = weakref.ref(optimizer)
        del optimizer
        if alive() is not None:
            # A cycle of references is fine; looking for one takes long.
            gc.collect()
        assert alive() is None
