"""Clock: virtual time, what is going to happen, and what waits for the driver."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# What happens by itself; it is told when.
Act = Callable[[float], None]


@dataclass(slots=True)
class Message:
    """What reaches the driver.

    Attributes:
        act: What the driver then does.
        seconds: How long it is busy with that, before it has an answer.
        urgent: Whether it goes before others that wait: news of processes do, results do not.
        counts: Whether the driver has had a turn with it.
        dropped: Whether nobody waits for it any more.
        arrived: When it reached the driver.
    """

    act: Callable[[], None]
    seconds: float = 0.0
    urgent: bool = False
    counts: bool = True
    dropped: bool = False
    arrived: float | None = None


class Clock:
    """The time of a driver that has one thread.

    Of the messages that wait the driver takes urgent ones first, and of the others any, as Ray's
    does.

    Args:
        seed: Of the order in which it takes them.

    Attributes:
        now: The driver's time, in seconds since the study began; it never goes back.
        busy: How long the driver was busy.
    """

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.busy = 0.0
        self._random = random.Random(seed)
        # What happens, by time and then in the order in which it was planned.
        self._ahead: list[tuple[float, int, Act | Message]] = []
        self._planned = 0
        # How much of it a study can wait for.
        self._awaited = 0
        self._urgent: deque[Message] = deque()
        self._waiting: list[Message] = []

    def work(self, seconds: float) -> None:
        """Have the driver be busy."""
        self.now += seconds
        self.busy += seconds

    def rest(self, seconds: float) -> None:
        """Let time pass in which there is no driver."""
        self.now += seconds
        self._catch_up()

    def send(self, at: float, message: Message) -> Message:
        """Plan that a message reaches the driver; return it."""
        self._awaited += 1
        self._push(at, message)
        return message

    def plan(self, at: float, act: Act, *, awaited: bool = True) -> None:
        """Plan what happens by itself.

        Args:
            at: When.
            act: What happens.
            awaited: Whether a study may have to wait for it; nobody waits for a node to be lost.
        """
        if awaited:
            self._awaited += 1
            self._push(at, _counted(self, act))
        else:
            self._push(at, act)

    def next_message(self) -> Message | None:
        """Go on to the next message, be busy with it, and return it; None where none will come."""
        while True:
            self._catch_up()
            message = self._take()
            if message is None:
                if not self._awaited:
                    return None
                self.now = max(self.now, self._ahead[0][0])
            elif not message.dropped:
                self.work(message.seconds)
                return message

    def forget_messages(self) -> None:
        """Drop all messages, as a driver that is killed does; what happens by itself remains."""
        self._urgent.clear()
        self._waiting.clear()
        for _, _, what in self._ahead:
            if isinstance(what, Message):
                what.dropped = True

    def _push(self, at: float, what: Act | Message) -> None:
        self._planned += 1
        heapq.heappush(self._ahead, (at, self._planned, what))

    def _catch_up(self) -> None:
        """Let happen what was planned until now, in order."""
        while self._ahead and self._ahead[0][0] <= self.now:
            at, _, what = heapq.heappop(self._ahead)
            if not isinstance(what, Message):
                what(at)
                continue
            self._awaited -= 1
            what.arrived = at
            if what.urgent:
                self._urgent.append(what)
            else:
                self._waiting.append(what)

    def _take(self) -> Message | None:
        if self._urgent:
            return self._urgent.popleft()
        if not self._waiting:
            return None
        # The last one takes the place of the chosen one: as quick for thousands as for one.
        chosen, last = self._random.randrange(len(self._waiting)), self._waiting.pop()
        if chosen == len(self._waiting):
            return last
        taken, self._waiting[chosen] = self._waiting[chosen], last
        return taken


def _counted(clock: Clock, act: Act) -> Act:
    def run(at: float) -> None:
        clock._awaited -= 1
        act(at)

    return run
