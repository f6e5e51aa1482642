"""Owners: who of a trial's function has reported, and so made the trial's latest checkpoint.

Ray hands a function the checkpoint that it last reported as the one to continue from. A function
that trains twice, as for the folds of a cross-validation, would continue its second training from
the end of its first.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

from gap_tune.tune.ray_private import delivery

# The start of a function that last reported, and who did; a process runs one at a time. Ray's
# sessions cannot all be keys of a dict.
_latest: tuple[ref[Any], Any] | None = None


def note_report(reporter: Any) -> None:
    """Note who has reported in this start of the function."""
    global _latest
    start = delivery.start_of_function()
    _latest = None if start is None else (ref(start), reporter)


def is_anothers(asks: Any) -> bool:
    """Tell whether the latest report since the function started was somebody else's."""
    if _latest is None:
        return False
    start, reporter = _latest
    return start() is not None and start() is delivery.start_of_function() and reporter is not asks
