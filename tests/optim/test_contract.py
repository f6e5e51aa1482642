"""Every optimizer of the table against the contract that others' optimizers inherit."""

from __future__ import annotations

from typing import Any

import torch

from gap_tune import optim
from gap_tune.testing import OptimizerContract
from tests.optim.table import TABLE, Row

torch.set_num_threads(1)


def contract(row: Row) -> type[OptimizerContract]:
    """Return the row as the class that a user would write."""

    def optimizer(self: OptimizerContract, params: Any) -> torch.optim.Optimizer:
        return row.make(params)

    def loader(self: OptimizerContract, params: Any) -> torch.optim.Optimizer:
        return (row.loader or row.make)(params)

    name = "Test" + row.name.title().replace(" ", "").replace(",", "").replace("-", "")
    return type(name, (OptimizerContract,), {**row.can, "optimizer": optimizer, "loader": loader})


globals().update({kind.__name__: kind for kind in map(contract, TABLE)})


def test_the_table_holds_every_optimizer_under_names_of_their_own() -> None:
    parameters = OptimizerContract().parameters
    kinds = {type(row.make(parameters())).__name__ for row in TABLE}
    assert kinds == set(optim.__all__)
    assert len({contract(row).__name__ for row in TABLE}) == len(TABLE)
