"""A hook of the site: formulas become MathML when it is built; browsers need no script for it."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves: \( \) in a span and \[ \] in a div.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_DISPLAYED = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Return a page's HTML with its formulas typeset."""

    def inline(found: re.Match[str]) -> str:
        return f'<span class="arithmatex">{convert(html.unescape(found[1]))}</span>'

    def displayed(found: re.Match[str]) -> str:
        formula = convert(html.unescape(found[1]), display="block")
        return f'<div class="arithmatex">{formula}</div>'

    return _DISPLAYED.sub(displayed, _INLINE.sub(inline, content))
