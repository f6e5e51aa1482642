"""Without Ray: an optimizer with torch's own arguments that tunes itself as it trains.

Beside it torch's SGD with the usual momentum 0.9, same data order and same initial weights, at
three learning rates. It takes a few seconds on one core.
"""

from collections.abc import Callable
from functools import partial

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gap_tune.optim

EPOCHS, BATCH, TRAINING = 10, 64, 1400


def train(make: Callable[..., torch.optim.Optimizer]) -> tuple[float, torch.optim.Optimizer]:
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    order = torch.randperm(len(digits))
    images, labels = torch.tensor(pixels / 16).float()[order], torch.tensor(digits)[order]
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = make(model.parameters())
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINING).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return cross_entropy(model(images[TRAINING:]), labels[TRAINING:]).item(), optimizer


if __name__ == "__main__":
    torch.set_num_threads(1)
    for lr in (0.01, 0.1, 1.0):
        fixed, _ = train(partial(torch.optim.SGD, lr=lr, momentum=0.9))
        tuned, optimizer = train(partial(gap_tune.optim.SGD, lr=lr, momentum=0.9))
        print(f"lr {lr:g}: loss {fixed:.3f} at momentum 0.9, {tuned:.3f} tuned")
        times, momentum = optimizer.scale, optimizer.momentum
        print(f"  at the end {times:.2g} times that rate, at momentum {momentum:g}")
