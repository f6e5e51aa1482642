"""The figure of search curves: what the best of n random trials is expected to get."""

from __future__ import annotations

import math

from panel_files import HALVES, rows

# One trial to thirty, by their logarithm; test loss from level to half as much again.
_WIDTH, _HEIGHT, _LEFT, _TOP = 330, 210, 52, 34
_MOST = 0.45
# Colours that are told apart with every common colour vision, on white and on black.
_CURVES = {"sweep": ("#8a919c", "sweep of learning rate and momentum"), "gap": ("#d55e00", "GAP")}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#767b85}"
    ".line{fill:none;stroke-width:2.5}.grid{stroke:#8a919c;stroke-opacity:.35}"
)


def figure() -> str:
    """Return the search curves as SVG: expected test loss of the best of n random trials."""
    parts = [_curves(half, 20 + place * (_WIDTH + 70)) for place, half in enumerate(HALVES)]
    width, height = 2 * (_WIDTH + 70) + 20, _HEIGHT + _TOP + 46
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img"><title>Test loss of the best of n random trials over that of the best fixed '
        f"momentum</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _curves(half: str, left: float) -> str:
    def x(count: float) -> float:
        return left + _LEFT + (_WIDTH - 10) * math.log(count) / math.log(30)

    def y(ratio: float) -> float:
        return _TOP + _HEIGHT * (1 - (ratio - 1 + 0.02) / (_MOST + 0.02))

    found = [text(left + _LEFT, 18, f"{half} half, 14 tasks")]
    for share in (0, 0.1, 0.2, 0.3, 0.4):
        at = y(1 + share)
        end = left + _LEFT + _WIDTH - 10
        found.append(f'<path class="grid" d="M{left + _LEFT:.1f} {at:.1f}H{end:.1f}"/>')
        found.append(text(left + _LEFT - 8, at + 4, f"{share:+.0%}" if share else "0 %", "end"))
    for count in (1, 3, 10, 30):
        found.append(text(x(count), _TOP + _HEIGHT + 18, str(count), "middle"))
    found.append(text(left + _LEFT + _WIDTH / 2, _TOP + _HEIGHT + 38, "random trials", "middle"))
    for place, (method, (colour, name)) in enumerate(_CURVES.items()):
        points = rows("panel-search.csv", family="all", half=half, method=method)
        places = [f"{x(int(r['trials'])):.1f} {y(float(r['ratio'])):.1f}" for r in points]
        found.append(f'<path class="line" stroke="{colour}" d="M{"L".join(places)}"/>')
        found.append(text(left + _LEFT + 60, _TOP + 12 + 18 * place, name, "start", colour))
    return "".join(found)


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "") -> str:
    """Return some words of a figure."""
    fill = f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{fill}>{words}</text>'
