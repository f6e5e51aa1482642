"""Limits of tests: a machine that works for others must not fail them, a hang must."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import FairClock, wait_for

TESTS = Path(__file__).parent
BUSY = "while True: pass"
# A test of its own, in a pytest of its own; the limit on the wall, which a machine that others
# crowd as well would reach, left out.
STARVED = """
import os, time
from tests import patience
patience._MOST = float("inf")
def test_starved():
    os.nice(10)
    enough = time.thread_time() + 0.6
    while time.thread_time() < enough: pass
"""
HANGING = """
import time
def test_hanging():
    time.sleep(3600)
"""
SPINNING = """
def test_spinning():
    while True: pass
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python on one core, with a niceness; it ends with the test."""
    core = min(os.sched_getaffinity(0))
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, niceness: int = 0) -> subprocess.Popen[str]:
        def prepare() -> None:
            os.sched_setaffinity(0, {core})
            os.nice(niceness)

        process = subprocess.Popen(
            [sys.executable, *arguments],
            preexec_fn=prepare,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=TESTS.parent,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_seconds_in_which_others_have_the_core_do_not_count(start: Start) -> None:
    starved, _ = start("-c", BUSY, niceness=19), start("-c", BUSY)
    clock, before = FairClock(starved.pid), time.monotonic()
    time.sleep(2.0)
    assert clock.seconds() < 0.5 * (time.monotonic() - before)


def test_seconds_of_what_waits_for_no_core_count(start: Start) -> None:
    sleeping = start("-c", "import time; print('up', flush=True); time.sleep(3600)")
    assert sleeping.stdout is not None
    assert sleeping.stdout.readline() == "up\n"
    clock, before = FairClock(sleeping.pid), time.monotonic()
    time.sleep(1.0)
    passed = time.monotonic() - before
    assert clock.seconds() == pytest.approx(passed, rel=0.2)


def inner(start: Start, folder: Path, text: str) -> subprocess.Popen[str]:
    """Run one test in a pytest with our limit, of two seconds."""
    file = folder / "test_inner.py"
    file.write_text(text)
    plugins = ["-p", "tests.patience", "-p", "no:cacheprovider", "-c", os.devnull]
    return start("-m", "pytest", *plugins, "--timeout=2", str(file))


def test_bug_a_test_must_not_fail_because_the_machine_works_for_others(
    start: Start, tmp_path: Path
) -> None:
    # 0.6 seconds of work with a tenth of a core or less: six on the wall, three limits.
    start("-c", BUSY)
    before = time.monotonic()
    output, _ = inner(start, tmp_path, STARVED).communicate()
    assert "1 passed" in output, output
    assert time.monotonic() - before > 4.0, "the machine has not starved the test"


@pytest.mark.parametrize("text", [HANGING, SPINNING], ids=["waiting", "spinning"])
def test_a_test_that_never_ends_is_ended_with_its_trace(
    start: Start, tmp_path: Path, text: str
) -> None:
    output, _ = inner(start, tmp_path, text).communicate()
    assert "1 failed" in output, output
    assert "Timeout (>2.0s) from pytest-timeout" in output
    assert text.strip().splitlines()[-1].strip() in output


def test_waiting_ends_with_what_is_waited_for_or_with_the_process(start: Start) -> None:
    ends = iter([[], [], [3]])
    assert wait_for(lambda: next(ends), "a number") == [3]
    ended = start("-c", "raise SystemExit(4)")
    with pytest.raises(pytest.fail.Exception, match=r"a file: the process ended before.*status 4"):
        wait_for(lambda: False, "a file", process=ended)


def test_bug_no_test_has_a_deadline_of_its_own() -> None:
    """No ``timeout=`` but nought, no ``wait(60)``, no sum with a clock that is on the wall."""
    found = []
    for path in TESTS.rglob("*.py"):
        if "benchmarks" in path.parts or path.name == "patience.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and limits(node):
                found.append(f"{path.relative_to(TESTS)}:{node.lineno}: {ast.unparse(node)}")
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and clock(node):
                found.append(f"{path.relative_to(TESTS)}:{node.lineno}: {ast.unparse(node)}")
    assert not found, "tests wait with patience.wait_for, or as long as they may:\n" + "\n".join(
        found
    )


def limits(call: ast.Call) -> bool:
    """Tell whether a call waits for a number of seconds that is written there."""
    named = [
        keyword.value.value
        for keyword in call.keywords
        if keyword.arg in ("timeout", "timeout_s") and isinstance(keyword.value, ast.Constant)
    ]
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("wait", "join", "communicate"):
        named += [arg.value for arg in call.args[:1] if isinstance(arg, ast.Constant)]
    return any(isinstance(value, int | float) and value > 0 for value in named)


def clock(node: ast.BinOp) -> bool:
    """Tell whether a sum is a moment to come."""
    return ast.unparse(node.left) in ("time.monotonic()", "time.time()", "time.perf_counter()")
