"""Constants in round numbers, with which plans can be computed by hand."""

from __future__ import annotations

from dataclasses import fields

from gap_tune.planning import Constants

MEASURED = tuple(each.name for each in fields(Constants) if each.name != "about")


def constants(**given: float) -> Constants:
    """Return constants that are all zero but the given ones."""
    return Constants(about={}, **{**dict.fromkeys(MEASURED, 0.0), **given})
