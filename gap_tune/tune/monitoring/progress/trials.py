"""What there is to show of one trial."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from gap_tune.formatting import as_reported, plain
from gap_tune.tune import keys, nested
from gap_tune.tune.monitoring.instruments import finite, metric_of
from gap_tune.tune.monitoring.progress.standing import Unit
from gap_tune.tune.ray_private.results import last_result
from gap_tune.tune.spelling import GAP_NAME, GAP_TRIAL_NAME, fixed_name

# Ray writes this line into a trial's error file before each failure.
_FAILURE = "Failure # "
_LONGEST = 300


@dataclass(frozen=True)
class Shown:
    """Result keys to show.

    Attributes:
        epoch: Key of the epoch.
        epochs: Its value when a trial is done; None where nobody knows.
        metric: Key of the study's metric; None where it has none.
        mode: "min" or "max".
        loss: Key of the loss.
        accuracy: Key of the accuracy.
    """

    epoch: str
    epochs: float | None
    metric: str | None
    mode: str
    loss: str
    accuracy: str

    @property
    def counted(self) -> str:
        """What ``epoch`` counts."""
        return "report" if self.epoch == "training_iteration" else "epoch"

    def values(self) -> dict[str, str]:
        """Return two result keys by their headings, the study's metric first.

        >>> Shown("epoch", None, "top5", "max", "val_loss", "val_accuracy").values()
        {'top5': 'top5', 'loss': 'val_loss'}
        """
        known = {"loss": self.loss, "accuracy": self.accuracy}
        if self.metric is None:
            return known
        own = {h: key for h, key in known.items() if key == self.metric}
        first = own or {self.metric.rpartition("/")[2][-12:]: self.metric}
        others = [h for h in known if h not in first]
        return {**first, others[0]: known[others[0]]}

    def fraction(self, trial: Any) -> float | None:
        """Return how much of a trial is done, 0 to 1; None where nobody knows."""
        if self.epochs is None:
            return None
        done = finite(nested.get(last_result(trial), self.epoch)) or 0.0
        return min(1.0, max(0.0, done / self.epochs))

    def value(self, trial: Any) -> float | None:
        """Return what a trial last reported of the study's metric; None without a finite one."""
        return metric_of(last_result(trial), self.metric)

    def better(self, one: float, other: float) -> bool:
        """Tell whether one value of the metric beats another."""
        return one < other if self.mode == "min" else one > other


def arm_of(trial: Any) -> str:
    """Return the arm; of a trial that is paired, who chooses its momentum; else what is trained."""
    arm = keys.setting(trial.config, "arm")
    if arm is None and _pair_of(trial) is not None:
        mode = keys.section(trial.config).get("mode")
        arm = {keys.MODE_SCHEDULER: GAP_NAME, keys.MODE_TRIAL: GAP_TRIAL_NAME}.get(str(mode))
        arm = fixed_name(keys.momentum_of(trial.config)) if arm is None else arm
    return plain(str(trial.trainable_name if arm is None else arm), _LONGEST)


def which(trial: Any) -> str:
    """Return what tells a trial from others of its arm."""
    seed, pair = keys.setting(trial.config, "seed"), _pair_of(trial)
    if seed is None:
        return plain(trial.trial_id, _LONGEST)
    return plain(f"seed {seed}" if pair is None else f"config {pair} seed {seed}", _LONGEST)


def unit_of(trial: Any) -> Unit | None:
    """Return what a trial shares with those of other arms that it is compared with."""
    seed, pair = keys.setting(trial.config, "seed"), _pair_of(trial)
    compared = pair is not None or keys.setting(trial.config, "arm") is not None
    return (pair, seed) if compared and seed is not None else None


def _pair_of(trial: Any) -> Any:
    return keys.section(trial.config).get(keys.PAIR)


def label(trial: Any) -> str:
    """Return arm and seed, or the trial's id where it has no seed."""
    return f"{arm_of(trial)} {which(trial)}"


def momentum_of(trial: Any) -> str:
    """Return the momentum that a trial last reported."""
    return as_reported(last_result(trial).get(keys.MOMENTUM))


def scale_of(trial: Any) -> str:
    """Return the scale of a trial's learning rate that it last reported."""
    return as_reported(last_result(trial).get(keys.SCALE))


def agreement_of(trial: Any) -> str:
    """Return how the trial's latest steps agreed, -1 to 1, that it last reported."""
    agreement = finite(last_result(trial).get(keys.AGREEMENT))
    return "-" if agreement is None else f"{agreement:+.2f}"


def changes_of(trial: Any) -> str:
    """Return how often decisions have changed a trial's momentum."""
    return as_reported(last_result(trial).get(keys.SEQ))


def reason_of(trial: Any) -> str:
    """Return in one line why a trial failed; empty where nobody knows."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return ""
    # Ray colours tracebacks.
    latest = Text.from_ansi(text[text.rfind(_FAILURE) :]).plain
    lines = latest.splitlines()[1:]
    said = [line.strip() for line in lines if line.strip()]
    if not said:
        return ""
    # A function that raised has its traceback there, with the error last. What Ray says of a
    # process that died starts with the point.
    raised = said[0].startswith("ray::") or said[0].startswith("Traceback")
    return plain(said[-1] if raised else said[0], _LONGEST)
