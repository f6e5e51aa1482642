"""What the training loop adds to one written by hand: ResNet-18 at the shapes of CIFAR-100.

    python -m tests.benchmarks.loop_overhead [--steps 8]

Steps of the loops take turns, so that a busy machine slows all of them alike. A second table takes
a linear model in place of ResNet-18, whose step is so short that what the loop itself costs can be
read in microseconds; over the step of ResNet-18 that is the ratio without the machine's noise.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from gap_tune import GradientMonitor
from gap_tune.training.prepared import prepare
from gap_tune.workloads.base import Splits
from gap_tune.workloads.vision.cifar import CIFAR100

BATCH = 128
BAR = 1.01
_PATH = "tests.benchmarks.loop_overhead"


class Images(CIFAR100):
    """CIFAR-100's shapes with random pixels."""

    name = "images"

    def data(self) -> Splits:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (1280, 3, 32, 32), dtype=torch.uint8, generator=generator)
        samples = TensorDataset(pixels, torch.randint(100, (1280,), generator=generator))
        return Splits(samples, samples, samples)


class Linear(Images):
    """The same data, and hardly a model."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), Floats(), nn.Linear(3, 100))

    def augment(self, inputs: Any, generator: torch.Generator) -> Any:
        return inputs.float()


class Floats(nn.Module):
    """Flattens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def by_hand(task: Images, device: torch.device) -> Callable[[], object]:
    """Return a step of a plain loop, which draws its batches as the other does."""
    train = task.data().train
    model = task.model().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2000)
    order, chance = torch.Generator(), torch.Generator()
    images, labels = train.tensors  # type: ignore[attr-defined]

    def chosen() -> Iterator[torch.Tensor]:
        while True:
            yield from torch.randperm(len(images), generator=order).split(BATCH)

    indices = chosen()

    def step() -> None:
        batch = next(indices)
        inputs, targets = images[batch].to(device), labels[batch].to(device)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(task.augment(inputs, chance)), targets)
        loss.backward()
        optimizer.step()
        schedule.step()

    return step


def ours(task: Images, *, monitored: bool) -> Callable[[], object]:
    """Return a step of gap_tune's loop, with its statistics or without."""
    made = prepare({"workload": f"{_PATH}:{type(task).__name__}", "batch_size": BATCH})
    if monitored:
        GradientMonitor(made.learner.optimizer)

    def endless() -> Iterator[tuple[Any, ...]]:
        for _ in made.position.epochs(10**6):
            yield from made.minibatches()

    minibatches = endless()
    return lambda: made.step(next(minibatches))


def measure(task: Images, steps: int, device: torch.device) -> list[float]:
    """Return the median seconds of a step by hand, of ours, and of ours with statistics."""
    takes = [by_hand(task, device), ours(task, monitored=False), ours(task, monitored=True)]
    spent: list[list[float]] = [[] for _ in takes]
    for turn in range(steps + 2):
        # Whoever comes after another finds the caches as that one left them.
        for place in itertools.islice(itertools.cycle(range(3)), turn % 3, turn % 3 + 3):
            start = time.perf_counter()
            takes[place]()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:
                spent[place].append(time.perf_counter() - start)
    return [statistics.median(each) for each in spent]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="of ResNet-18, per loop")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = ("by hand", "gap_tune's loop", "with statistics")
    real = measure(Images(), arguments.steps, device)
    tiny = measure(Linear(), 100 * arguments.steps, device)
    print(f"{device}, {torch.get_num_threads()} threads, batch {BATCH}")
    print(f"{'':<18}{'ResNet-18 ms':>14}{'ratio':>8}{'linear ms':>11}{'added / ResNet-18':>19}")
    for name, whole, small in zip(names, real, tiny, strict=True):
        added = (small - tiny[0]) / real[0]
        print(
            f"{name:<18}{1e3 * whole:14.1f}{whole / real[0]:8.3f}{1e3 * small:11.3f}{added:19.4%}"
        )
    print(f"bar: ratio {BAR}")


if __name__ == "__main__":
    main()
