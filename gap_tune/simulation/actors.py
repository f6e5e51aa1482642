"""Actors: processes on simulated nodes, for Ray's controller to start, ask and stop."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.tune.result import RESULT_DUPLICATE, TIMESTAMP

from gap_tune.errors import GapTuneError, UnsupportedError
from gap_tune.simulation.clock import Clock, Message
from gap_tune.simulation.cluster import Cluster
from gap_tune.simulation.faults import Machines
from gap_tune.simulation.process import Actor, Death, Process
from gap_tune.tune.ray_private.virtual import VirtualActors


class Actors(VirtualActors):
    """Processes on the nodes of a simulated cluster.

    Args:
        cluster: How long everything takes.
        clock: The virtual clock.
        machines: The nodes.
        make: Makes the process of a trial on a node.
        seed: Of the time that processes take to start.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        machines: Machines,
        make: Callable[[int], Process],
        seed: int,
    ) -> None:
        self._cluster, self._clock, self._machines, self._make = cluster, clock, machines, make
        self._random = random.Random(f"{seed} start")
        self._pending: deque[Actor] = deque()
        self._live: dict[Actor, None] = {}
        self._numbers = 0
        self._tasks = 0
        self.busy_seconds, self.longest_wait, self.stuck = 0.0, 0.0, False

    @property
    def num_live_actors(self) -> int:
        """How many have a slot."""
        return len(self._live)

    @property
    def num_pending_actors(self) -> int:
        """How many wait for one."""
        return len(self._pending)

    @property
    def num_actor_tasks(self) -> int:
        """How many tasks have not been answered."""
        return self._tasks

    def handle(self, actor: Actor) -> Process:
        """Return the process."""
        return actor.process

    def add_actor(
        self, cls: Any, kwargs: dict[str, Any], resource_request: Any, **calls: Any
    ) -> Actor:
        """Ask for a process, which starts when there is a slot for it."""
        self._numbers += 1
        names = ("on_start", "on_stop", "on_error")
        actor = Actor(self.lose, self._numbers, kwargs["config"], *map(calls.get, names))
        self._pending.append(actor)
        return actor

    def remove_actor(
        self, tracked_actor: Actor, kill: bool = False, stop_future: Any = None
    ) -> bool:
        """Have a process stop."""
        actor = tracked_actor
        if actor.failed:
            return False
        if actor not in self._live:
            self._pending.remove(actor)
            return False
        if actor.starting is not None:
            actor.starting.dropped = True
            actor.on_start = actor.on_stop = actor.on_error = None
        at = self._clock.now + self._cluster.report_latency
        self._clock.plan(at, lambda at: self._leave(actor, at))
        self._clock.send(
            at + self._cluster.report_latency, Message(lambda: self._stopped(actor), urgent=True)
        )
        return True

    def is_actor_started(self, tracked_actor: Actor) -> bool:
        """Tell whether a process has a slot and is not known to be dead."""
        return tracked_actor in self._live and not tracked_actor.failed

    def is_actor_failed(self, tracked_actor: Actor) -> bool:
        """Tell whether a process is known to be dead."""
        return tracked_actor.failed

    def schedule_actor_task(
        self,
        tracked_actor: Actor,
        method_name: str,
        args: tuple[Any, ...] = (),
        kwargs: Any = None,
        on_result: Any = None,
        on_error: Any = None,
        _return_future: bool = False,
    ) -> Any:
        """Have a process do something; return at once what the driver will get of a save."""
        actor = tracked_actor
        if actor.failed or method_name == "stop":
            return None
        if actor.died is not None:
            self._notice(actor, actor.died, on_error)
            return None
        try:
            answer, seconds = self._ask(actor.process, method_name, args)
        except GapTuneError as error:
            answer, seconds = error, 0.0
        if isinstance(answer, GapTuneError):
            answer = RayTaskError(method_name, str(answer), answer)
        latency, cost = self._cluster.report_latency, 0.0
        at = self._clock.now + seconds + 2 * latency
        if method_name == "train" and isinstance(answer, dict):
            answer[TIMESTAMP] = at - latency
            # A last result that comes twice is neither judged nor logged again.
            cost = 0.0 if RESULT_DUPLICATE in answer else self._cluster.seconds_per_result
        message = Message(_nothing, cost)
        message.act = lambda: self._answered(actor, message, answer, on_result, on_error)
        self._await(actor, message, on_error)
        self._clock.send(at, message)
        return answer if _return_future else None

    def _ask(self, process: Process, method: str, args: tuple[Any, ...]) -> tuple[Any, float]:
        """Return what a process answers, and how long that takes it."""
        if method == "train":
            return process.train()
        if method == "save":
            return process.save(), 0.0
        if method == "restore":
            process.restore(args[0].checkpoint.path)
            return None, 0.0
        if method == "reset":
            process.begin(args[0])
            return True, self._cluster.reset_seconds
        raise UnsupportedError(f"a simulated process must be asked to train, but got {method!r}.")

    def clear_actor_task_futures(self, tracked_actor: Actor) -> None:
        """Wait for none of a process's answers any more."""
        for message, _ in tracked_actor.tasks.values():
            message.dropped = True
        self._tasks -= len(tracked_actor.tasks)
        tracked_actor.tasks.clear()

    def next(self, timeout: float | None = None) -> bool:
        """Handle the next message; wait for one as long as that takes."""
        self._start()
        while True:
            message = self._clock.next_message()
            if message is None:
                self.stuck = True
                return False
            message.act()
            # That there is a slot is nothing that the controller hears of.
            if message.counts:
                self._start()
                return True

    def cleanup(self) -> None:
        """Stop all processes at once, as the end of a driver does."""
        for actor in list(self._live):
            self.clear_actor_task_futures(actor)
            self._leave(actor, self._clock.now)
        self._live.clear()
        self._pending.clear()
        self._clock.forget_messages()

    def lose(self, actor: Actor, death: Death) -> None:
        """Have a process die; what has not reached the driver is lost."""
        actor.died, actor.process.dead = death, True
        self.busy_seconds += death.at - actor.placed
        if actor.starting is not None:
            actor.starting.dropped = True
            actor.starting = Message(lambda: self._failed(actor, death, None), urgent=True)
            self._clock.send(death.noticed, actor.starting)
        lost = [each for each in actor.tasks.values() if each[0].arrived is None]
        for message, on_error in lost:
            message.dropped = True
            self._settle(actor, message)
            self._notice(actor, death, on_error)

    def _notice(self, actor: Actor, death: Death, on_error: Any) -> None:
        """Have the driver learn that a process has died which it has asked something."""
        message = Message(_nothing)

        def act() -> None:
            self._settle(actor, message)
            self._failed(actor, death, on_error)

        message.act = act
        self._await(actor, message, on_error)
        self._clock.send(max(death.noticed, self._clock.now), message)

    def _await(self, actor: Actor, message: Message, on_error: Any) -> None:
        actor.tasks[id(message)] = message, on_error
        self._tasks += 1

    def _settle(self, actor: Actor, message: Message) -> None:
        del actor.tasks[id(message)]
        self._tasks -= 1

    def _start(self) -> None:
        """Start processes that wait as long as there are slots."""
        while self._pending:
            actor = self._pending[0]
            number = self._machines.place(actor)
            if number is None:
                return
            self._pending.popleft()
            self._live[actor] = None
            actor.process, actor.placed = self._make(number), self._clock.now
            actor.process.begin(actor.config)
            spread = self._cluster.start_jitter
            factor = self._random.uniform(1.0 - spread, 1.0 + spread) if spread else 1.0
            at = self._clock.now + self._cluster.start_seconds * factor
            at += 2 * self._cluster.report_latency
            message = Message(partial(self._started, actor), urgent=True)
            actor.starting = self._clock.send(at, message)

    def _started(self, actor: Actor) -> None:
        actor.starting = None
        if actor.on_start:
            actor.on_start(actor)

    def _answered(
        self, actor: Actor, message: Message, answer: Any, on_result: Any, on_error: Any
    ) -> None:
        self._settle(actor, message)
        if isinstance(answer, RayTaskError):
            if on_error:
                on_error(actor, answer)
        elif on_result:
            on_result(actor, answer)
        arrived = self._clock.now if message.arrived is None else message.arrived
        self.longest_wait = max(self.longest_wait, self._clock.now - arrived)

    def _leave(self, actor: Actor, at: float) -> None:
        """Free a process's slot, and have the driver use it."""
        if actor.died is not None:
            return
        actor.died = Death(at, at, False)
        self.busy_seconds += at - actor.placed
        self._machines.leave(actor, actor.process.node)
        self.wake(at)

    def wake(self, at: float) -> None:
        """Have the driver look for slots at a time."""
        if self._pending:
            self._clock.send(at, Message(self._start, urgent=True, counts=False))

    def _stopped(self, actor: Actor) -> None:
        self._live.pop(actor, None)
        if actor.on_stop:
            actor.on_stop(actor)

    def _failed(self, actor: Actor, death: Death, on_error: Any) -> None:
        """Have the controller deal with a process that has died."""
        error = RayActorError(error_msg="The node was lost.", preempted=death.preempted)
        if not actor.failed:
            actor.failed = True
            self._live.pop(actor, None)
            if actor.on_error:
                actor.on_error(actor, error)
        if on_error:
            on_error(actor, error)


def _nothing() -> None:
    """Do nothing."""
