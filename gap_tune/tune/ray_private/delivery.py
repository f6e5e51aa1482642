"""Delivery: directives from the scheduler to a trial that runs (facts 1 to 6 and 36)."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import ref

from ray import cloudpickle
from ray.actor import ActorHandle
from ray.experimental import internal_kv

from gap_tune.rules import Decision

logger = logging.getLogger(__name__)

_NAMESPACE = "gap_tune"
_FIRST_POLL_S = 0.001
_LAST_POLL_S = 0.02
# By which the controller has a trial train; the latter where results are buffered.
_TRAINS = ("train", "train_buffered")
# What a handle has whose ``train`` nobody calls.
_ALONE = "_gap_tune_alone"


@dataclass(frozen=True)
class Directive:
    """What the scheduler tells a trial while it waits in ``report()``.

    Attributes:
        seq: Number of this decision within the trial, from 1; the trial applies each once.
        decision: The decision to apply, or None when there is none or the trial must fail.
        failure: Why the trial must fail, or None.
    """

    seq: int
    decision: Decision | None = None
    failure: str | None = None


# One mailbox per process; an actor that is reused runs one trial after another.
_lock = threading.Lock()
_mailbox: dict[str, Directive] = {}


def send(
    trial: Any, directive: Directive, *, mailbox: str | None = None, trains: bool = False
) -> bool:
    """Send a directive to a trial; return whether the trial has a running process.

    Does not wait: the trial finds the directive when its ``report()`` returns, or by ``wait``.

    Args:
        trial: The Ray trial.
        directive: What to tell it.
        mailbox: Where processes that the trial started themselves wait for it; None when the
            trial's own process does.
        trains: Whether the controller will have the trial train next, or stop it. Then the
            directive goes with that call, which is made anyway: one of its own costs the driver
            more than the decision does.
    """
    actor = trial.temporary_state.ray_actor
    if actor is None:
        return False
    if mailbox is not None:
        internal_kv._internal_kv_put(mailbox, pickle.dumps(directive), namespace=_NAMESPACE)
        return True
    if isinstance(actor, ActorHandle) and _may_go_along(actor) and trains:
        # Pickled here, where a user's decision that cannot be is an error to the scheduler only.
        _train_after(partial(_unpack, trial.trial_id, cloudpickle.dumps(directive)), actor)
    else:
        # A partial: an execute() that raises for a wrong arity would end the whole study.
        actor.execute.remote(partial(_receive, trial.trial_id, directive))
    return True


def _may_go_along(actor: ActorHandle) -> bool:
    """Tell whether the controller calls this handle's ``train``, as far as is known.

    If a directive still waits for that call when the next one is sent, it does not, and this and
    all later ones go alone. The one that waits is dropped: it would be taken for newer.
    """
    if _with_own_train(actor):
        setattr(actor, _ALONE, True)
    return _ALONE not in vars(actor)


def _train_after(receive: partial[None], actor: ActorHandle) -> None:
    """Have an actor's next call to train, which is the controller's, receive a directive first.

    Raises:
        AttributeError: When the actor cannot: the controller's call may not raise.
    """
    actor.execute  # noqa: B018
    # Weak: Ray counts the handles of an actor, and ends one that has none.
    weak = ref(actor)
    for name in _TRAINS:
        setattr(actor, name, SimpleNamespace(remote=partial(_call_train, weak, name, receive)))


def _call_train(
    weak: ref[ActorHandle], name: str, receive: partial[None], *args: Any, **kwargs: Any
) -> Any:
    """Call train once so, instead of the handle's own method, which is back afterwards."""
    actor: Any = weak()
    _with_own_train(actor)
    try:
        return actor.execute.remote(partial(_receive_and_train, receive, name, args, kwargs))
    except Exception as error:
        # The controller is calling: what it gets must not end the study.
        logger.warning("A decision was not sent: %r", error)
        return getattr(actor, name).remote(*args, **kwargs)


def _with_own_train(actor: ActorHandle) -> bool:
    """Give a handle its own methods back; return whether it had others."""
    others = [vars(actor).pop(name, None) for name in _TRAINS]
    return any(each is not None for each in others)


def take(trial_id: str) -> Directive | None:
    """Return and remove the directive that waits for a trial in this process, if any."""
    with _lock:
        return _mailbox.pop(trial_id, None)


def _receive(trial_id: str, directive: Directive, trainable: Any) -> None:
    """Put a directive into the mailbox; runs in the trial's process."""
    with _lock:
        _mailbox[trial_id] = directive


def _unpack(trial_id: str, pickled: bytes, trainable: Any) -> None:
    """Put a pickled directive into the mailbox; runs in the trial's process."""
    # The study's own driver pickled it.
    _receive(trial_id, pickle.loads(pickled), trainable)  # nosec B301


def _receive_and_train(
    receive: partial[None], name: str, args: Any, kwargs: Any, trainable: Any
) -> Any:
    """Put a directive into the mailbox, and train; runs in the trial's process."""
    try:
        receive(trainable)
    except Exception as error:
        # A decision less, such as of a class that is not here, and not a trial.
        logger.warning("A decision did not arrive: %r", error)
    return getattr(trainable, name)(*args, **kwargs)


def wait(mailbox: str, seq: int, timeout_s: float) -> Directive | None:
    """Wait for the directive number ``seq``, or a failure, that was sent to a mailbox.

    Asks every millisecond at first, later every 20: decisions come soon or not at all. The
    directive stays there until ``clear``: a process that dies with it, and goes back to the
    checkpoint that it answers, must find it again.

    Returns:
        The directive; None when none of that number has come in time.
    """
    deadline, pause = time.monotonic() + timeout_s, _FIRST_POLL_S
    while True:
        found = internal_kv._internal_kv_get(mailbox, namespace=_NAMESPACE)
        if found is not None:
            # The study's own driver wrote it, into Ray's own store.
            directive: Directive = pickle.loads(found)  # nosec B301
            if directive.seq == seq or directive.failure is not None:
                return directive
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LAST_POLL_S)


def clear(mailbox: str) -> None:
    """Remove what is left in a mailbox."""
    internal_kv._internal_kv_del(mailbox, namespace=_NAMESPACE)
