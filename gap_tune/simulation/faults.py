"""Machines: nodes with slots for processes, which are lost, taken back, and come again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gap_tune.simulation.clock import Clock
from gap_tune.simulation.cluster import Cluster

_HOUR = 3600.0


class Occupant(Protocol):
    """A process on a node."""

    def lose(self, at: float, noticed: float, *, preempted: bool) -> None:
        """Die with the node; the driver learns of it at ``noticed``."""


@dataclass
class Node:
    """A node.

    Attributes:
        number: Its number, from 0.
        up: Whether it is there.
        draining: Whether it is known that it will be taken.
        occupants: The processes on it.
    """

    number: int
    up: bool = True
    draining: bool = False
    occupants: dict[Occupant, None] = field(default_factory=dict)


class Machines:
    """The nodes of a cluster.

    Args:
        cluster: How many there are, and how they fail.
        clock: Tells the time.
        seed: Of their faults.
        note: Is told when, what ("lost", "notice", "back") and of which node.
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, seed: int, note: Callable[[float, str, int], None]
    ) -> None:
        self._cluster, self._clock, self._note = cluster, clock, note
        # Is called when a node is back.
        self.returned: Callable[[float], None] = _nothing
        self._nodes = [Node(number) for number in range(cluster.nodes)]
        self._taken = 0
        self._losses = random.Random(f"{seed} loss")
        self._preemptions = random.Random(f"{seed} spot")
        for node in self._nodes:
            self._plan_faults(node, 0.0)

    def place(self, occupant: Occupant) -> int | None:
        """Give a process a slot on the emptiest node, and return its number; None without one."""
        most = self._cluster.trials_per_node
        # Asked at every turn of the driver, and mostly all are taken.
        if self._taken >= most * len(self._nodes):
            return None
        free = [n for n in self._nodes if n.up and not n.draining and len(n.occupants) < most]
        if not free:
            return None
        node = min(free, key=lambda each: len(each.occupants))
        node.occupants[occupant] = None
        self._taken += 1
        return node.number

    def leave(self, occupant: Occupant, number: int) -> None:
        """Free the slot of a process, unless the node has gone with it."""
        if self._nodes[number].occupants.pop(occupant, self) is None:
            self._taken -= 1

    def _plan_faults(self, node: Node, now: float) -> None:
        loss, spot = self._cluster.node_loss, self._cluster.preemption
        if loss.per_hour / _HOUR > 0:
            at = now + self._losses.expovariate(loss.per_hour / _HOUR)
            self._clock.plan(at, lambda at: self._lose(node, at), awaited=False)
        if spot.per_hour / _HOUR > 0:
            at = now + self._preemptions.expovariate(spot.per_hour / _HOUR)
            self._clock.plan(at, lambda at: self._announce(node, at), awaited=False)

    def _lose(self, node: Node, at: float) -> None:
        loss = self._cluster.node_loss
        if node.up:
            self._take(node, at, loss.noticed_after_seconds, loss.back_after_seconds, False)

    def _announce(self, node: Node, at: float) -> None:
        """Say that a node will be taken, and take it then."""
        spot = self._cluster.preemption
        if not node.up:
            return
        if spot.notice_seconds:
            node.draining = True
            self._note(at, "notice", node.number)
        at += spot.notice_seconds
        # What waits for a slot there waits for the node that comes after it.
        self._clock.plan(at, lambda at: self._preempt(node, at))

    def _preempt(self, node: Node, at: float) -> None:
        spot = self._cluster.preemption
        if node.up:
            noticed, back = spot.noticed_after_seconds, spot.back_after_seconds
            self._take(node, at, noticed, back, spot.notice_seconds > 0)

    def _take(self, node: Node, at: float, noticed: float, back: float, preempted: bool) -> None:
        node.up = False
        self._note(at, "lost", node.number)
        occupants, node.occupants = node.occupants, {}
        self._taken -= len(occupants)
        for occupant in occupants:
            occupant.lose(at, at + noticed, preempted=preempted)
        self._clock.plan(at + back, lambda at: self._return(node, at))

    def _return(self, node: Node, at: float) -> None:
        node.up, node.draining = True, False
        self._note(at, "back", node.number)
        self.returned(at)
        self._plan_faults(node, at)


def _nothing(at: float) -> None:
    """Do nothing."""
