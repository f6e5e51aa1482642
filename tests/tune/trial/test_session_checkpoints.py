"""What a session's checkpoints hold, and what goes on from them, without Ray."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gap_tune import Reason
from gap_tune.errors import StateError, UnsupportedError
from gap_tune.optim import SGD, Adam
from gap_tune.tune.trial import checkpointing
from gap_tune.tune.trial.attaching import make_tuning
from gap_tune.tune.trial.session import TrialSession
from tests.tune.alone import Recorded, order, session, train, weight


@pytest.mark.parametrize("answer", [(4, 0.5), (3, 0.99), (5, 0.99)])
def test_a_restored_trial_follows_the_decision_that_its_checkpoint_missed_and_no_other(
    answer: tuple[int, float], tmp_path: Path
) -> None:
    first = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = session(first, *(order(i, m) for i, m in ((1, 0.8), (2, 0.95), (3, 0.8))))
    for _ in range(3):
        train(first, 4)
        trial.report({})
    trial.save(tmp_path, whole=True)
    second = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    again = session(second, order(*answer))
    again.load(tmp_path)
    assert (again.seq, again.momentum) == ((4, 0.5) if answer[0] == 4 else (3, 0.8))
    assert again.statistics() == trial.statistics()
    if answer[0] != 4:
        assert again.decision == trial.decision
        # The coupled learning rate goes on as well.
        assert train(first, 5) == train(second, 5)
        assert second.param_groups[0]["coupled_lr"] == first.param_groups[0]["coupled_lr"] != 0.1


@pytest.mark.parametrize(
    "make", [SGD, Adam, lambda p, lr: torch.optim.Adam(p, lr=lr), lambda p, lr: SGD(p, lr, 0.9)]
)
def test_a_trial_that_decides_itself_continues_as_if_it_had_not_stopped(
    make: Any, tmp_path: Path
) -> None:
    def half(optimizer: Any) -> TrialSession:
        own = {"mode": "trial"}
        return TrialSession(make_tuning(optimizer, own), Recorded(), own)

    whole, stopped, resumed = (make([weight()], lr=0.05) for _ in range(3))
    uninterrupted, before, after = half(whole), half(stopped), half(resumed)
    model = {"model": nn.ParameterList(stopped.param_groups[0]["params"])}
    before.keep(**model)
    train(whole, 15)
    train(stopped, 15)
    before.save(tmp_path, whole=True)
    after.keep(model=nn.ParameterList(resumed.param_groups[0]["params"]))
    after.load(tmp_path)
    assert train(resumed, 15) == train(whole, 15)
    results = [trial.result({}) for trial in (uninterrupted, after)]
    assert results[0] == results[1]


Pair = namedtuple("Pair", "first second")


class Keeper:
    """Something to save, with any state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def test_bug_named_tuples_and_module_versions_survive_a_checkpoint(tmp_path: Path) -> None:
    norm = nn.BatchNorm1d(2)
    keeper = Keeper({"pair": Pair(np.float64(1.5), [Reason.FIXED]), 3: torch.Size([2])})
    trial = session(torch.optim.SGD(norm.parameters(), lr=0.1, momentum=0.9))
    trial.keep(norm=norm, keeper=keeper)
    trial.save(tmp_path, whole=True)
    state = checkpointing.read(tmp_path, {"keeper": None})["objects"]
    assert state["keeper"] == {"pair": (1.5, ["fixed"]), 3: (2,)}
    assert isinstance(state["norm"], OrderedDict)
    assert state["norm"]._metadata == norm.state_dict()._metadata


def test_a_state_that_could_not_be_loaded_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    trial = session(torch.optim.SGD([weight()], lr=0.1, momentum=0.9))
    trial.keep(keeper=Keeper({"path": Path("x")}))
    with pytest.raises(UnsupportedError, match=r"tensors and plain values, .* but got a state"):
        trial.report({}, checkpoint=True)


def test_a_folder_of_ones_own_becomes_the_checkpoint(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = session(optimizer, order(1, 0.5))
    trial.report({}, checkpoint=tmp_path)
    assert "optimizer" not in checkpointing.read(tmp_path, {})
    with pytest.raises(StateError, match=r"hold \['model'\], but got version 2, which lacks"):
        checkpointing.read(tmp_path, {"model": None})
    again = session(torch.optim.SGD([weight()], lr=0.1, momentum=0.9), order(1, 0.5))
    again.load(tmp_path)
    assert (again.seq, again.momentum) == (1, 0.5)
    with pytest.raises(StateError, match=r"must hold gap_tune.pt, but got a folder without"):
        again.load(tmp_path.parent)
