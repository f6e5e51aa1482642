"""An extension of the site's reader of docstrings: their examples become code blocks."""

from __future__ import annotations

import re
from typing import Any

import griffe

# Prompts and what follows them, up to an empty line.
_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n *\S.*)*", re.MULTILINE)


class Examples(griffe.Extension):
    """Fences examples, so that brackets in them are no links and prompts no quotations."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Fence the examples of an object's docstring."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """Return a docstring with its examples in fences, and without the second colon before code.

    Examples that only an empty line keeps apart stay apart: each is a block of its own.
    """
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return _EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
