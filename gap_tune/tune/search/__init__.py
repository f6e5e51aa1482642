"""GapSearch: seeds trials with momentum, around any other searcher."""

from __future__ import annotations

from gap_tune.tune.search.gap_search import GapSearch

__all__ = ["GapSearch"]
