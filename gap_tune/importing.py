"""Objects by import path: how others' rules and workloads are found."""

from __future__ import annotations

import os
import sys
from functools import reduce
from importlib import import_module
from typing import Any

from gap_tune.errors import UnsupportedError


def imported(path: str, what: str, kind: str = "class") -> Any:
    """Return what an import path names.

    Args:
        path: "package.module:Class", or "package.module:Class.method".
        what: What it should be, as messages call it: "rule".
        kind: What it should be for Python.

    Raises:
        UnsupportedError: When it cannot be imported, whatever the reason: the module is others'.

    >>> imported("gap_tune.rules:FixedMomentum", "rule").__name__
    'FixedMomentum'
    """
    module, _, name = path.partition(":")
    try:
        # A study may run in a folder whose modules Python finds only when started by `python -m`.
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        return reduce(getattr, name.split("."), import_module(module))
    # A script that reads its command line when it is imported would end whoever asks.
    except (Exception, SystemExit) as error:
        why = " ".join(str(error).split())[:300] or repr(error)
        raise UnsupportedError(
            f'{what} "{path}" must name a {kind} that can be imported, but got: {why}.'
        ) from None
