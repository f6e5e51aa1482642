"""Constants: what a result, a decision, a trial and a suggestion cost, as measured somewhere."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Self

from gap_tune.errors import StateError
from gap_tune.files import AnyPath, write_text

_SHIPPED = "constants.json"
_VERSION = 1
_CPU = "processor time of the driver's controlling thread"
_STEADY = f"{_CPU}, median over blocks of 50 results while 4 trials report"
_BYTES = "bytes of a study's files by the lines in them"


def _measured(unit: str, how: str) -> Any:
    return field(metadata={"unit": unit, "how": how})


@dataclass(frozen=True)
class Constants:
    """What ``gap-tune plan`` computes with; ``gap-tune plan --measure`` measures them.

    Times of the driver are processor time of the thread that controls the study: on a busy machine
    it is the same, other than time on the clock. Each field's metadata say unit and how.

    Attributes:
        about: Where and when they were measured: versions, machine, date, how busy it was.
    """

    about: dict[str, Any]
    result_bare_s: float = _measured("s", f"{_STEADY} two metrics to Ray's FIFO; JSON, CSV logged")
    result_scheduler_s: float = _measured(
        "s", f"{_STEADY} to GapScheduler, which changes momentum at each and logs it"
    )
    result_trial_s: float = _measured(
        "s", f"{_STEADY} from optimizers that tune themselves, which GapScheduler records"
    )
    tensorboard_s: float = _measured("s", "the same with Ray's TensorBoard logger, less without it")
    waiting_s: float = _measured(
        "s", f"{_CPU} in ray.wait, slope over 50, 200 and 400 pending calls"
    )
    suggestion_random_s: float = _measured("s", "processor time of GapSearch('random') per trial")
    suggestion_random_per_trial_s: float = _measured("s", "its slope over the trials before")
    suggestion_tpe_s: float = _measured("s", "processor time of GapSearch('tpe') per trial")
    suggestion_tpe_per_trial_s: float = _measured("s", "its slope over the trials before")
    start_s: float = _measured("s", f"{_CPU} per trial of one report, with a new process each")
    start_reused_s: float = _measured("s", "the same with reuse_actors=True")
    start_delay_s: float = _measured(
        "s", "time on the clock from a trial's end to the next one's first report, new processes"
    )
    start_delay_reused_s: float = _measured("s", "the same with reuse_actors=True")
    saving_trial_s: float = _measured(
        "s", "processor time to write the states of trials and searcher, by trials"
    )
    result_bare_bytes: float = _measured("bytes", f"{_BYTES}: result.json and progress.csv, bare")
    result_bytes: float = _measured(
        "bytes", f"{_BYTES}: result.json and progress.csv, GapScheduler"
    )
    tensorboard_bytes: float = _measured("bytes", f"{_BYTES}: TensorBoard's events")
    decision_bytes: float = _measured("bytes", f"{_BYTES}: decisions.jsonl")
    trial_bytes: float = _measured(
        "bytes", "params.json, params.pkl and the head of progress.csv of a trial"
    )
    state_bytes: float = _measured(
        "bytes", "saved states of an experiment, its searcher and its code, without any trial"
    )
    state_trial_bytes: float = _measured(
        "bytes", "what each trial adds: the difference of two studies, by that of their trials"
    )
    checkpoint_bytes: float = _measured(
        "bytes", "gap_tune.pt in a checkpoint, with the optimizer of 16,384 weights and no model"
    )
    driver_bytes: float = _measured("bytes", "resident memory of the driver before its first trial")
    memory_trial_bytes: float = _measured(
        "bytes", "growth of the driver's resident memory per trial, median"
    )
    memory_result_bytes: float = _measured(
        "bytes", "the same per result; buffers of Ray that fill up are in it, so it is a bound"
    )
    memory_searcher_bytes: float = _measured(
        "bytes", "growth of resident memory per trial that a searcher alone has seen"
    )

    def write(self, path: AnyPath) -> Path:
        """Write them as JSON, each with its unit and how it was measured.

        Raises:
            InvalidValueError: When the file cannot be written.
        """
        values = {
            each.name: {"value": _digits(getattr(self, each.name)), **each.metadata}
            for each in _numbers()
        }
        document = {"version": _VERSION, "about": self.about, "constants": values}
        return write_text(path, json.dumps(document, indent=2) + "\n")

    @classmethod
    def read(cls, path: AnyPath | None = None) -> Self:
        """Return the constants in a file; those that the package ships without one.

        Raises:
            StateError: When the file holds none.

        >>> Constants.read().result_bare_s > 0
        True
        """
        where = "the package" if path is None else str(path)
        try:
            text = (
                resources.files("gap_tune.planning").joinpath(_SHIPPED).read_text("utf-8")
                if path is None
                else Path(path).read_text("utf-8")
            )
            document = json.loads(text)
            values = {each.name: _value(document, each.name) for each in _numbers()}
            about = dict(document["about"])
        except OSError as error:
            raise _no_constants(where, error.strerror or str(error)) from None
        except (ValueError, KeyError, TypeError) as error:
            raise _no_constants(where, f"{type(error).__name__}: {error}") from None
        return cls(about=about, **values)


def _numbers() -> list[Any]:
    return [each for each in fields(Constants) if each.name != "about"]


def _value(document: Any, name: str) -> float:
    value = float(document["constants"][name]["value"])
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}")
    return value


def _digits(value: float) -> float:
    """Return a number with as many digits as a measurement has."""
    return float(f"{value:.4g}")


def _no_constants(where: str, why: str) -> StateError:
    return StateError(
        f"constants must be a file that `gap-tune plan --measure` wrote, but got {where}: {why}."
    )
