"""GradientObserver: a filter bank over the sampled gradients of a list of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from gap_tune.errors import StateError, check_count, check_range
from gap_tune.gradients.filter_bank import FilterBank, on_host
from gap_tune.gradients.host_bank import HostFilterBank
from gap_tune.gradients.reading import GradientReader
from gap_tune.gradients.reduce import read_counters, sum_over_ranks
from gap_tune.gradients.sampling import DEFAULT_SAMPLE
from gap_tune.gradients.statistics import (
    DEFAULT_CANDIDATES,
    AlignmentStatistics,
    check_candidates,
)
from gap_tune.gradients.whitening import HostWhitening, Whitening

_VERSION = 2
# Gradients that wait for the bank, at most, and coordinates in all of them. Right after a step
# the caches hold weights: a first pass through the bank is slow, those that follow it are fast.
_WAITING, _WAITING_COORDINATES = 16, 16 * DEFAULT_SAMPLE


class GradientObserver:
    """Accumulates alignment statistics of parameters' gradients whenever ``observe()`` is called.

    ``GradientMonitor`` calls it at an optimizer's step; self-tuning optimizers call it themselves.

    Args:
        parameters: The parameters to observe.
        candidates: K momentum values to compare, increasing, each in [0, 1).
        sample: Number of coordinates to observe (default 8,192); None observes all.
        decay: Factor in (0, 1] by which the sums shrink each step. The default 0.8 remembers about
            five steps; short memories choose better than long ones.
        lags: Lags of the gradient autocorrelation to keep for reports.
        every: Score the candidates every so many steps; the filters see every gradient.
        whitening: Values of beta2, increasing, to whiten gradients with as Adam does (Cor. 6);
            None takes plain inner products (SGD).
        eps: Adam's epsilon, used where gradients are whitened.
        process_group: Ranks that hold different parameters or shards, to sum over in
            ``statistics()``. Not needed for DDP, whose ranks have equal gradients, nor for
            ``DTensor`` parameters (FSDP2) over all ranks, which are recognised.

    Raises:
        InvalidValueError: When an argument is out of range or nothing is trainable.
        UnsupportedError: When a parameter is neither floating-point nor complex.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        candidates: Sequence[float] = DEFAULT_CANDIDATES,
        sample: int | None = DEFAULT_SAMPLE,
        decay: float = 0.8,
        lags: int = 16,
        every: int = 1,
        whitening: Sequence[float] | None = None,
        eps: float = 1e-8,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self.candidates = check_candidates(candidates)
        self.betas2 = None if whitening is None else check_candidates(whitening)
        self._lags = check_count("lags", lags)
        self._every = check_count("every", every)
        self._calls = 0
        self._group = process_group
        self._reader = reader = GradientReader(parameters, sample)
        on_cpu = reader.device.type == "cpu"
        costs: Any = None
        if self.betas2 is not None:
            costs = (HostWhitening if on_cpu else Whitening)(
                self.betas2, reader.weights, check_range("eps", eps, 0.0, 1.0)
            )
        self._bank = (HostFilterBank if on_cpu else FilterBank)(
            self.candidates,
            reader.size,
            self._lags,
            check_range("decay", decay, 0.0, 1.0, low_open=True),
            device=reader.device,
            dtype=reader.dtype,
            whitening=costs,
        )
        self._pending: list[tuple[Tensor, Tensor | None, bool]] = []
        self._rows: list[Tensor] = []
        self._block = min(_WAITING, max(1, _WAITING_COORDINATES // reader.size))

    @torch.no_grad()
    def observe(self, *, grad_scale: Tensor | None = None, found_inf: Tensor | None = None) -> None:
        """Take in the gradients that the parameters hold now, as those of one optimizer step.

        Args:
            grad_scale: What ``torch.amp.GradScaler`` multiplied them by, 0-d.
            found_inf: Not zero when ``GradScaler`` makes the optimizer skip this step, 0-d.
        """
        self._calls += 1
        usable = None if found_inf is None else (found_inf == 0).to(self._reader.device)
        place = len(self._pending)
        if place == len(self._rows):
            self._rows.append(self._reader.empty())
        row = self._reader.read(self._rows[place], grad_scale)
        self._pending.append((row, usable, self._calls % self._every == 0))
        if place + 1 == self._block:
            self._take_in()

    def _take_in(self) -> None:
        """Let the bank observe the gradients that wait for it, in their order."""
        for gradient, usable, score in self._pending:
            self._bank.observe(gradient, usable=usable, score=score)
        self._pending.clear()

    @torch.no_grad()
    def observe_validation(self) -> None:
        """Score the candidates against the gradients that the parameters hold now.

        Call it after ``backward()`` on a held-out batch and before ``zero_grad()``; those
        gradients must not be applied (Section 4 of arXiv 2512.06370).
        """
        self._take_in()
        self._bank.observe_validation(self._reader.read(self._reader.empty()))

    def statistics(self) -> AlignmentStatistics:
        """Return the statistics of all steps so far; waits for the device once.

        With shards it is a collective operation: every rank must call it.
        """
        return self.statistics_by_beta2()[0]

    def statistics_by_beta2(self) -> list[AlignmentStatistics]:
        """Return one statistics per beta2 of ``whitening``; a list of one where there is none."""
        self._take_in()
        sampled = self._reader.size
        if self._group is not None or (self._reader.sharded and dist.is_initialized()):
            sizes = torch.tensor([sampled])
            totals = sum_over_ranks(*self._bank.totals(), sizes, self._group)
            sums, validation, counters, (sampled,) = (part.tolist() for part in on_host(totals))
        else:
            sums, validation, counters = self._bank.read()
        count = len(self.candidates)
        return [
            AlignmentStatistics.trusted(
                candidates=self.candidates,
                alignment=tuple(row[:count]),
                validation_alignment=tuple(validated),
                autocorrelation=tuple(row[count:-1]),
                whitening=None if self.betas2 is None else row[-1],
                dimension=self._reader.dimension,
                sampled=int(sampled),
                **read_counters(counters, self._bank.seen),
            )
            for row, validated in zip(sums, validation, strict=True)
        ]

    def reset_statistics(self) -> None:
        """Start the sums anew; the filters keep their memory of past gradients.

        With ``decay=1`` the statistics before and after a reset merge to those of the whole.
        """
        self._take_in()
        self._bank.reset_sums()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing needs, as tensors and plain values."""
        self._take_in()
        return {
            "version": _VERSION,
            "shape": self._shape(),
            "calls": self._calls,
            "bank": self._bank.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that ``state_dict`` returned.

        Raises:
            StateError: When the state's version, candidates, lags or dimensions are not this
                observer's; nothing is changed then.
        """
        self.check_state(state)
        self._bank.load_state_dict(state["bank"])
        self._pending.clear()
        self._calls = state["calls"]

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise ``StateError`` unless ``load_state_dict`` would take the state."""
        if state.get("version") != _VERSION:
            raise StateError(
                f"the statistics' state must be of version {_VERSION}, "
                f"but got {state.get('version')!r}."
            )
        if state["shape"] != self._shape():
            raise StateError(
                f"the statistics' state must have {self._shape()}, but got {state['shape']}."
            )

    def _shape(self) -> dict[str, Any]:
        return {
            "candidates": list(self.candidates),
            "whitening": None if self.betas2 is None else list(self.betas2),
            "lags": self._lags,
            "dimension": self._reader.dimension,
            "sampled": self._reader.size,
        }
