"""What each of two gloo ranks runs; results go to files that the test compares."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gap_tune import GradientMonitor, TrustRegion
from gap_tune.optim import SGD
from gap_tune.tune.trial.attaching import make_tuning

STEPS = 30


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))


def batch(step: int, rank: int) -> torch.Tensor:
    return torch.randn(16, 10, generator=torch.Generator().manual_seed(100 * step + rank))


def loss_of(network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return (network(inputs) - inputs[:, :2]).pow(2).mean()


def ddp(rank: int) -> dict[str, Any]:
    network = DistributedDataParallel(model())
    optimizer = SGD(network.parameters(), lr=0.05, momentum=0.9, trust_region=TrustRegion())
    momenta, scales = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(network, batch(step, rank)).backward()
        optimizer.step()
        momenta.append(optimizer.momentum)
        scales.append(optimizer.scale)
    statistics = optimizer.statistics().to_dict()
    return {"momenta": momenta, "scales": scales, "statistics": statistics}


def scaled(rank: int) -> dict[str, Any]:
    """Shard a training whose trust region is controlled; rank 0 also runs it unsharded."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    found = {}
    for name in ("SGD", "AdamW"):
        network = model()
        fully_shard(network, mesh=init_device_mesh("cpu", (2,)))
        found[name] = {
            "sharded": _scales(network, name, (rank,)),
            "whole": _scales(model(), name, (0, 1)),
        }
    return found


def _scales(network: torch.nn.Module, name: str, ranks: tuple[int, ...]) -> list[float]:
    kind = getattr(torch.optim, name)
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = kind(network.parameters(), lr=0.01, **options)
    section = {"mode": "trial", "rule": "fixed", "trust_region": {}}
    tuning = make_tuning(optimizer, section, sample=None)
    scales = []
    for step in range(STEPS):
        optimizer.zero_grad()
        losses = [loss_of(network, batch(step, r)) for r in ranks]
        torch.stack(losses).mean().backward()
        optimizer.step()
        scales.append(tuning.scale)
    return scales


def fsdp(rank: int) -> dict[str, Any]:
    """Shard the same training; rank 0 also runs it unsharded."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network = model()
    fully_shard(network, mesh=init_device_mesh("cpu", (2,)))
    return {"sharded": _monitored(network, rank=rank), "whole": _monitored(model(), rank=None)}


def _monitored(network: torch.nn.Module, *, rank: int | None) -> dict[str, Any]:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    monitor = GradientMonitor(optimizer, sample=None, lags=4)
    reduced = 0
    original = dist.all_reduce

    def counted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        nonlocal reduced
        reduced += tensor.numel() * tensor.element_size()
        return original(tensor, *args, **kwargs)

    for step in range(STEPS):
        optimizer.zero_grad()
        # Unsharded: the mean over both ranks' batches, which is what the shards reduce to.
        ranks = (0, 1) if rank is None else (rank,)
        (sum(loss_of(network, batch(step, r)) for r in ranks) / len(ranks)).backward()  # type: ignore[union-attr]
        optimizer.step()
    dist.all_reduce = counted  # type: ignore[assignment]
    statistics = monitor.statistics().to_dict()
    dist.all_reduce = original
    return {"statistics": statistics, "bytes": reduced}


def unfreezing(rank: int) -> dict[str, Any]:
    """Shard a training whose first layer is frozen at first; rank 0 also runs it unsharded."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network = model()
    network[0].requires_grad_(False)  # type: ignore[index]
    fully_shard(network, mesh=init_device_mesh("cpu", (2,)))
    whole = model()
    whole[0].requires_grad_(False)  # type: ignore[index]
    return {"sharded": _unfrozen(network, (rank,)), "whole": _unfrozen(whole, (0, 1))}


def _unfrozen(network: torch.nn.Module, ranks: tuple[int, ...]) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    monitor = GradientMonitor(optimizer, sample=None, lags=4)
    get_optimizer_state_dict(network, optimizer)
    placeholder = monitor.statistics().steps
    for step in range(STEPS):
        if step == 10:
            network[0].requires_grad_()  # type: ignore[index]
        optimizer.zero_grad()
        if step % 5 != 3:
            (sum(loss_of(network, batch(step, r)) for r in ranks) / len(ranks)).backward()  # type: ignore[union-attr]
        optimizer.step()
    return {"placeholder": placeholder, "statistics": monitor.statistics().to_dict()}


def experts(rank: int) -> dict[str, Any]:
    """Each rank has parameters of its own, and not always a gradient; all decide together."""
    from gap_tune.rules import AlignmentRule

    weight = torch.nn.Parameter(torch.ones(4), requires_grad=rank == 0)
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.9)
    monitor = GradientMonitor(optimizer, process_group=dist.group.WORLD)
    chosen = []
    # A warm-up's first step, with a gradient on one rank and zeros on the other: all take it.
    optimizer.param_groups[0]["lr"] = 0.0
    weight.grad = torch.full((4,), 1.0 - rank)
    optimizer.step()
    assert monitor.stepped
    # What only makes the state, all leave out.
    weight.grad = torch.zeros(4)
    optimizer.step()
    assert not monitor.stepped
    optimizer.param_groups[0]["lr"] = 0.05
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        # Rank 1 is frozen at first; later the ranks take turns, and some steps are of neither.
        has = rank == 0 if step < 10 else step % 3 == rank
        weight.grad = torch.randn(4, generator=generator) if has else None
        optimizer.step()
        if monitor.stepped:
            chosen.append(AlignmentRule().decide(monitor.statistics(), 0.9).momentum)
    return {"chosen": chosen, "statistics": monitor.statistics().to_dict()}


TASKS = {task.__name__: task for task in (ddp, fsdp, scaled, unfreezing, experts)}


if __name__ == "__main__":
    rank, port, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    results = {}
    for name, task in TASKS.items():
        results[name] = task(rank)
        # Threads of DDP or gloo that outlive their process group abort the process.
        gc.collect()
        dist.barrier()
    dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(results))
