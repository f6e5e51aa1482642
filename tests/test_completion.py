"""Completion as bash itself has it done, which breaks words at colons."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gap_tune import cli
from gap_tune.report.figures.images import FORMATS
from gap_tune.tune.monitoring.progress import STYLES

SCRIPTS = Path(sys.executable).parent


def in_bash(words: str) -> list[str]:
    """Return what bash is offered for the last of the words, which it has broken already."""
    broken = shlex.split(words)
    lines = [
        'eval "$(_GAP_TUNE_COMPLETE=source_bash gap-tune)"',
        f"COMP_WORDS=({' '.join(map(shlex.quote, broken))}); COMP_CWORD={len(broken) - 1}",
        "_gap_tune_completion gap-tune",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--norc", "--noprofile", "-c", "\n".join(lines)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("gap-tune repo", ["report"]),
        ("gap-tune compare digits-c", ["digits-cnn"]),
        ("gap-tune panel --half ''", ["development", "held-out", "both"]),
        ("gap-tune demo --progress ''", list(STYLES)),
        ("gap-tune report somewhere --figures ''", list(FORMATS)),
    ],
)
def test_bash_completes_names_and_choices(words: str, offered: list[str]) -> None:
    assert in_bash(words) == offered


def test_bug_bash_breaks_arms_at_their_colon_and_was_offered_files() -> None:
    # It replaces what stands after the last colon.
    assert in_bash("gap-tune compare quadratic --arms gap,fixed : g") == ["grid"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("--arms gap,fixed : g", ["grid"]),
        ("--arms = gap,nesterov :", ["0.9"]),
        ("--arms fixed : 0.9,fixed : g", ["grid"]),
        ("--arms fixed : 0.9,gap-p", ["0.9,gap-paper"]),
        ("--arms gap,gap-p", ["gap,gap-paper"]),
    ],
)
def test_words_that_bash_broke_are_one_again(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    offered: list[str],
) -> None:
    broken = ["gap-tune", "compare", "quadratic", *words.split()]
    monkeypatch.setenv("_GAP_TUNE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(broken))
    monkeypatch.setenv("COMP_CWORD", str(len(broken) - 1))
    monkeypatch.setattr(sys, "argv", ["gap-tune"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out.split() == offered
