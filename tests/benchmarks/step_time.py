"""Step time of an optimizer over torch's own: both sides interleaved, ratio of medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gap_tune import GradientMonitor, TrustRegion
from gap_tune.optim import SGD, AdamW, SwitchSGD
from gap_tune.tune.trial.attaching import make_tuning
from tests.benchmarks.shapes import MODELS, Shapes

Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
_WARM_UP = 3
_ROUNDS = 6
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


def _torch_sgd(parameters: list[Any], **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, weight_decay=5e-4, **options)


def _torch_adamw(parameters: list[Any], **options: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-6, **options)


def _sgd(parameters: list[Any], **options: Any) -> torch.optim.Optimizer:
    return SGD(parameters, lr=1e-6, momentum=0.9, weight_decay=5e-4, **options)


def _adamw(parameters: list[Any], **options: Any) -> torch.optim.Optimizer:
    return AdamW(parameters, lr=1e-6, **options)


def _monitored(parameters: list[Any], **options: Any) -> torch.optim.Optimizer:
    optimizer = _torch_sgd(parameters, **options)
    GradientMonitor(optimizer, candidates=CANDIDATES)
    return optimizer


def _attached(make: Make, trust_region: TrustRegion) -> Callable[..., torch.optim.Optimizer]:
    """Return what makes an optimizer that a trial's session watches and controls."""

    def attached(parameters: list[Any], **options: Any) -> torch.optim.Optimizer:
        optimizer = make(parameters, **options)
        # It lives as long as the optimizer does.
        own = {"mode": "scheduler"}
        optimizer.tuning = make_tuning(optimizer, own, trust_region=trust_region)  # type: ignore[attr-defined]
        return optimizer

    return attached


def _with_region(make: Make, trust_region: TrustRegion) -> Callable[..., torch.optim.Optimizer]:
    return lambda parameters, **options: make(parameters, trust_region=trust_region, **options)


def _control_cases() -> list[Case]:
    """Return whatever changes momentum or learning rate, in and out of a trust region."""
    bars = {"ResNet-18": 1.05, "GPT-2 small": 1.02}
    cases = []
    for name, theirs, ours in (("SGD", _torch_sgd, _sgd), ("AdamW", _torch_adamw, _adamw)):
        for region, suffix in ((TrustRegion(span=1), ""), (TrustRegion(), ", region")):
            attached = _attached(theirs, region)
            cases.append(Case(f"attach, {name}{suffix}", theirs, attached, bars, 1.05))
            self_tuning = _with_region(ours, region)
            cases.append(Case(f"optim.{name}{suffix}", theirs, self_tuning, bars, 1.05))
    return cases


CASES = [
    Case(
        "monitor + torch SGD, 16 candidates",
        _torch_sgd,
        _monitored,
        {"ResNet-18": 1.10, "GPT-2 small": 1.02},
        1.05,
    ),
    *_control_cases(),
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


def measure(
    device: torch.device,
    seconds: float,
    *,
    models: Collection[str] = tuple(MODELS),
    only: str = "",
) -> list[Row]:
    """Return the table's rows for a device, spending about ``seconds`` on each.

    Args:
        device: Where parameters are.
        seconds: Time for each row.
        models: Names of the models.
        only: Part of the name of the cases to measure.
    """
    rows = []
    for model in models:
        shapes = MODELS[model]
        for case in (case for case in CASES if only in case.what):
            for implementation in case.implementations:
                theirs, ours = _in_rounds(case, shapes(), device, implementation, seconds)
                medians = [1e3 * statistics.median(spent) for spent in (theirs, ours)]
                means = [statistics.fmean(spent) for spent in (theirs, ours)]
                bar = case.gpu if device.type == "cuda" else case.cpu[model]
                row = (case.what, model, implementation, device.type, *medians)
                ratios = medians[1] / medians[0], means[1] / means[0]
                rows.append(Row(*row, *ratios, bar, case.bound))
    return rows


def _in_rounds(
    case: Case, shapes: Shapes, device: torch.device, implementation: str, seconds: float
) -> list[list[float]]:
    """Return the seconds of both sides' steps, over several rounds in memory of their own.

    How the pages of parameters and buffers lie in the caches is luck that lasts as long as they
    do, and is worth some per cent of a step. Sides take turns in who is made and steps first.
    """
    times: dict[bool, list[float]] = {False: [], True: []}
    for i in range(_ROUNDS):
        sides = (False, True) if i % 2 else (True, False)
        pair = [
            (case.ours if ours else case.baseline)(
                _parameters(shapes, device), **{implementation: True}
            )
            for ours in sides
        ]
        for ours, spent in zip(sides, interleaved(pair, device, seconds / _ROUNDS), strict=True):
            times[ours] += spent
        del pair
    return [times[False], times[True]]


def interleaved(
    pair: list[torch.optim.Optimizer], device: torch.device, seconds: float
) -> list[list[float]]:
    """Return the seconds of each optimizer's steps, taken in turns, with new gradients each."""
    # Where one thread does all, its own time leaves out what other programs take meanwhile.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter
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
            start = clock()
            optimizer.step()
            _wait(device)
            spent.append(clock() - start)
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
