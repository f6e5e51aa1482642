"""AlignmentStatistics: what a rule needs to know about the gradients, as mergeable sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gap_tune.errors import InvalidValueError, StateError, check_range

DEFAULT_CANDIDATES = (0.8, 0.9, 0.95, 0.99)
# Of Adam and its like where the size of the trust region follows the agreement: there longer
# memories of normalised gradients were measured to be worse.
SCALED_ADAM_CANDIDATES = (0.5, 0.8)
_VERSION = 1
_PER_CANDIDATE = ("alignment", "validation_alignment")


def check_candidates(candidates: Sequence[float]) -> tuple[float, ...]:
    """Return the candidates as floats when they increase strictly within [0, 1), else raise.

    Raises:
        InvalidValueError: When there are none, one is outside [0, 1), or the order is wrong.

    >>> check_candidates([0.8, 0.9])
    (0.8, 0.9)
    """
    try:
        values = tuple(candidates)
    except TypeError:
        values = ()
    if not values:
        raise InvalidValueError(
            f"candidates must be a non-empty sequence of momentum values, but got {candidates!r}."
        )
    # Every report of every trial has the same ones. Equal to them may be what is no float.
    if all(type(each) is float for each in values):
        return _checked_once(values)
    return _checked(values)


def _checked(values: tuple[float, ...]) -> tuple[float, ...]:
    values = tuple(check_range("each candidate", c, 0.0, 1.0, high_open=True) for c in values)
    if any(a >= b for a, b in pairwise(values)):
        raise InvalidValueError(f"candidates must increase strictly, but got {values}.")
    return values


_checked_once = lru_cache(maxsize=128)(_checked)


@dataclass(frozen=True)
class AlignmentStatistics:
    """Decayed sums over observed optimizer steps, from which gains are computed.

    All sums decay by the monitor's ``decay`` once a step, and ``weight`` is the sum of the same
    decays over ones, so ``sum / weight`` is a running mean. Products are estimates over all
    ``dimension`` coordinates, whatever the sample. For Adam they are whitened by
    ``c_j = sqrt(v_j)`` (Cor. 6 of arXiv 2512.06370) and ``whitening`` holds ``W``.

    Attributes:
        candidates: The K momentum values, increasing, each in [0, 1).
        alignment: K sums of ``<g_t, m_{t-1}(beta)>``: fresh gradient with older filter output.
        validation_alignment: K sums of ``<g_val, m_t(beta)>``; zeros when never observed.
        autocorrelation: Sums of ``<g_t, g_{t-n}>`` for n = 0 .. lags.
        whitening: Sum of ``W = sum_j 1/c_j``; None where gradients are not whitened (SGD).
        weight: Decayed number of observed steps.
        validation_weight: Decayed number of validation observations.
        steps: Optimizer steps observed since the monitor was made.
        skipped_steps: Steps not observed because a gradient was NaN or infinite.
        dimension: Number of coordinates of the observed parameters.
        sampled: Number of those that were read.
        agreement: How far fresh gradients agree with the updates just taken, in [-1, 1]
            (``gap_tune.TrustRegion``); None where nobody measured it.

    >>> import numpy as np
    >>> s = AlignmentStatistics(
    ...     candidates=(0.0, 0.9), alignment=(1.0, 8.0), validation_alignment=(0.0, 0.0),
    ...     autocorrelation=(4.0, 1.0), whitening=None, weight=2.0, validation_weight=0.0,
    ...     steps=2, skipped_steps=0, dimension=10, sampled=10)
    >>> s.gain(lag_zero_weight=0.5).round(3).tolist()
    [1.0, 2.005]
    >>> s.merge(s).weight
    4.0
    """

    candidates: tuple[float, ...]
    alignment: tuple[float, ...]
    validation_alignment: tuple[float, ...]
    autocorrelation: tuple[float, ...]
    whitening: float | None
    weight: float
    validation_weight: float
    steps: int
    skipped_steps: int
    dimension: int
    sampled: int
    agreement: float | None = None

    def __post_init__(self) -> None:
        check_candidates(self.candidates)
        for name in _PER_CANDIDATE:
            if len(getattr(self, name)) != len(self.candidates):
                raise InvalidValueError(
                    f"{name} must hold one number per candidate ({len(self.candidates)}), "
                    f"but got {len(getattr(self, name))}."
                )
        if not self.autocorrelation:
            raise InvalidValueError("autocorrelation must hold at least lag 0, but got nothing.")
        # A sum is finite only if its terms are; looking for the odd one takes longer.
        if not math.isfinite(self._total()):
            self._refuse_non_finite()

    def _total(self) -> float:
        sums = (self.alignment, self.validation_alignment, self.autocorrelation)
        counts = self.steps + self.skipped_steps + self.dimension + self.sampled
        others = (self.whitening or 0.0) + (self.agreement or 0.0)
        return sum(map(sum, sums)) + self.weight + self.validation_weight + counts + others

    def _refuse_non_finite(self) -> None:
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if any(n is not None and not math.isfinite(n) for n in numbers):
                raise InvalidValueError(f"{name} must be finite, but got {value!r}.")

    @classmethod
    def trusted(cls, **values: Any) -> AlignmentStatistics:
        """Return statistics of values that need no check, since gap_tune summed them itself.

        Self-tuning optimizers make them at every step, and the check costs more than the sums.
        """
        statistics = cls.__new__(cls)
        statistics.__dict__.update(values)
        return statistics

    def with_agreement(self, agreement: float | None) -> AlignmentStatistics:
        """Return the same statistics with an agreement that was measured beside them."""
        # They were checked before, and this runs at every step.
        return self.trusted(**{**vars(self), "agreement": agreement})

    @property
    def power(self) -> float:
        """Sum of ``S[0] = <g_t, g_t>``: gradient power including minibatch noise."""
        return self.autocorrelation[0]

    def gain(
        self, lag_zero_weight: float | None = 0.3, *, validation_weight: float = 0.0
    ) -> NDArray[np.float64]:
        """Return the gain ``J(beta)`` of every candidate, a mean per step, shape (K,).

        ``J = sqrt(1 - beta^2) A_w(beta)`` with ``A_w = w S[0] + beta <g_t, m_{t-1}>`` (Cor. 5),
        divided by ``sqrt(W)`` where gradients are whitened (Cor. 6).

        Args:
            lag_zero_weight: ``w`` in [0, 1]: 1 is the paper's in-batch alignment. None is
                cross-batch: the previous update ``m_{t-1}`` itself is judged by the fresh
                gradient, without ``S[0]`` and without the factor beta.
            validation_weight: Share in [0, 1] of the validation alignment ``<g_val, m_t>``; used
                only where validation gradients were observed.

        Raises:
            InvalidValueError: When a weight is outside [0, 1].
        """
        if lag_zero_weight is not None:
            check_range("lag_zero_weight", lag_zero_weight, 0.0, 1.0)
        check_range("validation_weight", validation_weight, 0.0, 1.0)
        return np.asarray(self.gain_values(lag_zero_weight, validation_weight))

    def gain_values(self, lag_zero_weight: float | None, validation_weight: float) -> list[float]:
        """Return what ``gain`` does as plain numbers, for arguments that were checked before."""
        weight = max(self.weight, 1e-300)
        if lag_zero_weight is None:
            values = [cross / weight for cross in self.alignment]
        else:
            zero = lag_zero_weight * self.power
            pairs = zip(self.candidates, self.alignment, strict=True)
            values = [(zero + beta * cross) / weight for beta, cross in pairs]
        if validation_weight and self.validation_weight:
            share = validation_weight / self.validation_weight
            pairs = zip(values, self.validation_alignment, strict=True)
            values = [(1.0 - validation_weight) * a + share * v for a, v in pairs]
        norm = math.sqrt(self.whitening / weight) if self.whitening else 1.0
        pairs = zip(self.candidates, values, strict=True)
        return [math.sqrt(1.0 - beta * beta) * a / norm for beta, a in pairs]

    def merge(self, other: AlignmentStatistics) -> AlignmentStatistics:
        """Return the sum of two statistics of the same candidates, lags and dimension.

        Raises:
            StateError: When candidates, lags, dimension or whitening differ.
        """
        mine, theirs = (
            (s.candidates, len(s.autocorrelation) - 1, s.dimension, s.whitening is not None)
            for s in (self, other)
        )
        if mine != theirs:
            raise StateError(
                "statistics to merge must agree in (candidates, lags, dimension, whitened), "
                f"but got {mine} and {theirs}."
            )
        summed: dict[str, Any] = {}
        for name in ("alignment", "validation_alignment", "autocorrelation"):
            a, b = getattr(self, name), getattr(other, name)
            summed[name] = tuple(x + y for x, y in zip(a, b, strict=True))
        for name in ("weight", "validation_weight", "steps", "skipped_steps"):
            summed[name] = getattr(self, name) + getattr(other, name)
        if self.whitening is not None and other.whitening is not None:
            summed["whitening"] = self.whitening + other.whitening
        summed["agreement"] = self._merged_agreement(other)
        return AlignmentStatistics(**{**self._fields(), **summed})

    def _merged_agreement(self, other: AlignmentStatistics) -> float | None:
        """Return the mean of what was measured, by weight."""
        known = [s for s in (self, other) if s.agreement is not None]
        weight = sum(s.weight for s in known)
        if not weight:
            return known[0].agreement if known else None
        return sum(s.weight * (s.agreement or 0.0) for s in known) / weight

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as plain JSON values, a few hundred bytes."""
        listed = {k: list(v) if isinstance(v, tuple) else v for k, v in self._fields().items()}
        return {"version": _VERSION, **listed}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AlignmentStatistics:
        """Return the statistics that ``to_dict`` wrote.

        Raises:
            StateError: When the version, a key, a type or a length is not what ``to_dict`` writes.
        """
        if not isinstance(data, Mapping) or data.get("version") != _VERSION:
            got = data.get("version") if isinstance(data, Mapping) else type(data).__name__
            raise StateError(
                f"statistics must be a mapping of version {_VERSION}, but got {got!r:.100}"
            )
        # Nobody measured agreement where earlier versions wrote.
        if data.keys() | _OPTIONAL != _KEYS:
            odd = sorted(_KEYS.symmetric_difference(data) - _OPTIONAL)
            raise StateError(
                f"statistics must hold {sorted(_KEYS)}, but these differ: {odd!s:.200}"
            )
        try:
            return cls(**{n: parse(data[n]) for n, parse in _PARSERS.items() if n in data})
        except (OverflowError, TypeError, ValueError) as error:
            text = f"statistics must hold numbers of matching lengths: {error!s:.200}"
            raise StateError(text) from None

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(AlignmentStatistics))
_OPTIONAL = frozenset(("agreement",))
_KEYS = frozenset(("version", *_NAMES))


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"a list of numbers is expected where {value!r} is")
    return tuple(map(float, value))


def _number(value: Any) -> float:
    if isinstance(value, (str, bool)):
        raise TypeError(f"a number is expected where {value!r} is")
    return float(value)


def _count(value: Any) -> int:
    return value if type(value) is int else int(_number(value))


def _optional_number(value: Any) -> float | None:
    return None if value is None else _number(value)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "candidates": _numbers,
    **dict.fromkeys((*_PER_CANDIDATE, "autocorrelation"), _numbers),
    **dict.fromkeys(("steps", "skipped_steps", "dimension", "sampled"), _count),
    **dict.fromkeys(("weight", "validation_weight"), _number),
    "whitening": _optional_number,
    "agreement": _optional_number,
}
