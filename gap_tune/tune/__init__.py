"""Ray Tune integration: trial sessions, the searcher, the scheduler, callbacks.

Names load when they are first used: a trial's process needs the session only, and every process
that a study starts waits for these imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gap_tune._lazy import lazily

if TYPE_CHECKING:
    from gap_tune.rules.recorded import RecordedDecision as RecordedDecision
    from gap_tune.rules.recorded import read_decisions as read_decisions
    from gap_tune.tune.integrations.trainable import GapTrainable as GapTrainable
    from gap_tune.tune.scheduling.scheduler import GapScheduler as GapScheduler
    from gap_tune.tune.search import GapSearch as GapSearch
    from gap_tune.tune.trial.attaching import attach as attach
    from gap_tune.tune.trial.session import TrialSession as TrialSession
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "gap_tune.tune.integrations.trainable": ["GapTrainable"],
            "gap_tune.rules.recorded": ["RecordedDecision", "read_decisions"],
            "gap_tune.tune.scheduling.scheduler": ["GapScheduler"],
            "gap_tune.tune.search": ["GapSearch"],
            "gap_tune.tune.trial.attaching": ["attach"],
            "gap_tune.tune.trial.session": ["TrialSession"],
        },
    )
