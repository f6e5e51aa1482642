"""What --json prints: one JSON document, alone on standard output.

Every document has these keys, and others by command:

| key | |
|---|---|
| ``version`` | 1; it grows where a key is renamed, removed or means something else |
| ``gap_tune`` | version of the package |
| ``kind`` | what it is of |

| ``kind`` | other keys |
|---|---|
| ``comparison`` (``demo``, ``compare``, ``resume``, ``report``) | ``answer``: the fields of \
``gap_tune.report.Verdict``; ``best``: the trial to take home, see below; ``metric``, ``mode``; \
``arms``: one object per arm, see ``gap_tune.report.summarise``; ``files``: where ``report``, \
``tables``, ``experiment`` and, where they were asked for, ``figures`` are |
| ``probe`` | ``momentum``, ``steps``, ``explanation``, ``candidates`` and their ``gains``; \
``files``: ``statistics`` |
| ``panel`` | ``answer``: the fields of ``PanelVerdict``; ``arms``: one object per arm, with the \
columns of arms.csv; ``files``: ``report``, ``table``, ``arms`` |
| ``simulation`` | ``answer``: ``kind``, ``headline``, ``sentences``; ``methods``, \
``comparisons``, ``stopping``, ``waste``: one object per row of the CSV files of these names; \
``files``: ``report``, ``tables`` |
| ``recording`` (``simulate record``) | ``tables``: what ``tables.json`` says; ``files``: \
``folder`` |
| ``families`` | ``family`` and ``arms``: optimizers for the options of these names; ``tuned``: \
classes that ``attach`` tunes; ``theory``: what each optimizer maximises |
| ``workloads`` | ``workloads``: ``name``, ``task``, ``data`` and ``needs`` of each |
| ``plan`` | ``constants``; where ``--trials`` was given, ``plan`` and, after the advice, \
``improved``: the fields of ``gap_tune.planning.Plan``; ``advice``: those of ``Advice``; \
``settings``: code; ``environment``: variables |
| ``dashboards`` | ``files``: ``folder`` |

``best`` is null where no trial has a finite metric, else the fields of ``gap_tune.report.Best``, of
which those that are not known are null too:

| key of ``best`` | |
|---|---|
| ``trial_id``, ``arm``, ``metric``, ``value``, ``ended`` | which trial, and why it is the best |
| ``learning_rate`` | as used: ``set, mean, low, high, last, followed`` |
| ``momentum`` | as used: ``start, mean, last, changes`` |
| ``hyperparameters`` | all other settings, by path |
| ``checkpoint`` | path of its last one |
| ``fixed_pair`` | the fixed ``learning_rate`` and ``momentum`` that come closest |
| ``fixing`` | a sentence on how much is lost by that |
| ``code``, ``replay_code``, ``fixed_code`` | to paste; empty where there is none |

Its ``config`` is left out, in which a tuned momentum is the start alone.

Numbers have all their digits; NaN and infinity are null.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from gap_tune import __version__
from gap_tune.cli.group import Failed

VERSION = 1


@contextmanager
def document(kind: str, *, wanted: bool) -> Iterator[dict[str, Any]]:
    """Yield what to put a command's results into; print it at the end where it is wanted.

    Meanwhile all that this process and those that it starts print goes to standard error.

    Args:
        kind: What they are of.
        wanted: Whether ``--json`` was given.
    """
    made: dict[str, Any] = {"version": VERSION, "gap_tune": __version__, "kind": kind}
    if not wanted:
        yield made
        return
    try:
        with _all_to_stderr():
            yield made
    except Failed:
        # A study whose trials all failed has been looked at all the same.
        _print(made)
        raise
    _print(made)


def _print(made: Mapping[str, Any]) -> None:
    text = json.dumps(plain_json(made), allow_nan=False, ensure_ascii=False, indent=2)
    # What steers a terminal, or is half a character, stands in strings only.
    print("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


@contextmanager
def _all_to_stderr() -> Iterator[None]:
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        # What others wrote to the stream that they held, or C's, may still be on its way.
        sys.stdout.flush()
        with suppress(OSError, TypeError, AttributeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def plain_json(value: Any) -> Any:
    """Return a value as JSON has it; what it has no word for is text.

    >>> plain_json({"loss": math.nan, "seeds": (0, 1), "type": int})
    {'loss': None, 'seeds': [0, 1], 'type': "<class 'int'>"}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        ordered = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [plain_json(each) for each in ordered]
    # Numbers of numpy and pandas.
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
