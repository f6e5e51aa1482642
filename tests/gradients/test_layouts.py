"""Whatever precision and layout gradients have, the statistics are the same."""

from __future__ import annotations

import pytest
import torch

from gap_tune import AlignmentStatistics, GradientMonitor
from gap_tune.errors import UnsupportedError
from gap_tune.gradients.reading import GradientReader
from tests.gradients.monitored import CANDIDATES, assert_matches, monitored


@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-5), (torch.float16, 1e-5)],
)
def test_precisions(dtype: torch.dtype, rtol: float) -> None:
    parameter = torch.nn.Parameter(torch.zeros(40, dtype=dtype))
    optimizer, monitor = monitored([parameter], sample=None)
    history = []
    for _ in range(8):
        parameter.grad = torch.randn(40).add(1).to(dtype)
        history.append(parameter.grad.double().numpy())
        optimizer.step()
    assert_matches(monitor.statistics(), history, rtol)


def test_complex_parameters_count_real_and_imaginary_parts() -> None:
    parameter = torch.nn.Parameter(torch.zeros(15, dtype=torch.complex64))
    optimizer, monitor = monitored([parameter], sample=None)
    history = []
    for _ in range(6):
        parameter.grad = torch.randn(15, dtype=torch.complex64) + 1
        history.append(torch.view_as_real(parameter.grad).double().numpy().copy())
        optimizer.step()
    assert monitor.statistics().dimension == 30
    assert_matches(monitor.statistics(), history, 1e-5)


@pytest.mark.parametrize("sample", [None, 60])
def test_sparse_gradients_read_as_the_dense_ones_they_stand_for(sample: int | None) -> None:
    def run(sparse: bool) -> AlignmentStatistics:
        torch.manual_seed(0)
        table = torch.nn.Embedding(50, 6, sparse=sparse)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
        monitor = GradientMonitor(optimizer, candidates=CANDIDATES, sample=sample)
        for _ in range(10):
            optimizer.zero_grad()
            # Repeated rows: the sparse gradient is not coalesced.
            table(torch.randint(0, 50, (40,))).pow(2).sum().backward()
            optimizer.step()
        return monitor.statistics()

    sparse, dense = run(True), run(False)
    assert sparse.alignment == pytest.approx(dense.alignment, rel=1e-4)
    assert sparse.autocorrelation == pytest.approx(dense.autocorrelation, rel=1e-4)
    assert (sparse.steps, sparse.sampled) == (dense.steps, dense.sampled)


def test_a_sparse_gradient_of_another_layout_is_refused_clearly() -> None:
    parameter = torch.nn.Parameter(torch.zeros(4, 4))
    _, monitor = monitored([parameter])
    parameter.grad = torch.eye(4).to_sparse()
    with pytest.raises(UnsupportedError, match="one sparse dimension"):
        monitor.observe()


def test_integer_parameters_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"floating-point or complex, but got torch\.int64"):
        GradientReader([torch.zeros(3, dtype=torch.int64)], None)


def test_memory_formats_read_the_same_products() -> None:
    def run(memory_format: torch.memory_format) -> AlignmentStatistics:
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))
        optimizer, monitor = monitored([parameter], sample=None)
        for _ in range(6):
            gradient = torch.randn(8, 4, 3, 3) + 1
            parameter.grad = gradient.to(memory_format=memory_format)
            optimizer.step()
        return monitor.statistics()

    plain, last = run(torch.contiguous_format), run(torch.channels_last)
    assert last.alignment == pytest.approx(plain.alignment, rel=1e-5)


def test_a_transposed_gradient_is_read_in_logical_order() -> None:
    parameter = torch.nn.Parameter(torch.zeros(6, 5))
    optimizer, monitor = monitored([parameter], sample=None)
    history = []
    for t in range(6):
        gradient = torch.randn(5, 6).add(1).t() if t % 2 else torch.randn(6, 5) + 1
        parameter.grad = gradient
        history.append(gradient.double().numpy().copy())
        optimizer.step()
    assert_matches(monitor.statistics(), history, 1e-5)


def test_gradients_that_are_views_into_a_bucket_are_read_where_they_are() -> None:
    # DistributedDataParallel(gradient_as_bucket_view=True) makes such gradients.
    parameters = [torch.nn.Parameter(torch.zeros(10)) for _ in range(3)]
    optimizer, monitor = monitored(parameters, sample=None)
    history = []
    for _ in range(5):
        bucket = torch.randn(30) + 1
        history.append(bucket.double().numpy().copy())
        for i, p in enumerate(parameters):
            p.grad = bucket[10 * i : 10 * (i + 1)]
        optimizer.step()
    assert_matches(monitor.statistics(), history, 1e-5)


def test_frozen_and_gradientless_parameters_read_as_zeros() -> None:
    used, unused = (torch.nn.Parameter(torch.zeros(7)) for _ in range(2))
    frozen = torch.nn.Parameter(torch.zeros(9), requires_grad=False)
    optimizer, monitor = monitored([frozen, used, unused], sample=None)
    history = []
    for _ in range(4):
        used.grad = torch.randn(7) + 1
        history.append(used.grad.double().numpy().copy())
        optimizer.step()
    assert monitor.statistics().dimension == 14
    assert_matches(monitor.statistics(), history, 1e-5)


def test_bug_gradients_that_are_nowhere_in_memory_are_not_copied_by_address() -> None:
    """Each of these ended the process by a segmentation fault, or read memory of others."""
    one, other = (torch.nn.Parameter(torch.ones(4096)) for _ in range(2))
    reader = GradientReader([one, other], sample=None)
    one.grad = torch.full((4096,), 2.0)
    other.grad = torch._efficientzerotensor((4096,))
    read = reader.gather(reader.empty())
    assert read.tolist() == [2.0] * 4096 + [0.0] * 4096

    other.grad = torch.ones(4096)
    other.grad.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="storage of size 0"):
        reader.gather(reader.empty())

    # Of a part of it the address is not 0, and nothing is there either.
    whole = torch.ones(8192)
    other.grad = whole[4096:]
    whole.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="storage of size 0"):
        reader.gather(reader.empty())

    # A layer that was pruned is smaller than the one that is observed.
    other.grad = None
    other.data = torch.ones(2)
    other.grad = torch.ones(2)
    for gather in (reader.gather, reader.gather_values):
        with pytest.raises(RuntimeError, match="storage of size 8"):
            gather(reader.empty())
