"""The figure of simulated studies: what is expected after n trials, and after a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from panel_files import rows
from search_curves import STYLE, text

_WIDTH, _HEIGHT, _LEFT, _TOP = 330, 210, 52, 34
# Test loss over that of the best fixed momentum and learning rate, less 1.
_LEAST, _MOST = -0.06, 0.5
_METHODS = {
    "gap+tpe+fifo": ("#d55e00", "GAP", ""),
    "gap+tpe+asha": ("#d55e00", "GAP, ASHA", "6 4"),
    "sweep+tpe+fifo": ("#8a919c", "sweep of momentum", ""),
    "sweep+tpe+asha": ("#8a919c", "sweep, ASHA", "6 4"),
}
_AXES: dict[str, tuple[str, Sequence[float], float]] = {
    "trials": ("trials", (1, 3, 10, 30), 1.0),
    "time": ("minutes of cluster time", (1, 3, 10, 30), 60.0),
}


def figure() -> str:
    """Return the curves as SVG: expected test loss against trials, and against cluster time."""
    parts = [_curves(axis, 20 + place * (_WIDTH + 70)) for place, axis in enumerate(_AXES)]
    width, height = 2 * (_WIDTH + 70) + 20, _HEIGHT + _TOP + 46
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'role="img"><title>Expected test loss of simulated studies over that of the best fixed '
        f"momentum and learning rate</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _curves(axis: str, left: float) -> str:
    title, ticks, unit = _AXES[axis]
    own = {name: list(rows("simulated-curves.csv", axis=axis, method=name)) for name in _METHODS}
    places = [float(row["at"]) / unit for each in own.values() for row in each]
    first, last = max(min(places), 0.5), max(places)

    def x(at: float) -> float:
        share = math.log(max(at, first) / first) / math.log(last / first)
        return left + _LEFT + (_WIDTH - 10) * share

    def y(ratio: float) -> float:
        share = (min(ratio - 1, _MOST) - _LEAST) / (_MOST - _LEAST)
        return _TOP + _HEIGHT * (1 - share)

    end = left + _LEFT + _WIDTH - 10
    found = [text(left + _LEFT, 18, "12 tasks, 8 trials at a time")]
    for share in (0, 0.1, 0.2, 0.3, 0.4):
        at = y(1 + share)
        found.append(f'<path class="grid" d="M{left + _LEFT:.1f} {at:.1f}H{end:.1f}"/>')
        found.append(text(left + _LEFT - 8, at + 4, f"{share:+.0%}" if share else "0 %", "end"))
    found += [text(x(t), _TOP + _HEIGHT + 18, str(t), "middle") for t in ticks if t <= last]
    found.append(text(left + _LEFT + _WIDTH / 2, _TOP + _HEIGHT + 38, title, "middle"))
    for place, (name, (colour, label, dashes)) in enumerate(_METHODS.items()):
        known = [row for row in own[name] if math.isfinite(float(row["ratio"]))]
        points = [f"{x(float(r['at']) / unit):.1f} {y(float(r['ratio'])):.1f}" for r in known]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        found.append(f'<path class="line" stroke="{colour}"{dashed} d="M{"L".join(points)}"/>')
        # Where the curves leave room.
        if axis == "time":
            found.append(text(end, _TOP + 12 + 18 * place, label, "end", colour))
            line = f"M{end - 162:.1f} {_TOP + 8 + 18 * place}h26"
            found.append(f'<path class="line" stroke="{colour}"{dashed} d="{line}"/>')
    return "".join(found)
