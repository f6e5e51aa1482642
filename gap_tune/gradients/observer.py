"""GradientObserver: a filter bank over the sampled gradients of a list of parameters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from gap_tune.errors import StateError, check_count, check_range
from gap_tune.gradients.banks import Bank, make_bank
from gap_tune.gradients.banks.base import on_host
from gap_tune.gradients.carrying import carried
from gap_tune.gradients.observed_set import ObservedSet
from gap_tune.gradients.reading import GradientReader
from gap_tune.gradients.reduce import read_counters, sum_over_ranks
from gap_tune.gradients.sampling import DEFAULT_SAMPLE
from gap_tune.gradients.statistics import (
    DEFAULT_CANDIDATES,
    AlignmentStatistics,
    check_candidates,
)

_VERSION = 3
# Version 2 does not say which parameters were observed: they are those that train by now.
_VERSIONS = (2, _VERSION)
_NOTHING: dict[str, Any] = {"positions": [], "shapes": []}
# Gradients that wait for the bank, at most, and coordinates in all of them. Right after a step
# the caches hold weights: a first pass through the bank is slow, those that follow it are fast.
_WAITING, _WAITING_COORDINATES = 16, 16 * DEFAULT_SAMPLE


@dataclass(frozen=True)
class Reading:
    """The gradient of one step, as it was read.

    Attributes:
        gradient: Its observed coordinates, shape (n,), until the next step.
        usable: 0-d bool, False where ``GradScaler`` skips the step; None where it cannot.
        present: Coordinates whose parameter had a gradient, bools of shape (n,); None where all.
        reader: What read it.
    """

    gradient: Tensor
    usable: Tensor | None
    present: Tensor | None
    reader: GradientReader


class GradientObserver:
    """Accumulates alignment statistics of parameters' gradients whenever ``observe()`` is called.

    ``GradientMonitor`` calls it at an optimizer's step; self-tuning optimizers call it themselves.

    What trains is observed: a parameter that requires gradients, and from its first gradient on
    any other. One that joins later starts from zero, as the optimizer's own buffers do; statistics
    go on. One that is frozen later stays and adds nothing: as in torch, a parameter without a
    gradient does not take the step, and its filters wait.

    Args:
        parameters: All parameters of the optimizer, or of a part of it; frozen ones too.
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

    Attributes:
        calls: Steps observed, those with NaN or infinity included.
        process_group: As given.
        latest: The last ``observe`` call's gradient; None where that was no step.
        reader: What reads gradients now.

    Raises:
        InvalidValueError: When an argument is out of range.
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
        self.calls = 0
        self.latest: Reading | None = None
        self._lags = check_count("lags", lags)
        self._every = check_count("every", every)
        self._decay = check_range("decay", decay, 0.0, 1.0, low_open=True)
        self._eps = check_range("eps", eps, 0.0, 1.0)
        self._sample = sample
        self.process_group = process_group
        self._pending: list[tuple[Tensor, Tensor | None, bool, Tensor | None]] = []
        self._observed = ObservedSet(parameters)
        self._start(self._reader_of(self._observed))

    def _reader_of(self, observed: ObservedSet) -> GradientReader:
        return GradientReader(observed.parameters, self._sample, observed.every)

    def _start(self, reader: GradientReader) -> None:
        """Begin with an empty bank for what a reader reads."""
        self.reader = reader
        self._bank = self._make_bank(reader)
        self._pending.clear()
        self._rows: list[Tensor] = []
        self._block = min(_WAITING, max(1, _WAITING_COORDINATES // max(1, reader.size)))

    def _make_bank(self, reader: GradientReader) -> Bank:
        return make_bank(
            self.candidates,
            self._lags,
            self._decay,
            weights=reader.weights,
            betas2=self.betas2,
            eps=self._eps,
        )

    @torch.no_grad()
    def observe(
        self,
        *,
        grad_scale: Tensor | None = None,
        found_inf: Tensor | None = None,
        parameters: Sequence[Tensor] | None = None,
    ) -> bool:
        """Take in the gradients that the parameters hold now, as those of one optimizer step.

        Args:
            grad_scale: What ``torch.amp.GradScaler`` multiplied them by, 0-d.
            found_inf: Not zero when ``GradScaler`` makes the optimizer skip this step, 0-d.
            parameters: All parameters of the optimizer as of now; None where none came or went.

        Returns:
            Whether it was a step. Without any gradient it is none, as in torch, and nothing counts
            it.
        """
        self.follow(parameters)
        reader, self.latest = self.reader, None
        if not reader.has_gradient():
            return False
        self.calls += 1
        usable = None if found_inf is None else (found_inf == 0).to(reader.device)
        place = len(self._pending)
        if place == len(self._rows):
            self._rows.append(reader.empty())
        row = reader.read(self._rows[place], grad_scale)
        present = reader.present()
        self.latest = Reading(row, usable, present, reader)
        self._pending.append((row, usable, self.calls % self._every == 0, present))
        if place + 1 == self._block:
            self._take_in()
        return True

    @property
    def is_shared(self) -> bool:
        """Whether other ranks observe other coordinates, so that sums are those of all ranks."""
        return self.process_group is not None or (self.reader.sharded and dist.is_initialized())

    def follow(self, parameters: Sequence[Tensor] | None = None) -> None:
        """Observe what trains by now, as ``observe`` does first; arguments as there."""
        if not self._observed.follow(parameters) and not self.reader.moved():
            return
        self._take_in()
        state, old = self._bank.state_dict(), self.reader
        self._start(self._reader_of(self._observed))
        self._bank.load_state_dict(carried(state, old, self.reader))

    def _take_in(self) -> None:
        """Let the bank observe the gradients that wait for it, in their order."""
        for gradient, usable, score, present in self._pending:
            self._bank.observe(gradient, usable=usable, score=score, present=present)
        self._pending.clear()

    @torch.no_grad()
    def observe_validation(self) -> None:
        """Score the candidates against the gradients that the parameters hold now.

        Call it after ``backward()`` on a held-out batch and before ``zero_grad()``; those
        gradients must not be applied (Section 4 of arXiv 2512.06370). Without any gradient nothing
        is scored.
        """
        self._take_in()
        if self.reader.has_gradient():
            self._bank.observe_validation(self.reader.read(self.reader.empty()))

    def statistics(self) -> AlignmentStatistics:
        """Return the statistics of all steps so far; waits for the device once.

        With shards it is a collective operation: every rank must call it.
        """
        return self.statistics_by_beta2()[0]

    def statistics_by_beta2(self) -> list[AlignmentStatistics]:
        """Return one statistics per beta2 of ``whitening``; a list of one where there is none."""
        self._take_in()
        sampled = self.reader.size
        if self.is_shared:
            sizes = torch.tensor([sampled, self._bank.seen])
            totals = sum_over_ranks(*self._bank.totals(), sizes, self.process_group)
            sums, validation, counters, (sampled, seen) = (
                part.tolist() for part in on_host(totals)
            )
            # Ranks may differ where one has no gradient at a step, as experts do.
            seen = round(seen / dist.get_world_size(self.process_group))
        else:
            sums, validation, counters = self._bank.read()
            seen = self._bank.seen
        count = len(self.candidates)
        return [
            AlignmentStatistics.trusted(
                candidates=self.candidates,
                alignment=tuple(row[:count]),
                validation_alignment=tuple(validated),
                autocorrelation=tuple(row[count:-1]),
                whitening=None if self.betas2 is None else row[-1],
                dimension=self.reader.dimension,
                sampled=int(sampled),
                **read_counters(counters, seen),
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
            "shape": self._shape(self.reader),
            "observed": self._observed.layout(),
            "calls": self.calls,
            "bank": self._bank.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that ``state_dict`` returned, whatever is frozen now.

        The parameters that were observed then are observed again. Statistics of other parameters,
        candidates, lags or values of beta2 are of no use here: they start anew, with a warning
        that says what differs.

        Raises:
            StateError: When it is no such state, or one of another version; nothing is changed.
        """
        if difference := self.difference(state):
            self.start_anew()
            warn_of_new_start(difference)
            return
        observed = self._saved_set(state)
        if observed.positions == self._observed.positions:
            self._bank.load_state_dict(state["bank"])
            self._pending.clear()
        else:
            reader = self._reader_of(observed)
            bank = self._make_bank(reader)
            bank.load_state_dict(state["bank"])
            self._start(reader)
            self._observed, self._bank = observed, bank
        self.calls = state["calls"]

    def compare(self, candidates: Sequence[float]) -> None:
        """Compare other candidates from now on; forgets all gradients.

        Raises:
            InvalidValueError: When they do not increase within [0, 1).
        """
        self.candidates = check_candidates(candidates)
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all gradients."""
        self._start(self._reader_of(self._observed))
        self.calls = 0

    def difference(self, state: Mapping[str, Any]) -> str:
        """Return why a state's statistics cannot be continued here; "" where they can.

        Raises:
            StateError: When it is no state of this version.
        """
        _check_form(state)
        if misfit := self._observed.misfit(state.get("observed", _NOTHING)):
            return misfit
        mine, saved = self._shape(self._reader_of(self._saved_set(state))), state["shape"]
        differing = [name for name in mine if mine[name] != saved.get(name)]
        return ", ".join(f"{name} {saved.get(name)}, but here {mine[name]}" for name in differing)

    def _saved_set(self, state: Mapping[str, Any]) -> ObservedSet:
        return self._observed.having(state["observed"]) if "observed" in state else self._observed

    def _shape(self, reader: GradientReader) -> dict[str, Any]:
        return {
            "candidates": list(self.candidates),
            "whitening": None if self.betas2 is None else list(self.betas2),
            "lags": self._lags,
            "dimension": reader.dimension,
            "sampled": reader.size,
        }


def warn_of_new_start(difference: str) -> None:
    """Tell the user once that gradient statistics could not be continued."""
    warnings.warn(
        "gap_tune's gradient statistics start anew, since the saved ones are of "
        f"{difference}; everything else continues.",
        stacklevel=3,
    )


def _check_form(state: Mapping[str, Any]) -> None:
    version = state.get("version") if isinstance(state, Mapping) else type(state).__name__
    if version not in _VERSIONS:
        raise StateError(
            f"the statistics' state must be of version {_VERSION}, but got {version!r}."
        )
    missing = sorted({"shape", "calls", "bank"} - state.keys())
    if missing:
        raise StateError(
            f"the statistics' state must hold shape, calls and bank, but lacks {missing}."
        )
