"""Owners: who in a trial's function reported last, and so made its latest checkpoint (fact 21).

Ray hands a function the checkpoint that it last reported as the one to continue from. A function
that trains twice, as for the folds of a cross-validation, would continue its second training from
the end of its first.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

# The start of a function that last reported, and who did; a process runs one at a time. Ray's
# sessions cannot all be keys of a dict.
_latest: tuple[ref[Any], Any] | None = None


def note_report(reporter: Any) -> None:
    """Note who has reported in this start of the function."""
    global _latest
    start = start_of_function()
    _latest = None if start is None else (ref(start), reporter)


def is_anothers(asks: Any) -> bool:
    """Tell whether the latest report since the function started was somebody else's."""
    if _latest is None:
        return False
    start, reporter = _latest
    return start() is not None and start() is start_of_function() and reporter is not asks


def start_of_function() -> Any:
    """Return what tells this start of a function from all others; None if unknown."""
    try:
        from ray.train._internal.session import get_session

        session = get_session()
        if session is not None:
            # An actor that is reused, or whose trial goes on after a pause, keeps its session.
            return session.training_thread
        from ray.train.v2._internal.execution.context import get_train_context

        return get_train_context()
    except (AttributeError, ImportError, RuntimeError):
        return None
