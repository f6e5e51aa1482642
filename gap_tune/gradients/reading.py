"""Reading gradients of parameters into one flat vector, whatever tensors they are."""

from __future__ import annotations

import ctypes
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gap_tune.errors import UnsupportedError, check_count
from gap_tune.gradients.sampling import stratified_slices

# How many masks are kept, which take a few kilobytes each: a bool per coordinate.
_MASKS = 8
# Which slice it is, its place in what is read, its start in the tensor, its length.
_Run = tuple[int, int, int, int]
# A parameter, its runs, and the coordinates that a plain tensor in host memory has to have for
# them; None where it is no such tensor.
_Runs = tuple[Tensor, list[_Run], int | None]
_OF_COMPLEX = {torch.complex64: torch.float32, torch.complex128: torch.float64}


def all_parameters(groups: Iterable[Mapping[str, Any]]) -> list[Tensor]:
    """Return the parameters of parameter groups, frozen ones too, in order."""
    return [parameter for group in groups for parameter in group["params"]]


class GradientReader:
    """Reads the sampled coordinates of the parameters' gradients as one vector of shape (n,).

    n may be 0: everything may be frozen, and a rank's share of a sharded parameter empty.

    A parameter without a gradient reads as zeros (``present`` tells), a sparse gradient as the
    dense one that it stands for, a complex one as real and imaginary parts, a sharded one
    (``DTensor``) as this rank's shard. Half-precision gradients are read as float32. Coordinates
    are scaled by the square root of their sampling weight, so that plain inner products of two
    readings estimate inner products over all coordinates.

    Args:
        parameters: The observed parameters; the order fixes the order of coordinates.
        sample: Coordinates to read, or None for all.
        beside: All parameters of the optimizer, observed or not, which tell the device where none
            is observed and, equally on all ranks, whether any is sharded; None for the observed.

    Attributes:
        slices: What is read, in order.
        absent: Numbers of the slices whose parameter had no gradient at the last reading.

    Raises:
        InvalidValueError: When ``sample`` is out of range.
        UnsupportedError: When a parameter is neither a floating-point nor a complex tensor.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        sample: int | None,
        beside: Sequence[Tensor] | None = None,
    ) -> None:
        for parameter in parameters:
            if not (parameter.is_floating_point() or parameter.is_complex()):
                raise UnsupportedError(
                    "observed parameters must be floating-point or complex, "
                    f"but got {parameter.dtype}."
                )
        locals_ = [_local(p) for p in parameters]
        numels = [_real_numel(p) for p in locals_]
        if sample is not None:
            check_count("sample", sample)
        self.slices = slices = stratified_slices(numels, sample) if any(numels) else ()
        double = any(p.dtype in (torch.float64, torch.complex128) for p in parameters)
        beside = parameters if beside is None else beside
        self.parameters = list(parameters)
        self.device = next(iter(locals_ or beside), torch.empty(0)).device
        self.dtype = torch.float64 if double else torch.float32
        self.dimension = sum(_real_numel(p) for p in parameters)
        self.sharded = any(is_sharded(p) for p in beside)
        self._runs = self._runs_of(parameters)
        # Beside shards, a plain parameter is whole on every rank, and counted once by each.
        ranks = torch.distributed.get_world_size() if self.sharded else 1
        copies = [_copies(p) if is_sharded(p) else ranks for p in parameters]
        self.weights = torch.cat(
            [torch.zeros(0)]
            + [torch.full((s.length,), s.weight / copies[s.tensor]) for s in slices]
        ).to(self.device, self.dtype)
        self.size = len(self.weights)
        self.absent: tuple[int, ...] = ()
        self._masks: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._scale = None if bool((self.weights == 1).all()) else self.weights.sqrt()

    def empty(self) -> Tensor:
        """Return a vector to read into."""
        return torch.empty(self.size, device=self.device, dtype=self.dtype)

    def read(self, out: Tensor, grad_scale: Tensor | None = None) -> Tensor:
        """Return ``out`` with the sampled gradient, shape (n,), in ``dtype`` on ``device``.

        Args:
            out: What ``empty`` returned.
            grad_scale: What the gradients were multiplied by (``torch.amp.GradScaler`` leaves the
                division to fused optimizers); None when they are as they should be.
        """
        return self.weigh(self.gather(out, grad_scale), out)

    def gather(self, out: Tensor, grad_scale: Tensor | None = None) -> Tensor:
        """Do as ``read``, but leave to ``weigh`` what need not be done at once."""
        self.absent = self._gather(out, [parameter.grad for parameter, *_ in self._runs])
        if grad_scale is not None:
            out.div_(grad_scale.to(self.device, self.dtype))
        return out

    def gather_values(self, out: Tensor) -> Tensor:
        """Return ``out`` with the parameters themselves at the coordinates, still to be weighed."""
        self._gather(out, [parameter for parameter, *_ in self._runs])
        return out

    def weigh(self, gathered: Tensor, out: Tensor) -> Tensor:
        """Return what was gathered times the roots of the sampling weights.

        Args:
            gathered: Shape (n,); it is returned itself where all weights are 1.
            out: What is returned else; may be ``gathered``.
        """
        return gathered if self._scale is None else torch.mul(gathered, self._scale, out=out)

    def _gather(self, out: Tensor, tensors: Sequence[Tensor | None]) -> tuple[int, ...]:
        """Write the runs of each tensor into ``out``; return the numbers of those without one."""
        if self.device.type != "cpu":
            return self._gather_on_device(out, tensors)
        absent: list[int] = []
        strided, dtype, copy = torch.strided, self.dtype, ctypes.memmove
        size, base = out.element_size(), out.data_ptr()
        # This loop is most of what observing costs, so it is inline, by the cheapest calls there
        # are: a view of each run would take thrice as long.
        for tensor, (_, runs, least) in zip(tensors, self._runs, strict=True):
            if (
                least is not None
                and tensor is not None
                and tensor.layout is strided
                and tensor.dtype is dtype
                # A part of the model may have gone to a device.
                and tensor.is_cpu
                and tensor.is_contiguous()
                and not tensor.is_neg()
                # Torch's symbolic zeros are nowhere.
                and (source := tensor.data_ptr())
                # Storage may have been freed, as sharded models free theirs, or be smaller by now.
                and tensor.untyped_storage().nbytes() >= size * (tensor.storage_offset() + least)
            ):
                for _, place, start, length in runs:
                    copy(base + size * place, source + size * start, size * length)
                continue
            for number, place, start, length in runs:
                with torch.no_grad():
                    out[place : place + length] = self._piece(tensor, start, length)
                if tensor is None:
                    absent.append(number)
        return tuple(absent)

    @torch.no_grad()
    def _gather_on_device(self, out: Tensor, tensors: Sequence[Tensor | None]) -> tuple[int, ...]:
        """Do as ``_gather`` in one kernel."""
        pieces, absent = [], []
        for tensor, (_, runs, _) in zip(tensors, self._runs, strict=True):
            for number, _, start, length in runs:
                pieces.append(self._piece(tensor, start, length))
                if tensor is None:
                    absent.append(number)
        if pieces:
            torch.cat(pieces, out=out)
        return tuple(absent)

    def is_empty(self) -> bool:
        """Tell whether no parameter that is sampled had a gradient at the last reading."""
        return len(self.absent) == len(self.slices)

    def has_gradient(self) -> bool:
        """Tell whether any of the parameters, sampled or not, has a gradient now."""
        return any(parameter.grad is not None for parameter in self.parameters)

    def present(self) -> Tensor | None:
        """Return which coordinates had a gradient at the last reading, bools of shape (n,).

        None where all had. Which parameters take part repeats from step to step, so the last few
        answers are kept: the same one is the same tensor.
        """
        if not self.absent:
            return None
        mask = self._masks.get(self.absent)
        if mask is None:
            absent = set(self.absent)
            lengths = torch.tensor([s.length for s in self.slices])
            has = torch.tensor([i not in absent for i in range(len(self.slices))])
            mask = has.repeat_interleave(lengths).to(self.device, non_blocking=True)
            self._masks[self.absent] = mask
            if len(self._masks) > _MASKS:
                self._masks.popitem(last=False)
        return mask

    def moved(self) -> bool:
        """Tell whether the parameters have gone to another device since."""
        return bool(self.parameters) and self.parameters[0].device != self.device

    def _piece(self, grad: Tensor | None, start: int, length: int) -> Tensor:
        """Return a run of coordinates of any gradient."""
        if grad is None:
            return torch.zeros(length, dtype=self.dtype, device=self.device)
        grad = _local(grad)
        if grad.is_complex():
            grad = torch.view_as_real(grad.resolve_conj())
        if grad.layout is not torch.strided:
            piece = _slice_rows(grad, start, length)
        elif grad.is_contiguous() or grad.is_contiguous(memory_format=torch.channels_last):
            # The order of memory is a fixed permutation, which inner products do not see.
            piece = grad.as_strided((length,), (1,), grad.storage_offset() + start)
        else:
            piece = grad.reshape(-1)[start : start + length]
        return piece.to(self.device)

    def _runs_of(self, parameters: Sequence[Tensor]) -> list[_Runs]:
        """Return what to read of each parameter, and what it must have to be copied by address."""
        found: dict[int, list[_Run]] = {}
        place = 0
        for number, piece in enumerate(self.slices):
            run = number, place, piece.start, piece.length
            found.setdefault(piece.tensor, []).append(run)
            place += piece.length
        plain = (Tensor, torch.nn.Parameter)
        return [
            (parameters[i], runs, max(start + length for *_, start, length in runs))
            if type(parameters[i]) in plain and parameters[i].is_cpu
            else (parameters[i], runs, None)
            for i, runs in found.items()
        ]


def _slice_rows(grad: Tensor, start: int, length: int) -> Tensor:
    """Return a run of coordinates of a sparse gradient, as of ``nn.Embedding``.

    Rows outside the run are added into a row that is dropped: their number is data, and asking
    for it would wait for the device. Repeated rows add up, so there is no need to coalesce.
    """
    if grad.layout is not torch.sparse_coo or grad.sparse_dim() != 1:
        raise UnsupportedError(
            "observed gradients must be dense, or sparse COO with one sparse dimension (as of "
            f"nn.Embedding), but got layout {grad.layout} of shape {tuple(grad.shape)}."
        )
    indices, values = grad._indices()[0], grad._values()
    width = values[0].numel() if len(values) else max(1, grad[0].numel())
    first, last = start // width, (start + length - 1) // width
    rows = last - first + 1
    inside = (indices >= first) & (indices <= last)
    target = torch.where(inside, indices - first, rows)
    dense = values.new_zeros(rows + 1, width).index_add_(0, target, values.reshape(-1, width))
    return dense[:rows].reshape(-1)[start - first * width :][:length]


def is_sharded(tensor: Tensor) -> bool:
    """Tell whether a tensor is a ``DTensor``, without importing what makes them (0.4 s)."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def _local(tensor: Any) -> Tensor:
    local: Tensor = tensor.to_local() if is_sharded(tensor) else tensor
    return local


def _real_numel(tensor: Tensor) -> int:
    return tensor.numel() * (2 if tensor.dtype in _OF_COMPLEX else 1)


def _copies(parameter: Any) -> int:
    """Return how many ranks hold the same coordinates of a sharded parameter."""
    copies = 1
    if is_sharded(parameter):
        for dimension, placement in enumerate(parameter.placements):
            if placement.is_replicate():
                copies *= parameter.device_mesh.size(dimension)
    return copies
