"""write_images: each figure of a study as an SVG or PNG file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.records.records import Records
from gap_tune.report.comparison import Comparison
from gap_tune.report.figures import plots
from gap_tune.report.figures.study import study_figures

FORMATS = ("svg", "png")
_WIDTH, _TALL = 900, 420
_INK = "#1b1f24"


def write_images(study: Records | Comparison, folder: Path | str, form: str) -> list[Path]:
    """Write every figure of a study and the gains of each tuned trial; return the paths.

    A browser (Chromium or Chrome) draws them as the page does, on white, without the network.

    Args:
        study: The study's records, or their comparison where there is one already.
        folder: Where to; made when absent, files of the same names are replaced.
        form: "svg", or "png" at twice the size, for print.

    Raises:
        InvalidValueError: For another form, or when the folder cannot be written.
        UnsupportedError: When kaleido (the extra "figures") or the browser is missing.
    """
    check_format(form)
    folder = Path(folder)
    figures = list(_named(Comparison.of(study)))
    paths = [folder / f"{place:02d}-{name}.{form}" for place, (name, _) in enumerate(figures, 1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValueError(
            f"figures must go where files can be written, but got {folder}: {error.strerror}."
        ) from None
    if figures:
        _draw([plot for _, plot in figures], paths, form)
    return paths


def check_format(form: str) -> None:
    """Raise ``InvalidValueError`` unless figures can have this form."""
    if form not in FORMATS:
        raise InvalidValueError(f"figures must be svg or png, but got {form!r}.")


def _named(comparison: Comparison) -> Iterator[tuple[str, Any]]:
    gains = [plot for plot in map(plots.gain_curves, comparison.tuned) if plot.data]
    for plot in (*study_figures(comparison), *gains):
        title = plot.layout.title.text.split(":")[0].split(";")[0]
        yield re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60], _on_white(plot)


def _on_white(plot: Any) -> Any:
    """Return a figure that needs no page around it."""
    plot.update_layout(
        width=_WIDTH,
        height=max(_TALL, plot.layout.height or 0),
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"color": _INK},
        margin={"l": 60, "r": 24, "t": 56, "b": 60},
    )
    return plot


def _draw(figures: list[Any], paths: list[Path], form: str) -> None:
    """Have one browser draw all figures."""
    try:
        from choreographer.errors import BrowserFailedError, ChromeNotFoundError
        from kaleido import write_fig_from_object_sync
    except ImportError:
        raise UnsupportedError(
            "--figures must have kaleido to draw with, but it is not installed: "
            "pip install 'gap-tune[figures]'."
        ) from None
    options = {"format": form, "scale": 2 if form == "png" else 1}
    drawn = [
        {"fig": figure, "path": str(path), "opts": options}
        for figure, path in zip(figures, paths, strict=True)
    ]
    try:
        # There is no MathJax, which it would ask of the network.
        write_fig_from_object_sync(drawn, kopts={"mathjax": False})
    except (ChromeNotFoundError, BrowserFailedError) as error:
        raise UnsupportedError(
            "--figures must have a Chromium or Chrome that starts (BROWSER_PATH names another), "
            f"but got {type(error).__name__}."
        ) from None
