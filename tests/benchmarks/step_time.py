"""Step time of an optimizer over torch's own: both sides interleaved, ratio of medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gap_tune import GradientMonitor
from gap_tune.optim import SGD, AdamW, SwitchSGD
from tests.benchmarks.shapes import MODELS, Shapes

Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
_WARM_UP = 3
CANDIDATES = tuple(i / 17 for i in range(1, 17))


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    model: str
    implementation: str
    device: str
    torch_ms: float
    ours_ms: float
    ratio: float
    mean_ratio: float
    bar: float
    bound: float | None = None


@dataclass(frozen=True)
class Case:
    """What is compared with what, and the ratio it must not pass on CPU by model, and on GPU."""

    what: str
    baseline: Callable[..., torch.optim.Optimizer]
    ours: Callable[..., torch.optim.Optimizer]
    cpu: dict[str, float]
    gpu: float
    # Bytes that must move over bytes that torch's own step moves.
    bound: float | None = None
    implementations: tuple[str, ...] = ("foreach", "fused")


def _monitored(parameters: list[Any], **options: Any) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, **options)
    GradientMonitor(optimizer, candidates=CANDIDATES)
    return optimizer


CASES = [
    Case(
        "monitor + torch SGD, 16 candidates",
        lambda p, **o: torch.optim.SGD(p, lr=1e-6, momentum=0.9, **o),
        _monitored,
        {"ResNet-18": 1.10, "GPT-2 small": 1.02},
        1.05,
    ),
    Case(
        "gap_tune.optim.SGD",
        lambda p, **o: torch.optim.SGD(p, lr=1e-6, momentum=0.9, **o),
        lambda p, **o: SGD(p, lr=1e-6, momentum=0.9, **o),
        {"ResNet-18": 1.10, "GPT-2 small": 1.02},
        1.05,
    ),
    Case(
        "gap_tune.optim.AdamW",
        lambda p, **o: torch.optim.AdamW(p, lr=1e-6, **o),
        lambda p, **o: AdamW(p, lr=1e-6, **o),
        {"ResNet-18": 1.08, "GPT-2 small": 1.02},
        1.05,
    ),
    Case(
        "SwitchSGD, K = 3",
        lambda p, **o: torch.optim.SGD(p, lr=1e-6, momentum=0.9, **o),
        lambda p, **o: SwitchSGD(p, lr=1e-6),
        {"ResNet-18": 3.0, "GPT-2 small": 3.0},
        2.2,
        # Read g, read and write p and K buffers, over the same with one buffer.
        bound=(1 + 2 + 2 * 3) / (1 + 2 + 2),
        implementations=("foreach",),
    ),
]


def measure(device: torch.device, seconds: float) -> list[Row]:
    """Return the table's rows for a device, spending about ``seconds`` on each."""
    rows = []
    for model, shapes in MODELS.items():
        for case in CASES:
            for implementation in case.implementations:
                pair = [
                    make(_parameters(shapes(), device), **{implementation: True})
                    for make in (case.baseline, case.ours)
                ]
                theirs, ours = interleaved(pair, device, seconds)
                medians = [1e3 * statistics.median(spent) for spent in (theirs, ours)]
                means = [statistics.fmean(spent) for spent in (theirs, ours)]
                bar = case.gpu if device.type == "cuda" else case.cpu[model]
                row = (case.what, model, implementation, device.type, *medians)
                ratios = medians[1] / medians[0], means[1] / means[0]
                rows.append(Row(*row, *ratios, bar, case.bound))
                del pair
    return rows


def interleaved(
    pair: list[torch.optim.Optimizer], device: torch.device, seconds: float
) -> list[list[float]]:
    """Return the seconds of each optimizer's steps, taken in turns, with new gradients each."""
    # Both were made from the same seed.
    gradients = [p.grad for p in _held(pair[0])]
    times: list[list[float]] = [[] for _ in pair]
    end = float("inf")
    while len(times[0]) < _WARM_UP + 15 or time.perf_counter() < end:
        if len(times[0]) == _WARM_UP:
            end = time.perf_counter() + seconds
        for optimizer, spent in zip(pair, times, strict=True):
            _renew(optimizer, gradients)
            _wait(device)
            start = time.perf_counter()
            optimizer.step()
            _wait(device)
            spent.append(time.perf_counter() - start)
    return [spent[_WARM_UP:] for spent in times]


def _held(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _renew(optimizer: torch.optim.Optimizer, gradients: list[Any]) -> None:
    """Give every parameter a new gradient tensor, as ``backward`` does after ``zero_grad``."""
    optimizer.zero_grad()
    torch.autograd.backward(_held(optimizer), gradients)


def as_dicts(rows: list[Row]) -> list[dict[str, Any]]:
    """Return rows for JSON."""
    return [asdict(row) for row in rows]


def _parameters(shapes: Shapes, device: torch.device) -> list[torch.nn.Parameter]:
    generator = torch.Generator(device).manual_seed(0)
    parameters = []
    for shape in shapes:
        parameter = torch.nn.Parameter(torch.zeros(shape, device=device))
        parameter.grad = torch.randn(shape, device=device, generator=generator)
        parameters.append(parameter)
    return parameters


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
