"""The panel's two halves: drawn, not chosen."""

from __future__ import annotations

import random

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.panel.settings import Setting, read_settings

_SEED = 0


def drawn(settings: tuple[Setting, ...]) -> set[str]:
    """Return the names that are held out: of each family a half, by one generator."""
    chance = random.Random(_SEED)
    held_out: set[str] = set()
    for family in sorted({setting.family for setting in settings}):
        names = sorted(setting.name for setting in settings if setting.family == family)
        held_out |= set(chance.sample(names, len(names) // 2))
    return held_out


def test_the_shipped_halves_are_those_of_the_draw() -> None:
    panel = read_settings()
    held_out = {setting.name for setting in panel.settings if setting.half == "held-out"}
    assert held_out == drawn(panel.settings)
    for family in ("sgd", "adamw"):
        halves = [setting.half for setting in panel.settings if setting.family == family]
        assert halves.count("held-out") == halves.count("development") >= 7


def test_a_half_is_its_settings_and_both_are_all() -> None:
    panel = read_settings()
    development, held_out = panel.of_half("development"), panel.of_half("held-out")
    names = [{setting.name for setting in half.settings} for half in (development, held_out)]
    assert not names[0] & names[1]
    assert len(names[0]) == len(names[1]) >= 14
    assert panel.of_half("both") == panel
    # Runs of a half are those that the whole panel does in its settings.
    keys = {job.key for half in (development, held_out) for job in half.suite().jobs()}
    assert keys == {job.key for job in panel.suite().jobs()}


def test_the_quick_panel_is_of_the_development_half() -> None:
    panel = read_settings()
    assert panel.of_half("development").quick() == panel.quick()


def test_no_half_is_empty_and_no_other_is_known() -> None:
    one = read_settings().without([s.name for s in read_settings().settings[1:]])
    empty = "held-out" if one.settings[0].half == "development" else "development"
    with pytest.raises(InvalidValueError, match=f"have settings, but got none in half '{empty}'"):
        one.of_half(empty)
    with pytest.raises(InvalidValueError, match=r"half must be one of .*, but got 'third'"):
        one.of_half("third")
    with pytest.raises(InvalidValueError, match="got none in what is left"):
        one.without([one.settings[0].name])
