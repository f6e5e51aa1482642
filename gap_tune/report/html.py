"""What pages are made of: templates, plotly's script, figures, and a policy that admits no other.

A page holds its scripts and figures, asks nothing of the network, and forbids its browser to (a
Content-Security-Policy that allows the two scripts it was written with, by their hashes).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from functools import cache
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from gap_tune import formatting
from gap_tune.report.search_curve import amount


def render_page(template: str, *packages: str, **content: Any) -> str:
    """Return the HTML of a template, which includes style, scripts and their hashes.

    Args:
        template: Name of the template.
        *packages: Where templates are looked for before those of ``gap_tune.report``.
        **content: What the template shows; every string is escaped.
    """
    environment = _environment(*packages)
    library, script = _library(), environment.get_template("report.js").render()
    style = environment.get_template("report.css").render()
    # Ours, not a user's.
    own = {"style": Markup(style), "script": Markup(script)}  # nosec B704
    return environment.get_template(template).render(
        **content,
        **own,
        library=library.packed,
        hashes=[library.digest, _digest(script)],
    )


def page_figure(plot: Any) -> dict[str, Any]:
    """Return a figure with its title apart: as a heading it wraps on narrow screens."""
    content = json.loads(plot.to_json())
    title = content["layout"].pop("title")["text"]
    return {"title": html.unescape(title), "content": content}


def _environment(*packages: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "gap_tune.report")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "number": formatting.number,
        "count": formatting.count,
        "plural": formatting.plural,
        "duration": formatting.duration,
        "reported": formatting.as_reported,
        "text": formatting.setting,
    }
    environment.globals |= {"mean_and_error": formatting.mean_and_error, "amount": amount}
    return environment


class _Library(NamedTuple):
    packed: str
    digest: str


@cache
def _library() -> _Library:
    """Return plotly's script, packed to two fifths of its 4.8 MB, and its digest when unpacked."""
    script = get_plotlyjs()
    packed = gzip.compress(script.encode(), mtime=0)
    return _Library(base64.b64encode(packed).decode(), _digest(script))


def _digest(script: str) -> str:
    """Return what a Content-Security-Policy calls a script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
