"""TrustRegion: how the size of the trust region follows the agreement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gap_tune.errors import InvalidValueError, check_range


@dataclass(frozen=True)
class TrustRegion:
    """Settings of the trust region control.

    The scale, a factor on the learning rate, follows the *agreement* ``z``: how far the fresh
    gradient still points along the update just taken, in [-1, 1]. As in every trust-region method,
    a region whose last step is borne out was too small, and one whose step is opposed too large.
    A second agreement, with a slow filter, is the witness, since one alone is misled twice: near a
    noise floor a mean of noise is above zero half of the time, and networks train well while they
    oscillate in their sharpest directions, where updates are opposed for hundreds of steps. The
    log of the scale moves by the gain times ``z`` where ``z`` is positive and the slow agreement
    not negative, or ``z`` is negative and the slow agreement below ``-opposition``. And always it
    is drawn back a little, towards the learning rate that was set: where agreements say nothing,
    that is the best that is known, and trials at different learning rates do not all end at the
    same, so that there is something left to choose among them.

    Nothing is known at the start, and a learning rate that is too large does its harm in the first
    steps. So the scale starts at ``start`` and grows fast, by ``start_gain``, which falls to
    ``gain``: a warm-up that ends by itself. After ``fade_steps`` the gain falls as one over the
    steps, so that each doubling of a training can do as much: no agreement tells whether smaller
    steps are worth their price yet, and in a long training they seldom are. Growth fades sooner
    and faster: after ``growth_steps`` as one over the square of the steps, so that all of a
    training's later growth together is bounded. Whether a learning rate is too small shows at
    once. Where gradients agree again after thousands of steps, a network has fitted its data, and
    larger steps only undo that.

    Neither the scale of the loss nor that of the gradients or of the learning rate has any
    influence, and no step changes the log of the scale by more than the gain, the pull aside.
    Where an optimizer's ``step`` is compiled, its learning rate should be a tensor, as for any
    schedule.

    Attributes:
        gain: Growth of the log of the scale per step at full agreement.
        span: Largest scale. 1 is off (``TrustRegion.off()``): learning rates stay as they are, bit
            for bit.
        floor: Smallest scale.
        start: The scale of the first step.
        start_gain: The gain of the first steps.
        start_steps: Time constant in steps by which that gain becomes ``gain``.
        fade_steps: Steps after which the gain falls as one over the steps.
        growth_steps: Steps after which growth falls as one over their square.
        memory: Factor by which the agreement forgets each step: 0.9 is about ten steps.
        slow: Pole of the slow filter: 0.99 is about a hundred steps.
        slow_memory: Factor by which its agreement forgets each step.
        opposition: How negative the slow agreement must be for the scale to shrink.
        pull: How strongly the scale is drawn back to 1: the agreement that is needed to hold it at
            e times the learning rate that was set.

    Raises:
        InvalidValueError: When a number is out of range.

    >>> region = TrustRegion(start_gain=0.03)
    >>> round(region.moved(0.0, agreement=1.0, slow_agreement=0.2, steps=100), 6)
    0.03
    >>> round(region.moved(1.0, agreement=0.05, slow_agreement=0.2, steps=100), 6)
    1.0
    >>> region.moved(0.0, agreement=-0.3, slow_agreement=-0.1, steps=100)
    0.0
    """

    gain: float = 0.03
    span: float = 50.0
    floor: float = 0.02
    start: float = 0.3
    start_gain: float = 0.1
    start_steps: float = 50.0
    fade_steps: float = 200.0
    growth_steps: float = 100.0
    memory: float = 0.9
    slow: float = 0.99
    slow_memory: float = 0.97
    opposition: float = 0.6
    pull: float = 0.05

    def __post_init__(self) -> None:
        infinity = float("inf")
        for name, low, high in (
            ("gain", 0.0, infinity),
            ("span", 1.0, infinity),
            ("floor", 0.0, 1.0),
            ("start", 0.0, infinity),
            ("start_gain", 0.0, infinity),
            ("start_steps", 0.0, infinity),
            ("fade_steps", 0.0, infinity),
            ("growth_steps", 0.0, infinity),
            ("memory", 0.0, 1.0),
            ("slow", 0.0, 1.0),
            ("slow_memory", 0.0, 1.0),
            ("opposition", 0.0, 1.0),
            ("pull", 0.0, 1.0),
        ):
            value = check_range(f"{name} of a trust region", getattr(self, name), low, high)
            object.__setattr__(self, name, float(value))
        for name in ("floor", "start", "start_steps", "fade_steps", "growth_steps"):
            if not getattr(self, name) > 0.0:
                raise InvalidValueError(
                    f"{name} of a trust region must be positive, but got {getattr(self, name)}."
                )
        for name in ("memory", "slow", "slow_memory"):
            if getattr(self, name) >= 1.0:
                raise InvalidValueError(
                    f"{name} of a trust region must be below 1, but got {getattr(self, name)}."
                )

    @classmethod
    def off(cls) -> TrustRegion:
        """Return the region of one size, in which learning rates stay as they are.

        >>> TrustRegion.off().is_on
        False
        """
        return cls(span=1.0)

    @property
    def is_on(self) -> bool:
        """Whether it changes any learning rate."""
        return self.span > 1.0

    @property
    def first(self) -> float:
        """The log of the scale at the first step."""
        return self.clipped(math.log(self.start))

    def clipped(self, log_scale: float) -> float:
        """Return the log of a scale within floor and span."""
        return min(max(log_scale, math.log(self.floor)), math.log(self.span))

    def gain_after(self, steps: int, *, of_growth: bool = False) -> float:
        """Return the gain after so many steps: that of growth, or of all else."""
        early = (self.start_gain - self.gain) * math.exp(-steps / self.start_steps)
        if of_growth:
            return (self.gain + early) * min(1.0, self.growth_steps / max(steps, 1)) ** 2
        return (self.gain + early) * min(1.0, self.fade_steps / max(steps, 1))

    def moved(
        self, log_scale: float, *, agreement: float, slow_agreement: float, steps: int
    ) -> float:
        """Return the next log of the scale.

        Args:
            log_scale: The present one.
            agreement: ``z``, in [-1, 1].
            slow_agreement: That with the slow filter.
            steps: Steps taken so far.
        """
        grows = agreement > 0.0 and slow_agreement >= 0.0
        shrinks = agreement < 0.0 and slow_agreement < -self.opposition
        wanted = agreement if grows or shrinks else 0.0
        drawn = self.gain_after(steps) * self.pull * log_scale
        moved = self.gain_after(steps, of_growth=grows) * wanted
        return self.clipped(log_scale + moved - drawn)

    def to_dict(self) -> dict[str, float]:
        """Return the settings as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, value: TrustRegion | Mapping[str, Any]) -> TrustRegion:
        """Return the settings that configurations hold as JSON values, those left out by default.

        Raises:
            InvalidValueError: When there are other names, or it is something else.

        >>> TrustRegion.of({"span": 5}).span
        5.0
        """
        if isinstance(value, cls):
            return value
        known = {each.name for each in fields(cls)}
        if not isinstance(value, Mapping) or not value.keys() <= known:
            got = sorted(value.keys() - known) if isinstance(value, Mapping) else repr(value)
            raise InvalidValueError(
                f"a trust region must be a mapping of {sorted(known)}, but got {got}."
            )
        return cls(**value)


@dataclass(frozen=True)
class RegionChoice:
    """Which trust region a training is to have: what the user asks for, else what its rules do.

    Attributes:
        asked: What the user asks for; None leaves it to the rules.
        rules_ask: Whether the rules that decide want the learning rate to follow the agreement.

    >>> RegionChoice.of(None, rules_ask=True).region == TrustRegion()
    True
    >>> RegionChoice.of({"span": 2}, rules_ask=False).region.span
    2.0
    """

    asked: TrustRegion | None
    rules_ask: bool

    @classmethod
    def of(cls, asked: TrustRegion | Mapping[str, Any] | None, *, rules_ask: bool) -> RegionChoice:
        """Return the choice; arguments as the attributes, errors as of ``TrustRegion.of``."""
        return cls(None if asked is None else TrustRegion.of(asked), rules_ask)

    @property
    def region(self) -> TrustRegion:
        """The region of a training that begins."""
        if self.asked is not None:
            return self.asked
        return TrustRegion() if self.rules_ask else TrustRegion.off()

    def continuing(self, scale: Mapping[str, Any]) -> TrustRegion:
        """Return the region of a training that goes on.

        One that has trained without goes on without, unless the user asks for one: its learning
        rate would become a third of what it was from one step to the next.

        Args:
            scale: What ``ScaleControl.state_dict`` returned then; empty where there was none.
        """
        if self.asked is None and "log_scale" not in scale:
            return TrustRegion.off()
        return self.region
