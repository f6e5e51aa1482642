"""RecordedSearch: suggests recorded configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher


class RecordedSearch(Searcher):
    """Suggests recorded configurations, in their order.

    Args:
        configs: The configurations.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._configs, self._next = configs, 0

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Accept anything: nothing is searched."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration."""
        if self._next >= len(self._configs):
            return Searcher.FINISHED
        self._next += 1
        return dict(self._configs[self._next - 1])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: what comes next is known."""

    def save(self, checkpoint_path: str) -> None:
        """Save which configuration is next."""
        Path(checkpoint_path).write_text(str(self._next))

    def restore(self, checkpoint_path: str) -> None:
        """Go on with the one that was next."""
        self._next = int(Path(checkpoint_path).read_text())
