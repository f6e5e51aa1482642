"""The table of optimizers: complete, consistent with the library and with torch."""

from __future__ import annotations

import inspect

import pytest
import torch

from gap_tune import theory
from gap_tune.theory import THEORY_FAMILIES, family_of

WEIGHTS = [torch.zeros(2, requires_grad=True)]
families = pytest.mark.parametrize("family", THEORY_FAMILIES.values(), ids=THEORY_FAMILIES.keys())


def test_every_corollary_of_the_appendix_has_a_row():
    sources = " ".join(family.source for family in THEORY_FAMILIES.values())
    for number in (5, 6, *range(10, 23)):
        assert f"Cor. {number}" in sources


MASTER_TABLE = """GD; SGD; Colored GD; Newton / Gauss-Newton; Natural gradient; K-FAC; Shampoo;
AdaGrad; RMSProp; Adam; AdamW; Adam, validation-aware; SGD with momentum; Nesterov momentum;
AdaFactor; Layer-normalised momentum; LARS; LAMB; signSGD; Lion; Polyak step"""


@pytest.mark.parametrize("optimizer", MASTER_TABLE.replace("\n", " ").split("; "))
def test_every_optimizer_of_tables_1_to_4_has_a_row(optimizer):
    assert THEORY_FAMILIES[optimizer].name == optimizer


@families
def test_every_row_is_filled_in_plain_text(family):
    for value in (family.name, family.budget, family.cone, family.equalizer, family.optimum):
        assert value
        assert value.isascii()
    assert family.hyperparameters
    assert len({h.symbol for h in family.hyperparameters}) == len(family.hyperparameters)


@families
def test_functions_that_derive_hyperparameters_exist(family):
    for hyperparameter in family.hyperparameters:
        if hyperparameter.derived_by:
            assert hyperparameter.derived_by in theory.__all__
            assert callable(getattr(theory, hyperparameter.derived_by))


@families
def test_torch_implementations_take_the_named_arguments(family):
    for implementation in family.implementations:
        package, _, name = implementation.path.rpartition(".")
        if package != "torch.optim":
            assert package == "pytorch_optimizer"
            continue
        known = set(inspect.signature(getattr(torch.optim, name)).parameters)
        named = {h.argument.partition("[")[0] for h in family.hyperparameters} - {""}
        assert named | set(implementation.settings) <= known


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: torch.optim.SGD(WEIGHTS, lr=0.1), "SGD with momentum"),
        (lambda: torch.optim.SGD(WEIGHTS, lr=0.1, momentum=0.9), "SGD with momentum"),
        (
            lambda: torch.optim.SGD(WEIGHTS, lr=0.1, momentum=0.9, nesterov=True),
            "Nesterov momentum",
        ),
        (lambda: torch.optim.Adam(WEIGHTS), "Adam"),
        (lambda: torch.optim.AdamW(WEIGHTS), "AdamW"),
        (lambda: torch.optim.RMSprop(WEIGHTS), "RMSProp"),
        (lambda: torch.optim.Adagrad(WEIGHTS), "AdaGrad"),
        (lambda: torch.optim.SGD, "SGD with momentum"),
        (lambda: type("Mine", (torch.optim.AdamW,), {}), "AdamW"),
    ],
)
def test_family_of_finds_the_row(make, expected):
    assert family_of(make()).name == expected


@pytest.mark.parametrize("optimizer", [object(), int, torch.optim.Adadelta, torch.optim.Optimizer])
def test_family_of_an_unknown_optimizer_is_none(optimizer):
    assert family_of(optimizer) is None


def test_a_class_of_the_same_name_elsewhere_is_not_mistaken_for_torch_s():
    stranger = type("SGD", (), {"__module__": "somewhere.optim"})
    assert family_of(stranger) is None


def test_sign_sgd_of_pytorch_optimizer_is_signum_since_its_momentum_can_be_derived():
    cls = type("SignSGD", (), {"__module__": "pytorch_optimizer.optimizer.sgd"})
    optimizer = cls()
    optimizer.defaults = {"lr": 1e-3, "momentum": 0.0}
    assert family_of(optimizer).name == "Signum"


def test_derived_arguments_of_the_common_optimizers():
    assert THEORY_FAMILIES["SGD with momentum"].derived_arguments == ("lr", "momentum")
    assert THEORY_FAMILIES["AdamW"].derived_arguments == ("lr", "betas[0]", "betas[1]")
    assert THEORY_FAMILIES["signSGD"].derived_arguments == ()
