"""What a shell completes: names that are known without training anything."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

# What bash calls for, as typer's completion scripts say it.
_ASKED, _BY_BASH = "_GAP_TUNE_COMPLETE", "complete_bash"
# What bash takes for words of their own, unless COMP_WORDBREAKS was changed.
_BREAKS = re.compile(r"[:=]+")


def workloads(incomplete: str) -> list[str]:
    """Return the workloads that begin so; where none does, the shell completes files."""
    from gap_tune.workloads.registry import workload_names

    return _beginning(incomplete, workload_names())


def arms(incomplete: str) -> list[str]:
    """Return what the last one of a list of arms may become."""
    from gap_tune.study.grammar import arm_names

    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    names = [name for name in arm_names() if name not in taken]
    return [f"{before}{comma}{name}" for name in _beginning(last, names)]


def methods(incomplete: str) -> list[str]:
    """Return what the last one of a list of simulated methods may become."""
    from gap_tune.simulation.answers.methods import all_methods

    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    names = [name for name in (each.name for each in all_methods()) if name not in taken]
    return [f"{before}{comma}{name}" for name in _beginning(last, names)]


def families(incomplete: str) -> list[str]:
    """Return the families of optimizers that begin so."""
    from gap_tune.training.families.table import BASE_FAMILIES

    return _beginning(incomplete, BASE_FAMILIES)


def styles(incomplete: str) -> list[str]:
    """Return the ways to show progress that begin so."""
    return _beginning(incomplete, ("auto", "table", "lines", "json", "quiet"))


def formats(incomplete: str) -> list[str]:
    """Return the formats of figures that begin so."""
    return _beginning(incomplete, ("svg", "png"))


@contextmanager
def of_whole_words() -> Iterator[None]:
    """Have words completed that bash has broken at colons: an arm such as ``fixed:0.9`` is one.

    Bash replaces only the part after the last colon by what is completed, so that is all it gets.
    """
    words = os.environ.get("COMP_WORDS", "").split("\n")
    place = int(os.environ.get("COMP_CWORD", "0"))
    if os.environ.get(_ASKED) != _BY_BASH or len(words) <= place:
        yield
        return
    mended = _mended(words[: place + 1])
    os.environ |= {"COMP_WORDS": "\n".join(mended), "COMP_CWORD": str(len(mended) - 1)}
    before, colon, _ = mended[-1].rpartition("=")[2].rpartition(":")
    try:
        with redirect_stdout(StringIO()) as said:
            yield
    finally:
        for line in said.getvalue().splitlines():
            print(line.removeprefix(before + colon))


def _mended(words: Iterable[str]) -> list[str]:
    """Return words as they were typed.

    >>> _mended(["--arms", "gap,fixed", ":", "0.9"])
    ['--arms', 'gap,fixed:0.9']
    """
    mended: list[str] = []
    for word in words:
        if mended and word and (_BREAKS.fullmatch(word) or _BREAKS.fullmatch(mended[-1][-1:])):
            mended[-1] += word
        else:
            mended.append(word)
    return mended


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
