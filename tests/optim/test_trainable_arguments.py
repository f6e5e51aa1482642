"""FullTO, DiagonalTO and RankOneTO as torch optimizers: groups, decays, arguments, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.optim.trainable import DiagonalTO, FullTO, RankOneTO
from tests.optim.stepping import equal, joined, run, set_gradients, tensors

kinds = pytest.mark.parametrize("kind", [FullTO, DiagonalTO, RankOneTO])


@kinds
def test_bug_an_option_that_there_is_not_was_taken_without_a_word(kind: type) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'alpha_decy'"):
        kind(tensors(), lr=0.1, alpha_decy=0.9)


@kinds
def test_groups_are_independent_and_keep_their_options(kind: type) -> None:
    params, twins = tensors(), tensors()
    optimizer = kind(
        [{"params": params[:1], "alpha": 0.1}, {"params": params[1:], "lr": 0.01, "beta": 0.5}],
        lr=0.1,
    )
    first = kind(twins[:1], lr=0.1, alpha=0.1)
    second = kind(twins[1:], lr=0.01, beta=0.5)
    for step in range(6):
        set_gradients(params, step)
        set_gradients(twins, step)
        for each in (optimizer, first, second):
            each.step()
    assert equal(params, twins)


@pytest.mark.parametrize(("kind", "numbers"), [(FullTO, 132), (DiagonalTO, 22), (RankOneTO, 33)])
def test_state_holds_the_stated_numbers(kind: type, numbers: int) -> None:
    params = tensors()
    optimizer = kind(params, lr=0.1)
    run(optimizer, params, range(1))
    values = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
    assert sum(value.numel() for value in values) == numbers


@pytest.mark.parametrize(
    ("saver", "loader"), [(FullTO, DiagonalTO), (DiagonalTO, RankOneTO), (RankOneTO, FullTO)]
)
def test_state_of_another_kind_is_refused(saver: type, loader: type) -> None:
    params = tensors()
    saved = saver(params, lr=0.1)
    run(saved, params, range(1))
    with pytest.raises(StateError, match="must hold tensors of shapes"):
        loader(params, lr=0.1).load_state_dict(saved.state_dict())


@kinds
def test_lr_scheduler_and_decays_are_exponential(kind: type) -> None:
    params, twins = tensors(), tensors()
    optimizer = kind(params, lr=0.1, alpha=0.05, beta=0.8, alpha_decay=0.9, beta_decay=0.95)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    written = kind(twins, lr=0.1)
    for step in range(6):
        set_gradients(params, step)
        set_gradients(twins, step)
        written.param_groups[0].update(
            lr=0.1 * 0.8**step, alpha=0.05 * 0.9**step, beta=0.8 * 0.95**step
        )
        optimizer.step()
        scheduler.step()
        written.step()
    np.testing.assert_allclose(joined(params), joined(twins), rtol=1e-12)


@kinds
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, r"lr must be a number in \[0, inf\), but got -1.0"),
        ({"alpha": float("nan")}, "alpha must be a number in"),
        ({"beta": 1.5}, r"beta must be a number in \[0, 1\], but got 1.5"),
        ({"alpha_decay": 0.0}, r"alpha_decay must be a number in \(0, 1\]"),
        ({"beta_decay": 1.1}, "beta_decay must be a number in"),
        ({"weight_decay": -0.1}, "weight_decay must be a number in"),
        ({"alpha": 0.0, "beta": 0.0}, "must not both be 0"),
    ],
)
def test_options_out_of_range_are_named(
    kind: type, options: dict[str, float], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        kind(tensors(), **{"lr": 0.1, **options})
    optimizer = kind(tensors(), lr=0.1)
    with pytest.raises(InvalidValueError, match=message):
        optimizer.add_param_group({"params": tensors(1), **options})
    assert len(optimizer.param_groups) == 1


@kinds
def test_complex_parameters_and_sparse_gradients_are_refused(kind: type) -> None:
    with pytest.raises(UnsupportedError, match="complex64"):
        kind([torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))], lr=0.1)
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = kind([weight], lr=0.1)
    weight.grad = torch.eye(2).to_sparse()
    with pytest.raises(UnsupportedError, match="must be dense"):
        optimizer.step()


@pytest.mark.parametrize("kind", [FullTO, RankOneTO])
def test_mixed_dtypes_are_refused_where_coordinates_are_coupled(kind: type) -> None:
    params = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2).double())]
    with pytest.raises(UnsupportedError, match="one device and dtype"):
        kind(params, lr=0.1)
    optimizer = kind(params[:1], lr=0.1)
    optimizer.add_param_group({"params": params[1:]})
    assert len(optimizer.param_groups) == 2


def test_full_refuses_large_groups_with_the_memory_it_would_need() -> None:
    weight = torch.nn.Parameter(torch.empty(16_385, device="meta"))
    with pytest.raises(InvalidValueError, match=r"max_dimension=16384.*16385.*1\.0 GiB"):
        FullTO([weight], lr=0.1)
    with pytest.raises(InvalidValueError, match="max_dimension=10"):
        FullTO(tensors(), lr=0.1, max_dimension=10)
    FullTO(tensors(), lr=0.1, max_dimension=11)
