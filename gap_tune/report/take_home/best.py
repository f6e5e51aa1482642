"""Best: the best trial of a study as it was trained, and code that trains so."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.formatting import as_reported, number, plain
from gap_tune.report.choosing import best_trial
from gap_tune.report.comparison import Comparison
from gap_tune.report.take_home.fixing import fixing
from gap_tune.report.take_home.snippets import Snippets
from gap_tune.report.take_home.used import Course, UsedMomentum, UsedRate, lr_of
from gap_tune.rules.schedule import MomentumSchedule
from gap_tune.tune import keys, nested
from gap_tune.tune.spelling import is_fixed_name

# What tells trials apart and is no setting.
_NAMES = ("arm", "seed")
_MOST_SHOWN = 12
_WIDTH = 79


@dataclass(frozen=True)
class Best:
    """The best trial of a study or experiment, by its last report.

    Attributes:
        trial_id: The trial's id.
        arm: Who chose its momentum: "gap", "fixed:0.9", or as arms are called.
        metric: What it is the best by.
        value: Its last value of that.
        ended: Whether the trial was trained to its end; where no trial was, it is the best so far.
        config: Its configuration. Beware: ``config["momentum"]`` is where a tuned momentum started.
        hyperparameters: All other settings by path, without learning rate, momentum and what is
            gap_tune's own.
        momentum: The momentum over time; None where the trial reported none.
        learning_rate: The learning rate over time; None where the configuration has no ``lr`` or
            ``learning_rate``.
        checkpoint: The path of its last checkpoint; None without one, or where the study lies in
            object storage.
        code: Code that makes an optimizer of ``gap_tune.optim`` which chooses its momentum as this
            trial's was chosen, without Ray Tune, though at every step and not at reports. A rule
            that only ``GapScheduler`` was given is not known. Of a momentum that was held, and
            where learning rate or momentum are not known, empty.
        replay_code: Code that goes through the momenta of a file of ``save_schedule``; likewise.
        fixed_pair: The fixed learning rate and momentum that come closest; None where they are not
            known.
        fixed_code: Code that makes torch's optimizer with them.
        fixing: What trials of fixed momenta tell of how much is lost by that, one sentence.
    """

    trial_id: str
    arm: str
    metric: str
    value: float
    ended: bool
    config: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    momentum: UsedMomentum | None
    learning_rate: UsedRate | None
    checkpoint: str | None
    code: str
    replay_code: str
    fixed_pair: tuple[float, float] | None
    fixed_code: str
    fixing: str
    _course: Course | None = field(repr=False, compare=False)

    @classmethod
    def of(cls, comparison: Comparison) -> Best | None:
        """Return the best trial of a comparison; None where none has a finite metric."""
        records = comparison.records
        found = best_trial(records)
        if found is None:
            return None
        row, value, ended = found
        config = records.configs.get(row["trial_id"], {})
        rows = records.results[records.results["trial_id"] == row["trial_id"]]
        course, lr = Course.of(rows), lr_of(config)
        code = Snippets.of(config, course, lr, arm=row["arm"], rows=rows)
        return cls(
            trial_id=str(row["trial_id"]),
            arm=str(row["arm"]),
            metric=records.metric,
            value=value,
            ended=ended,
            config=config,
            hyperparameters=_others(config, lr),
            momentum=None if course is None else course.momentum(),
            learning_rate=None if course is None or lr is None else course.rate(lr[1]),
            checkpoint=_checkpoint(records.folders.get(row["trial_id"])),
            code=code.own,
            replay_code=code.replay,
            fixed_pair=code.pair,
            fixed_code=code.fixed,
            fixing="" if code.pair is None else fixing(comparison, str(row["arm"]), code.pair[1]),
            _course=course,
        )

    @property
    def text(self) -> str:
        """What to take home, in lines of 80 columns but for paths."""
        so_far = "" if self.ended else " so far"
        lines = [
            f"Best trial{so_far}: {self.trial_id} ({self.arm}), {self.metric} {number(self.value)}."
        ]
        lines += [_wrapped(f"  {name:<15}{plain(said)}", indent=17) for name, said in self.facts]
        for title, code in self.snippets:
            lines += [_wrapped(f"{title}:"), *(f"    {line}" for line in code.splitlines())]
        return "\n".join([*lines, *filter(None, [_wrapped(self.fixing)])])

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What the trial was trained with: names and what is said of them."""
        found = []
        if self.learning_rate is not None:
            found.append(("learning rate", self.learning_rate.text))
        if self.momentum is not None:
            start = "" if is_fixed_name(self.arm) else "; config holds the start only"
            found.append(("momentum", self.momentum.text + start))
        shown = list(self.hyperparameters.items())[:_MOST_SHOWN]
        if shown:
            found.append(("other settings", ", ".join(f"{k}={as_reported(v)}" for k, v in shown)))
        return [*found, ("checkpoint", self.checkpoint or "none was saved")]

    @property
    def snippets(self) -> list[tuple[str, str]]:
        """Code to paste: titles, and lines."""
        found = [
            ("Train so without Ray Tune", self.code),
            ("Replay its momentum from a file", self.replay_code),
            (
                "Fixed, as it was" if is_fixed_name(self.arm) else "The closest fixed pair",
                self.fixed_code,
            ),
        ]
        return [(title, code) for title, code in found if code]

    def schedule(self) -> MomentumSchedule:
        """Return the momentum that the trial went through, to be replayed.

        It is piecewise constant between reports: what a trial decided itself between two of them
        is not in it. The learning rate's scale is not in it either: it follows the agreement anew.

        Raises:
            StateError: When the trial reported no momentum.
        """
        if self._course is None:
            raise StateError(
                f"trial {self.trial_id} must have reported its momentum (gap_tune.attach) for a "
                "schedule, but got none."
            )
        return self._course.schedule()

    def save_schedule(self, path: str | Path) -> Path:
        """Write ``schedule()`` for ``MomentumSchedule.from_file``, and return the file.

        Args:
            path: The file; it appears whole or not at all.

        Raises:
            StateError: As of ``schedule``.
            InvalidValueError: When it cannot be written.
        """
        return self.schedule().save(path)


def best(results: Any, *, metric: str | None = None, mode: str | None = None) -> Best:
    """Return the best trial with what it was really trained with, and code to take home.

    What ``results.get_best_result().config`` holds of a tuned momentum is where it started.

    Args:
        results: What ``Tuner.fit`` returned; a ``gap_tune.Study``; its records; or the folder or
            address of a study or of any Ray Tune experiment whose trials report ``gap/`` results.
        metric: Metric of an experiment. Default: the one that the study asked Ray Tune for.
        mode: "min" or "max", likewise.

    Raises:
        InvalidValueError: When metric or mode are needed and missing, or no trial has a finite one.
        StateError: When the folder holds no such results.

    >>> import pandas as pd
    >>> from gap_tune.records.records import Records
    >>> trials = pd.DataFrame(
    ...     [("a", "gap", 0, "finished", 0.3), ("b", "gap", 1, "finished", 0.2)],
    ...     columns=["trial_id", "arm", "seed", "status", "loss"],
    ... ).assign(steps=10, seconds=1.0)
    >>> best(Records({"metric": "loss", "mode": "min", "arms": ["gap"]}, trials, trials)).trial_id
    'b'
    """
    from gap_tune.report.take_home.opening import opened

    comparison = opened(results, metric, mode)
    found = Best.of(comparison)
    if found is None:
        raise InvalidValueError(
            f"a trial must have reported a finite {comparison.metric!r}, but got none."
        )
    return found


def _wrapped(text: str, indent: int = 0) -> str:
    if len(text) > _WIDTH and " " not in text[indent:]:
        return text
    return textwrap.fill(
        text,
        width=_WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _others(config: Mapping[str, Any], lr: tuple[str, float] | None) -> dict[str, Any]:
    """Return the settings besides learning rate, momentum and what is gap_tune's."""
    rest = keys.without_own(config, "momentum", *_NAMES, *([] if lr is None else [lr[0]]))
    return dict(nested.leaves(rest))


def _checkpoint(folder: Path | None) -> str | None:
    """Return the path of the last checkpoint in a trial's folder."""
    found = [] if folder is None else sorted(folder.glob("checkpoint_*"))
    return str(found[-1]) if found else None
