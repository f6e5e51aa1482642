"""PlannedTrials: a Searcher that suggests a fixed list of configurations in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from gap_tune.tune.ray_private import searchers


class PlannedTrials(Searcher):
    """Suggests each configuration of a list once, in order, then says that it is finished.

    Ray's own generator of variants is no Searcher, so ``GapSearch`` cannot wrap it.

    Args:
        configurations: The configurations, in the order in which trials should start.
        metric: The study's, where Ray may not tell it: it does not where ``param_space`` is empty.
        mode: "min" or "max", likewise.
    """

    def __init__(
        self,
        configurations: Sequence[dict[str, Any]],
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._configurations = list(configurations)
        self._next = 0

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take metric and mode; the plan does not depend on them."""
        searchers.remember(self, metric, mode)
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration, or ``Searcher.FINISHED``."""
        if self._next >= len(self._configurations):
            return Searcher.FINISHED
        self._next += 1
        return dict(self._configurations[self._next - 1])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Ignore it: the plan is fixed."""

    def save(self, checkpoint_path: str) -> None:
        """Write the position in the plan to a file."""
        Path(checkpoint_path).write_text(json.dumps({"next": self._next}))

    def restore(self, checkpoint_path: str) -> None:
        """Continue from the position in a file."""
        self._next = json.loads(Path(checkpoint_path).read_text())["next"]
