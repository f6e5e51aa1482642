"""DecisionLog: every decision of a study as one JSON line in the experiment folder."""

from __future__ import annotations

import logging
import time
from collections import deque
from io import FileIO
from pathlib import Path
from typing import Any

from gap_tune.files import end_line
from gap_tune.rules import Decision, Reason
from gap_tune.rules.recorded import DECISIONS_FILE, RecordedDecision
from gap_tune.tune import keys
from gap_tune.tune.ray_private.storage.experiment_files import (
    experiment_file,
    fetch_experiment_file,
)

logger = logging.getLogger(__name__)

# How long to leave a folder alone that cannot be written to: longer with each failure.
_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 60.0
# How long a file stays open: opening takes as long as all else that a decision does. What other
# machines see of it on NFS is what was closed, and who replaced it expects later lines there.
_OPEN_S = 1.0
# Lines to keep until it can be written to again; about 5 MB.
_MOST_WAITING = 10_000


class DecisionLog:
    """Writes ``decisions.jsonl``, a line at a time; never raises.

    The driver writes it. A line is handed to the system before the next result is looked at, so a
    driver that is killed loses at most half a line. When the study is restored, lines are added.
    Lines that cannot be written wait, the latest 10,000 of them, until they can.
    """

    def __init__(self) -> None:
        # A running trial's path is kept here: asking Ray for it takes longer than writing the line.
        self._files: dict[str, Path | None] = {}
        # Files that are open, unbuffered, by path, and when each was opened.
        self._open: dict[Path, tuple[FileIO, float]] = {}
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self._retry_at, self._pause = 0.0, _FIRST_RETRY_S
        self._warned = False

    def __reduce__(self) -> Any:
        # Open files cannot be pickled, and belong to the process that runs the study.
        return DecisionLog, ()

    def write(self, trial: Any, decision: RecordedDecision) -> None:
        """Add a line to the log of the trial's experiment; a trial without storage has none."""
        self._waiting.append(decision.to_json() + "\n")
        if time.monotonic() >= self._retry_at:
            self.flush(trial)

    def flush(self, trial: Any) -> None:
        """Write the lines that wait, if that is possible now."""
        if not self._waiting:
            return
        try:
            self._append(trial, "".join(self._waiting))
        # A full disk or a lost connection must not disturb the study.
        except Exception as error:
            for path in list(self._open):
                self._close(path)
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LAST_RETRY_S)
            if not self._warned:
                self._warned = True
                logger.warning("decisions cannot be logged, the study goes on: %r", error)
            return
        self._waiting.clear()
        self._pause = _FIRST_RETRY_S

    def close(self, trial: Any) -> None:
        """Write what waits when a trial has ended."""
        self.flush(trial)
        path = self._files.pop(trial.trial_id, None)
        if path is not None and path not in self._files.values():
            self._close(path)

    def _append(self, trial: Any, lines: str) -> None:
        if trial.trial_id not in self._files:
            self._files[trial.trial_id] = experiment_file(trial, DECISIONS_FILE)
        path = self._files[trial.trial_id]
        if path is None:
            return
        file, opened = self._open.get(path, (None, 0.0))
        if file is None or time.monotonic() - opened >= _OPEN_S:
            self._close(path)
            fetch_experiment_file(trial, DECISIONS_FILE)
            end_line(path)
            file = path.open("ab", buffering=0)
            self._open[path] = file, time.monotonic()
        content = lines.encode()
        written = file.write(content)
        if written != len(content):
            raise OSError(f"only {written} of {len(content)} bytes could be written")

    def _close(self, path: Path) -> None:
        """Close a file, if it is open; never raise, although NFS may have lost the last lines."""
        file, _ = self._open.pop(path, (None, 0.0))
        try:
            if file is not None:
                file.close()
        except OSError as error:
            logger.warning("the last decisions may be missing in %s: %r", path, error)


def scheduled(
    trial: Any, result: dict[str, Any], decision: Decision, *, seq: int, dry_run: bool
) -> RecordedDecision:
    """Return the line of a decision that the scheduler made from a result."""
    return RecordedDecision(
        trial=trial.trial_id,
        step=_whole(result.get(keys.STEPS)),
        seq=seq,
        old=float(decision.previous),
        new=float(decision.momentum),
        candidates=tuple(map(float, decision.candidates)),
        gains=tuple(float(f"{gain:.6g}") for gain in decision.gains),
        reason=str(decision.reason),
        explanation=decision.explanation,
        mode=keys.MODE_SCHEDULER,
        dry_run=dry_run,
        time=time.time(),
    )


def failed(trial: Any, result: dict[str, Any], why: str, *, dry_run: bool) -> RecordedDecision:
    """Return the line of a result from which nothing could be decided."""
    seq = _whole(result.get(keys.SEQ))
    return RecordedDecision(
        trial=trial.trial_id,
        step=_whole(result.get(keys.STEPS)),
        seq=None if seq is None else seq + 1,
        old=_number(result.get(keys.MOMENTUM)),
        new=None,
        candidates=(),
        gains=(),
        reason=Reason.ERROR.value,
        explanation=why,
        mode=keys.MODE_SCHEDULER,
        dry_run=dry_run,
        time=time.time(),
    )


def reported(trial: Any, result: dict[str, Any], before: dict[str, Any]) -> RecordedDecision | None:
    """Return the line of a decision that a trial made itself since its last result, if it did.

    An optimizer that decides at every step reports its latest decision only.

    Args:
        trial: The Ray trial.
        result: Its flattened result.
        before: Its result before that, or the momentum that it started with.
    """
    seq = _whole(result.get(keys.SEQ))
    if seq is None or seq <= (_whole(before.get(keys.SEQ)) or 0):
        return None
    return RecordedDecision(
        trial=trial.trial_id,
        step=_whole(result.get(keys.STEPS)),
        seq=seq,
        old=_number(before.get(keys.MOMENTUM)),
        new=_number(result.get(keys.MOMENTUM)),
        candidates=(),
        gains=(),
        reason=str(result.get(keys.REASON, "")),
        explanation=str(result.get(keys.DECISION, "")),
        mode=keys.MODE_TRIAL,
        dry_run=False,
        time=time.time(),
    )


def _number(value: Any) -> float | None:
    """Return a number that came in a result; None for anything else."""
    try:
        number = float(value)
    except (OverflowError, RuntimeError, TypeError, ValueError):
        return None
    # NaN is not JSON, and says no more than nothing does.
    return number if abs(number) < float("inf") else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
