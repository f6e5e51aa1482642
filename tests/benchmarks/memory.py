"""Memory that the monitor holds besides the model, at any model size."""

from __future__ import annotations

import torch

from gap_tune.gradients.observer import GradientObserver
from tests.benchmarks.shapes import MODELS
from tests.benchmarks.step_time import CANDIDATES

# More than wait for the filter bank at a time.
_STEPS = 20


def extra_memory() -> dict[str, float]:
    """Return the MiB of all tensors that an observer holds, by model and kind."""
    sizes = {}
    for model, shapes in MODELS.items():
        parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes()]
        for kind, betas2 in (("SGD", None), ("Adam", (0.999,))):
            observer = GradientObserver(parameters, candidates=CANDIDATES, whitening=betas2)
            for _ in range(_STEPS):
                observer.observe()
            sizes[f"{model}, {kind}, 16 candidates"] = held_bytes(observer) / 2**20
    return sizes


def held_bytes(observer: GradientObserver) -> int:
    """Return the bytes of the tensors reachable from an observer, its parameters left out."""
    seen: dict[int, int] = {}

    def walk(thing: object) -> None:
        if isinstance(thing, torch.nn.Parameter):
            return
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        elif isinstance(thing, dict):
            for value in thing.values():
                walk(value)
        elif isinstance(thing, (list, tuple)):
            for value in thing:
                walk(value)
        elif type(thing).__module__.startswith("gap_tune"):
            walk(vars(thing))

    walk(observer)
    return sum(seen.values())
