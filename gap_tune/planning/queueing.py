"""How long a trial waits for the answer to a report: one driver does all its work in one queue.

Its work comes in kinds, each of which takes the same time whenever it comes, and is taken to come
like rain (Poisson): results, trials to suggest and start, saves. The mean wait is Pollaczek's and
Khinchine's. With results alone that is M/D/1, whose quantile is known exactly (Erlang 1909; Franx,
Operations Research Letters 29, 2001). Trials are finitely many, and one that waits reports nothing
meanwhile: ``settled`` finds how long they wait then, however much they would report by themselves.
Where all report at once, as those do that began together and take equally long, the last one waits
for all others: ``burst``. All times are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gap_tune.errors import check_range

# In a queue this full waits are exponential to within two per cent.
_FULL = 0.95


@dataclass(frozen=True)
class Work:
    """A kind of work.

    Attributes:
        rate: How often it comes, per second.
        seconds: How long it takes.
    """

    rate: float
    seconds: float

    @property
    def load(self) -> float:
        """The share of the driver's time that it takes."""
        return self.rate * self.seconds


def mean_wait(works: Sequence[Work]) -> float:
    """Return the mean time until the driver takes up what comes; infinite where it cannot keep up.

    Args:
        works: All that it has to do.

    >>> mean_wait([Work(rate=250, seconds=0.002)])
    0.001
    """
    load = sum(work.load for work in works)
    if load >= 1:
        return math.inf
    return sum(work.load * work.seconds for work in works) / (2 * (1 - load))


def quantile_wait(load: float, service: float, share: float = 0.99) -> float:
    """Return the time within which this share of results is taken up; M/D/1.

    Args:
        load: Share of its time that the driver is busy, in [0, 1).
        service: Seconds per result.
        share: Which share, in (0, 1).

    Raises:
        InvalidValueError: When the load is not in [0, 1), or the share not in (0, 1).

    >>> quantile_wait(0.0, 0.002)
    0.0
    >>> 0.002 < quantile_wait(0.5, 0.002) < 0.02
    True
    """
    check_range("load", load, 0.0, 1.0, high_open=True)
    check_range("share", share, 0.0, 1.0, low_open=True, high_open=True)
    if load <= 1 - share:
        return 0.0
    if load > _FULL:
        # Heavy traffic (Kingman 1961); the distribution itself would take long to add up.
        return service * math.log(load / (1 - share)) / (2 * (1 - load))
    # In units of a service; the exponential tail of heavy traffic bounds it.
    low, high = 0.0, 2.0 + math.log(1 / (1 - share)) / (1 - load)
    states = _in_system(load, math.ceil(high) + 2)
    while high - low > 1e-6 * max(1.0, high):
        middle = (low + high) / 2
        if _taken_up(middle, load, states) < share:
            low = middle
        else:
            high = middle
    return high * service


def burst(trials: int, service: float) -> tuple[float, float]:
    """Return the mean and the longest time to the answer where all trials report at once; D/D/1.

    >>> burst(3, 1.0)
    (2.0, 3.0)
    """
    return (trials + 1) / 2 * service, trials * service


def blocked(works: Sequence[Work], share: float = 0.99) -> float:
    """Return the time within which work that is under way is done, for this share of moments.

    Args:
        works: Work that takes long: a moment may find the driver anywhere in it, or at none of it.
        share: Which share, in (0, 1).

    >>> blocked([Work(rate=0.05, seconds=1.0)]), blocked([Work(rate=0.001, seconds=1.0)])
    (0.8, 0.0)
    """

    def longer(than: float) -> float:
        return sum(work.rate * max(0.0, work.seconds - than) for work in works)

    if longer(0.0) <= 1 - share:
        return 0.0
    low, high = 0.0, max(work.seconds for work in works)
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if longer(middle) > 1 - share else (low, middle)
    return round(high, 9)


def settled(alone: float, waits: int, wait: Callable[[float], float]) -> float:
    """Return how long each wait of something is that waits so often, as all others of its kind do.

    Args:
        alone: How long it takes if it never waits.
        waits: How often it waits.
        wait: How long each wait is, where all take so long; the longer they take, the shorter.

    >>> round(settled(1.0, 2, lambda taken: 1 / taken), 6)
    0.5
    """
    low, high = 0.0, min(wait(alone), alone / waits)
    while wait(alone + waits * high) > high:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if wait(alone + waits * middle) > middle else (low, middle)
    return high


def _in_system(load: float, most: int) -> list[float]:
    """Return the probabilities of 0, 1, ..., ``most`` results waiting or being served.

    Upward and downward crossings of each number balance; all terms are positive.
    """
    arrivals, tails, term = [], [], math.exp(-load)
    left = 1.0
    for number in range(most + 2):
        arrivals.append(term)
        left -= term
        tails.append(max(0.0, left))
        term *= load / (number + 1)
    found = [1 - load]
    for number in range(most):
        upward = found[0] * tails[number]
        # Tails of more than some forty arrivals are nothing.
        first = max(1, number - 60)
        upward += sum(found[i] * tails[number + 1 - i] for i in range(first, number + 1))
        found.append(upward / arrivals[0])
    return found


def _taken_up(wait: float, load: float, states: list[float]) -> float:
    """Return the probability to be taken up within a time, in units of a service (Franx)."""
    services = math.floor(wait) + 1
    rest = load * (services - wait)
    cumulated, sums = 0.0, []
    for each in states[: services + 1]:
        cumulated += each
        sums.append(cumulated)
    total, term = 0.0, math.exp(-rest)
    for place in range(services):
        # At most so many wait beside the one that is being served.
        total += sums[services - place] * term
        term *= rest / (place + 1)
        if term < 1e-18:
            break
    return total
