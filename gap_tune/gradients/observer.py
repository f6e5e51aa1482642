"""GradientObserver: a filter bank over the sampled gradients of a list of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist

from gap_tune.gradients.banks.base import on_host
from gap_tune.gradients.observed_bank import ObservedBank
from gap_tune.gradients.reading import GradientReader
from gap_tune.gradients.reduce import read_counters, sum_over_ranks
from gap_tune.gradients.sampling import DEFAULT_SAMPLE
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, AlignmentStatistics


class Reading(NamedTuple):
    """The gradient of one step, as it was read.

    Attributes:
        gradient: Its observed coordinates, shape (n,), still to be weighed; until the next step.
        usable: 0-d bool, False where ``GradScaler`` skips the step; None where it cannot.
        present: Coordinates whose parameter had a gradient, bools of shape (n,); None where all.
        reader: What read it.
    """

    gradient: Tensor
    usable: Tensor | None
    present: Tensor | None
    reader: GradientReader


class GradientObserver(ObservedBank):
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
        super().__init__(
            parameters,
            candidates=candidates,
            sample=sample,
            decay=decay,
            lags=lags,
            every=every,
            whitening=whitening,
            eps=eps,
        )
        self.latest: Reading | None = None
        self.process_group = process_group

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
        row = reader.gather(self._free_row(), grad_scale)
        if reader.is_empty() and not reader.has_gradient():
            return False
        usable = None if found_inf is None else (found_inf == 0).to(reader.device)
        present = reader.present()
        self.latest = Reading(row, usable, present, reader)
        self._put(row, usable, present)
        return True

    @property
    def is_shared(self) -> bool:
        """Whether other ranks observe other coordinates, so that sums are those of all ranks."""
        return self.process_group is not None or (self.reader.sharded and dist.is_initialized())

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
