"""with_data: says before a panel's first run which of its settings lack their data."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from gap_tune.errors import InvalidValueError
from gap_tune.formatting import plain
from gap_tune.panel.settings import PanelSettings


def with_data(settings: PanelSettings, console: Console, *, skip_missing: bool) -> PanelSettings:
    """Return the panel's settings whose data are here; all of them, unless asked for less.

    Args:
        settings: The panel.
        console: Where to say what is left out.
        skip_missing: Whether to go on without settings whose data are not here.

    Raises:
        InvalidValueError: When data are not here, and the panel is not to go on without them, or
            could not.
    """
    missing = settings.missing()
    if not missing:
        return settings
    names = ", ".join(map(repr, missing))
    # Several settings of one task say the same.
    reasons = " ".join(dict.fromkeys(missing.values())).rstrip(".")
    if not skip_missing:
        raise InvalidValueError(
            f"the data of every setting must be here before the first run, but those of {names} "
            f"are not: {reasons}; or go on without them: --skip-missing."
        )
    left = settings.without(missing)
    console.print(Text(plain(f"left out, since their data are not here: {names} ({reasons})")))
    return left
