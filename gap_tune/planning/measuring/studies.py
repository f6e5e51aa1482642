"""Real studies of Ray Tune, each of which measures one thing, and what they leave on the disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray import tune

from gap_tune.errors import GapTuneError
from gap_tune.files import json_lines
from gap_tune.planning.measuring import trials
from gap_tune.planning.measuring.notes import Notes

_LOGGERS = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"


class MeasuringError(GapTuneError, RuntimeError):
    """A study that was to measure something did not run."""


@dataclass(frozen=True)
class Ran:
    """What is known of a study that has run.

    Attributes:
        notes: What its driver had spent when.
        sizes: Bytes of its files, by kind of file, all trials together.
        heads: Bytes of the first lines of its tables, all trials together.
        results: How many results it has.
        trials: How many trials.
        trial_data: The states of its trials, as they stand in the experiment's state.
    """

    notes: Notes
    sizes: Mapping[str, int]
    heads: int
    results: int
    trials: int
    trial_data: list[Any]


def run(
    function: Callable[[dict[str, Any]], None],
    *,
    count: int,
    concurrent: int,
    config: Mapping[str, Any],
    scheduler: Any = None,
    search: Any = None,
    reuse_actors: bool = True,
    tensorboard: bool = False,
) -> Ran:
    """Run a study of so many trials, so many at a time, in a folder that is removed afterwards.

    Where all run at once they begin together.

    Raises:
        MeasuringError: When one of its trials fails.
    """
    notes = Notes()
    with (
        TemporaryDirectory() as storage,
        TemporaryDirectory() as folder,
        _loggers(tensorboard) as callbacks,
    ):
        if count == concurrent:
            meeting = trials.Meeting(folder, count)
            function = tune.with_parameters(trials.together, meeting=meeting, train=function)
        grid = tune.Tuner(
            # Little of a core: all are to run at once, on small machines too.
            tune.with_resources(function, {"cpu": 0.25}),
            param_space={**trials.space(), **config},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=count,
                max_concurrent_trials=concurrent,
                search_alg=search,
                scheduler=scheduler,
                reuse_actors=reuse_actors,
            ),
            run_config=tune.RunConfig(
                name="measured", storage_path=storage, verbose=0, callbacks=[notes, *callbacks]
            ),
        ).fit()
        if grid.errors:
            why = str(grid.errors[0]).strip().splitlines()[-1]
            raise MeasuringError(f"a measured study must run, but a trial of it failed: {why}")
        return _looked_at(Path(storage, "measured"), notes, count)


@contextmanager
def _loggers(tensorboard: bool) -> Iterator[list[Any]]:
    """Give the loggers of JSON and CSV, and Ray's for TensorBoard where it is asked for."""
    from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

    before = os.environ.get(_LOGGERS)
    os.environ[_LOGGERS] = "1"
    try:
        yield [JsonLoggerCallback(), CSVLoggerCallback()] + [TBXLoggerCallback()] * tensorboard
    finally:
        if before is None:
            del os.environ[_LOGGERS]
        else:
            os.environ[_LOGGERS] = before


def _looked_at(folder: Path, notes: Notes, count: int) -> Ran:
    states = list(folder.glob("experiment_state-*.json"))
    state = next(iter(json_lines(max(states)))) if states else {}
    results = sum(1 for path in folder.glob("*/result.json") for _ in json_lines(path))
    heads = sum(_first_line(path) for path in folder.glob("*/progress.csv"))
    return Ran(notes, sizes_of(folder), heads, results, count, state.get("trial_data", []))


def _first_line(path: Path) -> int:
    with path.open("rb") as file:
        return len(file.readline())


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the bytes of an experiment's files by kind, its trials' checkpoints left out.

    The kinds are ``results`` (result.json), ``table`` (progress.csv), ``events`` (TensorBoard),
    ``parameters`` (params.json, params.pkl), ``decisions``, ``state`` (of the experiment and its
    searcher) and ``own``: gap_tune's part of checkpoints.
    """
    sizes: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file():
            kind = _kind(path, in_trial=path.parent != folder)
            if kind is not None:
                sizes[kind] += path.stat().st_size
    return dict(sizes)


def _kind(path: Path, *, in_trial: bool) -> str | None:
    if not in_trial:
        # Ray's state of the study, and what gap_tune adds to the folder.
        return "decisions" if path.name == "decisions.jsonl" else "state"
    kinds = {
        "result.json": "results",
        "progress.csv": "table",
        "params.json": "parameters",
        "params.pkl": "parameters",
        "gap_tune.pt": "own",
    }
    return "events" if path.name.startswith("events.out") else kinds.get(path.name)
