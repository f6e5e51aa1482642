"""Recordings: all recorded runs of one setting, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gap_tune.errors import StateError
from gap_tune.gradients import AlignmentStatistics

# Where a run stands at a moment, by the names that moments and statistics give them.
MEASURED = ("validation_loss", "test_loss", "momentum", "lr", "scale", "agreement")
SUMMED = ("power", "whitening", "weight")
COUNTED = ("steps", "skipped_steps")
# Of candidates there are at most so many, as gap_tune compares by default.
MOST_CANDIDATES = 4
ALIGNMENTS = tuple(f"alignment_{place}" for place in range(MOST_CANDIDATES))
FLOATS = (*MEASURED, *SUMMED, *ALIGNMENTS)


@dataclass(frozen=True)
class ArmFacts:
    """What all runs of an arm in a setting have in common.

    Attributes:
        candidates: The momenta that its statistics compare.
        seconds_per_step: Time of an optimizer step, observed gradients included.
        evaluation_seconds: Time of an evaluation, which every report waits for.
    """

    candidates: tuple[float, ...]
    seconds_per_step: float
    evaluation_seconds: float


@dataclass(frozen=True, eq=False)
class Recordings:
    """The runs of a setting: arms by learning rates by seeds by moments.

    A run that diverged has NaN in all columns from the moment on at which its loss was no number.

    Attributes:
        name: The setting's.
        family: Its optimizer family.
        arms: Facts by name, in the order of the first axis.
        learning_rates: Along the second axis, increasing.
        steps: Optimizer steps at each moment, along the last axis.
        dimension: Coordinates of the observed parameters.
        sampled: How many of them were read.
        initial_validation: Loss of the untrained model, by seed.
        initial_test: The same on test samples.
        columns: An array per name in ``FLOATS`` and ``COUNTED``.
    """

    name: str
    family: str
    arms: Mapping[str, ArmFacts]
    learning_rates: tuple[float, ...]
    steps: tuple[int, ...]
    dimension: int
    sampled: int
    initial_validation: tuple[float, ...]
    initial_test: tuple[float, ...]
    columns: Mapping[str, NDArray[Any]]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Arms, learning rates, seeds and moments."""
        sizes = (self.arms, self.learning_rates, self.initial_validation, self.steps)
        return tuple(map(len, sizes))  # type: ignore[return-value]

    def statistics(self, place: tuple[int, int, int, int]) -> AlignmentStatistics:
        """Return the statistics of a run at a moment; lags beyond 0 are not kept.

        Args:
            place: Arm, learning rate, seed, moment.

        Raises:
            InvalidValueError: When the run had diverged by then.
        """
        value = {name: self.columns[name][place].item() for name in (*SUMMED, *COUNTED)}
        candidates = list(self.arms.values())[place[0]].candidates
        alignment = (self.columns[name][place].item() for name in ALIGNMENTS[: len(candidates)])
        agreement = self.columns["agreement"][place].item()
        return AlignmentStatistics(
            candidates=candidates,
            alignment=tuple(alignment),
            validation_alignment=(0.0,) * len(candidates),
            autocorrelation=(value["power"],),
            whitening=None if np.isnan(value["whitening"]) else value["whitening"],
            weight=value["weight"],
            validation_weight=0.0,
            steps=value["steps"],
            skipped_steps=value["skipped_steps"],
            dimension=self.dimension,
            sampled=self.sampled,
            agreement=None if np.isnan(agreement) else agreement,
        )


def gathered(
    setting: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    timing: Mapping[str, Mapping[str, float]],
) -> Recordings:
    """Return the recordings of a setting.

    Args:
        setting: What the suite's note says of it: ``name``, ``family``.
        runs: Its lines of the journal.
        timing: ``seconds_per_step`` and ``evaluation_seconds`` by arm.

    Raises:
        StateError: When a run is missing or failed, or runs differ in what all have in common.
    """
    name = setting["name"]
    arms = list(dict.fromkeys(run["arm"] for run in runs))
    rates, seeds = (sorted({run[key] for run in runs}) for key in ("lr", "seed"))
    found = {(run["arm"], run["lr"], run["seed"]): run for run in runs}
    wanted = [(arm, lr, seed) for arm in arms for lr in rates for seed in seeds]
    if missing := [key for key in wanted if key not in found]:
        raise StateError(
            f"every arm of {name!r} must have run at every learning rate on every seed, but got "
            f"none of {missing[0]} and {len(missing) - 1} others."
        )
    if failed := [run for run in runs if run["status"] not in ("finished", "diverged")]:
        raise StateError(
            f"runs of {name!r} must have finished or diverged, but got "
            f"{failed[0]['status']}: {failed[0]['error']}"
        )
    if untimed := [arm for arm in arms if arm not in timing]:
        raise StateError(f"every arm of {name!r} must be timed, but got no time of {untimed}.")
    ordered = [found[key] for key in wanted]
    steps = _common(name, "moments", (_steps(run) for run in ordered if _whole(run)))
    shape = (len(arms), len(rates), len(seeds), len(steps))
    columns = _columns(ordered, len(steps))
    several = [m["statistics"] for run in ordered for m in run["moments"]]
    sizes = _common(name, "coordinates", ((s["dimension"], s["sampled"]) for s in several))
    if any(s["validation_weight"] for s in several):
        raise StateError(f"no run of {name!r} may have held-out gradients, but one has.")
    facts = {arm: _facts(name, arm, ordered, timing[arm]) for arm in arms}
    initial = {run["seed"]: run for run in ordered}
    return Recordings(
        name=name,
        family=setting["family"],
        arms=facts,
        learning_rates=tuple(rates),
        steps=steps,
        dimension=sizes[0],
        sampled=sizes[1],
        initial_validation=tuple(initial[s]["initial_validation_loss"] for s in seeds),
        initial_test=tuple(initial[s]["initial_test_loss"] for s in seeds),
        columns={key: values.reshape(shape) for key, values in columns.items()},
    )


def _whole(run: Mapping[str, Any]) -> bool:
    return bool(run["status"] == "finished")


def _steps(run: Mapping[str, Any]) -> tuple[int, ...]:
    # A step whose gradient is NaN or infinite is one, too, but not observed.
    counted = (moment["statistics"] for moment in run["moments"])
    return tuple(each["steps"] + each["skipped_steps"] for each in counted)


def _common(setting: str, what: str, values: Any) -> tuple[Any, ...]:
    """Return what all of the values are.

    Raises:
        StateError: When they are several, or none.
    """
    different = list(dict.fromkeys(values))
    if len(different) != 1:
        raise StateError(
            f"all runs of {setting!r} must have the same {what}, but got {len(different)} kinds."
        )
    one: tuple[Any, ...] = different[0]
    return one


def _facts(
    setting: str, arm: str, runs: Sequence[Mapping[str, Any]], timing: Mapping[str, float]
) -> ArmFacts:
    own = (m["statistics"]["candidates"] for r in runs if r["arm"] == arm for m in r["moments"])
    candidates = _common(setting, f"candidates in {arm!r}", map(tuple, own))
    if len(candidates) > MOST_CANDIDATES:
        raise StateError(
            f"statistics must compare at most {MOST_CANDIDATES} candidates, but got {candidates}."
        )
    return ArmFacts(candidates, timing["seconds_per_step"], timing["evaluation_seconds"])


def _columns(runs: Sequence[Mapping[str, Any]], moments: int) -> dict[str, NDArray[Any]]:
    """Return the columns of runs, one after the other, NaN or 0 where they had diverged."""
    columns: dict[str, NDArray[Any]] = {n: np.full((len(runs), moments), np.nan) for n in FLOATS}
    columns |= {name: np.zeros((len(runs), moments), np.int32) for name in COUNTED}
    for row, run in enumerate(runs):
        for place, moment in enumerate(run["moments"]):
            for name, value in _values(moment).items():
                columns[name][row, place] = value
    return columns


def _values(moment: Mapping[str, Any]) -> dict[str, float | int]:
    """Return a moment's columns; NaN for what was not measured."""
    statistics = moment["statistics"]
    measured = {name: moment[name] for name in MEASURED}
    sums = {
        "power": statistics["autocorrelation"][0],
        "whitening": statistics["whitening"],
        "weight": statistics["weight"],
        **dict(zip(ALIGNMENTS, statistics["alignment"], strict=False)),
    }
    floats = {k: np.nan if v is None else v for k, v in {**measured, **sums}.items()}
    return {**floats, **{name: statistics[name] for name in COUNTED}}
