"""How updates depend on momentum, of optimizers that the table knows and of others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gap_tune.control.update import decouples_decay, update_of
from gap_tune.theory.families import Update


class Own(torch.optim.Optimizer):
    """An optimizer of one's own, which sums gradients for all that can be told."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, {"lr": 0.1, "momentum": 0.9, **options})

    def step(self) -> None:  # type: ignore[override]
        """Do nothing."""


class OwnMuon(Own):
    """Another, whose name tells."""


@pytest.mark.parametrize(
    ("kind", "options", "update", "decouples"),
    [
        (torch.optim.SGD, {}, Update.SUM, False),
        (torch.optim.Muon, {}, Update.FIXED_SIZE, True),
        (torch.optim.AdamW, {}, Update.CORRECTED_AVERAGE, False),
        (Own, {}, Update.SUM, False),
        (Own, {"ns_steps": 5}, Update.FIXED_SIZE, True),
        (OwnMuon, {}, Update.FIXED_SIZE, True),
        (OwnMuon, {"ns_steps": 5}, Update.FIXED_SIZE, True),
    ],
)
def test_an_update_is_that_of_its_family_or_what_its_options_and_name_tell(
    kind: Any, options: dict[str, Any], update: Update, decouples: bool
) -> None:
    optimizer = kind([torch.nn.Parameter(torch.ones(2, 2))], **options)
    assert update_of(optimizer) is update
    assert decouples_decay(optimizer) is decouples


def test_one_group_that_names_steps_of_an_orthogonalisation_is_enough() -> None:
    weights = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    optimizer = Own([{"params": weights[:1]}, {"params": weights[1:], "ns_steps": 5}])
    assert update_of(optimizer) is Update.FIXED_SIZE
